"""Intervals for differences of two independent figures, from the interval of each.

wilson                   one proportion
newcombe                 two proportions
difference_interval      any two figures
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

Float = NDArray[np.float64]


def wilson(hits: ArrayLike, n: ArrayLike, *, level: float = 0.95) -> tuple[Float, Float]:
    """Return the score interval of a proportion (Wilson 1927); ``n = 0`` gives (0, 1). Counts may be fractional.

    >>> low, high = wilson(81, 263)
    >>> print(f"{float(low):.4f} {float(high):.4f}")
    0.2553 0.3662
    """
    k, total = np.broadcast_arrays(np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64))
    z = float(ndtri(0.5 + level / 2))
    p = np.divide(k, total, out=np.full(k.shape, 0.5), where=total > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = p + z * z / (2 * total)
        reach = z * np.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
        low, high = (centre - reach) / (1 + z * z / total), (centre + reach) / (1 + z * z / total)
    known = total > 0
    return np.where(known, np.maximum(low, 0.0), 0.0), np.where(known, np.minimum(high, 1.0), 1.0)


def newcombe(hits: float, n: float, other_hits: float, other_n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a proportion less another (Newcombe, *Statistics in Medicine* 17 (1998), method 10).

    >>> low, high = newcombe(56, 70, 48, 80)
    >>> print(f"{low:.4f} {high:.4f}")
    0.0524 0.3339
    """
    low, high = wilson([hits, other_hits], [n, other_n], level=level)
    shares = [hits / n if n else 0.5, other_hits / other_n if other_n else 0.5]
    return difference_interval((shares[0], low[0], high[0]), (shares[1], low[1], high[1]))


def difference_interval(one: tuple[float, float, float], other: tuple[float, float, float]) -> tuple[float, float]:
    """Return the interval of a figure less another, each given with its own interval (figure, low, high).

    The distances of each figure to its bounds stand for its spread near them, squared and added (Zou & Donner,
    *Statistics in Medicine* 27 (2008); Newcombe's method 10 is this with Wilson's intervals). Assumes that the two are
    independent; an infinite bound gives an infinite one.
    """
    a, a_low, a_high = one
    b, b_low, b_high = other
    return float(a - b - np.hypot(a - a_low, b_high - b)), float(a - b + np.hypot(a_high - a, b - b_low))
