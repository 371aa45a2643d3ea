"""The language of `features.py`: expressions over the columns of a row.

    from kaizen.features import col, cross, hours_between, log, lookup

    hour = col.leaves.hour()

    FEATURES = {
        "distance": col.distance,                       # as it is; a category gets codes, a time its calendar parts
        "log_distance": log(col.distance),
        "speed": col.distance / hours_between(col.leaves, col.arrives),
        "rush": (hour >= 16) & (hour < 19),
        "hour_sin": hour.sin(24),                       # where the hour stands on its circle
        "hour_cos": hour.cos(24),
        "age": col.leaves.year() - lookup("machines", "built", by=col.machine),
        "route": cross(col.origin, col.target),
    }

What is missing stays missing: a sum, a comparison or a condition of a missing value is missing. So is what has
no finite answer, such as a division by zero or the logarithm of a negative number. Truth is 1 and 0. Calendar
parts are those of the project's time zone, between 1900 and 2100.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kaizen.core.errors import FeatureError

PARTS = ("minute", "hour", "minute_of_day", "weekday", "day", "day_of_year", "month", "year")
_SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_SYMBOLS |= {"and": "&", "or": "|"}
_METHODS = ("sin", "cos", "is_in")

Argument: TypeAlias = "Expression | float | str | tuple[float, ...] | tuple[str, ...]"
Operand: TypeAlias = "Expression | float | int"


@dataclass(frozen=True, eq=False, repr=False)
class Expression:
    """What a feature is computed from: an operation and its arguments. Made by `col` and the functions here."""

    op: str
    args: tuple[Argument, ...]

    def __repr__(self) -> str:
        if self.op == "col":
            return f"col.{self.args[0]}" if str(self.args[0]).isidentifier() else f"col[{self.args[0]!r}]"
        shown = [repr(argument) for argument in self.args]
        if self.op == "lookup":
            return f"lookup({shown[0]}, {shown[1]}, by={shown[3]}, key={shown[2]})"
        if self.op in _SYMBOLS:
            return f"({shown[0]} {_SYMBOLS[self.op]} {shown[1]})"
        if self.op in _METHODS:
            return f"{shown[0]}.{self.op}({shown[1]})"
        return f"{shown[1]}.{self.args[0]}()" if self.op == "part" else f"{self.op}({', '.join(shown)})"

    def __add__(self, other: Operand) -> Expression:
        return _made("add", self, other)

    def __radd__(self, other: Operand) -> Expression:
        return _made("add", other, self)

    def __sub__(self, other: Operand) -> Expression:
        return _made("sub", self, other)

    def __rsub__(self, other: Operand) -> Expression:
        return _made("sub", other, self)

    def __mul__(self, other: Operand) -> Expression:
        return _made("mul", self, other)

    def __rmul__(self, other: Operand) -> Expression:
        return _made("mul", other, self)

    def __truediv__(self, other: Operand) -> Expression:
        return _made("div", self, other)

    def __rtruediv__(self, other: Operand) -> Expression:
        return _made("div", other, self)

    def __neg__(self) -> Expression:
        return Expression("neg", (self,))

    def __abs__(self) -> Expression:
        return Expression("abs", (self,))

    def __gt__(self, other: Operand) -> Expression:
        return _made("gt", self, other)

    def __ge__(self, other: Operand) -> Expression:
        return _made("ge", self, other)

    def __lt__(self, other: Operand) -> Expression:
        return _made("gt", other, self)

    def __le__(self, other: Operand) -> Expression:
        return _made("ge", other, self)

    def __eq__(self, other: object) -> Expression:  # type: ignore[override]
        return Expression("eq", (self, other if isinstance(other, str) else _operand(other)))

    def __ne__(self, other: object) -> Expression:  # type: ignore[override]
        return Expression("ne", (self, other if isinstance(other, str) else _operand(other)))

    def __and__(self, other: Operand) -> Expression:
        return _made("and", self, other)

    def __or__(self, other: Operand) -> Expression:
        return _made("or", self, other)

    def __invert__(self) -> Expression:
        return Expression("not", (self,))

    def __hash__(self) -> int:
        return hash(repr(self))

    def __bool__(self) -> bool:
        raise FeatureError(f"{self!r} has no truth value while it is declared", fix="use where(…), &, | and ~")

    def is_in(self, values: Iterable[str] | Iterable[float]) -> Expression:
        """Return 1 where the value is one of these, else 0."""
        listed = tuple(values)
        if listed and all(isinstance(value, str) for value in listed):
            return Expression("is_in", (self, tuple(str(value) for value in listed)))
        return Expression("is_in", (self, tuple(_number(value) for value in listed)))

    def minute(self) -> Expression:
        """Return the minute of a time, 0 to 59."""
        return Expression("part", ("minute", self))

    def hour(self) -> Expression:
        """Return the hour of a time, 0 to 23."""
        return Expression("part", ("hour", self))

    def minute_of_day(self) -> Expression:
        """Return the minutes on the clock since midnight, 0 to 1439."""
        return Expression("part", ("minute_of_day", self))

    def weekday(self) -> Expression:
        """Return the day of the week of a time, 0 (Monday) to 6."""
        return Expression("part", ("weekday", self))

    def day(self) -> Expression:
        """Return the day of the month of a time, 1 to 31."""
        return Expression("part", ("day", self))

    def day_of_year(self) -> Expression:
        """Return the day of the year of a time, 1 to 366."""
        return Expression("part", ("day_of_year", self))

    def month(self) -> Expression:
        """Return the month of a time, 1 to 12."""
        return Expression("part", ("month", self))

    def year(self) -> Expression:
        """Return the year of a time."""
        return Expression("part", ("year", self))

    def sin(self, period: float) -> Expression:
        """Return the sine of the angle on a circle that takes `period` to go round, such as 24 for hours."""
        return Expression("sin", (self, _number(period)))

    def cos(self, period: float) -> Expression:
        """Return the cosine of the angle on a circle that takes `period` to go round, such as 24 for hours."""
        return Expression("cos", (self, _number(period)))


class _Columns:
    def __getattr__(self, name: str) -> Expression:
        if name.startswith("__"):
            raise AttributeError(name)
        return Expression("col", (name,))

    def __getitem__(self, name: str) -> Expression:
        return Expression("col", (name,))

    def __call__(self, name: str) -> Expression:
        raise FeatureError(f"col({name!r}) names no column", fix=f'write col.{name}, or col["{name}"]')


col = _Columns()
"""The columns of a row: ``col.distance``, or ``col["name with spaces"]``."""


def lookup(table: str, value: str, *, by: Expression, key: str | None = None) -> Expression:
    """Return a column of a small table, looked up by key inside the graph; an unknown key gives missing.

    Parameters
    ----------
    table
        Its name in the project file.
    value
        The column to take: numbers, or text.
    by
        The key: a category or text column, or a number.
    key
        The table's key column; none: the one named like the column in `by`.
    """
    name = key if key is not None else (str(by.args[0]) if by.op == "col" else "")
    if not name:
        raise FeatureError(f"lookup({table!r}, {value!r}) needs the table's key column", fix="add key=…")
    return Expression("lookup", (table, value, name, by))


def log(x: Expression) -> Expression:
    """Return the natural logarithm; missing for 0 and less."""
    return Expression("log", (x,))


def log1p(x: Expression) -> Expression:
    """Return the natural logarithm of 1 + x; missing for -1 and less."""
    return Expression("log1p", (x,))


def exp(x: Expression) -> Expression:
    """Return e to the power of x."""
    return Expression("exp", (x,))


def sqrt(x: Expression) -> Expression:
    """Return the square root; missing for negative numbers."""
    return Expression("sqrt", (x,))


def ratio(x: Operand, y: Operand) -> Expression:
    """Return x / y; missing where y is 0."""
    return _made("div", x, y)


def minimum(x: Operand, y: Operand) -> Expression:
    """Return the smaller of two."""
    return _made("min", x, y)


def maximum(x: Operand, y: Operand) -> Expression:
    """Return the larger of two."""
    return _made("max", x, y)


def clip(x: Expression, low: float, high: float) -> Expression:
    """Return x, no less than `low` and no more than `high`."""
    return minimum(maximum(x, low), high)


def bucketise(x: Expression, edges: Sequence[float]) -> Expression:
    """Return how many of the edges are at or below x: 0 below the first, ``len(edges)`` from the last on."""
    listed = tuple(_number(edge) for edge in edges)
    if not listed or list(listed) != sorted(set(listed)):
        raise FeatureError(f"edges must ascend (value {list(edges)!r})", where=f"bucketise({x!r})")
    return Expression("bucketise", (x, listed))


def where(condition: Expression, then: Operand, otherwise: Operand) -> Expression:
    """Return `then` where the condition holds (is not 0), else `otherwise`; missing where it is missing."""
    return Expression("where", (condition, _operand(then), _operand(otherwise)))


def is_missing(x: Expression) -> Expression:
    """Return 1 where the value is missing, else 0."""
    return Expression("is_missing", (x,))


def fill_missing(x: Expression, value: Operand) -> Expression:
    """Return x, and `value` where it is missing."""
    return _made("fill_missing", x, value)


def category(x: Expression) -> Expression:
    """Return a number's frequent values as a category (a category column is one without this)."""
    return Expression("category", (x,))


def cross(*parts: Expression) -> Expression:
    """Return the category that is the combination of categories; a missing part is one value more."""
    if len(parts) < 2:
        raise FeatureError("cross() combines two categories or more")
    return Expression("cross", parts)


def words(x: Expression) -> Expression:
    """Return how many words a text has and how often each of its column's frequent words occurs in it.

    A word is what stands between spaces, spelt as it is.
    """
    return Expression("words", (x,))


def seconds_between(start: Expression, end: Expression) -> Expression:
    """Return the seconds from one time to another; negative if `end` comes first."""
    return Expression("seconds_between", (start, end))


def hours_between(start: Expression, end: Expression) -> Expression:
    """Return the hours from one time to another; negative if `end` comes first."""
    return seconds_between(start, end) / 3600.0


def _made(op: str, *operands: object) -> Expression:
    return Expression(op, tuple(_operand(operand) for operand in operands))


def _operand(value: object) -> Expression | float:
    return value if isinstance(value, Expression) else _number(value)


def _number(value: object) -> float:
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    raise FeatureError(f"{value!r} is neither an expression nor a finite number")
