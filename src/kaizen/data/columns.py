"""What a column of a table is, in the four forms that it takes: stored, typed, as SQL and as an array.

| stored in DuckDB             | type             | SQL value      | array                |
|------------------------------|------------------|----------------|----------------------|
| integers, floats, decimals   | number           | DOUBLE or NULL | float64, NaN missing |
| BOOLEAN                      | boolean          | DOUBLE or NULL | float64, NaN missing |
| DATE, TIMESTAMP, TIMESTAMPTZ | time             | BIGINT or NULL | int64, MISSING_TIME  |
| VARCHAR, ENUM, UUID, TIME    | category or text | VARCHAR or NULL| object, "" missing   |

A time without an offset is in UTC. A number that is not finite is missing, and so is the empty string.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import numpy as np

from kaizen.core.errors import DataError, nearest
from kaizen.core.projectfile import ProjectFile
from kaizen.core.records import Column, ColumnType
from kaizen.graph.frame import MISSING_TIME, Frame

_INTEGERS = frozenset(
    f"{sign}{size}INT" if size != "INTEGER" else f"{sign}INTEGER"
    for sign in ("", "U")
    for size in ("TINY", "SMALL", "INTEGER", "BIG", "HUGE")
)
_FLOATS = frozenset(("FLOAT", "DOUBLE"))
_STRINGS = frozenset(("VARCHAR", "UUID", "TIME"))
_TEXT_WORDS = 4.0  # words a value, on average: "New York City" stays a category
_TEXT_DISTINCT = 0.5  # share of values that differ
_FIRST_ROWS = 20_000  # on which most columns show that they have too few words
_NEARLY = 0.8


def quoted(name: str) -> str:
    """Return a name as an SQL identifier.

    >>> quoted('a "b"')
    '"a ""b\"""'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def stored_types(sql: duckdb.DuckDBPyConnection, query: str) -> dict[str, str]:
    """Return the DuckDB type of each column of a query, in order."""
    return {str(name): str(type_) for name, type_, *_ in sql.execute(f"DESCRIBE {query}").fetchall()}


def kind_of(stored: str) -> ColumnType | None:
    """Return the type that a DuckDB type stands for ("category" for every string), or None if it has no use here."""
    if stored == "BOOLEAN":
        return "boolean"
    if stored in _INTEGERS or stored in _FLOATS or (stored.startswith("DECIMAL") and not stored.endswith("]")):
        return "number"
    if stored == "DATE" or (stored.startswith("TIMESTAMP") and not stored.endswith("]")):
        return "time"
    if stored in _STRINGS or (stored.startswith("ENUM") and not stored.endswith("]")):
        return "category"
    return None


def is_integer(stored: str) -> bool:
    """Say whether a DuckDB type holds whole numbers only."""
    return stored in _INTEGERS


def columns_of(sql: duckdb.DuckDBPyConnection, view: str = "rows", *, file: ProjectFile) -> tuple[Column, ...]:
    """Return the typed columns of a view, without those that the project ignores.

    Strings are text where they have many words and mostly differ, else categories; `data.types` overrules.

    Raises
    ------
    DataError
        A column has a type with no use here (a list, a struct, bytes) and is not ignored.
    """
    ignored = set(file.data.ignore)
    stored = {name: type_ for name, type_ in stored_types(sql, _select(view)).items() if name not in ignored}
    kinds = {name: file.data.types.get(name) or kind_of(type_) for name, type_ in stored.items()}
    for name, kind in kinds.items():
        if kind is None:
            raise DataError(
                f"column {name!r} has the type {stored[name]}, which no feature can read",
                where=file.data.source,
                fix=f'flatten it in the source, or write ignore = ["{name}"] under [data]',
            )
    strings = [name for name, kind in kinds.items() if kind == "category" and name not in file.data.types]
    texts = texts_of(sql, view, strings)
    return tuple(Column(name, "text" if name in texts else kind) for name, kind in kinds.items() if kind is not None)


def inputs_of(columns: Sequence[Column], file: ProjectFile) -> tuple[Column, ...]:
    """Return the columns that a model may read: all but the target, the declared outcomes and the ignored ones."""
    hidden = {file.data.target, *file.data.outcome, *file.data.ignore}
    return tuple(column for column in columns if column.name not in hidden)


def value_of(column: Column, stored: str, *, of: str = "") -> str:
    """Return the SQL expression of a column's value, NULL where it is missing; `of` names the table."""
    name = f"{of}.{quoted(column.name)}" if of else quoted(column.name)
    if column.type in ("number", "boolean"):
        if stored in _FLOATS:
            return f"CASE WHEN isfinite({name}) THEN CAST({name} AS DOUBLE) END"
        return f"CAST({name} AS DOUBLE)"
    if column.type == "time":
        if stored == "DATE" or stored in ("TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"):
            name = f"CAST({name} AS TIMESTAMP)"
        return f"CASE WHEN isfinite({name}) THEN epoch_us({name}) END"
    return f"nullif(CAST({name} AS VARCHAR), '')"


def load(sql: duckdb.DuckDBPyConnection, query: str, columns: Sequence[Column]) -> Frame:
    """Return the rows of a query (or of a view, by name) as a frame, in the query's order.

    Raises
    ------
    DataError
        A column is not in the query, or is stored in a way that its type cannot read.
    """
    source = _select(query)
    stored = stored_types(sql, source)
    for column in columns:
        require(column.name, stored, "column")
        _require_readable(column, stored[column.name])
    if not columns:
        return {}
    values = ", ".join(f"{_filled(column, stored[column.name])} AS {quoted(column.name)}" for column in columns)
    arrays = sql.execute(f"SELECT {values} FROM ({source})").fetchnumpy()
    return {column.name: np.asarray(arrays[column.name]) for column in columns}


def require(name: str, known: Mapping[str, object], what: str, *, where: str = "") -> None:
    """Raise `DataError` with the nearest name if a column is not there."""
    if name not in known:
        raise DataError(f"there is no {what} {name!r}", where=where, fix=nearest(name, known))


def _filled(column: Column, stored: str) -> str:
    missing = {"number": "'nan'::DOUBLE", "boolean": "'nan'::DOUBLE", "time": str(MISSING_TIME)}.get(column.type, "''")
    if column.type == "time":
        missing = f"CAST('{missing}' AS BIGINT)"
    return f"coalesce({value_of(column, stored)}, {missing})"


def _require_readable(column: Column, stored: str) -> None:
    kind = kind_of(stored)
    wanted = {"boolean": ("boolean", "number"), "number": ("number", "boolean"), "time": ("time",)}
    allowed = wanted.get(column.type, ("category", "number", "boolean"))
    if kind not in allowed:
        raise DataError(
            f"column {column.name!r} is stored as {stored} and cannot be read as {column.type}",
            fix=f"correct the source, or declare its type under [data.types]: {column.name} = ...",
        )


def _select(view: str) -> str:
    """Return a SELECT of a query or of a view's name."""
    return view if view.lstrip().upper().startswith(("SELECT", "WITH", "FROM")) else f"SELECT * FROM {quoted(view)}"


def texts_of(sql: duckdb.DuckDBPyConnection, view: str, names: Sequence[str]) -> set[str]:
    """Return which of these columns of strings are text: many words, and values that mostly differ."""
    first = _words(sql, f"SELECT * FROM ({_select(view)}) LIMIT {_FIRST_ROWS}", names)
    names = [name for name, (words, _) in first.items() if words is None or words >= _NEARLY * _TEXT_WORDS]
    found = _words(sql, _select(view), names)
    return {name for name, (words, new) in found.items() if (words or 0) >= _TEXT_WORDS and new >= _TEXT_DISTINCT}


def _words(sql: duckdb.DuckDBPyConnection, query: str, names: Sequence[str]) -> dict[str, tuple[float | None, float]]:
    """Return the mean number of words of each column of strings, and the share of its values that differ."""
    if not names:
        return {}
    figures = ", ".join(
        f"avg(length({x}) - length(replace({x}, ' ', '')) + 1), approx_count_distinct({x}) / greatest(count({x}), 1)"
        for x in (f"trim(CAST({quoted(name)} AS VARCHAR))" for name in names)
    )
    row = sql.execute(f"SELECT {figures} FROM ({query})").fetchall()[0]
    return dict(zip(names, zip(row[::2], row[1::2], strict=True), strict=True))
