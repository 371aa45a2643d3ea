"""The source and its declared tables, joined into one view that knows nothing of the future.

source ──┬── as of the row's time (a table with a time): the newest row at or before it, by key
         └── by key (a table without one): exactly one row or none
                                                    ──► view `rows`, every source row once, in order
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import duckdb

from kaizen.core import plugins
from kaizen.core.durations import duration
from kaizen.core.errors import DataError, nearest
from kaizen.core.ports import Source
from kaizen.core.project import STATE_FOLDER
from kaizen.core.projectfile import ProjectFile, TableSection
from kaizen.core.records import Column, ColumnType
from kaizen.data.columns import kind_of, load, quoted, require, stored_types, value_of
from kaizen.graph.frame import Frame

ROWS = "rows"
_SOURCE = "_source"
_ROW = "_kaizen_row"
_CASTS: Mapping[ColumnType, str] = {
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "time": "TIMESTAMPTZ",
    "category": "VARCHAR",
    "text": "VARCHAR",
}


def connect(file: ProjectFile, folder: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection whose view `rows` has the source's rows with the declared tables joined.

    Every row of the source is there exactly once and in its order. A column of a joined table is named by the
    table's `prefix` and its own name; keys and the table's own time are not repeated.

    Raises
    ------
    DataError
        An address leads nowhere; a declared column is missing (the error names the nearest one), has a value that
        does not parse (the first one is named, with its row) or is there twice; a look-up key is not unique.
    """
    sql = engine(folder)
    _read(sql, _SOURCE, file.data.source, folder)
    where = file.data.source
    stored = stored_types(sql, f"SELECT * FROM {_SOURCE}")
    if file.data.time is not None:
        require(file.data.time, stored, "column", where=f"{where}: data.time")
    _cast(sql, _SOURCE, _declared(file, stored, file.data.time), where)
    for name, table in file.data.tables.items():
        _read_table(sql, name, table, file, folder)
    if file.data.tables:
        _join(sql, file)
    else:
        sql.execute(f"CREATE TEMP VIEW {ROWS} AS SELECT * FROM {_SOURCE}")
    _require_declared(file, stored_types(sql, f"SELECT * FROM {ROWS}"))
    return sql


def engine(folder: Path) -> duckdb.DuckDBPyConnection:
    """Return an empty connection: UTC, order kept, nothing fetched, spilling into the project's state folder."""
    sql = duckdb.connect(":memory:")
    for setting in (
        "TimeZone = 'UTC'",
        "enable_progress_bar = false",
        "preserve_insertion_order = true",
        "parquet_metadata_cache = true",  # read anew where a file has changed
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
    ):
        sql.execute(f"SET {setting}")
    sql.execute("SET temp_directory = ?", [str(folder / STATE_FOLDER / "spill")])
    return sql


def read(address: str, folder: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection whose view `rows` has the rows of one address as they are: nothing joined or declared."""
    sql = engine(folder)
    _read(sql, _SOURCE, address, folder)
    sql.execute(f"CREATE TEMP VIEW {ROWS} AS SELECT * FROM {_SOURCE}")
    return sql


def lookups(sql: duckdb.DuckDBPyConnection, file: ProjectFile) -> dict[str, Frame]:
    """Return the tables without a time as frames, by name, keys included: what a graph may carry inside."""
    frames: dict[str, Frame] = {}
    for name, table in file.data.tables.items():
        if table.time is None:
            query = f"SELECT * FROM {_table(name)}"
            kinds = {column: kind_of(stored) for column, stored in stored_types(sql, query).items()}
            frames[name] = load(sql, query, [Column(column, kind) for column, kind in kinds.items() if kind])
    return frames


def resolved(address: str, folder: Path) -> str:
    """Return an address with its path made absolute: relative paths (``sqlite:///x.db`` too) start at the folder.

    >>> resolved("sqlite:///x.db?table=t", Path("/home/p"))
    'sqlite:////home/p/x.db?table=t'
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return str(folder / address)
    if scheme != "file" and rest.startswith("/") and not rest.startswith("//"):
        return f"{scheme}:///{folder / rest[1:]}"
    return address


def _read(sql: duckdb.DuckDBPyConnection, view: str, address: str, folder: Path) -> None:
    full = resolved(address, folder)
    for name in plugins.adapters("source"):
        source = cast("Source", plugins.load("source", name)())
        if source.handles(full):
            source.attach(sql, view, full)
            return
    known = ", ".join(plugins.adapters("source"))
    raise DataError("no source adapter reads this address", where=address, fix=f"installed adapters: {known}")


def _declared(
    file: ProjectFile, stored: Mapping[str, str], time: str | None, prefix: str = ""
) -> dict[str, ColumnType]:
    types = {name: file.data.types[prefix + name] for name in stored if prefix + name in file.data.types}
    return {**types, time: "time"} if time is not None else types


def _cast(sql: duckdb.DuckDBPyConnection, view: str, types: Mapping[str, ColumnType], where: str) -> None:
    """Replace a view by one whose columns are stored as declared; raise for the first value that does not parse."""
    stored = stored_types(sql, f"SELECT * FROM {quoted(view)}")
    casts = {
        name: _cast_of(name, type_, stored[name], where)
        for name, type_ in types.items()
        if kind_of(stored[name]) != ("category" if type_ == "text" else type_)
    }
    if not casts:
        return
    for name, cast_ in casts.items():
        _require_parses(sql, view, name, cast_, types[name], where)
    sql.execute(f"ALTER {_sort(sql, view)} {quoted(view)} RENAME TO {quoted(view + '_raw')}")
    replaced = ", ".join(f"{cast_} AS {quoted(name)}" for name, cast_ in casts.items())
    sql.execute(f"CREATE TEMP VIEW {quoted(view)} AS SELECT * REPLACE ({replaced}) FROM {quoted(view + '_raw')}")


def _cast_of(name: str, type_: ColumnType, stored: str, where: str) -> str:
    if type_ == "time" and kind_of(stored) in ("number", "boolean"):
        raise DataError(
            f"column {name!r} is declared as a time and holds numbers ({stored})",
            where=where,
            fix="write times as ISO 8601 text (2013-01-31T18:30:00Z) or as a timestamp column",
        )
    if type_ == "boolean" and kind_of(stored) == "number":
        return f"CASE {quoted(name)} WHEN 1 THEN true WHEN 0 THEN false END"
    return f"TRY_CAST({quoted(name)} AS {_CASTS[type_]})"


def _require_parses(
    sql: duckdb.DuckDBPyConnection, view: str, name: str, cast_: str, type_: ColumnType, where: str
) -> None:
    column = quoted(name)
    numbered = f"SELECT row_number() OVER () AS row, CAST({column} AS VARCHAR) AS bad, {cast_} AS good"
    bad = sql.execute(
        f"SELECT row, bad FROM ({numbered} FROM {quoted(view)}) WHERE bad <> '' AND good IS NULL ORDER BY row LIMIT 1"
    ).fetchone()
    if bad is not None:
        raise DataError(
            f"column {name!r} is declared as a {type_} and row {bad[0]} says {bad[1]!r}",
            where=where,
            fix="correct the value, leave it empty, or declare another type under [data.types]"
            + (" (a time is ISO 8601, such as 2013-01-31T18:30:00Z)" if type_ == "time" else ""),
        )


def _sort(sql: duckdb.DuckDBPyConnection, name: str) -> str:
    found = sql.execute("SELECT count(*) FROM duckdb_views() WHERE view_name = ?", [name]).fetchone()
    return "VIEW" if found is not None and found[0] else "TABLE"


def _table(name: str) -> str:
    return quoted(f"_table_{name}")


def _keys(table: TableSection) -> list[str]:
    return [table.key] if isinstance(table.key, str) else list(table.key)


def _read_table(
    sql: duckdb.DuckDBPyConnection, name: str, table: TableSection, file: ProjectFile, folder: Path
) -> None:
    where = f"{table.source}: data.tables.{name}"
    view = f"_table_{name}"
    _read(sql, view, table.source, folder)
    stored = stored_types(sql, f"SELECT * FROM {quoted(view)}")
    for key in _keys(table):
        require(key, stored, "column", where=f"{where}.key")
    if table.time is None:
        _require_unique(sql, view, _keys(table), where)
    else:
        require(table.time, stored, "column", where=f"{where}.time")
        if file.data.time is None:
            raise DataError("is joined as of time, and the rows have none", where=where, fix="set time under [data]")
    _cast(sql, view, _declared(file, stored, table.time, table.prefix), where)


def _require_unique(sql: duckdb.DuckDBPyConnection, view: str, keys: list[str], where: str) -> None:
    names = ", ".join(quoted(key) for key in keys)
    present = " AND ".join(f"{quoted(key)} IS NOT NULL" for key in keys)
    twice = sql.execute(
        f"SELECT count(*) AS n, {names} FROM {quoted(view)} WHERE {present} GROUP BY {names}"
        f" HAVING count(*) > 1 ORDER BY n DESC, {names} LIMIT 1"
    ).fetchone()
    if twice is not None:
        value = ", ".join(f"{key} = {part!r}" for key, part in zip(keys, twice[1:], strict=True))
        raise DataError(
            f"a look-up needs one row a key, and {value} is there {twice[0]} times",
            where=where,
            fix="leave one row a key, name more key columns, or give the table's time if rows follow each other",
        )


def _join(sql: duckdb.DuckDBPyConnection, file: ProjectFile) -> None:
    stored = stored_types(sql, f"SELECT * FROM {_SOURCE}")
    at = value_of(Column(file.data.time, "time"), stored[file.data.time]) if file.data.time is not None else "NULL"
    taken = dict.fromkeys(stored, "the source")
    picked, joins = ["s.* EXCLUDE (_kaizen_row, _kaizen_at)"], []
    for index, (name, table) in enumerate(file.data.tables.items()):
        held = stored_types(sql, f"SELECT * FROM {_table(name)}")
        _require_alike(name, table, stored, held)
        own = [column for column in held if column not in (*_keys(table), table.time)]
        _take(taken, own, name, table)
        fresh = _fresh(f"t{index}", table)
        picked += [_picked(f"t{index}.{quoted(column)}", fresh, table.prefix + column) for column in own]
        joins.append(_joined(name, f"t{index}", table, held))
    sql.execute(
        f"CREATE TEMP TABLE {ROWS} AS SELECT {', '.join(picked)}"
        f" FROM (SELECT *, row_number() OVER () AS {_ROW}, {at} AS _kaizen_at FROM {_SOURCE}) s"
        f" {' '.join(joins)} ORDER BY s.{_ROW}"
    )


def _joined(name: str, alias: str, table: TableSection, held: Mapping[str, str]) -> str:
    keys = _keys(table)
    equal = " AND ".join(f"s.{quoted(key)} = {alias}.{quoted(key)}" for key in keys)
    if table.time is None:
        return f"LEFT JOIN {_table(name)} {alias} ON {equal}"
    at = value_of(Column(table.time, "time"), held[table.time])
    # Of two rows with one key and one time the later one in the table wins: an as-of join alone would pick either.
    newest = (
        f"SELECT *, {at} AS _kaizen_at FROM (SELECT *, row_number() OVER () AS {_ROW} FROM {_table(name)})"
        f" WHERE {at} IS NOT NULL QUALIFY row_number() OVER"
        f" (PARTITION BY {', '.join(quoted(key) for key in keys)}, {at} ORDER BY {_ROW} DESC) = 1"
    )
    return f"ASOF LEFT JOIN ({newest}) {alias} ON {equal} AND s._kaizen_at >= {alias}._kaizen_at"


def _fresh(alias: str, table: TableSection) -> str | None:
    if table.time is None or table.tolerance is None:
        return None
    age_us = round(duration(table.tolerance).total_seconds() * 1_000_000)
    return f"s._kaizen_at - {alias}._kaizen_at <= {age_us}"


def _picked(column: str, fresh: str | None, name: str) -> str:
    return f"{column} AS {quoted(name)}" if fresh is None else f"CASE WHEN {fresh} THEN {column} END AS {quoted(name)}"


def _require_alike(name: str, table: TableSection, stored: Mapping[str, str], held: Mapping[str, str]) -> None:
    where = f"data.tables.{name}.key"
    for key in _keys(table):
        require(key, stored, "column", where=where)
        if kind_of(stored[key]) != kind_of(held[key]):
            raise DataError(
                f"key {key!r} is {stored[key]} in the rows and {held[key]} in the table",
                where=where,
                fix=f'store both alike, or declare it under [data.types], such as {key} = "category"',
            )


def _take(taken: dict[str, str], own: list[str], name: str, table: TableSection) -> None:
    lower = {column.lower(): column for column in taken}
    for column in own:
        full = table.prefix + column
        if full.lower() in lower:
            raise DataError(
                f"column {full!r} is there already, in {taken[lower[full.lower()]]}",
                where=f"data.tables.{name}",
                fix=f'write prefix = "{name}_" there',
            )
        taken[full] = lower[full.lower()] = full
        taken[full] = f"table {name!r}"


def _require_declared(file: ProjectFile, stored: Mapping[str, str]) -> None:
    """Raise for a column that the declaration names and the rows do not have."""
    data = file.data
    declared = [("data.target", data.target), ("data.unit", data.unit), ("learn.group", file.learn.group)]
    declared += [("data.outcome", name) for name in data.outcome] + [("data.ignore", name) for name in data.ignore]
    declared += [("data.types", name) for name in data.types] + [("data.rules", name) for name in data.rules]
    for path, name in declared:
        if name is not None and name not in stored:
            raise DataError(f"there is no column {name!r}", where=f"{data.source}: {path}", fix=nearest(name, stored))
