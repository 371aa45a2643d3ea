"""Two tables side by side: as which type each column of theirs is compared, and the counts of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import DataError, nearest
from kaizen.core.records import Column, ColumnType
from kaizen.data.counting import DAY_US, PIECE, STRETCHES, TEXTS, Table
from kaizen.monitor.columns.binning import Bins, bins_of, label_bins, place, tally
from kaizen.monitor.columns.parts import Vocabulary, parts_of, vocabulary_of
from kaizen.monitor.drift.joint import Side
from kaizen.monitor.reference import Days, Profile, profile_of

Counts: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Counted: TypeAlias = tuple[Profile, Counts]  # a part of a column, and the counts of the other table

SAMPLE = 6000  # rows of either table that all columns are looked at together on
_WHOLE_WEEKS = 28  # days of either table from which on weekdays are compared
_ROWS_A_DAY = 20  # with fewer, on average, a column of times is none by whose days rows come
_FEWEST_DAYS = 3


class Pair:
    """A reference and what is held against it.

    Parameters
    ----------
    old, new
        The two.
    time
        The column with the rows' own times. None: the first by whose days rows come; stretches of rows where there
        is none.

    Raises
    ------
    DataError
        A table has no rows, or there is no such column.
    """

    def __init__(self, old: Table, new: Table, time: str | None = None) -> None:
        for table in (old, new):
            if table.rows == 0:
                raise DataError("has no rows", where=table.address)
        self.old, self.new = old, new
        self._kinds = self._compared_as()
        old.time = self.time = self._time(time)
        self._blocks = old.blocks() if old.rows <= PIECE else None
        self._days = None if self._blocks is None else Days.of(self._blocks)
        self._picked: dict[tuple[bool, str], Floats] = {}  # whether of `new`, column: the numbers that `sides` gives

    def columns(self, ignore: tuple[str, ...] = ()) -> list[str]:
        """Return the columns to compare, in the order of the reference."""
        for name in ignore:
            if name not in self.old.stored and name not in self.new.stored:
                raise DataError(f"there is no column {name!r} to ignore", fix=nearest(name, self.old.stored))
        return [name for name in self.old.stored if name not in (*ignore, self.time)]

    def type_of(self, name: str) -> str:
        """Return the type that a column is compared as, or that it is stored as if it is not."""
        return self._kinds[name] or self.old.stored[name]

    def kind_of(self, name: str) -> ColumnType | None:
        """Return the type that a column is compared as; None where it is not."""
        return self._kinds.get(name)

    def why_not(self, name: str) -> str:
        """Return why a column is not compared; empty where it is."""
        if self._kinds[name] is None:
            return f"{name} has the type {self.old.stored[name]}, which is not compared."
        if self._kinds[name] == "number" and self.old.is_counter(name):
            return f"{name} numbers the rows: each value is there once, so it is not compared."
        return ""

    def counted(self, name: str) -> list[Counted]:
        """Return the profile of each part of a column, with the counts of the other table."""
        kind = self._kinds[name]
        if kind in ("number", "boolean"):
            return [self._numbers(name, kind)]
        return [self._labels(name)] if kind == "category" else self._parts(name, kind or "text")

    def sides(self, names: Sequence[str]) -> tuple[list[Column], Side, Side]:
        """Return some rows of both, spread over the tables, and their blocks; only what both have and can be ranked."""
        kinds = [(name, self._kinds[name]) for name in names if name in self.new.stored]
        columns = [Column(name, kind) for name, kind in kinds if kind in ("number", "category", "boolean")]
        sides = []
        for table in (self.old, self.new):
            step = -(-table.rows // SAMPLE)
            is_new = table is self.new
            read = {c.name: self._picked[is_new, c.name] for c in columns if (is_new, c.name) in self._picked}
            frame = table.frame([column for column in columns if column.name not in read], step) | read
            rows = -(-table.rows // step)
            blocks = np.arange(rows, dtype=np.int64) * STRETCHES // rows
            if self.time is not None and table.rows <= PIECE:
                blocks = table.moments(self.time, step) // DAY_US
            sides.append(Side(frame, blocks))
        return columns, sides[0], sides[1]

    def _numbers(self, name: str, kind: ColumnType) -> Counted:
        if self._days is None:
            bins = bins_of(kind, self.old.sample(name))
            table = np.sum([tally(bins, piece) for piece in self.old.numbers(name)], axis=0)[None]
        else:
            (values,) = self._read(self.old, name)
            bins = bins_of(kind, values)
            table = self._days.table(bins, values)
        profile = profile_of(name, kind, bins, table, self._days)
        if name not in self.new.stored:
            return profile, _all_missing(profile, self.new.rows)
        return profile, np.sum([tally(bins, piece) for piece in self._read(self.new, name)], axis=0)

    def _read(self, table: Table, name: str) -> Iterator[NDArray[np.float32]]:
        """Yield a column's numbers, and keep those of the rows that all columns are looked at together on."""
        for piece in table.numbers(name):
            if table.rows <= PIECE:
                self._picked[table is self.new, name] = piece[:: -(-table.rows // SAMPLE)].astype(np.float64)
            yield piece

    def _labels(self, name: str) -> Counted:
        labels, blocks, times = self.old.labels(name)
        totals: Counter[str] = Counter()
        for label, count in zip(labels, times.tolist(), strict=True):
            totals[label] += count
        bins = label_bins(totals)
        numbers, at = np.unique(blocks, return_inverse=True)
        flat = np.bincount(at * bins.size + _placed(bins, labels), times, minlength=len(numbers) * bins.size)
        table = flat.reshape(-1, bins.size).astype(np.int64)
        days = Days(numbers, np.cumsum(table.sum(axis=1)), None) if self._days is not None else None
        profile = profile_of(name, "category", bins, table, days)
        if name not in self.new.stored:
            return profile, _all_missing(profile, self.new.rows)
        labels, _, times = self.new.labels(name, by_block=False)
        return profile, np.bincount(_placed(bins, labels), times, minlength=bins.size).astype(np.int64)

    def _parts(self, name: str, kind: ColumnType) -> list[Counted]:
        step = -(-self.old.rows // (TEXTS if kind == "text" else PIECE))
        values = self.old.column(name, kind, step)
        words = vocabulary_of(values) if kind == "text" else Vocabulary()
        weeks = kind == "time" and all(table.days_of(name) >= _WHOLE_WEEKS for table in self._having(name))
        times = self._times(self.old, kind, step)
        known = parts_of(kind, values, times=times, vocabulary=words.own, whole_weeks=weeks)
        days = None if self._blocks is None else Days.of(self._blocks[::step])
        profiles = []
        for part in known:
            bins = bins_of(part.type, part.values)
            table = tally(bins, part.values)[None] if days is None else days.table(bins, part.values)
            profiles.append(profile_of(name, kind, bins, table, days, part.name))
        if name not in self.new.stored:
            return [(profile, _all_missing(profile, self.new.rows)) for profile in profiles[:1]]
        step = -(-self.new.rows // (TEXTS if kind == "text" else PIECE))
        values = self.new.column(name, kind, step)
        times = self._times(self.new, kind, step)
        found = parts_of(kind, values, times=times, vocabulary=words.words, whole_weeks=weeks)
        return [(own, tally(own.bins, part.values)) for own, part in zip(profiles, found, strict=True)]

    def _times(self, table: Table, kind: ColumnType, step: int) -> NDArray[np.int64] | None:
        """Return the rows' own times, which another column of times is held against."""
        return table.moments(self.time, step) if kind == "time" and self.time is not None else None

    def _having(self, name: str) -> list[Table]:
        return [table for table in (self.old, self.new) if name in table.stored]

    def _compared_as(self) -> dict[str, ColumnType | None]:
        """Return the type of each column of the reference; of one without a value there, its type in the other."""
        mine, theirs = self.old.kinds(), self.new.kinds()
        return {name: kind if self.old.filled[name] else theirs.get(name, kind) for name, kind in mine.items()}

    def _time(self, asked: str | None) -> str | None:
        times = [name for name, kind in self._kinds.items() if kind == "time" and name in self.new.stored]
        if asked is not None:
            if asked not in times:
                fix = nearest(asked, times) if times else "leave it out: neither has a column of times"
                raise DataError(f"{asked!r} is no column of times in both tables", where=self.old.address, fix=fix)
            return asked
        return next((name for name in times if self._tells_days(name)), None)

    def _tells_days(self, name: str) -> bool:
        if self.old.filled[name] < 0.99 * self.old.rows:
            return False
        days = self.old.days_of(name)
        return _FEWEST_DAYS <= days <= self.old.rows / _ROWS_A_DAY


def _placed(bins: Bins, labels: list[str]) -> NDArray[np.int64]:
    return place(bins, np.array([*labels, ""], np.object_))[:-1]


def _all_missing(profile: Profile, rows: int) -> Counts:
    counts = np.zeros(profile.bins.size, np.int64)
    counts[-1] = rows
    return counts
