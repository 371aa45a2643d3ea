"""Metrics by known answers and invariances; intervals by simulation."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from kaizen.stats import metrics
from kaizen.stats.curves import precision_recall, reliability, roc

TARGET = np.array([0.0, 0.0, 1.0, 1.0])
SCORE = np.array([0.1, 0.4, 0.35, 0.8])  # the example of scikit-learn's user guide


def test_known_answers() -> None:
    """By hand."""
    assert metrics.auc(TARGET, SCORE) == 0.75
    assert metrics.average_precision(TARGET, SCORE) == pytest.approx(0.5 * 1.0 + 0.5 * 2 / 3)
    assert metrics.brier(TARGET, SCORE) == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)
    assert metrics.log_loss(np.array([1.0]), np.array([0.5])) == pytest.approx(np.log(2))
    assert metrics.log_loss(np.array([1.0]), np.array([0.0])) == pytest.approx(-np.log(1e-15))
    assert metrics.accuracy(TARGET, SCORE) == 0.75
    assert metrics.ece(np.array([0.0, 1.0]), np.array([0.5, 0.5])) == 0.0
    assert metrics.rmse(np.array([0.0, 0.0]), np.array([3.0, 4.0])) == pytest.approx(np.sqrt(12.5))
    assert metrics.mae(np.array([0.0, 0.0]), np.array([3.0, -4.0])) == 3.5
    assert metrics.r2(np.array([1.0, 3.0]), np.array([2.0, 2.0])) == 0.0


def test_what_the_rows_do_not_define_is_not_a_number() -> None:
    """One class has no ranking; a constant has no variance to explain."""
    ones = np.ones(3)
    assert np.isnan(metrics.auc(ones, ones))
    assert np.isnan(metrics.average_precision(0 * ones, ones))
    assert np.isnan(metrics.r2(ones, ones))
    assert np.isnan(metrics.log_loss(np.zeros(0), np.zeros(0)))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(4, 60))
def test_ranks_agree_with_scikit_learn_with_ties_and_weights(seed: int, rows: int) -> None:
    """Scores on a coarse grid tie often."""
    rng = np.random.default_rng(seed)
    target = np.concatenate([[0.0, 1.0], (rng.random(rows - 2) < 0.4).astype(float)])
    score = rng.integers(0, 6, rows) / 5.0
    weight = rng.integers(1, 4, rows).astype(float)
    assert metrics.auc(target, score, weight) == pytest.approx(
        sklearn.metrics.roc_auc_score(target, score, sample_weight=weight)
    )
    assert metrics.average_precision(target, score, weight) == pytest.approx(
        sklearn.metrics.average_precision_score(target, score, sample_weight=weight)
    )


@pytest.mark.parametrize(
    "metric", ["log_loss", "brier", "auc", "average_precision", "accuracy", "ece", "rmse", "mae", "r2"]
)
def test_a_whole_weight_is_a_repeated_row(metric: str) -> None:
    """What the bootstrap rests on."""
    rng = np.random.default_rng(2)
    target, score = (rng.random(40) < 0.5).astype(float), rng.random(40)
    weight = rng.integers(0, 4, 40)
    repeated = metrics.SCORES[metric](np.repeat(target, weight), np.repeat(score, weight))
    assert metrics.SCORES[metric](target, score, weight.astype(float)) == pytest.approx(repeated)


def test_the_interval_over_days_covers_where_one_over_rows_does_not() -> None:
    """300 worlds of 12 days whose rows share the day's luck: 95 % within the band that 300 draws allow."""
    covered = {"days": 0, "rows": 0}
    blocks = np.repeat(np.arange(12), 40)
    for world in range(300):
        rng = np.random.default_rng(world)
        prediction = np.repeat(rng.normal(size=12), 40) + 0.3 * rng.normal(size=480)
        zero = np.zeros(480)
        for kind, given_blocks in (("days", blocks), ("rows", None)):
            low, high = metrics.interval("mae", zero, np.abs(prediction), given_blocks, seed=world, replicates=60)
            covered[kind] += low <= 0.8330 <= high  # the mean of |N(0, 1.09)|
    assert 0.90 <= covered["days"] / 300 <= 0.985
    assert covered["rows"] / 300 < 0.6


def test_the_mean_interval_agrees_with_the_bootstrap() -> None:
    """Two routes to the error of a mean over unequal blocks."""
    rng = np.random.default_rng(4)
    blocks = rng.integers(0, 40, 3000)
    values = np.abs(rng.normal(size=40)[blocks] + rng.normal(size=3000))
    mean, low, high = metrics.mean_interval(values, blocks)
    by_bootstrap = metrics.interval("mae", np.zeros(3000), values, blocks, replicates=2000)
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(by_bootstrap, rel=0.02)


def test_intervals_repeat_and_stay_in_bounds() -> None:
    """The same seed, the same interval; a share never leaves 0 to 1."""
    target, score = np.tile([0.0, 1.0], 6), np.tile([0.1, 0.9], 6)
    assert metrics.interval("auc", target, score, seed=3) == (1.0, 1.0)
    noisy = np.linspace(0, 1, 12)
    assert metrics.interval("auc", target, noisy, seed=3) == metrics.interval("auc", target, noisy, seed=3)
    low, high = metrics.interval("auc", target, noisy, seed=3)
    assert 0.0 <= low < high <= 1.0


def test_curves_begin_and_end_where_they_must() -> None:
    """ROC from corner to corner, with the area that auc says; precision ends at the base rate."""
    rng = np.random.default_rng(0)
    target = (rng.random(5000) < 0.3).astype(float)
    score = rng.normal(size=5000) + target
    x, y = roc(target, score)
    assert (x[0], y[0], x[-1], y[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum()) == pytest.approx(metrics.auc(target, score), abs=2e-3)
    recall, precision = precision_recall(target, score)
    assert recall[-1] == 1.0
    assert precision[-1] == pytest.approx(target.mean())


def test_reliability_of_honest_probabilities_covers_the_diagonal() -> None:
    """12 bins of honest forecasts: nearly all intervals hold the forecast."""
    rng = np.random.default_rng(1)
    score = rng.random(12_000)
    bins = reliability((rng.random(12_000) < score).astype(float), score)
    assert bins.rows.sum() == 12_000
    assert int(((bins.low <= bins.predicted) & (bins.predicted <= bins.high)).sum()) >= 10
