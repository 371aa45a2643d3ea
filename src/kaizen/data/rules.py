"""What a table suggests for those that follow it: rules (`kaizen.core.rules`), and what share of rows may break them.

| share of rows  | suggested by the reference                                                        |
|----------------|-----------------------------------------------------------------------------------|
| out of range   | beyond a quarter of its range: one in 1,000                                       |
| missing        | between the bounds of the reference's share, widened by half                      |
| unknown        | as Good (1953) expects from how many values occurred once, and half a percent     |

Intervals are those of Clopper and Pearson, so wide that hundreds of columns can be looked at every day.
"""

from __future__ import annotations

import msgspec
from scipy import special

from kaizen.core.durations import duration
from kaizen.core.projectfile import ProjectFile
from kaizen.core.rules import Rule, Rules, declare
from kaizen.data.profile import ColumnProfile, Profile

_ALPHA = 1e-6  # of the intervals around shares: hundreds of columns, checked daily
_OUTSIDE = 0.001  # share of rows that may lie beyond a quarter of the range
_UNKNOWN = 0.005  # share of rows that may have an unknown category


def infer(profile: Profile, file: ProjectFile) -> Rules:
    """Return the rules that a reference suggests, with those of `data.rules` in their place."""
    data = file.data
    rules = Rules(
        rows=profile.rows,
        columns=tuple(_suggested(column, profile.rows, file) for column in profile.columns),
        task=file.project.task,
        target=data.target,
        time=data.time,
        max_age_s=duration(data.max_age).total_seconds() if data.max_age is not None else None,
        ignored=tuple(data.ignore),
    )
    return declare(rules, data)


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
        column=column.name,
        type=column.type,
        never_missing=column.missing == 0,
        min_missing=1.0 - _widened(upper(column.count, rows)),
        max_missing=_widened(upper(column.missing, rows)),
        unique="unique" in column.flags,
        seen=column.count > 0,
    )
    if column.name == file.data.target:  # labels come late: how many are missing says nothing
        return msgspec.structs.replace(rule, min_missing=0.0, max_missing=1.0, never_missing=False)
    if column.type == "number" and "unique" not in column.flags and column.count:  # an identity only ever grows
        return msgspec.structs.replace(rule, low=column.min, high=column.max, max_outside=_OUTSIDE + 10 / column.count)
    if column.type == "category" and column.values and column.distinct < rows / 5:
        unseen = upper(column.singles, max(column.count, 1)) if column.singles else 0.0
        return msgspec.structs.replace(rule, categories=column.values, max_unknown=_UNKNOWN + 2 * unseen)
    return rule


def _widened(share: float) -> float:
    return min(1.0, share + max(0.01, 0.5 * share))
