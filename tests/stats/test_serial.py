"""Does the order say something: known answers, and chance that is not mistaken."""

import numpy as np
import pytest
from scipy import stats

from kaizen.stats.serial import autocorrelation, kruskal, mid_ranks, period_of


def test_ties_share_the_middle_of_their_ranks():
    assert mid_ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_kruskal_is_scipys():
    rng = np.random.default_rng(0)
    values, groups = rng.integers(0, 6, 60).astype(float), rng.integers(0, 4, 60)
    theirs = stats.kruskal(*(values[groups == g] for g in range(4))).pvalue
    assert kruskal(values, groups) == pytest.approx(theirs, rel=1e-9)
    assert kruskal(values, np.zeros(60, np.int64)) == 1.0
    assert kruskal(np.ones(10), np.arange(10) % 2) == 1.0


def test_autocorrelation_of_a_process_is_its_coefficient():
    rng, x = np.random.default_rng(1), np.zeros(20_000)
    for at in range(1, len(x)):
        x[at] = 0.6 * x[at - 1] + rng.standard_normal()
    assert autocorrelation(x) == pytest.approx(0.6, abs=0.02)
    assert autocorrelation(x, 2) == pytest.approx(0.36, abs=0.03)
    assert autocorrelation(np.ones(5)) == autocorrelation(np.array([])) == 0.0


@pytest.mark.parametrize("period", [7, 24, 168])
def test_a_period_is_found_in_noise(period):
    rng = np.random.default_rng(2)
    x = np.sin(2 * np.pi * np.arange(4000) / period) + rng.standard_normal(4000) * 0.7
    assert period_of(x) == pytest.approx(period, abs=2)


def test_no_period_is_seen_where_there_is_none():
    rng = np.random.default_rng(3)
    assert period_of(rng.standard_normal(4000)) is None
    assert period_of(np.cumsum(rng.standard_normal(4000))) is None
    assert period_of(np.zeros(100)) is None
