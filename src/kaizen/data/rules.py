"""Rules of a table: what its reference suggests, and what the project declares in its place.

| rule       | suggested by the reference                                         | declared          |
|------------|--------------------------------------------------------------------|-------------------|
| present    | the column is there                                                |                   |
| type       | its values can be read as its type                                 |                   |
| range      | a quarter of the range beyond its ends, for all but one in 1,000    | min, max: no row  |
| extreme    | ten times the range beyond its ends: no row                        |                   |
| missing    | between the bounds of the reference's share, widened by half       | max_missing       |
| categories | known values, but for the share of unseen ones that Good (1953)    | categories: no    |
|            | expects from how many occurred once, and half a percent            | other             |
| unique     | no value twice, if none was in at least 100 rows                   | unique            |
| freshness  |                                                                    | max_age           |

A suggestion is generous, so that new rows of the same kind break none; a declaration is taken at its word.
"""

from __future__ import annotations

import msgspec
from scipy import special

from kaizen.core.durations import duration
from kaizen.core.projectfile import ProjectFile, RuleSection
from kaizen.core.records import ColumnType, Task
from kaizen.data.profile import ColumnProfile, Profile

_ALPHA = 1e-6  # of the intervals around shares: hundreds of columns, checked daily
_NEAR = 0.25  # of the range, beyond its ends
_FAR = 10.0
_OUTSIDE = 0.001  # share of rows that may lie beyond `_NEAR`
_UNKNOWN = 0.005  # share of rows that may have an unknown category


class Rule(msgspec.Struct, frozen=True):
    """What must hold for one column; a bound that is None is not checked."""

    column: str
    type: ColumnType
    low: float | None = None
    high: float | None = None
    max_outside: float = 0.0  # share of rows that may lie outside [low, high]
    far_low: float | None = None
    far_high: float | None = None
    min_missing: float = 0.0
    max_missing: float = 1.0
    categories: tuple[str, ...] | None = None
    max_unknown: float = 0.0
    unique: bool = False
    declared: tuple[str, ...] = ()  # which of range, missing, categories, unique the project declares
    seen: bool = True  # whether the reference had any value


class Rules(msgspec.Struct, frozen=True):
    """What must hold for a table."""

    rows: int  # of the reference
    columns: tuple[Rule, ...]
    task: Task
    target: str
    time: str | None = None
    max_age_s: float | None = None


def infer(profile: Profile, file: ProjectFile) -> Rules:
    """Return the rules that a reference suggests, with those of `data.rules` in their place."""
    columns = tuple(
        _declared(_suggested(column, profile.rows, file), file.data.rules.get(column.name), file)
        for column in profile.columns
    )
    max_age_s = duration(file.data.max_age).total_seconds() if file.data.max_age is not None else None
    return Rules(profile.rows, columns, file.project.task, file.data.target, file.data.time, max_age_s)


def upper(count: int, n: int, alpha: float = _ALPHA) -> float:
    """Return the upper bound of a share seen `count` times in `n` (Clopper and Pearson, 1934).

    >>> round(upper(0, 100, 0.05), 4)
    0.0295
    """
    return 1.0 if count >= n else float(special.betaincinv(count + 1, n - count, 1 - alpha))


def lower(count: int, n: int, alpha: float = _ALPHA) -> float:
    """Return the lower bound of a share seen `count` times in `n` (Clopper and Pearson, 1934)."""
    return 0.0 if count <= 0 else float(special.betaincinv(count, n - count + 1, alpha))


def _suggested(column: ColumnProfile, rows: int, file: ProjectFile) -> Rule:
    rule = Rule(
        column.name,
        column.type,
        min_missing=1.0 - _widened(upper(column.count, rows)),
        max_missing=_widened(upper(column.missing, rows)),
        unique="unique" in column.flags,
        seen=column.count > 0,
    )
    if column.name == file.data.target:  # labels come late: how many are missing says nothing
        return msgspec.structs.replace(rule, min_missing=0.0, max_missing=1.0)
    if column.type == "number" and "unique" not in column.flags:  # an identity only ever grows
        return _with_range(rule, column)
    if column.type == "category" and column.values and column.distinct < rows / 5:
        unseen = upper(column.singles, max(column.count, 1)) if column.singles else 0.0
        return msgspec.structs.replace(rule, categories=column.values, max_unknown=_UNKNOWN + 2 * unseen)
    return rule


def _widened(share: float) -> float:
    return min(1.0, share + max(0.01, 0.5 * share))


def _with_range(rule: Rule, column: ColumnProfile) -> Rule:
    if column.min is None or column.max is None:
        return rule
    width = column.max - column.min
    return msgspec.structs.replace(
        rule,
        low=0.0 if column.min >= 0 else column.min - _NEAR * width,  # what was never negative stays so
        high=column.max + _NEAR * width,
        max_outside=_OUTSIDE + 10 / column.count,
        far_low=column.min - _FAR * width,
        far_high=column.max + _FAR * width,
    )


def _declared(rule: Rule, section: RuleSection | None, file: ProjectFile) -> Rule:
    if rule.column == file.data.time:
        rule = msgspec.structs.replace(rule, min_missing=0.0, max_missing=0.0, declared=("missing",))
    if section is None:
        return rule
    declared = set(rule.declared)
    if section.min is not None or section.max is not None:
        declared.add("range")
        rule = msgspec.structs.replace(
            rule, low=section.min, high=section.max, max_outside=0.0, far_low=None, far_high=None
        )
    if section.max_missing is not None:
        declared.add("missing")
        rule = msgspec.structs.replace(rule, min_missing=0.0, max_missing=section.max_missing)
    if section.categories is not None:
        declared.add("categories")
        rule = msgspec.structs.replace(rule, categories=tuple(section.categories), max_unknown=0.0)
    if section.unique is not None:
        declared.add("unique")
        rule = msgspec.structs.replace(rule, unique=section.unique)
    return msgspec.structs.replace(rule, declared=tuple(sorted(declared)))
