"""Training against serving: what the log has of predictions beside what the source has of the same rows.

the log ─► chunks of served rows ─┐
the source, or another table ─────┴─► data/matching.py ─► counts, samples ─► monitor/skew/skew.py ─► Findings
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

import duckdb
import msgspec
import numpy as np

from kaizen.core.clock import from_us
from kaizen.core.errors import DataError, KaizenError
from kaizen.core.project import Project
from kaizen.core.records import Bundle, Column, Finding, PredictionBatch, Record
from kaizen.data import matching, tables
from kaizen.data.columns import quoted
from kaizen.data.matching import ColumnPairs, Matched, Matching, ServedRows
from kaizen.graph.frame import from_batch
from kaizen.monitor.skew import skew
from kaizen.monitor.skew.causes import likely_cause
from kaizen.monitor.skew.skew import ColumnSkew, Counted, Example
from kaizen.monitor.stamp import Stamper

CHUNK: Final = 65_536  # rows
RECENT: Final = timedelta(days=28)  # what a retraining looks at
_SHOWN: Final = 5  # examples of a column
_APART_ROWS: Final = 200_000  # of each side, where nothing can be joined


class SkewReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison of the served rows with a table came to."""

    table: str
    joined: str  # a sentence on what could be joined
    match: Matched
    columns: list[ColumnSkew]
    not_logged: list[str]  # inputs that the log does not carry
    start: datetime  # of the served rows
    end: datetime

    @property
    def is_skewed(self) -> bool:
        """Whether a column is."""
        return any(column.verdict == "watch" for column in self.columns)


def compare(
    project: Project,
    *,
    source: str | None = None,
    identity: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> SkewReport:
    """Return how the inputs of logged predictions compare with the rows of the project's source, or another table.

    Parameters
    ----------
    source
        The address of another table, which is read as it is; None: the project's, with its tables joined.
    identity
        The table's column of prediction ids.
    since, until
        The event time of the predictions.
    note
        Told how far it is.

    Raises
    ------
    DataError
        There is no prediction, or nothing to join by; the table cannot be read.
    """
    with _table(project, source) as sql:
        return _compared(project, sql, source or project.file.data.source, identity, since, until, note)


def findings(project: Project, report: SkewReport, key: str) -> list[Finding]:
    """Return what a report says as Findings, to be stored by the caller."""
    endpoint = project.endpoint()
    assert endpoint is not None
    latest = {f.subject: f for f in project.records.find(Finding, where={"question": skew.QUESTION})}
    return skew.findings(
        report.columns,
        report.joined,
        rows=report.match.pairs,
        start=report.start,
        end=report.end,
        stamp=Stamper(project.name, by="loop", at=project.clock.now(), key=key, parents=(endpoint.champion.bundle,)),
        open_before=frozenset(name for name, finding in latest.items() if finding.verdict == "watch"),
    )


def at_retraining(project: Project, now: datetime, made: list[Record], key: str) -> str:
    """Compare the newest predictions with the source as it is now; return what came of it in a sentence.

    A retraining goes on whatever is found, and whether or not the source can be read.
    """
    source = project.file.data.source
    try:
        if not _has_rows_since(project, now - RECENT):
            return "the source has no rows from the time of the newest predictions"
        with _table(project, None) as sql:
            report = _compared(project, sql, source, None, now - RECENT, now, lambda _: None)
    except KaizenError as err:
        return f"not compared: {err.what}"
    except duckdb.Error as err:
        return f"not compared: {str(err).splitlines()[0]}"
    if report.match.pairs:
        made.extend(findings(project, report, key))
    return report.joined


def _compared(
    project: Project,
    sql: duckdb.DuckDBPyConnection,
    table: str,
    identity: str | None,
    since: datetime | None,
    until: datetime | None,
    note: Callable[[str], None],
) -> SkewReport:
    endpoint, data = project.endpoint(), project.file.data
    if endpoint is None:
        raise DataError("no bundle serves yet, so nothing was served", where=project.name, fix="kaizen learn")
    columns = project.records.get(Bundle, endpoint.champion.bundle).inputs
    served = _Served(project, columns, since, until, note)
    with matching.matching(sql, served, columns, time=data.time, unit=data.unit, identity=identity) as matched:
        if served.end is None or served.start is None:
            raise DataError("the log has no predictions from that time", where=project.name, fix="kaizen serve")
        note(f"comparing {served.rows:,} predictions")
        match = matched.join()
        shown = [column for column in columns if column.name in served.known]
        return SkewReport(
            table=table,
            joined=_joined(match, data.time or ""),
            match=match,
            columns=_judged(matched, match, shown) + _shifted(match, shown, data.time),
            not_logged=[column.name for column in columns if column.name not in served.known],
            start=from_us(served.start),
            end=from_us(served.end + 1),
        )


def _table(project: Project, source: str | None) -> duckdb.DuckDBPyConnection:
    return tables.connect(project.file, project.folder) if source is None else tables.read(source, project.folder)


def _has_rows_since(project: Project, since: datetime) -> bool:
    """Say whether the source has rows as new as that, before its tables are joined."""
    time = project.file.data.time
    if time is None:
        return False
    with tables.read(project.file.data.source, project.folder) as sql:
        newest = f"max(TRY_CAST(CAST({quoted(time)} AS VARCHAR) AS TIMESTAMPTZ))"
        found = sql.execute(f"SELECT {newest} >= ? FROM rows", [since]).fetchone()
    return bool(found and found[0])


class _Served:
    """The logged inputs in chunks, read once; what was seen of them is known afterwards."""

    def __init__(
        self,
        project: Project,
        columns: tuple[Column, ...],
        since: datetime | None,
        until: datetime | None,
        note: Callable[[str], None],
    ) -> None:
        self._batches = project.log.predictions(since, until)
        self._columns = columns
        self._note = note
        self.rows = 0
        self.start: int | None = None
        self.end: int | None = None
        self.known: set[str] = set()

    def __iter__(self) -> Iterator[ServedRows]:
        waiting: list[PredictionBatch] = []
        rows = 0
        for batch in self._batches:
            if not batch.columns:  # a shadow's: the champion's has the inputs
                continue
            if waiting and (rows >= CHUNK or batch.columns != waiting[0].columns):
                yield self._chunk(waiting)
                waiting, rows = [], 0
            waiting.append(batch)
            rows += len(batch.ids)
        if waiting:
            yield self._chunk(waiting)

    def _chunk(self, batches: list[PredictionBatch]) -> ServedRows:
        whole = msgspec.structs.replace(
            batches[0],
            ids=[each for batch in batches for each in batch.ids],
            numbers=b"".join(batch.numbers for batch in batches),
            times=b"".join(batch.times for batch in batches),
            strings=[each for batch in batches for each in batch.strings],
        )
        at = np.array([moment for batch in batches for moment in batch.at], np.int64)
        frame = from_batch(whole)
        types = {column.name: column.type for column in whole.columns}
        kept = {c.name: frame[c.name] for c in self._columns if types.get(c.name) == c.type}
        self.known |= set(kept)
        self.rows += len(whole.ids)
        first, last = int(at.min()), int(at.max())
        self.start = first if self.start is None else min(first, self.start)
        self.end = last if self.end is None else max(last, self.end)
        self._note(f"{self.rows:,} predictions read")
        return ServedRows(whole.ids, [unit for batch in batches for unit in batch.units], at, kept)


def _judged(matched: Matching, match: Matched, columns: list[Column]) -> list[ColumnSkew]:
    counted = {pairs.column.name: pairs for pairs in match.columns}
    if match.pairs:
        return [_of_pairs(matched, counted[column.name]) for column in columns]
    apart = []
    for column in columns:
        served, source = matched.some(column, _APART_ROWS)
        apart.append(skew.judged_apart(column, counted[column.name].stored, served, source, len(columns)))
    return apart


def _of_pairs(matched: Matching, pairs: ColumnPairs) -> ColumnSkew:
    column, cause = pairs.column, None
    examples: tuple[Example, ...] = ()
    if pairs.differ and pairs.stored is not None:
        sample = matched.differing(column)
        cause = likely_cause(column.type, sample.served, sample.source, lambda: matched.earlier(column).source)
        examples = tuple(
            skew.example(column.type, sample.ids[i], sample.served[i : i + 1], sample.source[i : i + 1])
            for i in range(min(_SHOWN, len(sample.ids)))
        )
    counted = Counted(**{name: getattr(pairs, name) for name in Counted.__struct_fields__})
    return skew.judged(counted, cause, examples)


def _joined(match: Matched, time: str) -> str:
    says = f"{match.pairs:,} of {match.served:,} predictions were joined with a row by {match.key}"
    if match.ambiguous:
        says += f"; {match.ambiguous:,} have several rows and are left out"
    if match.shift_s:
        later = "later" if match.shift_s > 0 else "earlier"
        says += f"; only once {time} was taken to be {abs(match.shift_s) / 3600:g} hours {later} in serving"
    return f"{says}."


def _shifted(match: Matched, columns: list[Column], time: str | None) -> list[ColumnSkew]:
    """Return the word on the event time where it is off and no input that is compared anyway."""
    if not match.shift_s or time is None or any(column.name == time for column in columns):
        return []
    apart = f"in serving it is {abs(match.shift_s) / 3600:g} hours {'later' if match.shift_s > 0 else 'earlier'}"
    return [
        ColumnSkew(
            name=time,
            type="time",
            stored="event time",
            verdict="watch",
            says=f"{time}, the event time: {apart}, most likely a time zone.",
            pairs=match.pairs,
            differ=match.pairs,
            share=1.0,
            cause=f"{apart}: a time zone",
            cause_share=1.0,
            evidence=skew.LIMIT,
        )
    ]
