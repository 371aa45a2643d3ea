"""Intervals for proportions and means, each with the assumption that it stands on.

clopper_pearson   a proportion of independent rows exact
t_bounds          a mean of blocks                 exact for normal blocks
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, stdtrit

Float = NDArray[np.float64]


def clopper_pearson(hits: ArrayLike, n: ArrayLike, alpha: float = 0.05) -> tuple[Float, Float]:
    """Return the exact interval of a proportion at level 1 - alpha (Clopper & Pearson 1934).

    `hits` and `n` may be fractional (effective counts); ``n = 0`` gives (0, 1).

    >>> low, high = clopper_pearson(0, 10)
    >>> print(f"{float(low):.4f} {float(high):.4f}")
    0.0000 0.3085
    """
    k, total = np.broadcast_arrays(np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64))
    inside_low, inside_high = k > 0, k < total
    low = np.where(inside_low, betaincinv(np.where(inside_low, k, 1.0), total - k + 1, alpha / 2), 0.0)
    rest = np.where(inside_high, total - k, 1.0)
    return low, np.where(inside_high, betaincinv(k + 1, rest, 1 - alpha / 2), 1.0)


def t_bounds(values: Float, alpha: float = 0.05) -> tuple[float, float]:
    """Return the two-sided t interval of the mean at level 1 - alpha; infinite below two values.

    For a one-sided bound at level 1 - a, ask with ``alpha = 2 a``. Assumes independent, roughly normal values.
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if n < 2:
        return -np.inf, np.inf
    half = float(stdtrit(n - 1, 1 - alpha / 2) * values.std(ddof=1) / np.sqrt(n))
    mean = float(values.mean())
    return mean - half, mean + half


def bounded_mean_upper(values: Float, alpha: float = 0.05) -> float:
    """Return the upper bound, at level 1 - alpha, of the mean of values in [0, 1], whatever their law.

    By betting: the largest m for which the capital ``prod(1 - bet_i (x_i - m))`` never reaches 1 / alpha, bets from the
    values before (Waudby-Smith & Ramdas, *Journal of the Royal Statistical Society B* 86 (2024), section 4). Holds for
    values whose mean given the past is the same, independent or not; the order is as given.
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    steps = np.arange(1, n + 1)
    mean = (0.5 + np.cumsum(x)) / (steps + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (steps + 1)
    before = np.concatenate(([0.25], variance[:-1]))
    bets = np.sqrt(2 * np.log(1 / alpha) / (n * before))
    low, high = float(x.mean()) if n else 0.0, 1.0
    for _ in range(40):
        m = (low + high) / 2
        capital = np.log1p(-np.minimum(bets, 0.5 / max(1 - m, 1e-12)) * (x - m)).cumsum()
        low, high = (low, m) if capital.max(initial=0.0) >= np.log(1 / alpha) else (m, high)
    return high
