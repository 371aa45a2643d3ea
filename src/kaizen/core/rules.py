"""Rules of a table and of its rows: what the first data suggest (`data/rules.py`) and what a project declares.

| rule       | suggested by the reference                                  | declared          | of      |
|------------|-------------------------------------------------------------|-------------------|---------|
| range      | as far again beyond its ends as it is wide                  | min, max          | a row   |
| extreme    | ten times as far                                            |                   | a row   |
| categories | the known values                                            | categories        | a row   |
| missing    | a value, where no row of the reference lacked one           | max_missing = 0   | a row   |
| check      |                                                             | data.checks       | a row   |
| share      | what shares of rows may be out of range, unknown, missing   | max_missing       | a table |
| unique     | no value twice, if none was in at least 100 rows            | unique            | a table |
| freshness  |                                                             | max_age           | a table |
| volume     | rows a day, how days of the week differ                     |                   | a table |

A suggestion is generous, so that new rows of the same kind break none; a declaration is taken at its word. A bundle
carries its rules (`rules.json`); the server and the monitors read them there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from kaizen.core.checks import broken
from kaizen.core.condition import LARGEST, Condition, columns_in
from kaizen.core.projectfile import DataSection, RuleSection
from kaizen.core.records import Column, ColumnType, Task

Bounds: TypeAlias = tuple[float | None, float | None]
RowRuleKind: TypeAlias = Literal["range", "extreme", "categories", "missing", "check"]

NEAR: Final = 0.25  # of the range, beyond its ends: few rows of a table lie there
FAR: Final = 10.0  # times its size: what lies there is absurd


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What must hold for one column; a bound that is None is not checked."""

    column: str
    type: ColumnType
    low: float | None = None  # of the reference's numbers
    high: float | None = None
    min: float | None = None  # as declared: takes the place of what the reference had
    max: float | None = None
    max_outside: float = 0.0  # share of rows that may lie outside `near`
    never_missing: bool = False
    min_missing: float = 0.0  # share of rows
    max_missing: float = 1.0
    categories: tuple[str, ...] | None = None
    max_unknown: float = 0.0  # share of rows
    unique: bool = False
    declared: tuple[str, ...] = ()  # which of range, missing, categories, unique the project declares
    seen: bool = True  # whether the reference had any value

    @property
    def near(self) -> Bounds:
        """Where all but few rows of a table lie: the declared bounds, else a quarter about the reference's range."""
        if "range" in self.declared or self.low is None or self.high is None:
            return self.min, self.max
        low, high = self._about(NEAR * ((self.high - self.low) or abs(self.low) or 1.0))
        return (0.0 if self.low >= 0 else low), high  # what was never negative stays so

    @property
    def usual(self) -> Bounds:
        """Where a row lies: the declared bounds, else as far about the reference's range as it is wide."""
        return (self.min, self.max) if "range" in self.declared or self.low is None else self._about(self._size)

    @property
    def far(self) -> Bounds:
        """Beyond which a number is absurd, where no bounds are declared."""
        return (None, None) if "range" in self.declared or self.low is None else self._about(FAR * self._size)

    @property
    def _size(self) -> float:
        """How wide the range is, or half of its largest number: a narrow range far from zero says little by its width.

        An interest of 4.9 to 5.0 that falls to 0.6 is a change of the world, at nine times the width of its range.
        """
        assert self.low is not None
        assert self.high is not None
        return max(self.high - self.low, abs(self.low) / 2, abs(self.high) / 2) or 1.0

    def _about(self, margin: float) -> tuple[float, float]:
        assert self.low is not None
        assert self.high is not None
        return max(self.low - margin, -LARGEST), min(self.high + margin, LARGEST)


class Check(msgspec.Struct, frozen=True):
    """A declared rule between the columns of a row (see `kaizen.core.checks`)."""

    name: str
    text: str


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows come a day, as the reference's days showed.

    Attributes
    ----------
    days
        How many there were, first to last.
    weekdays
        What part of the usual count comes on a Monday, …, Sunday; all 1 where there were too few weeks.
    spread
        Standard deviation of the logarithm of a day's rows, over the usual of its weekday.
    """

    days: int
    weekdays: tuple[float, ...] = (1.0,) * 7
    spread: float = 0.1


class Rules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What must hold for a table and its rows."""

    rows: int  # of the reference
    columns: tuple[Rule, ...]
    task: Task
    target: str
    time: str | None = None
    max_age_s: float | None = None
    checks: tuple[Check, ...] = ()
    max_broken: float = 0.0  # share of rows that may break what is declared of a row
    ignored: tuple[str, ...] = ()
    max_repeats: float = 1.0  # share of a day's rows that may be there before, value by value
    flow: Flow | None = None

    def of(self, columns: Collection[Column]) -> Rules:
        """Return the rules of these columns, and the checks that read no other: those of a request."""
        names = {column.name for column in columns}
        kept = tuple(rule for rule in self.columns if rule.column in names)
        checks = tuple(check for check in self.checks if columns_of(check) <= names)
        return msgspec.structs.replace(self, columns=kept, checks=checks)

    def broken(self, check: Check) -> Condition:
        """Return when a row breaks a check; `ProjectError` if it is none of these columns."""
        columns = [Column(rule.column, rule.type) for rule in self.columns]
        return broken(check.text, columns, where=f"data.checks.{check.name}")


def columns_of(check: Check) -> set[str]:
    """Return the columns that a check reads."""
    return columns_in(broken(check.text, None))


class RowRule(NamedTuple):
    """One thing that must hold for each row by itself.

    Attributes
    ----------
    name
        The column, or of a check its name.
    columns
        What it reads.
    bounds, values, broken
        Of a range, of categories, of a check: when a row breaks it.
    """

    kind: RowRuleKind
    name: str
    columns: tuple[str, ...]
    is_declared: bool
    bounds: Bounds = (None, None)
    values: tuple[str, ...] = ()
    broken: Condition | None = None
    text: str = ""

    @property
    def wants(self) -> str:
        """What should be, for people."""
        if self.kind == "check":
            return self.text
        if self.kind == "missing":
            return "a value"
        if self.kind == "categories":
            return f"one of {len(self.values)} known values"
        low, high = self.bounds
        if low is not None and high is not None:
            return f"{low:g} to {high:g}"
        return f"at least {low:g}" if low is not None else f"at most {high:g}"


def row_rules(rules: Rules) -> tuple[RowRule, ...]:
    """Return what must hold for each row, in the order of the columns, checks last.

    A number that is absurd breaks the rule `extreme` and not `range` as well.
    """
    found = [each for rule in rules.columns for each in _of_column(rule, rules)]
    for check in rules.checks:
        condition = rules.broken(check)
        columns = tuple(sorted(columns_in(condition)))
        found.append(RowRule("check", check.name, columns, is_declared=True, broken=condition, text=check.text))
    return tuple(found)


def _of_column(rule: Rule, rules: Rules) -> Iterator[RowRule]:
    name, columns = rule.column, (rule.column,)
    if name == rules.target:
        return
    if rule.never_missing:
        is_declared = "missing" in rule.declared and name != rules.time  # a request may leave its time out
        yield RowRule("missing", name, columns, is_declared)
    if rule.type == "number":
        is_declared = "range" in rule.declared
        if rule.far != (None, None):
            yield RowRule("extreme", name, columns, is_declared, bounds=rule.far)
        if rule.usual != (None, None):
            yield RowRule("range", name, columns, is_declared, bounds=rule.usual)
    if rule.categories is not None:
        yield RowRule("categories", name, columns, "categories" in rule.declared, values=rule.categories)


def declare(rules: Rules, data: DataSection) -> Rules:
    """Return the rules with what a project declares in the place of what its data suggested."""
    columns = tuple(_declared(rule, data.rules.get(rule.column), data) for rule in rules.columns)
    checks = tuple(Check(name, text) for name, text in data.checks.items())
    return msgspec.structs.replace(rules, columns=columns, checks=checks, max_broken=data.max_broken)


def _declared(rule: Rule, section: RuleSection | None, data: DataSection) -> Rule:
    if rule.column == data.time:
        rule = _with(rule, "missing", min_missing=0.0, max_missing=0.0, never_missing=True)
    if section is None:
        return rule
    if section.min is not None or section.max is not None:
        rule = _with(rule, "range", min=section.min, max=section.max, max_outside=0.0)
    if section.max_missing is not None:
        never = section.max_missing == 0
        rule = _with(rule, "missing", min_missing=0.0, max_missing=section.max_missing, never_missing=never)
    if section.categories is not None:
        rule = _with(rule, "categories", categories=tuple(section.categories), max_unknown=0.0)
    if section.unique is not None:
        rule = _with(rule, "unique", unique=section.unique)
    return rule


def _with(rule: Rule, name: str, **declared: object) -> Rule:
    return msgspec.structs.replace(rule, declared=tuple(sorted({*rule.declared, name})), **declared)
