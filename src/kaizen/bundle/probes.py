"""Rows made to find a graph that answers other than the model: at and around every threshold, and the odd values.

A converter that rounds a threshold to float32 is right on almost every real row and wrong on a value that lies
between the two thresholds. So each threshold t is tried from both sides, in double and in single precision:

    nextafter(t, -inf)   t   nextafter(t, +inf)      nextafter32(f, -inf)   f = float32(t)   nextafter32(f, +inf)

each on top of real rows, because a split deep in a tree is only reached by rows that pass those above it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Column, FeatureColumn
from kaizen.graph.frame import MISSING_TIME, Frame, concat, rows_of, take

Floats = NDArray[np.float64]

BASES = 2  # real rows under each value: the one whose own value is nearest, and one from elsewhere
_TINY = 1e-36  # below LightGBM's kZeroThreshold of 1e-35, above the smallest float32
_HUGE = 1e18
_FAR_US = 4_102_444_800_000_000  # the year 2100


def around(threshold: Sequence[float] | Floats) -> Floats:
    """Return the values at and around thresholds, in double and in single precision, each once and in order."""
    exact = np.asarray(threshold, np.float64)
    with np.errstate(over="ignore"):  # beside the largest number stands infinity, which is left out
        single = exact.astype(np.float32)
        values = [np.nextafter(exact, -np.inf), exact, np.nextafter(exact, np.inf)]
        values += [np.nextafter(single, np.float32(side)).astype(np.float64) for side in (-np.inf, np.inf)]
    every = np.concatenate([*values, single.astype(np.float64)])
    return np.unique(every[np.isfinite(every)])


def in_feature_space(
    features: Floats,  # (rows, columns)
    columns: Sequence[FeatureColumn],
    thresholds: Mapping[int, Sequence[float]],
    *,
    missing: bool,
) -> Iterator[Floats]:
    """Yield matrices of probes, one a feature: real rows with that one feature replaced.

    A number gets every value `around` its thresholds and {0, -0.0, ±1e-36, min, max}; a category every code and
    -1, which is what the feature graph makes of anything missing or never seen (it makes no other code, so no
    other can reach the model). With `missing` a number is also tried as NaN.
    """
    for index, column in enumerate(columns):
        own = features[:, index]
        if column.categories:
            values = np.arange(-1.0, column.categories)
        else:
            known = own[~np.isnan(own)]
            odd = [0.0, -0.0, _TINY, -_TINY, *([known.min(), known.max()] if len(known) else [])]
            values = np.concatenate([around(thresholds.get(index, ())), odd, [np.nan] if missing else []])
        yield _on_real_rows(features, index, values)


def _on_real_rows(features: Floats, index: int, values: Floats) -> Floats:
    order = np.argsort(features[:, index], kind="stable")
    nearest = order[np.clip(np.searchsorted(features[order, index], values), 0, len(order) - 1)]
    elsewhere = (np.arange(len(values)) * 7919 + index) % len(features)  # 7919: a prime, so all rows get their turn
    rows = np.concatenate([nearest, elsewhere])
    probes: Floats = features[rows]
    probes[:, index] = np.tile(values, BASES)
    return probes


def in_raw_space(columns: Sequence[Column], frame: Frame) -> Frame:
    """Return raw rows to try the whole graph with: real rows, each with one column replaced by an odd value."""
    base = take(frame, np.arange(min(3, rows_of(frame))))
    return concat([_replaced(base, column, odd) for column in columns for odd in _odd_values(column, frame)])


def _replaced(base: Frame, column: Column, value: object) -> Frame:
    changed = np.empty_like(base[column.name])
    changed[:] = value
    return {**base, column.name: changed}


def _odd_values(column: Column, frame: Frame) -> list[Any]:
    values = frame[column.name]
    if column.type in ("category", "text"):
        return ["", " ", "never seen before", "ありえない", "x" * 1000]
    if column.type == "boolean":
        return [0.0, 1.0, np.nan]
    if column.type == "time":
        known = values[values != MISSING_TIME]
        ends = [known.min() - 1, known.max() + 1] if len(known) else []
        return [MISSING_TIME, 0, -1, _FAR_US, *ends]
    known = values[~np.isnan(values)]
    ends = [known.min(), known.max()] if len(known) else []
    beyond = [np.nextafter(end, side) for end, side in zip(ends, (-np.inf, np.inf), strict=False)]
    return [np.nan, 0.0, -0.0, _TINY, -_TINY, _HUGE, -_HUGE, *ends, *beyond]
