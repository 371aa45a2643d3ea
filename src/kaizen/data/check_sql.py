"""A check in SQL: when a row of a DuckDB view breaks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kaizen.core.condition import (
    LARGEST,
    TOLERANCE,
    Arithmetic,
    Called,
    Compared,
    Condition,
    Constant,
    Elapsed,
    Every,
    Missing,
    Name,
    Some,
    Value,
    terms,
)
from kaizen.data.columns import literal

_SO: Final = {
    "==": "abs({0}) <= {1}", "!=": "abs({0}) > {1}", "<": "{0} < -{1}", "<=": "{0} <= {1}", ">": "{0} > {1}",
    ">=": "{0} >= -{1}",
}  # fmt: skip


def broken_sql(condition: Condition, values: Mapping[str, str]) -> str:
    """Return the SQL predicate of a condition, true or false, never NULL.

    Parameters
    ----------
    values
        By column, the SQL of its value as `kaizen.data.columns.value_of` gives it: NULL where it is missing.
    """
    return f"coalesce({_condition(condition, values)}, false)"


def _condition(part: Condition, values: Mapping[str, str]) -> str:
    # What is unknown is NULL here and false elsewhere: with AND and OR alone that comes to the same.
    if isinstance(part, Every | Some):
        word = " AND " if isinstance(part, Every) else " OR "
        return f"({word.join(_condition(each, values) for each in part.parts)})"
    if isinstance(part, Compared):
        return _compared(part, values)
    item = _value(part.item, values)
    if isinstance(part, Missing):
        known = _is_finite(item) if part.item.kind == "number" else f"{item} IS NOT NULL"
        return f"({'' if part.negated else 'NOT '}coalesce({known}, false))"
    listed = ", ".join(_value(Constant(value, part.item.kind), values) for value in part.values)
    found = f"{item} {'NOT ' if part.negated else ''}IN ({listed})"
    return f"({_is_finite(item)} AND {found})" if part.item.kind == "number" else f"({found})"


def _compared(part: Compared, values: Mapping[str, str]) -> str:
    left, right = _value(part.left, values), _value(part.right, values)
    if part.left.kind != "number":
        return f"({left} {part.operator.replace('==', '=').replace('!=', '<>')} {right})"
    sizes = ", ".join(f"abs({_value(term, values)})" for term in terms(part.left, part.right))
    apart = f"({left} - {right})"
    so = _SO[part.operator].format(apart, f"({_number(TOLERANCE)} * greatest({sizes}))")
    return f"({_is_finite(apart)} AND {so})"


def _value(part: Value, values: Mapping[str, str]) -> str:
    if isinstance(part, Name):
        return values[part.column]
    if isinstance(part, Constant):
        return _constant(part)
    if isinstance(part, Arithmetic):
        return f"({_value(part.left, values)} {part.operator} {_value(part.right, values)})"
    if isinstance(part, Elapsed):
        left, right = (f"CAST({_value(side, values)} AS DOUBLE)" for side in (part.left, part.right))
        return f"(({left} - {right}) / {_number(1e6)})"
    return _called(part, values)


def _called(part: Called, values: Mapping[str, str]) -> str:
    arguments = [_value(argument, values) for argument in part.arguments]
    if part.function == "abs":
        return f"abs({arguments[0]})"
    known = " AND ".join(_is_finite(argument) for argument in arguments)  # of NULL, least and greatest think nothing
    return f"CASE WHEN {known} THEN {'least' if part.function == 'min' else 'greatest'}({', '.join(arguments)}) END"


def _constant(part: Constant) -> str:
    if isinstance(part.value, str):
        return literal(part.value)
    return str(part.value) if part.kind == "time" else _number(float(part.value))


def _number(value: float) -> str:
    return f"CAST('{value!r}' AS DOUBLE)"  # a bare 1.5 is a decimal


def _is_finite(item: str) -> str:
    return f"abs({item}) <= {_number(LARGEST)}"  # DuckDB holds NaN to be above everything
