"""Rows as columns: the one form in which raw rows travel between the stages.

A `Frame` maps a column's name to an array of its values, one a row:

| column           | array                           | missing             |
|------------------|---------------------------------|---------------------|
| number, boolean  | float64                         | NaN                 |
| time             | int64, microseconds since 1970  | `MISSING_TIME`      |
| category, text   | object, of str                  | ""                  |

`feeds` packs a frame into the tensors that a graph reads and `unpack` is its inverse; `rows.py` has the form in
which people send rows.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import FeatureError, nearest
from kaizen.core.records import Column, ColumnType, PredictionBatch
from kaizen.graph.rows import GROUP, MISSING_TIME, Feeds, Row, RowReader, grouped

__all__ = [
    "MISSING_TIME",
    "Feeds",
    "Frame",
    "RowReader",
    "concat",
    "empty",
    "feeds",
    "from_batch",
    "from_rows",
    "grouped",
    "is_missing",
    "rows_of",
    "take",
    "to_log",
    "unpack",
]

Frame: TypeAlias = dict[str, NDArray[Any]]

_DTYPES: Mapping[str, Any] = {"numbers": np.float64, "times": np.int64, "strings": np.object_}


def rows_of(frame: Mapping[str, NDArray[Any]]) -> int:
    """Return how many rows a frame has; one without columns has none."""
    return next((len(values) for values in frame.values()), 0)


def take(frame: Mapping[str, NDArray[Any]], index: NDArray[Any] | slice) -> Frame:
    """Return the rows at these positions (or where a mask is true), in that order."""
    return {name: values[index] for name, values in frame.items()}


def concat(frames: Sequence[Mapping[str, NDArray[Any]]]) -> Frame:
    """Return the rows of all frames, one after the other; columns are those of the first."""
    if not frames:
        return {}
    return {name: np.concatenate([frame[name] for frame in frames]) for name in frames[0]}


def empty(columns: Sequence[Column]) -> Frame:
    """Return a frame with these columns and no rows."""
    return {column.name: np.empty(0, _DTYPES[GROUP[column.type]]) for column in columns}


def is_missing(values: NDArray[Any], type_: ColumnType) -> NDArray[np.bool_]:
    """Return which values of a column are missing."""  # (rows,)
    group = GROUP[type_]
    if group == "numbers":
        return np.asarray(np.isnan(values))
    return np.asarray(values == (MISSING_TIME if group == "times" else ""), np.bool_)


def from_rows(columns: Sequence[Column], rows: Sequence[Row]) -> Frame:
    """Return rows in the wire form as a frame; raise `RequestError` with the path of what is wrong.

    >>> from_rows([Column("distance", "number")], [{"distance": 3}, {"distance": None}])
    {'distance': array([ 3., nan])}
    """
    return unpack(columns, _reader(tuple(columns)).feeds(rows))


def feeds(columns: Sequence[Column], frame: Mapping[str, NDArray[Any]]) -> Feeds:
    """Return the tensors a graph reads, grouped by type; only the groups that occur.

    Raises
    ------
    FeatureError
        A column is not in the frame.
    """
    packed: Feeds = {}
    for group, members in grouped(columns).items():
        tensor = np.empty((rows_of(frame), len(members)), _DTYPES[group])  # (rows, columns of the group)
        for position, column in enumerate(members):
            if column.name not in frame:
                raise FeatureError(f"column {column.name!r} is not there", fix=nearest(column.name, frame))
            tensor[:, position] = frame[column.name]
        packed[group] = tensor
    return packed


def unpack(columns: Sequence[Column], packed: Mapping[str, NDArray[Any]]) -> Frame:
    """Return the frame of a graph's tensors: the inverse of `feeds`."""
    places = {c.name: (group, at) for group, members in grouped(columns).items() for at, c in enumerate(members)}
    return {column.name: packed[places[column.name][0]][:, places[column.name][1]] for column in columns}


def to_log(
    columns: Sequence[Column],  # noqa: ARG001 (the pair of `from_batch`: bytes mean nothing without their columns)
    packed: Mapping[str, NDArray[Any]],
) -> tuple[bytes, bytes, list[str]]:
    """Return the numbers, times and strings of a `PredictionBatch` for these tensors, little-endian, row-major."""
    numbers, times, strings = packed.get("numbers"), packed.get("times"), packed.get("strings")
    return (
        b"" if numbers is None else numbers.astype("<f8", copy=False).tobytes(),
        b"" if times is None else times.astype("<i8", copy=False).tobytes(),
        [] if strings is None else strings.ravel().tolist(),
    )


def from_batch(batch: PredictionBatch) -> Frame:
    """Return the inputs of logged predictions as a frame: the inverse of `to_log`."""
    n = len(batch.ids)
    groups = grouped(batch.columns)
    flat: Feeds = {
        "numbers": np.frombuffer(batch.numbers, "<f8").astype(np.float64),
        "times": np.frombuffer(batch.times, "<i8").astype(np.int64),
        "strings": np.array(batch.strings, np.object_),
    }
    return unpack(batch.columns, {group: flat[group].reshape(n, len(members)) for group, members in groups.items()})


@functools.lru_cache(maxsize=64)
def _reader(columns: tuple[Column, ...]) -> RowReader:
    return RowReader(columns)
