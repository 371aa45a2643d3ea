"""Turn declared expressions into a plan: plain operations on single double columns, each written once.

Strings never meet arithmetic: whatever is asked of a string (is it "AA", its code, its row in a small table) is a
`Table`, and a look-up of text composes with the table that reads it. What remains is a list of `Scalar`s, which
`emit.py` writes as a graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import FeatureError, nearest
from kaizen.core.records import Column
from kaizen.features.declare import Expression
from kaizen.features.steps import Steps
from kaizen.features.strings import Table

Kind: TypeAlias = Literal["number", "string", "time"]
Argument: TypeAlias = "Scalar | float"

_TOP_ONLY = ("category", "words")
_SAME = ("add", "sub", "mul", "neg", "abs", "log", "exp", "sqrt", "min", "max", "where")
_LARGEST = float(np.finfo(np.float64).max)
_BOUNDS = {
    "part": 2100.0,
    "wave": 1.0,
    "gt": 1.0,
    "ge": 1.0,
    "equal": 1.0,
    "flip": 1.0,
    "is_missing": 1.0,
    "log": 745.0,
}


@dataclass(frozen=True, eq=False)
class Scalar:
    """One double a row: an operation on others and on constants. `group` tells what cannot share a node."""

    number: int
    op: str
    args: tuple[Argument, ...]
    payload: Any
    group: str
    depth: int
    bound: float  # no finite answer is larger; infinite: it may overflow


@dataclass(frozen=True)
class Text:
    """A string a row: a column or a cross, seen through a mapping of its values (None: as they are)."""

    source: Expression
    mapping: Mapping[str, str] | None = None

    def table(self, answers: Mapping[str, float], default: float) -> Table:
        """Return this function of the string as a function of its source."""
        if self.mapping is None:
            return Table(dict(answers), default)
        composed = {key: answers.get(value, default) for key, value in self.mapping.items()}
        return Table(composed, answers.get("", default))


class Plan:
    """Lowers expressions over given columns and small tables; equal expressions give the same `Scalar`."""

    def __init__(self, columns: Mapping[str, Column], tables: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        self._columns = columns
        self._tables = tables
        self._known: dict[tuple[Any, ...], Scalar] = {}

    def add(self, op: str, *args: Argument, payload: Any = None, group: str = "", tag: str = "") -> Scalar:
        """Return the scalar of an operation; `tag` tells payloads apart."""
        key = (op, group, tag, *(arg.number if isinstance(arg, Scalar) else ("constant", arg) for arg in args))
        if key not in self._known:
            scalars = [arg for arg in args if isinstance(arg, Scalar)]
            depth = 1 + max((arg.depth for arg in scalars), default=-1)
            self._known[key] = Scalar(len(self._known), op, args, payload, group, depth, _bound(op, args, payload))
        return self._known[key]

    def finite(self, scalar: Scalar) -> Scalar:
        """Return the scalar with what overflowed made missing."""
        return self.add("finite_only", scalar) if scalar.bound == math.inf else scalar

    def kind(self, e: Expression) -> Kind:
        """Return what an expression gives a row."""
        if e.op == "col":
            type_ = self.column(e).type
            return "number" if type_ in ("number", "boolean") else "time" if type_ == "time" else "string"
        if e.op == "lookup":
            return "string" if self._column_of_table(e).dtype == np.object_ else "number"
        if e.op in _TOP_ONLY:
            raise FeatureError(f"{e!r} is a feature by itself and cannot be part of an expression")
        return "string" if e.op == "cross" else "number"

    def column(self, e: Expression) -> Column:
        """Return the raw column that ``col.name`` means."""
        name = str(e.args[0])
        if name not in self._columns:
            raise FeatureError(f"there is no column {name!r}", fix=nearest(name, self._columns))
        return self._columns[name]

    def number(self, e: Any) -> Scalar:
        """Return the scalar of a numeric expression; `FeatureError` if it is not numeric."""
        if not isinstance(e, Expression) or self.kind(e) != "number":
            given = f"{e!r} is a {self.kind(e)}" if isinstance(e, Expression) else f"{e!r} is no expression"
            raise FeatureError(f"a number is needed here, and {given}")
        if e.op in _SAME:
            return self.add(e.op, *(self._argument(arg) for arg in e.args))
        return getattr(self, f"_{e.op.strip('_')}_")(e)  # type: ignore[no-any-return]

    def string(self, e: Any) -> Text:
        """Return the string of an expression; `FeatureError` if it gives no string."""
        if not isinstance(e, Expression) or self.kind(e) != "string":
            raise FeatureError(f"a category or text is needed here, and {e!r} is none")
        if e.op != "lookup":
            return Text(e)
        keys, values = self._table_of(e)
        by = self.string(e.args[3])
        found = dict(zip(keys, values, strict=True))
        if by.mapping is None:
            return Text(by.source, found)
        return Text(by.source, {key: found.get(value, "") for key, value in by.mapping.items()})

    def table(self, text: Text, answers: Mapping[str, float], default: float, tag: str) -> Scalar:
        """Return the scalar of a function of a string."""
        group = "strings" if text.source.op == "col" else repr(text.source)
        payload = (text.source, text.table(answers, default))
        full = f"{tag} of {text.source!r} through {sorted(text.mapping.items()) if text.mapping else None}"
        return self.add("table", payload=payload, group=group, tag=full)

    def us(self, e: Any) -> Scalar:
        """Return a time as microseconds; `FeatureError` if it is no time."""
        if not isinstance(e, Expression) or self.kind(e) != "time":
            raise FeatureError(f"a time is needed here, and {e!r} is none")
        return self.add("us", payload=self.column(e).name, tag=self.column(e).name)

    def _argument(self, arg: Any) -> Argument:
        return arg if isinstance(arg, float) else self.number(arg)

    def _col_(self, e: Expression) -> Scalar:
        return self.add("number", payload=self.column(e).name, tag=self.column(e).name)

    def _part_(self, e: Expression) -> Scalar:
        name, time = str(e.args[0]), e.args[1]
        if not isinstance(time, Expression) or self.kind(time) != "time":
            raise FeatureError(f"{name}() needs a time column, and {time!r} is none")
        column = self.column(time).name
        return self.add("part", payload=(column, name), tag=f"{name} of {column}")

    def _seconds_between_(self, e: Expression) -> Scalar:
        return self.add("part_of", self.add("sub", self.us(e.args[1]), self.us(e.args[0])), 1e6)

    def _log1p_(self, e: Expression) -> Scalar:
        return self.add("log", self.add("add", self.number(e.args[0]), 1.0))

    def _sin_(self, e: Expression) -> Scalar:
        return self._wave(e, 0.0)

    def _cos_(self, e: Expression) -> Scalar:
        return self._wave(e, math.pi / 2)

    def _wave(self, e: Expression, phase: float) -> Scalar:
        period = float(str(e.args[1]))
        if period <= 0:
            raise FeatureError(f"a period is longer than 0 (value {period})")
        tag = f"{period} {phase}"
        return self.add("wave", self.number(e.args[0]), payload=(2 * math.pi / period, phase), tag=tag)

    def _div_(self, e: Expression) -> Scalar:
        x, y = self._argument(e.args[0]), self._argument(e.args[1])
        # A division by a constant that cannot overflow needs no check for infinities.
        return self.add(
            "part_of" if isinstance(y, float) and y and _bound("part_of", (x, y), None) < math.inf else "div", x, y
        )

    def _bucketise_(self, e: Expression) -> Scalar:
        edges = np.array(e.args[1], np.float64)
        return self._step(self.number(e.args[0]), edges, np.arange(len(edges) + 1.0), repr(e.args[1]))

    def _step(self, x: Scalar, edges: NDArray[np.float64], values: NDArray[np.float64], tag: str) -> Scalar:
        return self.add("step", x, payload=Steps(edges, values), tag=tag)

    def _gt_(self, e: Expression) -> Scalar:
        return self._compared("gt", self._argument(e.args[0]), self._argument(e.args[1]))

    def _ge_(self, e: Expression) -> Scalar:
        return self._compared("ge", self._argument(e.args[0]), self._argument(e.args[1]))

    def _compared(self, op: str, left: Argument, right: Argument) -> Scalar:
        """Return left > right or left >= right; against a constant it is a step, and steps share a node."""
        if isinstance(left, Scalar) and isinstance(right, Scalar):
            return self.add(op, left, right)
        if isinstance(right, float) and isinstance(left, Scalar):
            edge = right if op == "ge" else math.nextafter(right, math.inf)
            return self._step(left, np.array([edge]), np.array([0.0, 1.0]), f"from {edge}")
        if isinstance(left, float) and isinstance(right, Scalar):
            edge = left if op == "gt" else math.nextafter(left, math.inf)
            return self._step(right, np.array([edge]), np.array([1.0, 0.0]), f"below {edge}")
        raise FeatureError(f"{left!r} and {right!r} are both constants")

    def _one_of(self, x: Scalar, values: tuple[float, ...]) -> Scalar:
        """Return whether a number is one of these, as steps: up at each value and down behind it."""
        up = dict.fromkeys(values, 1.0)
        down = {math.nextafter(value, math.inf): 0.0 for value in values}
        steps = sorted((down | up).items())
        edges, answers = np.array([edge for edge, _ in steps]), np.array([0.0, *(answer for _, answer in steps)])
        return self._step(x, edges, answers, f"one of {sorted(values)!r}")

    def _eq_(self, e: Expression) -> Scalar:
        left, right = e.args
        if isinstance(left, Expression) and self.kind(left) == "string":
            return self._is_string(left, right)
        if isinstance(right, str):
            raise FeatureError(f"{left!r} is no string, so it never equals {right!r}")
        if isinstance(right, float):
            return self._one_of(self.number(left), (right,))
        return self.add("equal", self.number(left), self.number(right))

    def _is_string(self, left: Expression, right: Any) -> Scalar:
        text = self.string(left)
        if isinstance(right, str):
            if not right:
                raise FeatureError('"" is a missing value', fix="use is_missing(…)")
            return self.table(text, {right: 1.0, "": math.nan}, 0.0, f"== {right!r}")
        other = self.string(right)
        if text.mapping is not None or other.mapping is not None:
            raise FeatureError("a text that was looked up can be compared with a constant only")
        same = self.add("same", payload=(text.source, other.source), tag=f"{text.source!r} {other.source!r}")
        for side in (text, other):
            same = self.add("max", same, self.table(side, {"": math.nan}, 0.0, "present"))
        return same

    def _ne_(self, e: Expression) -> Scalar:
        return self.add("flip", self._eq_(e))

    def _not_(self, e: Expression) -> Scalar:
        return self.add("flip", self._truth(e.args[0]))

    def _and_(self, e: Expression) -> Scalar:
        return self.add("min", self._truth(e.args[0]), self._truth(e.args[1]))

    def _or_(self, e: Expression) -> Scalar:
        return self.add("max", self._truth(e.args[0]), self._truth(e.args[1]))

    def _truth(self, arg: Any) -> Scalar:
        """Return a condition as 1 or 0: a comparison is that already, of a number it is whether it is not 0."""
        if isinstance(arg, Expression) and arg.op in (
            "gt",
            "ge",
            "eq",
            "ne",
            "and",
            "or",
            "not",
            "is_in",
            "is_missing",
        ):
            return self.number(arg)
        if isinstance(arg, Expression) and arg.op == "col" and self.column(arg).type == "boolean":
            return self.number(arg)
        return self.add("flip", self._one_of(self.number(arg), (0.0,)))

    def _is_in_(self, e: Expression) -> Scalar:
        values = e.args[1]
        if not isinstance(values, tuple) or not values:
            raise FeatureError(f"{e!r} has nothing to be in")
        x = e.args[0]
        if isinstance(x, Expression) and self.kind(x) == "string":
            answers = {str(value): 1.0 for value in values} | {"": math.nan}
            return self.table(self.string(x), answers, 0.0, f"in {values!r}")
        numbers = tuple(value for value in values if isinstance(value, float))
        if len(numbers) < len(values):
            raise FeatureError(f"{x!r} is a number and {values!r} are none")
        return self._one_of(self.number(x), numbers)

    def _is_missing_(self, e: Expression) -> Scalar:
        x = e.args[0]
        if isinstance(x, Expression) and self.kind(x) == "string":
            return self.table(self.string(x), {"": 1.0}, 0.0, "missing")
        if isinstance(x, Expression) and self.kind(x) == "time":
            return self.add("is_missing", self.us(x))
        return self.add("is_missing", self.number(x))

    def _fill_missing_(self, e: Expression) -> Scalar:
        return self.add("fill", self.number(e.args[0]), self._argument(e.args[1]))

    def _lookup_(self, e: Expression) -> Scalar:
        keys, values = self._table_of(e)
        by, tag = e.args[3], repr(e)
        if isinstance(by, Expression) and self.kind(by) == "string":
            return self.table(self.string(by), dict(zip(keys, values, strict=True)), math.nan, tag)
        return self.add("encode", self.number(by), payload=(keys, values, math.nan), tag=tag)

    def _column_of_table(self, e: Expression, at: int = 1) -> NDArray[Any]:
        table, name = str(e.args[0]), str(e.args[at])
        if table not in self._tables:
            known = nearest(table, self._tables) if self._tables else "declare it in [data.tables]"
            raise FeatureError(f"there is no table {table!r}", fix=known)
        if name not in self._tables[table]:
            raise FeatureError(f"table {table!r} has no column {name!r}", fix=nearest(name, self._tables[table]))
        values = self._tables[table][name]
        if values.dtype == np.int64:
            raise FeatureError(f"column {name!r} of table {table!r} is a time; numbers and text can be looked up")
        return values

    def _table_of(self, e: Expression) -> tuple[list[Any], list[Any]]:
        """Return the keys of a small table, unique and none missing, and their values."""
        keys, values = self._column_of_table(e, 2), self._column_of_table(e, 1)
        by = e.args[3]
        is_text = isinstance(by, Expression) and self.kind(by) == "string"
        if is_text != (keys.dtype == np.object_):
            raise FeatureError(f"{by!r} and the key {e.args[2]!r} of table {e.args[0]!r} are of different types")
        present = np.asarray(keys != "" if is_text else ~np.isnan(keys), np.bool_)
        listed, found = keys[present].tolist(), values[present].tolist()
        if len(set(listed)) < len(listed):
            twice = next(key for at, key in enumerate(listed) if key in set(listed[:at]))
            raise FeatureError(
                f"table {e.args[0]!r} has key {twice!r} more than once", fix="a look-up needs unique keys"
            )
        return listed, found


def _bound(op: str, args: tuple[Argument, ...], payload: Any) -> float:
    """Return what no finite answer of an operation exceeds, up to rounding; infinite if it may overflow."""
    bounds = [arg.bound if isinstance(arg, Scalar) else abs(arg) for arg in args]
    if op in ("add", "sub"):
        return bounds[0] + bounds[1]
    if op == "mul":
        return bounds[0] * bounds[1]
    if op == "part_of":
        return bounds[0] / bounds[1]
    if op in ("neg", "abs", "sqrt", "min", "max", "fill", "where"):
        return max(bounds[-2:])
    if op == "us":
        return 2.0**63
    if op == "table":
        answers = [abs(answer) for answer in (payload[1].default, *payload[1].answers.values())]
        return max((answer for answer in answers if answer == answer), default=0.0)
    return _BOUNDS.get(op, _LARGEST)
