"""From p to e: never more than it may be, and back again."""

import numpy as np
import pytest
from scipy import integrate

from kaizen.stats.calibrators import e_of_p, p_of_e


def test_the_mean_over_uniform_p_is_one():
    # With p = exp(-x) the integral over [0, 1] becomes one over [0, inf) that is smooth.
    # Of p from exp(-t) on, the mean over k of the integral of k p^(k - 1) is 1 - (1 - exp(-t)) / t.
    total, _ = integrate.quad(lambda x: e_of_p(np.exp(-x)) * np.exp(-x), 0, 30, limit=200)
    assert total == pytest.approx(1 - 1 / 30, abs=1e-6)


def test_it_is_the_mean_of_the_calibrators():
    for p in (1e-6, 0.01, 0.3, 0.99, 0.99995):
        mean, _ = integrate.quad(lambda k, p=p: k * p ** (k - 1), 0, 1)
        assert e_of_p(p) == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("e", [0.6, 1.0, 20.0, 1e4, 1e9])
def test_back_again(e):
    assert e_of_p(p_of_e(e)) == pytest.approx(e, rel=1e-6)


def test_the_ends_are_finite():
    assert e_of_p(0.0) == 1e12
    assert e_of_p(1.0) == e_of_p(2.0) == 0.5
    assert p_of_e(0.1) == 1.0
