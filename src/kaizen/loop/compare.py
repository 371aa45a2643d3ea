"""Two tables held against each other, no project needed: read column by column, counted, judged.

address ─► data/counting.py ─► counts by block (`pair.py`) ─► monitor/drift: change.py ─► compare.py ─► Comparison
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import numpy as np

from kaizen.core.clock import SystemClock, from_us
from kaizen.data import tables
from kaizen.data.counting import Table
from kaizen.loop.odd_rows import odd_rows
from kaizen.loop.pair import Pair
from kaizen.loop.told_apart import classify
from kaizen.monitor.drift import compare as comparing
from kaizen.monitor.drift.change import Change, change
from kaizen.monitor.drift.compare import ColumnCompared, Comparison, TableRead
from kaizen.monitor.drift.joint import Joint, joint

FEWEST_ROWS = 100  # of either table, to look at all columns together

Source: TypeAlias = "str | Path | Mapping[str, Any]"
Note: TypeAlias = Callable[[str], None]


def compare(
    reference: Source,
    current: Source,
    *,
    time: str | None = None,
    ignore: tuple[str, ...] = (),
    at: datetime | None = None,
    folder: Path = Path(),
    note: Note = lambda _: None,
) -> Comparison:
    """Return how the rows of `current` differ from those of `reference`.

    Parameters
    ----------
    reference, current
        The address of a table (CSV, Parquet, JSONL, a pattern of files, SQLite), or its columns by name as arrays.
    time
        The column with the rows' own times; rows of one day are then allowed to be alike. None: the first column of
        times by whose days rows come, or stretches of rows where there is none.
    ignore
        Columns to leave out.
    at
        The moment that findings are made at; None: now.
    note
        Told what is going on, for progress.

    Raises
    ------
    DataError
        A table cannot be read or has no rows; a named column is in neither.
    """
    return walk(reference, current, time=time, ignore=ignore, at=at, folder=folder, note=note)[0]


def walk(
    reference: Source,
    current: Source,
    *,
    time: str | None = None,
    ignore: tuple[str, ...] = (),
    at: datetime | None = None,
    folder: Path = Path(),
    note: Note = lambda _: None,
) -> tuple[Comparison, dict[str, list[Change]]]:
    """Return what `compare` does, and the counts that each column was judged by: what a report draws."""
    note("reading")
    with opened(reference, folder) as old, opened(current, folder) as new:
        pair = Pair(Table(old, name_of(reference)), Table(new, name_of(current)), time)
        names = pair.columns(ignore)
        limit = comparing.limit_of(len(names))
        changes: dict[str, list[Change]] = {}
        left_out: list[ColumnCompared] = []
        for index, name in enumerate(names):
            note(f"{index + 1} of {len(names)} columns: {name}")
            why = pair.why_not(name)
            if why:
                left_out.append(ColumnCompared(name=name, type=pair.type_of(name), page=False, why=why))
            else:
                changes[name] = [change(profile, counts, limit) for profile, counts in pair.counted(name)]
        moment = at or SystemClock().now()
        judged, together = comparing.judge(list(changes.values()), _together(pair, list(changes), note))
        found = comparing.comparison(
            judged,
            left_out,
            together,
            reference=_read(pair.old, pair.time),
            current=_read(pair.new, pair.time),
            time=pair.time,
            at=moment,
            odd=odd_rows(pair, changes, moment, ignore),
        )
        return found, changes


def _together(pair: Pair, names: Sequence[str], note: Note) -> Joint | None:
    """Return what all columns show together; None where there is only one, or hardly a row."""
    note("all columns together")
    columns, old, new = pair.sides(names)
    if len(columns) < 2 or min(len(old.blocks), len(new.blocks)) < FEWEST_ROWS:
        return None
    return joint(columns, old, new, classify)


@contextmanager
def opened(source: Source, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection whose view `rows` has the rows of a source."""
    if isinstance(source, str | Path):
        sql = tables.read(str(source), folder)
    else:
        sql = tables.engine(folder)
        sql.register("given", {name: np.asarray(values) for name, values in source.items()})
        sql.execute("CREATE TEMP VIEW rows AS SELECT * FROM given")
    try:
        yield sql
    finally:
        sql.close()


def name_of(source: Source) -> str:
    """Return what a source is called."""
    return str(source) if isinstance(source, str | Path) else "arrays"


def _read(table: Table, time: str | None) -> TableRead:
    span = table.span(time) if time else None
    if span is None:
        return TableRead(table.address, table.rows)
    return TableRead(table.address, table.rows, from_us(span[0]), from_us(span[1]))
