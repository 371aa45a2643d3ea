"""Evidence that values come from where others came from: ranks among all that was seen, and bets on the ranks.

    value ─► its rank among the reference, everything seen since, and itself ─► p, uniform while nothing changes
    p ─► factors: densities on [0, 1], so their mean is 1 while nothing changes ─► an e-detector (`detectors.py`)

No distribution is known or assumed: while values are exchangeable (their order says nothing) the p-values are
independent and uniform, exactly, at any number of values. Vovk, Gammerman & Shafer, *Algorithmic Learning in a Random
World*, 2nd ed. (2022), sections 2.2 and 8.1; with bets and a Shiryaev-Roberts sum Vovk, *Testing randomness online*,
Statistical Science 36 (2021). The bag of values grows: against a fixed reference the p-values of a stream depend on
each other, and no bet on them keeps its promise.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Float = NDArray[np.float64]
Real = TypeVar("Real", float, Float)

_EDGE = 1e-12  # p is held this far from 0 and 1, so that every factor is finite
_TOGETHER = 64  # values ranked at a time; the work a value grows with it


def rank(counts: NDArray[np.int64], cell: int, u: float) -> float:
    """Return the p-value of a value that falls into a cell, itself counted: small where little lies below it.

    Parameters
    ----------
    counts
        How many values so far lie in each cell, in order of value, shape (cells,). A cell's values are ties.
    cell
        Where the new one falls.
    u
        Uniform on [0, 1]: what breaks ties.
    """
    below = int(counts[:cell].sum())
    p = (below + u * (int(counts[cell]) + 1)) / (int(counts.sum()) + 1)
    return min(max(p, _EDGE), 1 - _EDGE)


def ranks(counts: NDArray[np.int64], cells: NDArray[np.int64], u: Float) -> Float:
    """Return the p-values of values that come one after the other, and add each to `counts` before the next.

    Parameters
    ----------
    counts
        As for `rank`; changed in place.
    cells, u
        One a value, in order, shape (values,).
    """
    p = np.empty(len(cells))
    for start in range(0, len(cells), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        own = cells[part]
        before = np.tri(len(own), k=-1, dtype=bool)  # who of the part came earlier
        lower = (own[None, :] < own[:, None]) & before
        equal = (own[None, :] == own[:, None]) & before
        under = np.concatenate(([0], np.cumsum(counts)))
        below = under[own] + lower.sum(axis=1)
        ties = counts[own] + equal.sum(axis=1) + 1
        p[part] = (below + u[part] * ties) / (under[-1] + np.arange(1, len(own) + 1))
        counts += np.bincount(own, minlength=len(counts))
    return np.clip(p, _EDGE, 1 - _EDGE)


def up(p: Real, size: float) -> Real:
    """Return the factor of the bet that values now lie higher, by `size` standard deviations if they are normal.

    The likelihood ratio of N(size, 1) to N(0, 1) at the normal score of p: its mean over a uniform p is 1.
    """
    return np.exp(size * ndtri(p) - size * size / 2)  # type: ignore[no-any-return]


def down(p: Real, size: float) -> Real:
    """Return the factor of the bet that values now lie lower."""
    return up(1 - p, size)
