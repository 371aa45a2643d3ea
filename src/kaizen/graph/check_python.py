"""A check as Python source: when one row breaks it, at a tenth of the cost of an array of one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

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
from kaizen.graph.rows import MISSING_TIME

_SO: Final = {  # of a difference and a tolerance, whose computing is left out where zero decides
    "==": "({0} == 0.0 or abs({0}) <= {1})", "!=": "({0} != 0.0 and abs({0}) > {1})",
    "<": "({0} < 0.0 and {0} < -{1})", "<=": "({0} <= 0.0 or {0} <= {1})",
    ">": "({0} > 0.0 and {0} > {1})", ">=": "({0} >= 0.0 or {0} >= -{1})",
}  # fmt: skip


def ratio(a: float, b: float) -> float:
    """Return a / b as IEEE 754 has it: infinite or not a number where b is 0."""
    if b:
        return a / b
    return math.nan if not a or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)


def elapsed(a: int, b: int) -> float:
    """Return the seconds from b to a; NaN where one is missing."""
    return math.nan if MISSING_TIME in (a, b) else (float(a) - float(b)) / 1e6


def least(*values: float) -> float:
    """Return the smallest; NaN where one is not finite."""
    return min(values) if all(map(math.isfinite, values)) else math.nan


def greatest(*values: float) -> float:
    """Return the largest; NaN where one is not finite."""
    return max(values) if all(map(math.isfinite, values)) else math.nan


class Source:
    """Writes the source of conditions; what it refers to is in `names`.

    Parameters
    ----------
    variables
        The variable that holds each column: of a number NaN where it is missing, of a text "", of a time
        `MISSING_TIME`.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.names: dict[str, Any] = {"ratio": ratio, "elapsed": elapsed, "least": least, "greatest": greatest}

    def write(self, part: Condition) -> str:
        """Return the expression that is true where the condition is."""
        if isinstance(part, Every | Some):
            word = " and " if isinstance(part, Every) else " or "
            return f"({word.join(self.write(each) for each in part.parts)})"
        if isinstance(part, Compared):
            return self._compared(part)
        item = self._value(part.item)
        if isinstance(part, Missing):
            return self._is_known(part.item, item) if part.negated else f"(not {self._is_known(part.item, item)})"
        values = self._constant(frozenset(part.values))
        found = f"{item} {'not ' if part.negated else ''}in {values}"
        return f"({self._is_known(part.item, item)} and {found})" if part.negated else f"({found})"

    def _compared(self, part: Compared) -> str:
        left, right = self._value(part.left), self._value(part.right)
        if part.left.kind != "number":
            known = [self._is_known(side, text) for side, text in ((part.left, left), (part.right, right))]
            return f"({' and '.join(known)} and {left} {part.operator} {right})"
        apart = f"d{len(self.names)}"
        self.names[apart] = None
        sizes = [f"abs({self._value(term)})" for term in terms(part.left, part.right)]
        largest = f"max({', '.join(sizes)})" if len(sizes) > 1 else sizes[0]
        so = _SO[part.operator].format(apart, f"{TOLERANCE!r} * {largest}")
        return f"(abs({apart} := {left} - {right}) <= {LARGEST!r} and {so})"

    def _value(self, part: Value) -> str:
        if isinstance(part, Name):
            return self._variables[part.column]
        if isinstance(part, Constant):
            return self._constant(part.value)
        if isinstance(part, Arithmetic):
            left, right = self._value(part.left), self._value(part.right)
            return f"ratio({left}, {right})" if part.operator == "/" else f"({left} {part.operator} {right})"
        if isinstance(part, Elapsed):
            return f"elapsed({self._value(part.left)}, {self._value(part.right)})"
        return self._called(part)

    def _called(self, part: Called) -> str:
        name = {"abs": "abs", "min": "least", "max": "greatest"}[part.function]
        return f"{name}({', '.join(self._value(argument) for argument in part.arguments)})"

    def _constant(self, value: float | str | int | frozenset[Any]) -> str:
        if isinstance(value, float | int):
            return f"({value!r})"
        name = f"k{len(self.names)}"
        self.names[name] = value
        return name

    @staticmethod
    def _is_known(part: Value, item: str) -> str:
        if part.kind == "number":
            return f"(abs({item}) <= {LARGEST!r})"
        return f"({item} != {MISSING_TIME})" if part.kind == "time" else f"({item} != '')"
