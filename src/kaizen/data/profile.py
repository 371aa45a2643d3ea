"""What is in each column: counts, range, moments, quantiles and frequent values, in three SQL statements.

A profile is plain data: it prints, it goes into JSON, and the rules of `validate` are inferred from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import duckdb
import msgspec

from kaizen.core.errors import DataError
from kaizen.core.records import Column, ColumnType
from kaizen.data.columns import is_integer, quoted, require, stored_types, value_of

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TOP = 20
MAX_VALUES = 1_000
"""A category with more values than this has no list of known ones."""
_MIN_UNIQUE = 100  # rows before "every value differs" says anything
_FEW = 64  # a number with so few values is counted like a category

Flag: TypeAlias = Literal["missing", "constant", "unique"]


class ColumnProfile(msgspec.Struct, frozen=True):
    """One column. Times are microseconds since 1970; mean and std are rounded to 12 digits, so that they repeat."""

    name: str
    type: ColumnType
    stored: str  # DuckDB's type
    count: int  # rows with a value
    missing: int
    distinct: int  # exact for categories and booleans, else within a few percent
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None
    quantiles: tuple[float, ...] = ()  # at QUANTILES
    top: tuple[tuple[str, int], ...] = ()  # at most TOP, the most frequent first
    values: tuple[str, ...] = ()  # all of a category's values, in order of name, if at most MAX_VALUES
    singles: int = 0  # values of a category that occur once
    flags: tuple[Flag, ...] = ()

    @property
    def is_integer(self) -> bool:
        """Whether it holds whole numbers only."""
        return is_integer(self.stored)


class Profile(msgspec.Struct, frozen=True):
    """A table: how many rows, and each column."""

    rows: int
    columns: tuple[ColumnProfile, ...]

    def column(self, name: str) -> ColumnProfile:
        """Return a column's profile by name."""
        require(name, {column.name: column for column in self.columns}, "column")
        return next(column for column in self.columns if column.name == name)


def profile(sql: duckdb.DuckDBPyConnection, view: str, columns: Sequence[Column]) -> Profile:
    """Return the profile of these columns of a view.

    Raises
    ------
    DataError
        There are no columns, or one is not in the view.
    """
    if not columns:
        raise DataError("there are no columns to look at")
    stored = stored_types(sql, f"SELECT * FROM {quoted(view)}")
    for column in columns:
        require(column.name, stored, "column")
    values = {column.name: value_of(column, stored[column.name]) for column in columns}
    rows, figures = _figures(sql, view, columns, values)
    counted = _counted(sql, view, columns, values, figures)
    unique = _unique(sql, view, columns, stored, values, figures)
    built = [
        _built(
            column,
            stored[column.name],
            rows,
            figures[column.name],
            counted.get(column.name),
            unique=column.name in unique,
        )
        for column in columns
    ]
    return Profile(rows, tuple(built))


def _figures(
    sql: duckdb.DuckDBPyConnection, view: str, columns: Sequence[Column], values: dict[str, str]
) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the count of rows and the aggregates of each column: one pass."""
    picked, asked = [], []
    for index, column in enumerate(columns):
        v = f"v{index}"
        picked.append(f"{values[column.name]} AS {v}")
        figures = {"count": f"count({v})", "distinct": f"approx_count_distinct({v})"}
        if column.type in ("number", "boolean", "time"):
            figures |= {"min": f"min({v})", "max": f"max({v})"}
            figures["quantiles"] = f"quantile_disc({v}, {list(QUANTILES)})"
        if column.type in ("number", "boolean"):
            # A huge value makes the variance overflow, which DuckDB raises for; it has no use then.
            figures |= {"mean": f"avg({v})", "std": f"stddev_samp(CASE WHEN abs({v}) < 1e150 THEN {v} END)"}
        asked.append("{" + ", ".join(f"'{name}': {figure}" for name, figure in figures.items()) + "}")
    query = f"SELECT count(*), {', '.join(asked)} FROM (SELECT {', '.join(picked)} FROM {quoted(view)})"
    rows, *found = sql.execute(query).fetchall()[0]
    return rows, dict(zip((column.name for column in columns), found, strict=True))


class _Counted(msgspec.Struct, frozen=True):
    distinct: int
    singles: int
    top: tuple[tuple[str, int], ...]
    values: tuple[str, ...]


def _counted(
    sql: duckdb.DuckDBPyConnection,
    view: str,
    columns: Sequence[Column],
    values: dict[str, str],
    figures: dict[str, dict[str, Any]],
) -> dict[str, _Counted]:
    """Return the frequent values of categories, and of numbers with few values: one statement."""
    names = [
        column.name
        for column in columns
        if column.type in ("category", "boolean")
        or (column.type == "number" and figures[column.name]["distinct"] <= _FEW)
    ]
    if not names:
        return {}
    parts = (
        f"SELECT {index}, count(*), count(*) FILTER (n = 1),"
        f" list({{'v': CAST(v AS VARCHAR), 'n': n}} ORDER BY n DESC, v)"
        f" FILTER (n > {1 if figures[name]['distinct'] > 2 * MAX_VALUES else 0})[1:{MAX_VALUES}]"
        f" FROM (SELECT {values[name]} AS v, count(*) AS n FROM {quoted(view)} GROUP BY v) WHERE v IS NOT NULL"
        for index, name in enumerate(names)
    )
    found = {}
    for index, distinct, singles, listed in sql.execute(" UNION ALL ".join(parts)).fetchall():
        pairs = tuple((str(entry["v"]), int(entry["n"])) for entry in listed or ())
        known = tuple(sorted(value for value, _ in pairs)) if distinct <= MAX_VALUES else ()
        found[names[index]] = _Counted(distinct, singles, pairs[:TOP], known)
    return found


def _unique(
    sql: duckdb.DuckDBPyConnection,
    view: str,
    columns: Sequence[Column],
    stored: dict[str, str],
    values: dict[str, str],
    figures: dict[str, dict[str, Any]],
) -> set[str]:
    """Return the columns in which every value differs; a measurement that never repeats is no identity."""
    names = [
        column.name
        for column in columns
        if (column.type == "category" or (column.type == "number" and is_integer(stored[column.name])))
        and figures[column.name]["count"] >= _MIN_UNIQUE
        and figures[column.name]["distinct"] >= 0.85 * figures[column.name]["count"]
    ]
    if not names:
        return set()
    asked = ", ".join(f"count(DISTINCT {values[name]})" for name in names)
    found = sql.execute(f"SELECT {asked} FROM {quoted(view)}").fetchall()[0]
    return {name for name, distinct in zip(names, found, strict=True) if distinct == figures[name]["count"]}


def _built(
    column: Column, stored: str, rows: int, figures: dict[str, Any], counted: _Counted | None, *, unique: bool
) -> ColumnProfile:
    count = int(figures["count"])
    distinct = counted.distinct if counted else count if unique else min(int(figures["distinct"]), count)
    flags: list[Flag] = ["missing"] if count == 0 else ["constant"] if _is_constant(figures, distinct) else []
    if unique:
        flags.append("unique")
    return ColumnProfile(
        name=column.name,
        type=column.type,
        stored=stored,
        count=count,
        missing=rows - count,
        distinct=distinct,
        min=_number(figures.get("min")),
        max=_number(figures.get("max")),
        mean=_rounded(figures.get("mean")),
        std=_rounded(figures.get("std")),
        quantiles=tuple(float(q) for q in figures.get("quantiles") or ()),
        top=counted.top if counted else (),
        values=counted.values if counted and column.type == "category" else (),
        singles=counted.singles if counted else 0,
        flags=tuple(flags),
    )


def _is_constant(figures: dict[str, Any], distinct: int) -> bool:
    return bool(figures["min"] == figures["max"]) if "min" in figures else distinct == 1


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _rounded(value: float | None) -> float | None:
    """Return 12 digits: sums over threads differ in the last ones."""
    return None if value is None else float(f"{value:.12g}")
