"""Distances of tables: against other implementations, against the null distribution, and what they must not notice."""

import numpy as np
import pytest
from scipy.special import chdtrc
from scipy.stats import chi2_contingency, hypergeom

from kaizen.stats.distances import (
    INDEPENDENT,
    Spread,
    chi2_test,
    hypergeometric_test,
    js_detectable,
    js_distance,
    js_divergence,
    spread_of,
)


@pytest.fixture
def rng():
    """Chance of its own for each test, so that they may run alone and in any order."""
    return np.random.default_rng(7)


def test_chi2_is_pearsons():
    reference, current = np.array([120.0, 80, 40, 60]), np.array([30.0, 30, 20, 20])
    expected = chi2_contingency(np.array([reference, current]), correction=False)
    assert chi2_test(reference, current) == (pytest.approx(expected.pvalue, rel=1e-10), 3)


def test_rare_bins_are_pooled_and_kept():
    # The last three bins expect fewer than 5 each and together 7.2: one pooled bin.
    reference, current = np.array([500.0, 476, 8, 8, 8]), np.array([150.0, 130, 8, 6, 6])
    pooled = np.array([[500.0, 476, 24], [150, 130, 20]])
    expected = chi2_contingency(pooled, correction=False)
    assert chi2_test(reference, current) == (pytest.approx(expected.pvalue, rel=1e-10), 2)


def test_a_pool_that_is_still_rare_takes_in_the_next_rarer_bin():
    # The last two bins expect 1.4 together, so the third joins them.
    reference, current = np.array([500.0, 420, 75, 3, 2]), np.array([150.0, 130, 18, 1, 1])
    expected = chi2_contingency(np.array([[500.0, 420, 80], [150, 130, 20]]), correction=False)
    assert chi2_test(reference, current) == (pytest.approx(expected.pvalue, rel=1e-10), 2)


def test_undebiased_distance_of_small_samples_is_large_without_any_change(rng):
    # k = 10, n = 100, m = 5000: theory says P(JS >= 0.1) = 0.55, a simulation found 0.59.
    theory = chdtrc(9, 8 * 0.1**2 / (1 / 100 + 1 / 5000))
    assert theory == pytest.approx(0.55, abs=0.005)
    p = np.full(10, 0.1)
    draws = [(rng.multinomial(5000, p).astype(float), rng.multinomial(100, p).astype(float)) for _ in range(2000)]
    raw = np.mean([np.sqrt(js_divergence(r, c)) >= 0.1 for r, c in draws])
    assert raw == pytest.approx(0.58, abs=0.04)
    assert np.mean([js_distance(r, c) >= 0.112 for r, c in draws]) < 0.05


def test_divergence_of_disjoint_tables_is_log_two():
    assert js_divergence(np.array([3.0, 0]), np.array([0.0, 5])) == pytest.approx(np.log(2))
    assert js_divergence(np.array([3.0, 6]), np.array([1.0, 2])) == pytest.approx(0.0, abs=1e-15)


def test_distance_forgets_the_order_of_bins_and_of_tables(rng):
    a, b = rng.integers(20, 90, 12).astype(float), rng.integers(20, 90, 12).astype(float)
    order = rng.permutation(12)
    assert js_distance(a, b) == pytest.approx(js_distance(a[order], b[order]), rel=1e-9)
    assert js_distance(a, b) == pytest.approx(js_distance(b, a), rel=1e-9)


@pytest.mark.parametrize(("k", "n", "k_ref", "m"), [(7, 100, 11, 5000), (0, 100, 900, 5000), (3, 40, 3, 60)])
def test_hypergeometric_tails_are_exact(k, n, k_ref, m):
    law = hypergeom(n + m, k + k_ref, n)
    expected = min(1.0, 2 * min(law.cdf(k), law.sf(k - 1)))
    assert hypergeometric_test(k, n, k_ref, m) == pytest.approx(expected, rel=1e-6)


def test_hypergeometric_without_anything_to_tell():
    assert hypergeometric_test(0, 100, 0, 1000) == 1.0
    assert hypergeometric_test(100, 100, 1000, 1000) == 1.0
    assert hypergeometric_test(0, 0, 5, 10) == 1.0


def test_blocks_of_independent_rows_have_no_spread(rng):
    found = [spread_of(rng.multinomial(200, np.full(8, 1 / 8), size=30)) for _ in range(200)]
    assert np.mean([s == INDEPENDENT for s in found]) >= 0.97  # 0.99 by design, 3 standard errors: 0.969


def test_rows_copied_ten_times_are_worth_a_tenth(rng):
    tables = 10 * rng.multinomial(400, np.full(8, 1 / 8), size=200)
    spread = spread_of(tables)
    assert spread.factor == pytest.approx(10, rel=0.12)
    assert spread.freedom > 0.9


def test_blocks_that_move_along_one_line_have_one_degree_of_freedom(rng):
    share = np.clip(0.5 + 0.1 * rng.standard_normal(300), 0.1, 0.9)
    tables = np.stack([share, share, 1 - share, 1 - share], axis=1) * 5000
    assert spread_of(tables).freedom == pytest.approx(1 / 3, rel=0.02)


def test_spread_keeps_the_level_where_independence_would_not(rng):
    # Every day draws its own shares; windows of 7 such days against a reference of 56.
    def days(count):
        shares = rng.dirichlet(np.full(6, 20.0), size=count)
        return np.stack([rng.multinomial(300, p) for p in shares]).astype(float)

    naive, corrected = [], []
    for _ in range(300):
        reference, window = days(56), days(7)
        tables = reference.sum(axis=0), window.sum(axis=0)
        naive.append(chi2_test(*tables)[0] < 0.05)
        corrected.append(chi2_test(*tables, spread_of(reference))[0] < 0.05)
    assert np.mean(naive) > 0.5
    assert np.mean(corrected) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize("spread", [INDEPENDENT, Spread(20.0, 0.4, 56)])
def test_the_detectable_distance_is_where_the_test_begins_to_speak(spread):
    assert spread.p_value(spread.quantile(1e-3, 9), 9) == pytest.approx(1e-3, rel=1e-6)
    reference = np.full(10, 5000.0)
    tilt = np.linspace(-1, 1, 10)

    def p_value(size):
        return chi2_test(reference, 700 * (1 + size * tilt), spread)[0]

    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle) > 1e-3 else (low, middle)
    speaks = 700 * (1 + high * tilt)
    assert js_distance(reference, speaks, spread) == pytest.approx(
        js_detectable(reference, speaks, 1e-3, spread), rel=0.1
    )
