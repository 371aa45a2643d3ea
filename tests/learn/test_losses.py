"""The model of losses: out of sample, true to its graph, and able to tell sure rows from unsure ones."""

from __future__ import annotations

import numpy as np
import pytest

from kaizen.adapters.framework.lightgbm import LightGBM
from kaizen.core.records import FeatureColumn
from kaizen.graph.run import Session
from kaizen.learn import losses
from kaizen.learn.problem import Features

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(3000, 3))
FEATURES = Features(MATRIX, tuple(FeatureColumn(f"f{i}", f"f{i}") for i in range(3)), b"")
ROWS = np.arange(500, 3000)
SPREAD = np.exp(MATRIX[ROWS, 0])
LOSSES = np.abs(RNG.normal(size=len(ROWS))) * SPREAD


def test_expected_losses_follow_what_makes_them_large_and_their_mean_is_that_of_the_losses() -> None:
    made = losses.fit(LightGBM(), FEATURES, ROWS, LOSSES, np.arange(len(ROWS)) // 50, seed=0)
    assert np.corrcoef(made.expected, SPREAD)[0, 1] > 0.8
    assert made.expected.mean() == pytest.approx(LOSSES.mean(), rel=0.05)


def test_no_row_has_a_part_in_its_own_expectation() -> None:
    """Losses of nothing but noise are fitted in sample, and not at all out of it."""
    noise = RNG.exponential(size=len(ROWS))
    made = losses.fit(LightGBM(), FEATURES, ROWS, noise, None, seed=0)
    assert abs(np.corrcoef(made.expected, noise)[0, 1]) < 0.1
    inside = Session(made.graph).run({"features": MATRIX[ROWS]})[:, 0]
    assert np.corrcoef(inside, noise)[0, 1] > 0.3


def test_the_graph_gives_the_model_of_all_rows_the_same_every_time() -> None:
    one, other = (losses.fit(LightGBM(), FEATURES, ROWS, LOSSES, None, seed=3) for _ in range(2))
    assert one.graph == other.graph
    answers = Session(one.graph).run({"features": MATRIX})
    assert answers.shape == (3000, 1)
    assert np.corrcoef(answers[:500, 0], np.exp(MATRIX[:500, 0]))[0, 1] > 0.8
