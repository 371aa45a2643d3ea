"""Expected metrics: by hand, against every outcome there could be, and against the metrics of labelled rows."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from kaizen.stats import metrics
from kaizen.stats.expected import METRICS, figure

SCORE = np.array([0.1, 0.3, 0.6, 0.9])
CHANCE = np.array([0.2, 0.25, 0.5, 0.75])
ONE_EACH = np.ones(4)
LINEAR = ("accuracy", "precision", "brier", "log_loss")
RATIOS = ("recall", "specificity", "f1", "auc", "average_precision")


def expected(metric: str, score: np.ndarray, chance: np.ndarray, count: np.ndarray) -> tuple[float, float]:
    """Return the value and the standard deviation of what labels will show."""
    found = figure(metric, score, count, count * chance, count * chance * (1 - chance))
    return found.value, float(np.sqrt(found.gradient**2 @ (count * chance * (1 - chance))))


def labelled(metric: str, score: np.ndarray, target: np.ndarray) -> float:
    """Return the metric by other code than ours where there is any."""
    yes = score >= 0.5
    return {
        "accuracy": lambda: (yes == target).mean(),
        "precision": lambda: target[yes].mean() if yes.any() else np.nan,
        "recall": lambda: yes[target == 1].mean() if target.any() else np.nan,
        "specificity": lambda: (~yes)[target == 0].mean() if not target.all() else np.nan,
        "f1": lambda: 2 * (yes & (target == 1)).sum() / (yes.sum() + target.sum()),
    }.get(metric, lambda: metrics.SCORES[metric](target, score))()


def test_four_rows_by_hand() -> None:
    """Above one half stand 0.6 and 0.9: true positives 0.5 + 0.75, false ones 0.5 + 0.25, missed 0.2 + 0.25."""
    by_hand = {"accuracy": (0.8 + 0.75 + 0.5 + 0.75) / 4, "precision": 1.25 / 2, "brier": 0.24, "log_loss": 0.0}
    by_hand["brier"] = float(np.mean(CHANCE * (1 - SCORE) ** 2 + (1 - CHANCE) * SCORE**2))
    by_hand["log_loss"] = float(np.mean(-CHANCE * np.log(SCORE) - (1 - CHANCE) * np.log(1 - SCORE)))
    for metric, value in by_hand.items():
        assert expected(metric, SCORE, CHANCE, ONE_EACH)[0] == pytest.approx(value)
    pairs = sum(CHANCE[i] * (1 - CHANCE[j]) for i in range(4) for j in range(i))
    every = sum(CHANCE[i] * (1 - CHANCE[j]) for i in range(4) for j in range(4) if i != j)
    known = figure("auc", SCORE, ONE_EACH, CHANCE)  # chances taken for halves of outcomes: ties with oneself count
    assert known.value != pytest.approx(pairs / every)
    top = expected("auc", np.repeat(SCORE, 400), np.repeat(CHANCE, 400), np.ones(1600))[0]
    assert expected("auc", SCORE, CHANCE, 400 * ONE_EACH)[0] == pytest.approx(top)


@pytest.mark.parametrize("metric", LINEAR)
def test_against_all_outcomes_there_are_exactly(metric: str) -> None:
    """Poisson-binomial: the 16 outcomes of four rows, each with its probability."""
    values, weights = all_outcomes(metric, SCORE, CHANCE)
    mean = values @ weights
    assert expected(metric, SCORE, CHANCE, ONE_EACH)[0] == pytest.approx(mean)
    assert expected(metric, SCORE, CHANCE, ONE_EACH)[1] == pytest.approx(np.sqrt(weights @ (values - mean) ** 2))


@pytest.mark.parametrize("metric", RATIOS)
def test_against_all_outcomes_there_are_nearly(metric: str) -> None:
    """Twelve rows, 4,096 outcomes: a ratio's mean to 0.01 where plain expected counts are up to 0.05 off, its deviation
    to an eighth.
    """
    rng = np.random.default_rng(3)
    score = np.sort(rng.random(12))
    chance = np.clip(score + 0.2 * rng.normal(size=12), 0.05, 0.95)
    values, weights = all_outcomes(metric, score, chance)
    known = np.isfinite(values)
    values, weights = values[known], weights[known] / weights[known].sum()
    mean = values @ weights
    value, deviation = expected(metric, score, chance, np.ones(12))
    assert value == pytest.approx(mean, abs=0.01)
    assert deviation == pytest.approx(np.sqrt(weights @ (values - mean) ** 2), rel=0.13)


def all_outcomes(metric: str, score: np.ndarray, chance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    outcomes = np.array(list(product((0.0, 1.0), repeat=len(score))))
    weights = np.where(outcomes == 1, chance, 1 - chance).prod(axis=1)
    return np.array([labelled(metric, score, target) for target in outcomes]), weights


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(4, 80))
def test_with_known_outcomes_it_is_the_metric_itself(seed: int, rows: int) -> None:
    """Scores on a coarse grid tie often, and are grouped."""
    rng = np.random.default_rng(seed)
    target = np.concatenate([[0.0, 1.0], (rng.random(rows - 2) < 0.4).astype(float)])
    score = (rng.integers(0, 8, rows) + 0.5) / 8
    place = np.unique(score, return_inverse=True)[1]
    count, hits = np.bincount(place).astype(float), np.bincount(place, target)
    for metric in (*LINEAR, *RATIOS):
        found = figure(metric, np.unique(score), count, hits).value
        assert found == pytest.approx(labelled(metric, score, target), nan_ok=True)
    assert figure("auc", np.unique(score), count, hits).value == pytest.approx(
        sklearn.metrics.roc_auc_score(target, score)
    )


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_the_gradient_is_that_of_the_value(metric: str) -> None:
    """Against a small step in each bin, with outcomes known."""
    rng = np.random.default_rng(5)
    score, count = np.sort(rng.random(9)), rng.integers(5, 30, 9).astype(float)
    total = count * rng.random(9)
    found = figure(metric, score, count, total)
    for index in range(9):
        more = total + 1e-6 * (np.arange(9) == index)
        assert (figure(metric, score, count, more).value - found.value) / 1e-6 == pytest.approx(
            found.gradient[index], rel=1e-3, abs=1e-7
        )


def test_losses_are_means_and_their_root() -> None:
    count, total = np.array([2.0, 2.0]), np.array([3.0, 13.0])
    assert figure("mae", np.zeros(2), count, total).value == 4.0
    assert figure("mse", np.zeros(2), count, total).value == 4.0
    assert figure("rmse", np.zeros(2), count, total).value == 2.0


def test_what_the_rows_do_not_define_is_not_a_number() -> None:
    """No row above one half has no precision; one class has no ranking."""
    assert np.isnan(figure("precision", np.array([0.1]), np.ones(1), np.ones(1)).value)
    assert np.isnan(figure("auc", np.array([0.1]), np.ones(1), np.ones(1)).value)
    assert np.isnan(figure("accuracy", np.zeros(0), np.zeros(0), np.zeros(0)).value)
