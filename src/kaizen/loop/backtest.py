"""What the monitors would have said: a table replayed day by day against a reference, as `kaizen loop run` would.

REFERENCE ─► reference        STREAM, by event day ─► monitor/watch.py ─► findings, pages
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.clock import EPOCH
from kaizen.core.errors import DataError, nearest
from kaizen.core.projectfile import MonitorSection
from kaizen.core.records import Column, Finding
from kaizen.data.counting import DAY_US, Table
from kaizen.graph.frame import MISSING_TIME, Frame, take
from kaizen.loop.compare import Source, name_of, opened
from kaizen.loop.pair import Pair
from kaizen.monitor import reference as references
from kaizen.monitor.settings import settings_of
from kaizen.monitor.stamp import Stamper
from kaizen.monitor.watch import Block, WatchState, observe
from kaizen.stats import metrics

Note: TypeAlias = Callable[[str], None]

BLOCKS = 90  # that a reference without a time is cut into; so many stand for days
FEWEST_ROWS = 50  # of such a block


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: the pages and what ended, in order of time, every finding, and what was watched."""

    says: str
    days: int
    rows: int
    late: int  # rows of days before the stream's own: late events
    time: str | None
    rows_a_day: int  # of a table without a time, whose blocks of so many rows stand for days
    told: tuple[Finding, ...]  # pages, and what is over
    findings: tuple[Finding, ...]
    habits: dict[str, str]  # how each column is counted, for people


def backtest(
    reference: Source,
    stream: Source,
    *,
    time: str | None = None,
    target: str | None = None,
    prediction: str | None = None,
    rows_a_day: int | None = None,
    ignore: tuple[str, ...] = (),
    section: MonitorSection | None = None,
    folder: Path = Path(),
    note: Note = lambda _: None,
) -> Backtest:
    """Return what would have paged, had the rows of `stream` been predictions that came in their order of time.

    Parameters
    ----------
    reference, stream
        See `kaizen.loop.compare.compare`.
    time
        The column with the rows' own times. None: the first by whose days rows come; where there is none, blocks of
        rows in their order stand for days.
    target, prediction
        The columns with the truth and with a model's answer to it: its performance is watched too, each label known
        at the end of its day. A target of 0 and 1 is a classification, its loss the log loss.
    rows_a_day
        How many rows stand for a day, without a time. None: a ninetieth of the reference, at least 50.
    ignore
        Columns to leave out.
    section
        What may wake somebody; None: the defaults.

    Raises
    ------
    DataError
        A table cannot be read or has no rows, or there is no such column.
    """
    note("reading")
    with opened(reference, folder) as old, opened(stream, folder) as new:
        pair = Pair(Table(old, name_of(reference)), Table(new, name_of(stream)), time)
        size = rows_a_day or max(FEWEST_ROWS, pair.old.rows // BLOCKS)
        scored = _scored(pair, target, prediction)
        watched = _watched(pair, (*ignore, *(() if target is None else (target,))))
        before, after = (_rows(table, pair, watched, size) for table in (pair.old, pair.new))
    metric, was, now = scored or ("", None, None)
    known = references.fit(
        watched, before.frame, None, blocks=before.days, times=before.times, losses=was, loss_blocks=before.days,
        metric=metric,
    )  # fmt: skip
    first = int(before.days.max()) + 1 if pair.time is None else int(np.quantile(after.days, 0.005))
    if pair.time is None:
        after = after._replace(days=after.days + first)
    settings, state, findings = settings_of(section or MonitorSection()), WatchState.fresh(), list[Finding]()
    days = np.unique(after.days[after.days >= first]).tolist()
    for day in days:
        note(f"day {day - first + 1} of {days[-1] - first + 1}")
        block = _block(after, day, now)
        stamp = Stamper("backtest", by="backtest", at=block.end, key=f"watch {day}")
        state, said = observe(known, state, block, settings, stamp=stamp)
        findings += said
    paged = {(f.question, f.subject) for f in findings if f.verdict == "page" and not f.question.endswith("window")}
    told = tuple(f for f in findings if f.verdict in ("page", "resolved") and (f.question, f.subject) in paged)
    return Backtest(
        says=_says(told, len(days)),
        days=len(days),
        rows=len(after.days),
        late=int((after.days < first).sum()),
        time=pair.time,
        rows_a_day=0 if pair.time is not None else size,
        told=told,
        findings=tuple(findings),
        habits={p.label: p.habit.says for p in known.profiles if p.habit is not None},
    )


class _Rows(NamedTuple):
    """Rows as a stream: their frame, the day of each, and its moment where it has one."""

    frame: Frame
    days: NDArray[np.int64]
    times: NDArray[np.int64] | None


def _rows(table: Table, pair: Pair, columns: Sequence[Column], size: int) -> _Rows:
    frame = {column.name: table.column(column.name, column.type) for column in columns}
    if pair.time is None:
        return _Rows(frame, np.arange(table.rows, dtype=np.int64) // size, None)
    times = table.moments(pair.time)
    kept = times != MISSING_TIME
    return _Rows(take(frame, kept), times[kept] // DAY_US, times[kept])


def _watched(pair: Pair, ignore: tuple[str, ...]) -> list[Column]:
    names = [name for name in pair.columns(ignore) if name in pair.new.stored and not pair.why_not(name)]
    kinds = [(name, pair.kind_of(name)) for name in names]
    return [Column(name, kind) for name, kind in kinds if kind is not None]


def _scored(
    pair: Pair, target: str | None, prediction: str | None
) -> tuple[str, NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the loss, and its value on each row of both tables; None where no performance is to be watched."""
    if target is None or prediction is None:
        return None
    for name in (target, prediction):
        for table in (pair.old, pair.new):
            if name not in table.stored:
                raise DataError(f"there is no column {name!r}", where=table.address, fix=nearest(name, table.stored))
    values = [[table.column(name, "number") for name in (target, prediction)] for table in (pair.old, pair.new)]
    truth = np.concatenate([truth[~np.isnan(truth)] for truth, _ in values])
    is_class = bool(np.isin(truth, (0.0, 1.0)).all())
    was, now = (metrics.per_row("log_loss" if is_class else "squared", *own) for own in values)
    return "log_loss" if is_class else "squared", was, now


def _block(rows: _Rows, day: int, losses: NDArray[np.float64] | None) -> Block:
    mine = np.flatnonzero(rows.days == day)
    start = EPOCH + timedelta(days=day)
    return Block(
        day=day,
        start=start,
        end=start + timedelta(days=1),
        frame=take(rows.frame, mine),
        outputs=None,
        times=None if rows.times is None else rows.times[mine],
        matured=() if losses is None else [(day, losses[mine])],
    )


def _says(told: Sequence[Finding], days: int) -> str:
    pages = [finding for finding in told if finding.verdict == "page"]
    if not pages:
        return f"Nothing would have paged in {days} days."
    subjects = ", ".join(dict.fromkeys(finding.subject for finding in pages))
    return f"{len(pages)} changes would have paged in {days} days: {subjects}."
