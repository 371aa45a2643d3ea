"""Rows that are there before, value by value: what a batch that was sent twice looks like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaizen.graph.frame import rows_of
from kaizen.stats.intervals import clopper_pearson

_MIX = np.uint64(0x9E3779B97F4A7C15)


def repeated(frame: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Return which rows have the values of an earlier one in all columns, shape (rows,)."""
    rows = rows_of(frame)
    found = np.ones(rows, np.bool_)
    if rows:
        _, first = np.unique(_digests(frame, rows), return_index=True)
        found[first] = False
    return found


def _digests(frame: Mapping[str, NDArray[Any]], rows: int) -> NDArray[np.uint64]:
    """Return 64 bits a row; that two of a million rows agree by chance happens once in forty million days."""
    digest = np.zeros(rows, np.uint64)
    for values in frame.values():
        if values.dtype == np.object_:
            bits = np.fromiter(map(hash, values.tolist()), np.int64, rows).view(np.uint64)
        elif values.dtype == np.float64:
            known = np.where(np.isnan(values), np.nan, values + 0.0)  # one NaN, and no negative zero
            bits = known.view(np.uint64)
        else:
            bits = np.ascontiguousarray(values, np.int64).view(np.uint64)
        digest = (digest ^ bits) * _MIX  # wraps
        digest ^= digest >> np.uint64(29)
    return digest


def usual_share(frame: Mapping[str, NDArray[Any]], blocks: NDArray[np.int64] | None) -> float:
    """Return the share of a day's rows that may be there before on the same day, by what a reference has.

    The upper bound of the reference's share (Clopper and Pearson, at 1 - 10⁻⁶), and half as much again or one in a
    hundred on top: rows of few columns repeat by chance.
    """
    rows = rows_of(frame)
    if rows == 0:
        return 1.0
    own = frame if blocks is None else {**frame, "": blocks}
    share = float(clopper_pearson(int(repeated(own).sum()), rows, alpha=2e-6)[1])
    return min(1.0, share + max(0.01, 0.5 * share))
