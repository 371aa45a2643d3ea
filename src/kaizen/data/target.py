"""The target as a number: 0 or 1 of a yes-or-no question, the value itself of a regression."""

from __future__ import annotations

import duckdb
import msgspec

from kaizen.core.errors import DataError
from kaizen.core.projectfile import ProjectFile
from kaizen.core.records import Column
from kaizen.data.columns import kind_of, quoted, require, stored_types, value_of

_TRUE = frozenset(("true", "t", "yes", "y", "1", "1.0", "positive", "pos"))
_FALSE = frozenset(("false", "f", "no", "n", "0", "0.0", "negative", "neg"))


class Target(msgspec.Struct, frozen=True):
    """How the target is read, and what is in it."""

    name: str
    sql: str  # DOUBLE, NULL where it is missing
    positive: str | None  # the label that counts as 1; none: a regression
    negative: str | None
    rows: int
    missing: int  # rows that nothing can be learnt from
    mean: float  # of a yes-or-no question: the share of yes

    @property
    def column(self) -> Column:
        """The column as a frozen dataset holds it."""
        return Column(self.name, "number" if self.positive is None else "boolean")


def target_of(sql: duckdb.DuckDBPyConnection, view: str = "rows", *, file: ProjectFile) -> Target:
    """Return how the target of a view or query is read as a number.

    Of two labels the positive one is true, 1, yes (or y, t, positive); else the rarer one, else the later by name.
    Spaces and full stops around a label do not count: the Adult files write ``>50K`` and ``>50K.``.

    Raises
    ------
    DataError
        The target is missing, has one value, more than two (classification), or is no number (regression).
    """
    source = view if view.lstrip().upper().startswith("SELECT") else f"SELECT * FROM {quoted(view)}"
    stored = stored_types(sql, source)
    name = file.data.target
    require(name, stored, "column", where=f"{file.data.source}: data.target")
    if file.project.task == "regression":
        return _number(sql, source, file, stored[name])
    return _question(sql, source, file, stored[name])


def _number(sql: duckdb.DuckDBPyConnection, source: str, file: ProjectFile, stored: str) -> Target:
    name = file.data.target
    if kind_of(stored) != "number":
        raise DataError(
            f"the target {name!r} is stored as {stored}, and a regression needs numbers",
            where=file.data.source,
            fix='name a column of numbers, or write task = "classification" for a yes-or-no question',
        )
    value = value_of(Column(name, "number"), stored)
    rows, present, low, high, mean = _row(
        sql, f"SELECT count(*), count(v), min(v), max(v), avg(v) FROM (SELECT {value} AS v FROM ({source}))"
    )
    if not present or low == high:
        raise _one_value(file, "no value at all" if not present else f"the value {low:g} only")
    return Target(name, value, None, None, rows, rows - present, mean)


def _question(sql: duckdb.DuckDBPyConnection, source: str, file: ProjectFile, stored: str) -> Target:
    name = file.data.target
    label = f"nullif(trim(CAST({quoted(name)} AS VARCHAR), ' .'), '')"
    if kind_of(stored) == "number":
        label = f"CAST({value_of(Column(name, 'number'), stored)} AS VARCHAR)"
    counted = sql.execute(
        f"SELECT label, count(*) AS n FROM (SELECT {label} AS label FROM ({source})) GROUP BY label"
        f" ORDER BY label IS NULL DESC, n DESC, label LIMIT 50"
    ).fetchall()
    missing = sum(n for text, n in counted if text is None)
    labels = {str(text): int(n) for text, n in counted if text is not None}
    if len(labels) < 2:
        raise _one_value(file, f"the class {next(iter(labels))!r} only" if labels else "no value at all")
    if len(labels) > 2:
        _refuse_classes(labels, file, numbers=kind_of(stored) == "number")
    positive, negative = _ordered(labels)
    yes = _literal(positive)
    rows = sum(labels.values()) + missing
    value = f"CASE WHEN {label} IS NOT NULL THEN CAST({label} = {yes} AS DOUBLE) END"
    return Target(name, value, _shown(positive), _shown(negative), rows, missing, labels[positive] / (rows - missing))


def _ordered(labels: dict[str, int]) -> tuple[str, str]:
    """Return the positive and the negative of two labels."""
    first, second = sorted(labels, key=lambda label: (labels[label], label))  # the rarer first
    if labels[first] == labels[second]:
        first, second = second, first
    if first.lower() in _FALSE or (second.lower() in _TRUE and first.lower() not in _TRUE):
        return second, first
    return first, second


def _shown(label: str) -> str:
    return label.removesuffix(".0")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _row(sql: duckdb.DuckDBPyConnection, query: str) -> tuple[int, int, float, float, float]:
    row: tuple[int, int, float, float, float] = sql.execute(query).fetchall()[0]
    return row


def _one_value(file: ProjectFile, what: str) -> DataError:
    return DataError(
        f"the target {file.data.target!r} has {what}: there is nothing to tell apart",
        where=file.data.source,
        fix="take more rows, or another target",
    )


def _refuse_classes(labels: dict[str, int], file: ProjectFile, *, numbers: bool) -> None:
    some = ", ".join(repr(_shown(label)) for label in list(labels)[:5]) + (", …" if len(labels) > 5 else "")
    count = "50 or more" if len(labels) >= 49 else str(len(labels))
    fix = "make it a yes-or-no column in the source"
    raise DataError(
        f"the target {file.data.target!r} has {count} classes ({some}) and a classification here has two",
        where=file.data.source,
        fix=f'{fix}, or write task = "regression" to predict the number' if numbers else fix,
    )
