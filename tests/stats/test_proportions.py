"""Evidence that a share is larger than a bound: an e-value, and what it could have shown."""

import numpy as np
import pytest
from scipy.stats import binom

from kaizen.stats.proportions import share_detectable, share_evidence


@pytest.mark.parametrize("n", [1, 3, 6])
def test_at_the_bound_its_mean_is_one_and_below_it_less(n):
    hits = np.arange(n + 1)
    evidence = [share_evidence(int(k), n, 0.01) for k in hits]
    assert binom.pmf(hits, n, 0.01) @ evidence == pytest.approx(1.0)
    assert binom.pmf(hits, n, 0.002) @ evidence < 1.0


def test_it_is_the_likelihood_ratio_of_a_uniform_alternative():
    grid = np.linspace(0.1, 1, 200_001)
    likelihoods = grid**7 * (1 - grid) ** 5
    ratio = np.trapezoid(likelihoods, grid) / 0.9 / (0.1**7 * 0.9**5)
    assert share_evidence(7, 12, 0.1) == pytest.approx(ratio, rel=1e-6)


def test_it_holds_what_it_promises_at_any_number_of_rows():
    for n in (10, 100, 5000):
        hits = np.arange(n + 1)
        over = np.array([share_evidence(int(k), n, 0.01) >= 100 for k in hits])
        assert binom.pmf(hits, n, 0.01)[over].sum() <= 0.01


def test_many_rows_show_small_shares_and_one_row_shows_nothing():
    assert share_detectable(1, 0.01, 100.0) == 1.0
    assert share_evidence(1, 1, 0.01) < 100
    shares = [share_detectable(n, 0.01, 100.0) for n in (4, 100, 10_000, 1_000_000)]
    assert shares == sorted(shares, reverse=True)
    assert 0.01 < shares[-1] < 0.011
    for n, share in zip((4, 100, 10_000), shares, strict=False):
        assert share_evidence(round(share * n), n, 0.01) >= 100 > share_evidence(round(share * n) - 1, n, 0.01)


def test_extremes_neither_overflow_nor_vanish():
    assert share_evidence(10**7, 10**7, 0.01) == pytest.approx(1e12)
    assert share_evidence(0, 10**7, 0.01) == 0.0
    assert share_evidence(0, 0, 0.01) == 1.0
