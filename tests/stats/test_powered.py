"""Prediction-powered means: by hand, invariances, and coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from kaizen.stats.metrics import mean_interval
from kaizen.stats.powered import powered_mean


def world(rng: np.random.Generator, rows: int, share: float, skill: float, bias: float = 0.0):
    """Return outcomes of which a share is known, and predictions of some skill."""
    hidden = rng.gamma(2.0, 1.0, rows)
    outcome = hidden + rng.exponential(1.0, rows)
    predicted = skill * hidden + (1 - skill) * rng.gamma(2.0, 1.0, rows) + bias
    return np.where(rng.random(rows) < share, outcome, np.nan), predicted


def test_all_labels_known_is_the_plain_mean() -> None:
    rng = np.random.default_rng(0)
    outcomes, predicted = world(rng, 500, 1.0, 0.8)
    found = powered_mean(outcomes, predicted, 1.0)
    assert (found.mean, found.low, found.high) == pytest.approx(mean_interval(outcomes))
    assert found.difference == pytest.approx((outcomes - predicted).mean())


def test_by_hand() -> None:
    """Two of four known. Influences -2, 0, 2, 0 of the known and 0.5, 1.5, 2.5, -4.5 of the predictions: 4 / 29."""
    found = powered_mean(np.array([2.0, np.nan, 4.0, np.nan]), np.array([1.0, 2.0, 3.0, 8.0]), 0.5)
    assert found.trust == pytest.approx(4 / 29)
    assert found.mean == pytest.approx(3 + 4 / 29 * 1.5)
    assert (found.difference, found.difference_low, found.known) == (1.0, 1.0, 2)


def test_a_shift_of_the_predictions_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    outcomes, predicted = world(rng, 2000, 0.1, 0.7)
    one, other = powered_mean(outcomes, predicted, 0.1), powered_mean(outcomes, predicted + 5, 0.1)
    assert other.mean == pytest.approx(one.mean)
    assert other.high == pytest.approx(one.high)
    assert other.difference == pytest.approx(one.difference - 5)


def test_useless_predictions_are_not_trusted() -> None:
    rng = np.random.default_rng(2)
    outcomes, _ = world(rng, 20_000, 0.1, 1.0)
    known = outcomes[np.isfinite(outcomes)]
    found = powered_mean(outcomes, rng.gamma(2.0, 1.0, 20_000), 0.1)
    assert found.trust < 0.1
    assert found.high - found.low == pytest.approx(np.subtract(*mean_interval(known)[:0:-1]), rel=0.05)


@pytest.mark.parametrize("skill", [1.0, 0.3])
def test_the_interval_covers_and_is_narrower_than_that_of_the_labels_alone(skill: float) -> None:
    """1,000 streams of 1,500 rows, a tenth labelled, predictions off by 2: 95 % to 2 points (mean 3)."""
    covers, gap_covers, widths, plain = 0, 0, [], []
    gap = 3.0 - (2.0 + 2.0)
    for seed in range(1000):
        outcomes, predicted = world(np.random.default_rng(seed), 1500, 0.1, skill, bias=2.0)
        found = powered_mean(outcomes, predicted, 0.1)
        covers += found.low <= 3.0 <= found.high
        gap_covers += found.difference_low <= gap <= found.difference_high
        widths.append(found.high - found.low)
        _, low, high = mean_interval(outcomes[np.isfinite(outcomes)])
        plain.append(high - low)
    assert covers / 1000 == pytest.approx(0.95, abs=0.02)
    assert gap_covers / 1000 == pytest.approx(0.95, abs=0.02)
    assert np.mean(widths) < (0.85 if skill == 1.0 else 1.01) * np.mean(plain)


def test_labels_of_unequal_probability_are_weighted() -> None:
    """Rows of large outcomes are labelled four times as often, which is known."""
    misses = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        outcomes, predicted = world(rng, 1500, 1.0, 0.9)
        probability = np.where(predicted > 2, 0.4, 0.1)
        found = powered_mean(np.where(rng.random(1500) < probability, outcomes, np.nan), predicted, probability)
        misses.append((found.mean - 3.0) / (found.high - found.low) * 3.92)
    assert abs(np.mean(misses)) < 0.2
    assert np.std(misses) == pytest.approx(1.0, abs=0.12)


def test_one_label_says_nothing() -> None:
    with pytest.raises(ValueError, match="two known outcomes"):
        powered_mean(np.array([1.0, np.nan]), np.zeros(2), 0.5)
