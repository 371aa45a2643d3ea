"""Check a table against its rules, in one SQL statement.

Missing columns, values that their type cannot read and broken declarations ``fail``; what only differs from the
reference is to ``watch``. Rows out of the order of time are reported and harm nothing here: a batch is split and
joined by its times, not by its order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import duckdb
import msgspec

from kaizen.core.clock import from_us, to_us
from kaizen.core.errors import DataError
from kaizen.core.records import Column
from kaizen.data.columns import kind_of, literal, quoted, stored_types, value_of
from kaizen.data.rules import Rule, Rules, infer, lower, upper

__all__ = ["Rule", "Rules", "Violation", "check", "infer", "refuse"]


class Violation(msgspec.Struct, frozen=True):
    """A rule that does not hold."""

    column: str  # empty: the table
    rule: str  # rows, present, type, range, extreme, missing, categories, unique, order, freshness, target
    expected: str
    found: str
    rows: int  # how many break it
    says: str  # one sentence for people
    verdict: Literal["fail", "watch"]


def check(sql: duckdb.DuckDBPyConnection, view: str, rules: Rules, *, at: datetime | None = None) -> list[Violation]:
    """Return what in a view breaks the rules, in the order of the columns; freshness is held against `at`."""
    stored = stored_types(sql, f"SELECT * FROM {quoted(view)}")
    present = [rule for rule in rules.columns if rule.column in stored]
    found = _measured(sql, view, rules, present, stored)
    if not found["rows"]:
        return [_violation("", "rows", "at least one row", "none", 0, "The table has no rows.", fail=True)]
    violations = [violation for rule in rules.columns for violation in _of_column(rule, rules, found, stored)]
    return violations + list(_of_time(rules, found, at))


def refuse(violations: list[Violation], *, where: str = "") -> None:
    """Raise `DataError` with every violation that fails; those to watch pass."""
    failed = [violation.says for violation in violations if violation.verdict == "fail"]
    if failed:
        raise DataError(
            " ".join(failed), where=where, fix="correct the source, or state what is right under [data.rules]"
        )


def _measured(
    sql: duckdb.DuckDBPyConnection, view: str, rules: Rules, present: list[Rule], stored: Mapping[str, str]
) -> dict[str, Any]:
    """Return every figure that a rule needs, by ``column index.figure``: the one pass."""
    picked: list[str] = []
    figures = {"rows": "count(*)"}
    for index, rule in enumerate(rules.columns):
        if rule not in present:
            continue
        picked += _picked(rule, stored[rule.column], index)
        figures |= {f"{index}.{name}": figure for name, figure in _asked(rule, index, stored[rule.column]).items()}
        if rule.column == rules.target:
            figures[f"{index}.same"] = f"count(v{index}) > 0 AND min(v{index}) = max(v{index})"
        if rule.column == rules.time:
            picked.append(f"lag(v{index}) OVER () AS earlier")
            figures |= {"newest": f"max(v{index})", "late": f"count(*) FILTER (v{index} < earlier)"}
    asked = ", ".join(f"{figure} AS {quoted(name)}" for name, figure in figures.items())
    result = sql.execute(f"SELECT {asked} FROM (SELECT {', '.join(picked) or '1'} FROM {quoted(view)})")
    return dict(zip(figures, result.fetchall()[0], strict=True))


def _picked(rule: Rule, stored: str, index: int) -> list[str]:
    """Return the column as its rule's type where it can be read as that, and as text where that may fail."""
    name = quoted(rule.column)
    if _is_readable(rule, stored):
        return [f"{value_of(Column(rule.column, rule.type), stored)} AS v{index}"]
    return [f"{_tried(rule, stored, name)} AS v{index}", f"nullif(CAST({name} AS VARCHAR), '') AS raw{index}"]


def _is_readable(rule: Rule, stored: str) -> bool:
    kind = kind_of(stored)
    return kind == rule.type or (kind, rule.type) in (("category", "text"), ("boolean", "number"))


def _tried(rule: Rule, stored: str, name: str) -> str:
    kind = kind_of(stored)
    if rule.type == "boolean" and kind == "number":
        return f"CASE WHEN {name} IN (0, 1) THEN CAST({name} AS DOUBLE) END"
    if rule.type == "time":
        return f"epoch_us(TRY_CAST({name} AS TIMESTAMPTZ))" if kind == "category" else "CAST(NULL AS BIGINT)"
    if rule.type in ("number", "boolean"):
        tried = f"TRY_CAST({name} AS {'DOUBLE' if rule.type == 'number' else 'BOOLEAN'})"
        return f"CAST({tried} AS DOUBLE)" if kind == "category" else "CAST(NULL AS DOUBLE)"
    return "CAST(NULL AS VARCHAR)"


def _asked(rule: Rule, index: int, stored: str) -> dict[str, str]:
    v, raw = f"v{index}", f"raw{index}"
    asked = {"count": f"count({v})"}
    if not _is_readable(rule, stored):
        asked |= {"raw": f"count({raw})", "odd": f"min({raw}) FILTER ({v} IS NULL)"}
    if rule.type == "number":
        asked |= {"min": f"min({v})", "max": f"max({v})"}
        asked["outside"] = f"count(*) FILTER ({_beyond(v, rule.low, rule.high)})"
        asked["far"] = f"count(*) FILTER ({_beyond(v, rule.far_low, rule.far_high)})"
    if rule.categories is not None:
        # Casting to an enumeration looks a value up by hash; NOT IN would compare it with every known one.
        known = f"ENUM({', '.join(map(literal, dict.fromkeys(rule.categories)))})" if rule.categories else "DATE"
        unknown = f"{v} IS NOT NULL AND TRY_CAST({v} AS {known}) IS NULL"
        asked |= {"unknown": f"count(*) FILTER ({unknown})", "example": f"min({v}) FILTER ({unknown})"}
    if rule.unique:
        asked["distinct"] = f"count(DISTINCT {v})"
    return asked


def _beyond(v: str, low: float | None, high: float | None) -> str:
    parts = [f"{v} < {low!r}" for _ in (1,) if low is not None] + [f"{v} > {high!r}" for _ in (1,) if high is not None]
    return " OR ".join(parts) or "false"


def _of_column(rule: Rule, rules: Rules, found: Mapping[str, Any], stored: Mapping[str, str]) -> Iterator[Violation]:
    if rule.column not in stored:
        says = f"Column {rule.column!r} is missing."
        yield _violation(rule.column, "present", "the column", "nothing", found["rows"], says, fail=True)
        return
    index = rules.columns.index(rule)
    figures = {name: found[f"{index}.{name}"] for name in _asked(rule, index, stored[rule.column])}
    written = figures.get("raw", figures["count"])
    if written > figures["count"] and rule.seen:  # a column that was always missing had no type
        yield _type(rule, stored[rule.column], written - figures["count"], figures["odd"])
    yield from _missing(rule, found["rows"], found["rows"] - written)
    yield from _range(rule, figures)
    yield from _categories(rule, figures)
    if rule.unique and figures["distinct"] < figures["count"]:
        twice = figures["count"] - figures["distinct"]
        says = f"{twice} values of {rule.column!r} are there again, and every value should differ."
        yield _violation(rule.column, "unique", "no value twice", f"{twice} repeats", twice, says, rule)
    if found.get(f"{index}.same"):
        says = f"The target {rule.column!r} has one value only: there is nothing to tell apart."
        yield _violation(rule.column, "target", "two values", "one", found["rows"], says, fail=True)


def _type(rule: Rule, stored: str, unread: int, odd: str) -> Violation:
    says = f"{unread} values of {rule.column!r} cannot be read as a {rule.type}, such as {odd!r} (stored as {stored})."
    return _violation(rule.column, "type", rule.type, f"{odd!r}", unread, says, fail=True)


def _missing(rule: Rule, rows: int, missing: int) -> Iterator[Violation]:
    share = missing / rows
    declared = "missing" in rule.declared
    if share > rule.max_missing and (declared or lower(missing, rows) > rule.max_missing):
        says = f"{share:.1%} of {rule.column!r} is missing, and at most {rule.max_missing:.1%} should be."
        yield _violation(rule.column, "missing", f"at most {rule.max_missing:.1%}", f"{share:.1%}", missing, says, rule)
    if upper(missing, rows) < rule.min_missing:
        says = (
            f"{share:.1%} of {rule.column!r} is missing, where at least {rule.min_missing:.1%} was: its source changed."
        )
        yield _violation(
            rule.column, "missing", f"at least {rule.min_missing:.1%}", f"{share:.1%}", rows - missing, says, rule
        )


def _range(rule: Rule, figures: Mapping[str, Any]) -> Iterator[Violation]:
    if not figures.get("outside") and not figures.get("far"):
        return
    seen = f"{figures['min']:g} to {figures['max']:g}"
    outside, count = figures["outside"], figures["count"]
    if "range" in rule.declared or lower(outside, count) > rule.max_outside:
        allowed = _allowed(rule.low, rule.high)
        says = f"{outside} values of {rule.column!r} {_beyond_in_words(rule)}; they reach from {seen}."
        yield _violation(rule.column, "range", allowed, seen, outside, says, rule)
    elif figures["far"]:
        allowed = _allowed(rule.far_low, rule.far_high)
        says = f"{figures['far']} values of {rule.column!r} are absurd beside the reference; they reach from {seen}."
        yield _violation(rule.column, "extreme", allowed, seen, figures["far"], says, rule)


def _categories(rule: Rule, figures: Mapping[str, Any]) -> Iterator[Violation]:
    unknown = figures.get("unknown")
    if not unknown:
        return
    if "categories" in rule.declared or lower(unknown, figures["count"]) > rule.max_unknown:
        share = unknown / figures["count"]
        says = f"{share:.1%} of {rule.column!r} are values that are not known, such as {figures['example']!r}."
        expected = f"at most {rule.max_unknown:.1%} other than the {len(rule.categories or ())} known"
        yield _violation(rule.column, "categories", expected, repr(figures["example"]), unknown, says, rule)


def _of_time(rules: Rules, found: Mapping[str, Any], at: datetime | None) -> Iterator[Violation]:
    if rules.time is None or found.get("newest") is None:
        return
    if found["late"]:
        says = f"{found['late']} rows come after a later one by {rules.time!r}; their order is not used."
        yield _violation(
            rules.time, "order", "rows in order of time", f"{found['late']} out of it", found["late"], says
        )
    if at is None or rules.max_age_s is None:
        return
    age_s = (to_us(at) - found["newest"]) / 1e6
    if age_s > rules.max_age_s:
        newest = from_us(found["newest"]).isoformat(timespec="seconds")
        says = f"The newest row is of {newest}, {_age(age_s)} old, and may be {_age(rules.max_age_s)} old."
        allowed = f"at most {_age(rules.max_age_s)} old"
        yield _violation(rules.time, "freshness", allowed, newest, found["rows"], says, fail=True)


def _violation(
    column: str,
    name: str,
    expected: str,
    found: str,
    rows: int,
    says: str,
    rule: Rule | None = None,
    *,
    fail: bool = False,
) -> Violation:
    failed = fail or (rule is not None and name in rule.declared)
    return Violation(column, name, expected, found, int(rows), says, "fail" if failed else "watch")


def _allowed(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"at least {low:g}" if low is not None else f"at most {high:g}"


def _beyond_in_words(rule: Rule) -> str:
    if rule.low is not None and rule.high is not None:
        return f"lie outside {rule.low:g} to {rule.high:g}"
    return f"are under {rule.low:g}" if rule.low is not None else f"are over {rule.high:g}"


def _age(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
