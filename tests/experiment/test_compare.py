"""Shadow comparison: few false promotions however often one looks, enough power, and days that count once."""

import numpy as np
import pytest

from kaizen.core.errors import DataError
from kaizen.experiment.compare import compare, pair
from kaizen.stats.sequences import two_sided_path

# Day differences of two models as they look: mostly small, a few large, more large ones on one side.
SKEWED = np.concatenate(
    [np.linspace(-0.004, 0.006, 150), np.linspace(0.01, 0.06, 40), [-0.03, -0.05, 0.1, 0.2, 0.35] * 2]
)


def decides(days, alpha=0.05, min_blocks=10):
    """Return on which day each row of days would be decided for the challenger, looking every day; 0: never."""
    path = two_sided_path(days)
    mean = np.cumsum(days, axis=1)
    hit = (path >= -np.log(alpha)) & (mean > 0)
    hit[:, : min_blocks - 1] = False
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0)


@pytest.mark.parametrize("made", ["simulated", "fixed"])
def test_whole_days_with_random_signs_are_rarely_promoted(made):
    # 1,000 stories of 200 days, looked at every day. Allowed: alpha; the band is 3 standard errors, up to 7.1 %.
    rng = np.random.default_rng(11)
    sizes = rng.permuted(np.tile(SKEWED, (1000, 1)), axis=1) if made == "fixed" else rng.lognormal(-5, 1, (1000, 200))
    signs = rng.choice([-1.0, 1.0], sizes.shape)
    promoted = np.mean(decides(signs * sizes) > 0)
    assert promoted <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)


def test_row_by_row_would_promote_most_of_the_time():
    # 60 days of 50 rows; a day moves all its rows by its own amount, as weather does. No model is better.
    rng = np.random.default_rng(12)
    rows = np.repeat(0.01 * rng.standard_normal((300, 60)), 50, axis=1) + 0.01 * rng.standard_normal((300, 3000))
    by_row = decides(rows, min_blocks=500)
    by_day = decides(rows.reshape(300, 60, 50).mean(axis=2))
    assert np.mean(by_row > 0) > 0.2
    assert np.mean(by_day > 0) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_an_improvement_of_the_size_of_a_day_is_found_within_a_fortnight_or_so():
    # 0.009 a day with a deviation of 0.010: measured median 14 days; 62 % within 16, 99 % within 42.
    rng = np.random.default_rng(13)
    days = decides(0.009 + 0.010 * rng.standard_normal((600, 42)))
    found = days[days > 0]
    assert np.median(found) <= 16
    assert np.mean((days > 0) & (days <= 16)) >= 0.55
    assert np.mean(days > 0) >= 0.95


def test_the_verdict_is_the_interval():
    better = 0.009 + 0.010 * np.random.default_rng(1).standard_normal(20)
    found = compare(better)
    assert found.verdict == "better"
    assert found.low is not None
    assert found.low > 0
    assert found.evidence >= found.limit == 20
    assert compare(-better).verdict == "worse"
    assert compare(-better).high == pytest.approx(-found.low, rel=1e-5)


def test_nothing_is_decided_before_enough_blocks():
    days = np.full(9, 0.5)
    assert compare(days).verdict == "undecided"
    assert compare(days).evidence > 20
    assert compare(np.full(10, 0.5)).verdict == "better"


def test_the_unit_of_the_loss_does_not_matter():
    days = 0.004 + 0.010 * np.random.default_rng(2).standard_normal(25)
    small, large = compare(days), compare(1000 * days)
    assert large.evidence == pytest.approx(small.evidence, rel=1e-9)
    assert large.verdict == small.verdict
    assert (large.low, large.high) == pytest.approx((1000 * small.low, 1000 * small.high), rel=1e-5)


def test_equal_models_are_never_told_apart():
    found = compare(np.zeros(40))
    assert (found.verdict, found.evidence) == ("undecided", pytest.approx(1.0))


def test_no_blocks_yet():
    found = compare(np.array([]))
    assert (found.verdict, found.n, found.low, found.high, found.evidence) == ("undecided", 0, None, None, 1.0)


def test_a_day_counts_once_however_many_rows_it_has():
    days = np.array([7, 5, 5, 5, 6, 7])
    champion = np.array([1.0, 3.0, 2.0, 1.0, np.nan, 3.0])
    found = pair(days, champion, np.ones(6))
    assert found.days.tolist() == [5, 7]
    assert found.differences.tolist() == [1.0, 1.0]
    assert found.rows.tolist() == [3, 2]


def test_an_infinite_loss_is_refused():
    with pytest.raises(DataError, match="infinite"):
        pair(np.array([1, 1]), np.array([np.inf, 1.0]), np.array([np.inf, 1.0]))
