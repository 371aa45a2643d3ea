"""Intervals against tables of the literature."""

import numpy as np
import pytest

from kaizen.stats.intervals import clopper_pearson, t_bounds


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(0, 10, 0.0, 0.3085), (5, 10, 0.1871, 0.8129), (1, 100, 0.0003, 0.0545), (10, 10, 0.6915, 1.0), (0, 0, 0.0, 1.0)],
)
def test_clopper_pearson_as_tabled(hits, n, low, high):
    found = clopper_pearson(hits, n)
    assert [round(float(x), 4) for x in found] == [low, high]


def test_clopper_pearson_covers_at_least_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = rng.binomial(50, 0.07, 4000)
    low, high = clopper_pearson(hits, 50)
    assert np.mean((low <= 0.07) & (high >= 0.07)) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 4000)


def test_t_interval_of_three_values():
    # mean 2, sd 1, t(2, .975) = 4.3027, so 2 +- 4.3027 / sqrt(3)
    assert t_bounds(np.array([1.0, 2.0, 3.0])) == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-4)


def test_one_value_bounds_nothing():
    assert t_bounds(np.array([1.0])) == (-np.inf, np.inf)
