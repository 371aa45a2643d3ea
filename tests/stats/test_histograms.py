"""Quantiles of counts by power of two: certain bounds, and an estimate with a stated error."""

import numpy as np
import pytest

from kaizen.stats.histograms import dense, quantile, share_above


def counted(values):
    return np.bincount(np.frexp(np.floor(values))[1]).astype(float)  # the exponent of a whole number is its bit length


def test_buckets_are_those_of_bit_length():
    assert dense({}).tolist() == []
    assert dense({3: 2, 1: 1}).tolist() == [0, 1, 0, 2]
    for value in (0, 1, 2, 3, 4, 1023, 1024):
        low, high = quantile(counted([value]), 0.5)[1:]
        assert low <= value < max(high, 1)


@pytest.mark.parametrize("share", [0.001, 0.5, 0.9, 0.99, 0.9999])
def test_the_bounds_hold_whatever_the_values_are(share):
    rng = np.random.default_rng(1)
    for _ in range(200):
        values = (rng.pareto(rng.uniform(0.5, 4), rng.integers(1, 500)) * rng.choice([1, 100, 10_000])).astype(int)
        found = quantile(counted(values), share)
        assert found.low <= np.quantile(values, share, method="inverted_cdf") <= found.high
        assert found.low <= found.value <= found.high


@pytest.mark.parametrize("sigma", [0.25, 0.5, 1.0, 2.0])
def test_the_error_is_five_per_cent_where_values_are_smooth(sigma):
    rng, errors = np.random.default_rng(2), []
    for _ in range(30):
        values = rng.lognormal(rng.uniform(5, 10), sigma, 20_000)
        counts = counted(values)
        errors += [abs(quantile(counts, share).value / np.quantile(values, share) - 1) for share in (0.5, 0.9, 0.99)]
    assert np.quantile(errors, 0.95) < 0.05


def test_values_twice_as_large_have_quantiles_twice_as_large():
    values = np.random.default_rng(3).lognormal(8, 0.6, 5000)
    one, two = (quantile(counted(values * factor), 0.99) for factor in (1, 2))
    assert two.value == pytest.approx(2 * one.value, rel=1e-3)
    assert (two.low, two.high) == (2 * one.low, 2 * one.high)


def test_shares_above_a_limit_are_bounded_and_agree_with_quantiles():
    rng = np.random.default_rng(4)
    for _ in range(100):
        values = rng.lognormal(8, 0.7, 3000).astype(int)
        limit = rng.uniform(500, 20_000)
        found = share_above(counted(values), limit)
        assert found.low <= (values > limit).mean() <= found.high
        assert found.low <= found.value <= found.high
        if 0.001 < found.value < 0.999:
            assert quantile(counted(values), 1 - found.value).value == pytest.approx(limit, rel=1e-6)


def test_nothing_has_no_quantile():
    assert np.isnan(quantile(np.zeros(0), 0.5)).all()
    assert np.isnan(share_above(np.zeros(4), 5)).all()
    assert share_above(counted([1, 1]), 1000) == (0, 0, 0)
    assert share_above(counted([1000, 0]), 0) == (0.5, 0.5, 0.5)
