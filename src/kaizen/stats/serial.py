"""Does the order of values say something? Autocorrelation, and differences between groups such as weekdays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

Float = NDArray[np.float64]


def mid_ranks(values: Float) -> Float:
    """Return the ranks of values, from 1, ties sharing the middle of theirs; shape (values,)."""
    _, place, times = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(times)
    shared: Float = (ends - (times - 1) / 2)[place]
    return shared


def autocorrelation(values: Float, lag: int = 1) -> float:
    """Return the correlation of values with those `lag` places before; 0 where they are too few or all alike.

    Without correlation it is about normal with deviation ``1 / sqrt(n)`` (Bartlett, *Journal of the Royal Statistical
    Society* 27 supplement (1946)).
    """
    values = np.asarray(values, dtype=np.float64)
    centred = values - values.mean() if len(values) else values
    total = float(centred @ centred)
    if len(values) <= lag or total <= 0:
        return 0.0
    return float(centred[lag:] @ centred[:-lag]) / total


def kruskal(values: Float, groups: NDArray[np.int64]) -> float:
    """Return the p-value of "the groups are one", by ranks (Kruskal & Wallis 1952), corrected for ties.

    Parameters
    ----------
    values, groups
        One a value, shape (values,); groups are numbered from 0.
    """
    n = len(values)
    sizes = np.bincount(groups)
    ranks = mid_ranks(values)
    spread = float(ranks.var(ddof=1)) if n > 1 else 0.0
    filled = np.flatnonzero(sizes)
    if len(filled) < 2 or spread <= 0:
        return 1.0
    sums = np.bincount(groups, ranks)[filled]
    statistic = float(np.sum((sums / sizes[filled] - (n + 1) / 2) ** 2 * sizes[filled])) / spread
    return float(chdtrc(len(filled) - 1, statistic))


def period_of(values: Float, *, least: float = 0.3) -> int | None:
    """Return the shortest period after which values resemble those before; None where there is none.

    The first lag whose autocorrelation is the highest for a fifth around, at least `least`, and as far above the lowest
    before it; of a period that fits eight times or more.
    """
    n = len(values)
    centred = np.asarray(values, np.float64) - np.mean(values)
    if n < 24 or not centred.any():
        return None
    power = np.abs(np.fft.rfft(centred, 2 * n)) ** 2
    correlation = np.fft.irfft(power)[: n // 8 + 1]
    correlation = correlation / correlation[0]
    lowest = np.minimum.accumulate(correlation)
    for lag in np.flatnonzero((correlation >= least) & (correlation - lowest >= least)).tolist():
        around = correlation[int(lag * 0.8) : int(lag * 1.2) + 2]
        if correlation[lag] == around.max() and lag + 1 < len(correlation):
            return int(lag)
    return None
