"""From p-values to e-values and back: one scale of evidence for tests of fixed samples and for streams."""

from __future__ import annotations

import math

_CAP = 1e12


def e_of_p(p: float) -> float:
    """Return the e-value of a p-value: ``(1 - p + p ln p) / (p (ln p)^2)``, at most 10^12.

    The mean of the calibrators ``k p^(k - 1)`` over k from 0 to 1, so nobody has to choose k. Its expectation is at
    most 1 for any valid p. Vovk & Wang, *Annals of Statistics* 49 (2021), section 2 and appendix B.

    >>> [round(e_of_p(p), 2) for p in (1.0, 0.05, 0.001, 1e-6)]
    [0.5, 1.78, 20.79, 5239.14]
    """
    if p >= 1:
        return 0.5
    if p < 1e-18:
        return _CAP
    log = math.log(p)
    if p > 1 - 1e-4:  # the closed form loses its digits there; its series about 1 does not
        return 0.5 + (1 - p) / 6
    return min(_CAP, (1 - p + p * log) / (p * log * log))


def p_of_e(e: float) -> float:
    """Return the p-value whose e-value is `e`, by bisection: how small p must be; 1 for e of 0.5 or less.

    >>> round(p_of_e(5239.14), 9)
    1e-06
    """
    if e <= 0.5:
        return 1.0
    low, high = math.log(1e-18), 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if e_of_p(math.exp(middle)) > e else (low, middle)
    return math.exp(low)
