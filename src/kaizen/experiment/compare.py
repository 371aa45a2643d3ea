"""Shadow comparison: both models answer the same rows, losses are paired and averaged over days, days are weighed.

    rows of a day ──► mean of loss(champion) - loss(challenger) ──► one block
    blocks in order ──► e-value and confidence sequence ──► better | worse | undecided

Rows of one day share weather, holidays and outages: tested row by row, most challengers that are no better would be
promoted. A day counts once, however many rows it has.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import DataError
from kaizen.stats.sequences import symmetry_bounds, symmetry_path, two_sided_path


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What the blocks say about loss(champion) - loss(challenger): above 0, the challenger is better.

    ``low`` and ``high`` are the confidence sequence at level 1 - alpha (None: still unbounded), ``evidence`` the
    two-sided e-value that decides when it reaches ``limit`` = 1/alpha.
    """

    estimate: float
    low: float | None
    high: float | None
    evidence: float
    limit: float
    verdict: Literal["better", "worse", "undecided"]
    n: int


class Pairs(msgspec.Struct, frozen=True):
    """Paired differences by block: the days in order, the mean difference of each, and its rows."""

    days: NDArray[np.int64]
    differences: NDArray[np.float64]
    rows: NDArray[np.int64]


def pair(
    days: NDArray[np.int64],
    champion: NDArray[np.float64],
    challenger: NDArray[np.float64],
) -> Pairs:
    """Return the mean of loss(champion) - loss(challenger) of each day, in order of time.

    Parameters
    ----------
    days
        The day of each row, shape (rows,); rows are paired by position.
    champion, challenger
        The losses of both models on the same rows, shape (rows,). A row that one of them lacks (NaN) is left out.

    Raises
    ------
    DataError
        When a loss is infinite: one row would decide everything.
    """
    champion, challenger = np.asarray(champion, dtype=np.float64), np.asarray(challenger, dtype=np.float64)
    if np.isinf(champion).any() or np.isinf(challenger).any():
        raise DataError("a loss is infinite", where="shadow comparison", fix="clip probabilities away from 0 and 1")
    difference = champion - challenger
    known = ~np.isnan(difference)
    names, index, rows = np.unique(np.asarray(days)[known], return_inverse=True, return_counts=True)
    means = np.bincount(index, weights=difference[known], minlength=len(names)) / rows
    return Pairs(names.astype(np.int64), means, rows.astype(np.int64))


def compare(differences: NDArray[np.float64], *, alpha: float = 0.05, min_blocks: int = 10) -> Comparison:
    """Return what the block means of loss(champion) - loss(challenger) say so far.

    May be asked after every block: the chance that it ever says "better" or "worse" of two models whose differences
    are symmetric about 0 (such as two equally good ones) is at most alpha, half of it for each. Nothing is decided
    before `min_blocks`. Multiplying all differences by a constant changes evidence and verdict in nothing and
    the interval by that constant.

    Parameters
    ----------
    differences
        One mean a block, in order of time, shape (blocks,).
    alpha
        The chance of a wrong verdict, over all time, 0 < alpha < 1.
    min_blocks
        The fewest blocks that may decide.

    Notes
    -----
    The evidence is that of `kaizen.stats.sequences.symmetry_path`. Blocks whose means are 0.9 standard deviations
    above 0 are decided after a median of 14 blocks at alpha 0.05, half a deviation after 35.
    """
    differences = np.asarray(differences, dtype=np.float64)
    n = len(differences)
    if n == 0:
        return Comparison(estimate=0.0, low=None, high=None, evidence=1.0, limit=1 / alpha, verdict="undecided", n=0)
    evidence = math.exp(min(float(two_sided_path(differences)[-1]), 700.0))
    low, high = symmetry_bounds(differences, alpha)
    return Comparison(
        estimate=float(differences.mean()),
        low=low if math.isfinite(low) else None,
        high=high if math.isfinite(high) else None,
        evidence=evidence,
        limit=1 / alpha,
        verdict=_verdict(differences, decided=n >= min_blocks and evidence >= 1 / alpha),
        n=n,
    )


def _verdict(differences: NDArray[np.float64], *, decided: bool) -> Literal["better", "worse", "undecided"]:
    if not decided:
        return "undecided"
    above, below = symmetry_path(differences)[-1], symmetry_path(-differences)[-1]
    return "better" if above > below else "worse"
