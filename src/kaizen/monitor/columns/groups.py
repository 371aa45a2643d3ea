"""The groups of rows that a column makes: its commonest categories, or ranges of its numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import ColumnType
from kaizen.monitor.columns.binning import canonical

Int = NDArray[np.int64]

LEAST_ROWS = 200  # of the reference, in a group
MOST = 10  # groups of a column
RANGES = 4  # of a number, equally many rows in each


class Groups(msgspec.Struct, frozen=True):
    """The groups of one column: categories by label, or ranges between edges, the lower one included.

    ``shares`` are of the reference's rows. A row that is in none, such as one of a rare category or without a value,
    has the code -1.
    """

    column: str
    type: ColumnType
    labels: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The groups, for people: ``origin=JFK``, ``age<30``, ``30<=age<45``, ``age>=45``."""
        if not self.edges:
            return tuple(f"{self.column}={label}" for label in self.labels)
        inner = [f"{low:g}<={self.column}<{high:g}" for low, high in zip(self.edges, self.edges[1:], strict=False)]
        return (f"{self.column}<{self.edges[0]:g}", *inner, f"{self.column}>={self.edges[-1]:g}")

    def __len__(self) -> int:
        """Return how many groups there are."""
        return len(self.labels) or len(self.edges) + 1

    def codes(self, values: NDArray[Any]) -> Int:
        """Return the group of each row, shape (rows,)."""
        if self.edges:
            numbers = np.asarray(values, dtype=np.float64)
            return np.where(np.isnan(numbers), -1, np.searchsorted(self.edges, numbers, side="right")).astype(np.int64)
        known = {label: code for code, label in enumerate(self.labels)}
        read: dict[Any, int] = {}
        codes = np.empty(len(values), np.int64)
        for at, value in enumerate(values.tolist()):
            code = read.get(value)
            if code is None:
                code = read[value] = known.get(_label(value, self.type), -1)
            codes[at] = code
        return codes


def groups_of(
    column: str, kind: ColumnType, values: NDArray[Any], *, least_rows: int = LEAST_ROWS, most: int = MOST
) -> Groups | None:
    """Return the groups that have at least so many of these rows, the commonest first; None if there are none.

    Parameters
    ----------
    values
        Of the reference, shape (rows,). Ranges of numbers are split at quantiles; a number with up to `most` distinct
        values, such as a grade, has a group for each.
    most
        At most so many groups of categories.
    """
    if kind == "number" and len(np.unique(values[~np.isnan(values)])) > most:
        return _ranges(column, kind, values, least_rows)
    tallies = Counter(_label(value, kind) for value in values.tolist())
    tallies.pop("", None)
    kept = sorted((label for label, rows in tallies.items() if rows >= least_rows), key=lambda x: (-tallies[x], x))
    kept = kept[:most]
    shares = tuple(tallies[label] / len(values) for label in kept)
    return Groups(column, kind, labels=tuple(kept), shares=shares) if kept else None


def _ranges(column: str, kind: ColumnType, values: NDArray[Any], least_rows: int) -> Groups | None:
    known = np.sort(values[~np.isnan(values)])
    parts = min(RANGES, len(known) // least_rows)
    if parts < 1:
        return None
    cuts = known[(np.arange(1, parts) * len(known)) // parts]
    edges = np.unique(cuts[cuts > known[0]])
    if not len(edges):
        return None
    made = Groups(column, kind, edges=tuple(edges.tolist()))
    counts = np.bincount(made.codes(known), minlength=len(made))
    return msgspec.structs.replace(made, shares=tuple((counts / len(values)).tolist()))


def _label(value: Any, kind: ColumnType) -> str:
    if kind in ("category", "text"):
        return canonical(value)
    return "" if value != value else f"{value:g}"  # NaN is missing
