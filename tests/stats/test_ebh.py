"""e-BH: the definition, and the promise under dependence."""

import numpy as np
import pytest

from kaizen.stats.ebh import e_bh


def by_definition(values, alpha):
    k = len(values)
    ranked = sorted(values, reverse=True)
    most = max((j for j in range(1, k + 1) if ranked[j - 1] >= k / (alpha * j)), default=0)
    return set(np.argsort(values)[::-1][:most])


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0])
def test_it_is_the_definition(alpha):
    rng = np.random.default_rng(3)
    for _ in range(200):
        values = rng.lognormal(1.5, 2.0, rng.integers(1, 12))
        assert set(np.flatnonzero(e_bh(values, alpha))) == by_definition(values, alpha)


def test_one_hypothesis_is_a_plain_test():
    assert e_bh([20.0], 0.05).tolist() == [True]
    assert e_bh([19.9], 0.05).tolist() == [False]


def test_nothing_is_named_where_there_is_nothing():
    assert e_bh([], 0.05).tolist() == []
    assert e_bh([0.0, np.nan], 1.0).tolist() == [False, False]


def test_an_infinite_e_value_is_named():
    assert e_bh([np.inf, 0.0], 0.01).tolist() == [True, False]


def test_false_names_stay_rare_when_all_e_values_move_together():
    # 20 hypotheses, 5 of them false; one common shock. e = exp(z - 1/2) has mean 1.
    rng, rates = np.random.default_rng(4), []
    for _ in range(4000):
        e = np.exp(2.0 * rng.normal() - 2.0) * np.ones(20)
        e[:5] = 400.0
        named = e_bh(e, 0.1)
        rates.append(named[5:].sum() / max(1, named.sum()))
    assert np.mean(rates) <= 0.1
