"""The rules of a row as one Python function, compiled once for a signature: some 40 ns a field.

    def check(numbers, times, strings):
        n0, n1, = numbers
        s0, = strings
        found = ()
        if n0 is not None and not -40.0 <= n0 <= 160.0: found += outside(n0, 0)
        if s0 not in k1: found += (2,)
        v0 = n0 if n0 is not None else nan
        if (abs(d2 := v0 - 3.0) <= 1.79e308 and …): found += (3,)
        return found

The source has no text of anybody's: columns are numbers in it, and what a rule compares with is passed by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from kaizen.core.records import Column
from kaizen.core.rules import RowRule
from kaizen.graph.check_python import Source
from kaizen.graph.rows import GROUP, MISSING_TIME, grouped

RowCheck: TypeAlias = Callable[[Sequence[Any], Sequence[int], Sequence[str]], tuple[int, ...]]
"""Returns the numbers of the rules that a row breaks, given its numbers (None: missing), times and strings."""


def row_check(rules: Sequence[RowRule], columns: Sequence[Column]) -> RowCheck | None:
    """Return the check of a row, None where there is nothing to check.

    Parameters
    ----------
    rules
        What must hold; those that read a column which is not there are left out.
    columns
        The signature, whose values come grouped by type as `kaizen.graph.rows` groups them.
    """
    names = {column.name for column in columns}
    wanted = {at: rule for at, rule in enumerate(rules) if names.issuperset(rule.columns)}
    if not wanted:
        return None
    writer = _Writer(columns)
    lines = ["def check(numbers, times, strings):", *(f"    {line}" for line in writer.lines(wanted))]
    scope: dict[str, Any] = {**writer.names, "nan": math.nan}
    exec(compile("\n".join(lines), "<the rules of a row>", "exec"), scope)
    found: RowCheck = scope["check"]
    return found


class _Writer:
    """Writes the lines of one check."""

    def __init__(self, columns: Sequence[Column]) -> None:
        groups = grouped(columns)
        self._groups = {group: [f"{group[0]}{at}" for at in range(len(members))] for group, members in groups.items()}
        self._variables = {
            column.name: name
            for group, members in groups.items()
            for column, name in zip(members, self._groups[group], strict=True)
        }
        self._source = Source({c.name: self._value_name(c) for c in columns})
        self._kinds = {column.name: GROUP[column.type] for column in columns}
        self._outside: list[tuple[Any, ...]] = []

    @property
    def names(self) -> dict[str, Any]:
        """What the source refers to."""
        return {**self._source.names, "outside": _outside(self._outside)}

    def lines(self, rules: Mapping[int, RowRule]) -> Iterator[str]:
        """Yield the lines of the function's body."""
        for group, variables in self._groups.items():
            yield f"{', '.join(variables)}, = {group}"
        yield "found = ()"
        for column in self._variables:
            own: dict[str, int] = {
                rule.kind: at for at, rule in rules.items() if rule.name == column and rule.kind != "check"
            }
            if own:
                yield from self._column(column, own, rules)
        checks = {at: rule for at, rule in rules.items() if rule.kind == "check"}
        for column in sorted({column for rule in checks.values() for column in rule.columns}):
            if self._kinds[column] == "numbers":
                plain = self._variables[column]
                yield f"v{plain[1:]} = {plain} if {plain} is not None else nan"
        for at, rule in checks.items():
            assert rule.broken is not None
            yield f"if {self._source.write(rule.broken)}: found += ({at},)"
        yield "return found"

    def _value_name(self, column: Column) -> str:
        name = self._variables[column.name]
        return f"v{name[1:]}" if GROUP[column.type] == "numbers" else name

    def _column(self, column: str, own: Mapping[str, int], rules: Mapping[int, RowRule]) -> Iterator[str]:
        name, missing = self._variables[column], own.get("missing")
        if self._kinds[column] == "numbers":
            yield from self._number(name, missing, own, rules)
        elif self._kinds[column] == "times":
            yield f"if {name} == {MISSING_TIME}: found += ({missing},)"
        elif "categories" in own:
            known = frozenset(rules[own["categories"]].values) | ({""} if missing is None else set())
            key = f"k{len(self._source.names)}"
            self._source.names[key] = known
            yield f"if {name} not in {key}: found += ({own['categories']},) if {name} else ({missing},)"
        else:
            yield f"if not {name}: found += ({missing},)"

    def _number(
        self, name: str, missing: int | None, own: Mapping[str, int], rules: Mapping[int, RowRule]
    ) -> Iterator[str]:
        bounds = rules[own["range"]].bounds if "range" in own else (None, None)
        low, high = (f"({bound!r})" if bound is not None else None for bound in bounds)
        inside = f"{low or ''}{' <= ' if low else ''}{name}{' <= ' if high else ''}{high or ''}"
        if missing is not None:
            yield f"if {name} is None: found += ({missing},)"
        if not (low or high):
            if missing is not None:
                yield f"elif {name} != {name}: found += ({missing},)"
            return
        extreme = own.get("extreme")
        far = rules[extreme].bounds if extreme is not None else (None, None)
        self._outside.append((far, extreme, own["range"], missing))
        test = f"not {inside}: found += outside({name}, {len(self._outside) - 1})"
        yield f"elif {test}" if missing is not None else f"if {name} is not None and {test}"


def _outside(table: Sequence[tuple[Any, ...]]) -> Callable[[float, int], tuple[int, ...]]:
    """Return what tells which rule a number breaks that does not lie in its range."""

    def outside(value: float, at: int) -> tuple[int, ...]:
        (low, high), extreme, plain, missing = table[at]
        if value != value:  # NaN
            return () if missing is None else (missing,)
        return (plain,) if extreme is None or low <= value <= high else (extreme,)

    return outside
