"""Tables of a SQLite file, read by the standard library (DuckDB would fetch its own scanner at run time).

shop.db?table=orders   shop.db#orders   sqlite:///shop.db?table=orders   shop.db (if it has one table)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from kaizen.adapters.source.address import split
from kaizen.core.errors import DataError, nearest
from kaizen.core.ports import Sql

_SUFFIXES = (".db", ".sqlite", ".sqlite3", ".db3")
_CHUNK = 20_000  # rows held as Python objects at a time


class SqliteSource:
    """Rows of one table or view of a SQLite file, in the order of their rowid."""

    def handles(self, address: str) -> bool:
        """Say whether this is ``sqlite:///…`` or a path with SQLite's suffixes."""
        path, _ = _parts(address)
        return address.startswith("sqlite://") or Path(path).suffix.lower() in _SUFFIXES

    def attach(self, sql: Sql, view: str, address: str) -> None:
        """Copy the table into one named `view`; see the port."""
        path, table = _parts(address)
        if not Path(path).is_file():
            raise DataError("there is no such file", where=address, fix="give the path from the project's folder")
        try:
            with closing(sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)) as db:
                name = _chosen(db, table, address)
                types = _types(db, name, address)
                sql.execute(_create(view, types))
                _copy(db, sql, view, name, types)
                _parse_times(db, sql, view, name, types)
        except sqlite3.Error as err:
            raise DataError(
                f"cannot be read as SQLite: {err}", where=address, fix="check that the file is whole"
            ) from err


def _parts(address: str) -> tuple[str, str | None]:
    rest = address.removeprefix("sqlite:///") if address.startswith("sqlite:///") else address
    path, options = split(rest, ("table",))
    path, _, anchor = path.partition("#")
    return path, options.get("table") or anchor or None


def _chosen(db: sqlite3.Connection, table: str | None, address: str) -> str:
    query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY name"
    names = [str(name) for (name,) in db.execute(query)]
    if table in names:
        return str(table)
    if table is not None:
        raise DataError(f"there is no table {table!r}", where=address, fix=nearest(table, names))
    if len(names) != 1:
        raise DataError(f"has {len(names)} tables: {', '.join(names)}", where=address, fix="add ?table=NAME")
    return names[0]


def _types(db: sqlite3.Connection, table: str, address: str) -> dict[str, str]:
    """Return the DuckDB type of each column by what its values are, for SQLite lets any value into any column."""
    declared = {str(row[1]): str(row[2]).upper() for row in db.execute(f"PRAGMA table_info({_quoted(table)})")}
    if db.execute(f"SELECT 1 FROM {_quoted(table)} LIMIT 1").fetchone() is None:
        raise DataError(f"table {table!r} has no rows", where=address, fix="check what fills it")
    types = {}
    for name, said in declared.items():
        column = _quoted(name)
        found = {str(t) for (t,) in db.execute(f"SELECT DISTINCT typeof({column}) FROM {_quoted(table)}")} - {"null"}
        if "blob" in found:
            raise DataError(f"column {name!r} holds bytes", where=address, fix="leave it out by a view in the database")
        types[name] = _type(found, said)
        if types[name] == "BIGINT" and "BOOL" in said:
            odd = db.execute(f"SELECT 1 FROM {_quoted(table)} WHERE {column} NOT IN (0, 1) LIMIT 1").fetchone()
            types[name] = "BIGINT" if odd else "BOOLEAN"
    return types


def _type(found: set[str], declared: str) -> str:
    if "text" in found:
        return "VARCHAR"
    if found:
        return "BIGINT" if found == {"integer"} else "DOUBLE"
    return "DOUBLE" if any(word in declared for word in ("INT", "REAL", "FLOA", "DOUB", "NUM", "DEC")) else "VARCHAR"


def _create(view: str, types: dict[str, str]) -> str:
    columns = ", ".join(f"{_quoted(name)} {type_}" for name, type_ in types.items())
    return f"CREATE TEMP TABLE {_quoted(view)} ({columns})"


def _copy(db: sqlite3.Connection, sql: Sql, view: str, table: str, types: dict[str, str]) -> None:
    picked = ", ".join(
        f"CAST({_quoted(name)} AS TEXT)" if type_ == "VARCHAR" else _quoted(name) for name, type_ in types.items()
    )
    cursor = db.execute(f"SELECT {picked} FROM {_quoted(table)}{_order(db, table)}")
    unnested = ", ".join(f"unnest(CAST(? AS {type_}[]))" for type_ in types.values())
    while rows := cursor.fetchmany(_CHUNK):
        columns: Sequence[Sequence[object]] = [list(column) for column in zip(*rows, strict=True)]
        sql.execute(f"INSERT INTO {_quoted(view)} SELECT {unnested}", columns)


def _order(db: sqlite3.Connection, table: str) -> str:
    try:
        db.execute(f"SELECT rowid FROM {_quoted(table)} LIMIT 0")
    except sqlite3.OperationalError:  # a view, or a table without rowid, which is stored in the order of its key
        return ""
    return " ORDER BY rowid"


def _parse_times(db: sqlite3.Connection, sql: Sql, view: str, table: str, types: dict[str, str]) -> None:
    """Turn text into times where the column was declared as one and every value parses."""
    declared = {str(row[1]): str(row[2]).upper() for row in db.execute(f"PRAGMA table_info({_quoted(table)})")}
    for name, type_ in types.items():
        if type_ != "VARCHAR" or not any(word in declared[name] for word in ("DATE", "TIME")):
            continue
        column = _quoted(name)
        bad = (
            f"SELECT 1 FROM {_quoted(view)} WHERE {column} <> '' AND try_cast({column} AS TIMESTAMPTZ) IS NULL LIMIT 1"
        )
        if sql.execute(bad).fetchone() is None:
            parsed = f"try_cast({column} AS TIMESTAMPTZ)"
            sql.execute(f"ALTER TABLE {_quoted(view)} ALTER {column} TYPE TIMESTAMPTZ USING {parsed}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
