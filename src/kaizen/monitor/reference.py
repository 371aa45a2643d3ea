"""What was normal when the model was made: per column a small table of counts, and how its days differed.

    numbers      far below | below | 32 bins of equal mass, heavy values in their own | above | far above | missing
    categories   the 63 commonest | other | unseen | missing
    times, texts what is read off them (`columns/parts.py`), as numbers

Counts of days add up to counts of windows, so nothing is ever kept of the rows themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import DataError, nearest
from kaizen.core.records import Column, ColumnType
from kaizen.graph.frame import Frame, rows_of
from kaizen.monitor.columns.binning import Bins, bins_of, place, tally
from kaizen.monitor.columns.habit import Habit, habit_of
from kaizen.monitor.columns.parts import VALUES, Vocabulary, parts_of, vocabulary_of
from kaizen.monitor.estimates.estimate import EstimateReference
from kaizen.monitor.performance.loss import LossReference, loss_reference
from kaizen.monitor.segments.fairness import FairnessReference
from kaizen.monitor.segments.segments import SegmentReference
from kaizen.monitor.segments.slices import SliceReference
from kaizen.stats.distances import INDEPENDENT, Spread, spread_of

_WEEKS = 8
OUTPUT = "prediction"  # the subject under which the model's answers are watched


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A column of the reference, or a part of one (`columns/parts.py`).

    ``counts`` has one entry a bin, the last for missing values. ``spread`` (of values) and ``spread_missing`` say how
    many rows are worth one independent row, because the rows of a day are alike: hundreds for weather. ``habit`` says
    how days differ; None: there are too few of them.
    """

    name: str
    type: ColumnType
    bins: Bins
    counts: tuple[int, ...]
    part: str = VALUES
    spread: Spread = INDEPENDENT
    spread_missing: float = 1.0
    habit: Habit | None = None
    is_output: bool = False

    @property
    def key(self) -> str:
        """What tells it from all others: a column may be called what the answer is called."""
        place = f"answer:{self.name}" if self.is_output else f"column:{self.name}"
        return f"{place}:{self.part}" if self.part else place

    @property
    def label(self) -> str:
        """What it is called, for people."""
        return f"{self.name} ({self.part})" if self.part else self.name


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """All that a monitor needs to know about normal times; a few hundred kilobytes of JSON at most."""

    rows: int
    blocks: int
    columns: tuple[Profile, ...]  # the parts of a column follow each other
    output: Profile | None = None
    loss: LossReference | None = None
    estimate: EstimateReference | None = None  # what estimates without labels stand on
    vocabularies: dict[str, tuple[str, ...]] = {}  # the words that each column of text uses
    segments: tuple[SegmentReference, ...] = ()
    slices: SliceReference | None = None
    fairness: tuple[FairnessReference, ...] = ()

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The columns, and the model's answers where known."""
        return self.columns if self.output is None else (*self.columns, self.output)


class Days(NamedTuple):
    """The days that rows fall on: their numbers, the rows in their order, and where in it each day ends."""

    numbers: NDArray[np.int64]  # (days,) ascending, since 1970
    ends: NDArray[np.int64]  # (days,) positions in the order
    order: NDArray[np.int64] | None  # (rows,); None: the rows are in order

    @classmethod
    def of(cls, blocks: NDArray[np.int64] | None) -> Days | None:
        """Return the days of rows, shape (rows,); None where they are not known."""
        if blocks is None:
            return None
        is_ordered = bool(np.all(blocks[1:] >= blocks[:-1]))
        numbers, counts = np.unique(blocks, return_counts=True)
        return cls(numbers, np.cumsum(counts), None if is_ordered else np.argsort(blocks, kind="stable"))

    @property
    def weekdays(self) -> NDArray[np.int64]:
        """The weekday of each, 0 for Monday: day 0 was a Thursday."""
        weekdays: NDArray[np.int64] = (self.numbers + 3) % 7
        return weekdays

    def table(self, bins: Bins, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return the counts of each day, shape (days, bins)."""
        rows = values if self.order is None else values[self.order]
        if bins.edges is not None:
            return np.stack([tally(bins, part) for part in np.split(rows, self.ends[:-1])])
        day = np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=0))
        flat = np.bincount(day * bins.size + place(bins, rows), minlength=len(self.ends) * bins.size)
        return flat.reshape(-1, bins.size).astype(np.int64)


def fit(
    columns: Sequence[Column],
    frame: Frame,
    outputs: NDArray[np.float64] | None,
    *,
    blocks: NDArray[np.int64] | None,
    times: NDArray[np.int64] | None = None,
    output_blocks: NDArray[np.int64] | None = None,
    losses: NDArray[np.float64] | None = None,
    loss_blocks: NDArray[np.int64] | None = None,
    metric: str = "log_loss",
) -> Reference:
    """Return the reference of these rows.

    Parameters
    ----------
    columns
        The raw columns that requests carry.
    frame
        The rows by column, as `kaizen.graph.frame` has them.
    outputs
        The model's answers to rows like these, best to rows it was not fitted on; None: answers are not watched.
    blocks
        The day of each row, since 1970, shape (rows,); None: rows are taken as independent.
    times
        The rows' own times, which other times are held against, shape (rows,).
    output_blocks
        The day of each answer, where the answers are to other rows than those of the frame.
    losses, loss_blocks, metric
        See `kaizen.monitor.performance.loss.loss_reference`.
    """
    rows = rows_of(frame)
    if rows == 0:
        raise DataError("a reference needs at least one row", where="monitor reference")
    days = Days.of(blocks)
    words = {c.name: vocabulary_of(frame[c.name]) for c in columns if c.type == "text"}
    profiles = []
    for column in columns:
        known = words.get(column.name, Vocabulary())
        for part in parts_of(column.type, frame[column.name], times=times, vocabulary=known.own):
            bins = bins_of(part.type, part.values)
            profiles.append(
                profile_of(column.name, column.type, bins, _table(bins, part.values, days), days, part.name)
            )
    answer_days = days if output_blocks is None else Days.of(output_blocks)
    return Reference(
        rows=rows,
        blocks=0 if days is None else len(days.numbers),
        columns=tuple(profiles),
        output=None if outputs is None else _answers(outputs, answer_days),
        loss=loss_reference(losses, loss_blocks, metric),
        vocabularies={name: tuple(sorted(known.words)) for name, known in words.items()},
    )


def count(
    reference: Reference,
    frame: Frame,
    outputs: NDArray[np.float64] | None,
    *,
    times: NDArray[np.int64] | None = None,
    hidden: Collection[str] = (),
) -> dict[str, NDArray[np.int64]]:
    """Return the counts of these rows in the bins of the reference, by the profile's key; counts of days add up.

    Columns that are `hidden` are not counted.
    """
    counts: dict[str, NDArray[np.int64]] = {}
    for name, mine in by_column(p for p in reference.columns if p.name not in hidden):
        if name not in frame:
            raise DataError(f"the column {name!r} is missing", where="monitor", fix=nearest(name, frame))
        known = frozenset(reference.vocabularies.get(name, ()))
        found = parts_of(mine[0].type, frame[name], times=times, vocabulary=known)
        values = {part.name: part.values for part in found}
        counts |= {p.key: tally(p.bins, values[p.part]) for p in mine if p.part in values}
    output = reference.output
    if output is not None and outputs is not None:
        counts[output.key] = tally(output.bins, outputs)
    return counts


def by_column(profiles: Iterator[Profile] | Sequence[Profile]) -> list[tuple[str, list[Profile]]]:
    """Return the profiles of each column, the parts of one together, in order."""
    return [(name, list(mine)) for (name, _), mine in groupby(profiles, key=lambda p: (p.name, p.is_output))]


def profile_of(
    name: str, type_: ColumnType, bins: Bins, table: NDArray[np.int64], days: Days | None, part: str = VALUES
) -> Profile:
    """Return the profile of a column, or of a part of one, from its counts by day, shape (days, bins)."""
    counts = tuple(table.sum(axis=0).tolist())
    made = Profile(name=name, type=type_, bins=bins, counts=counts, part=part)
    if days is None:
        return made
    spread, spread_missing = _spreads(bins, table)
    habit = habit_of(bins, table, days.weekdays)
    return msgspec.structs.replace(made, spread=spread, spread_missing=spread_missing, habit=habit)


def _table(bins: Bins, values: NDArray[Any], days: Days | None) -> NDArray[np.int64]:
    return tally(bins, values)[None] if days is None else days.table(bins, values)


def _answers(outputs: NDArray[np.float64], days: Days | None) -> Profile:
    bins = bins_of("number", outputs)
    made = profile_of(OUTPUT, "number", bins, _table(bins, outputs, days), days)
    return msgspec.structs.replace(made, is_output=True)


def _spreads(bins: Bins, daily: NDArray[np.int64]) -> tuple[Spread, float]:
    """Return the spread of the values and of missing between days or, where it is larger, between weeks."""
    tables = [np.asarray(daily, np.float64)]
    if len(daily) >= 7 * _WEEKS:  # of fewer weeks a spread is mostly chance, and the test by it blind
        whole = len(daily) // 7 * 7
        tables.append(tables[0][:whole].reshape(-1, 7, daily.shape[1]).sum(axis=1))
    values = max((spread_of(bins.compared(t)) for t in tables), key=lambda spread: spread.factor)
    known = (np.stack((t[:, :-1].sum(axis=1), t[:, -1]), axis=1) for t in tables)
    return values, max(spread_of(t).factor for t in known)
