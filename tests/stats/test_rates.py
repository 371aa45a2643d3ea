"""A share that rises over its bound: the recursion by hand, false alarms at the promised distance, and the delay."""

from __future__ import annotations

import numpy as np
import pytest

from kaizen.stats.intervals import clopper_pearson
from kaizen.stats.rates import EXCESS, RateDetector, detectable


def run(rng, share, bound, a_day, limit, days=10_000):
    """Return the day of the alarm."""
    detector = RateDetector()
    for day in range(1, days + 1):
        detector = detector.update(float(rng.binomial(a_day, share)), float(a_day), bound, day)
        if detector.evidence >= limit:
            return day
    return days


def test_the_recursion_by_hand():
    p = [0.1 + 0.9 * excess for excess in EXCESS]
    once = RateDetector().update(1.0, 1.0, 0.1, 7)
    assert once.levels == pytest.approx([each / 0.1 for each in p])
    again = once.update(1.0, 2.0, 0.1, 8)
    ratio = [each / 0.1 * (1 - each) / 0.9 for each in p]
    assert again.levels == pytest.approx([r * (1 + level) for r, level in zip(ratio, once.levels, strict=True)])
    assert (again.began, again.hits, again.rows) == (7, 2.0, 3.0)


def test_quiet_days_are_forgotten():
    assert RateDetector().update(0.0, 500.0, 0.01, 3) == RateDetector()
    suspicious = RateDetector().update(6.0, 100.0, 0.01, 3)
    assert suspicious.began == 3
    assert suspicious.update(0.0, 2000.0, 0.01, 4) == RateDetector()


@pytest.mark.parametrize(("bound", "a_day"), [(0.001, 20), (0.02, 100), (0.3, 30), (0.005, 1000)])
def test_false_alarms_keep_their_distance(bound, a_day):
    rng = np.random.default_rng(5)
    limit, runs = 25.0, 60
    times = [run(rng, bound, bound, a_day, limit, days=1000) for _ in range(runs)]
    # The mean time is at least the limit; its standard error over so many runs is less than a tenth of it.
    assert np.mean(times) >= limit
    below = [run(rng, bound / 2, bound, a_day, limit, days=400) for _ in range(10)]
    assert np.mean(below) >= limit


@pytest.mark.parametrize(
    ("share", "a_day", "most"), [(0.3, 100, 1), (0.05, 1000, 1), (0.9, 10, 1), (0.05, 100, 4), (0.03, 300, 4)]
)
def test_a_share_that_matters_is_found_in_days(share, a_day, most):
    rng = np.random.default_rng(6)
    times = [run(rng, share, 0.01, a_day, 365.0 * 50) for _ in range(40)]
    assert np.median(times) <= most


def test_a_flood_of_any_size_stays_finite():
    detector = RateDetector()
    for day in range(50):
        detector = detector.update(1e7, 1e7, 1e-6, day)
    assert detector.evidence == 1e12


@pytest.mark.parametrize(
    ("hits", "rows", "bound"), [(2, 1, 0.1), (-1, 1, 0.1), (0, 1, 0.0), (0, 1, 1.0), (np.nan, 1, 0.1)]
)
def test_what_is_no_rate_is_refused(hits, rows, bound):
    with pytest.raises(ValueError, match="a rate needs"):
        RateDetector().update(hits, rows, bound, 0)


@pytest.mark.parametrize("rows", [1, 7, 50, 300, 5000])
def test_what_is_detectable_is_just_enough(rows):
    share = detectable(rows, 0.05)
    hits = share * rows
    assert share == 1.0 or float(clopper_pearson(hits, rows)[0]) >= 0.05
    assert float(clopper_pearson(max(0.0, hits - max(1.0, rows / 2000)), rows)[0]) < 0.05
