"""Is a share larger than a bound? Evidence as an e-value, and the smallest share that could have shown it."""

from __future__ import annotations

import math

from scipy.special import betaincc, betaln

_MOST = 1e12


def share_evidence(hits: int, n: int, bound: float) -> float:
    """Return the e-value against "each row is a hit with a chance of `bound` at most".

    The likelihood ratio of a chance that is uniform over (bound, 1) to the bound itself. For a chance p at or below
    the bound each ratio's mean is at most 1, since it grows with the hits; so is that of their mixture. Assumes
    independent rows. Cut at 1e12.

    Parameters
    ----------
    hits, n
        How many of how many rows.
    bound
        Between 0 and 1, both excluded.
    """
    if n == 0:
        return 1.0
    above = float(betaincc(hits + 1, n - hits + 1, bound))
    if above <= 0:
        return 0.0
    log_e = float(betaln(hits + 1, n - hits + 1)) + math.log(above) - math.log1p(-bound)
    log_e -= hits * math.log(bound) + (n - hits) * math.log1p(-bound)
    return math.exp(min(log_e, math.log(_MOST)))


def share_detectable(n: int, bound: float, limit: float) -> float:
    """Return the smallest share of n rows whose e-value reaches a limit; 1 if none does.

    >>> share_detectable(4, 0.01, 100.0), share_detectable(1000, 0.01, 100.0)
    (0.5, 0.026)
    """
    low, high = 0, n
    if share_evidence(n, n, bound) < limit:
        return 1.0
    while low < high:
        middle = (low + high) // 2
        if share_evidence(middle, n, bound) >= limit:
            high = middle
        else:
            low = middle + 1
    return low / n
