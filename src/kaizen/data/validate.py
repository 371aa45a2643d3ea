"""Check a table against its rules, in one SQL statement, and one for the days of its rows.

Missing columns, values that their type cannot read and broken declarations ``fail``; what only differs from the
reference is to ``watch``. Rows out of the order of time, and late ones, are reported and harm nothing here: a batch is
split and joined by its times, not by its order.
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
from kaizen.core.rules import Bounds, Rule, Rules, columns_of
from kaizen.data.check_sql import broken_sql
from kaizen.data.columns import kind_of, literal, quoted, stored_types, value_of
from kaizen.data.rules import infer, lower, upper

__all__ = ["Rule", "Rules", "Violation", "check", "infer", "refuse"]


_DAY_US = 86_400_000_000
_FULL_DAY = 0.05  # of the usual day's rows: with fewer at an end of the table, a day is not one of its own


class Violation(msgspec.Struct, frozen=True):
    """A rule that does not hold."""

    column: str  # of a check its name; empty: the table
    rule: str  # rows, present, new, type, range, extreme, missing, categories, unique, order, late, freshness, check, …
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
    violations += _of_checks(rules, found)
    violations = [_tolerated(violation, rules, found["rows"]) for violation in violations]
    violations += _new(rules, found, stored)
    if rules.time in stored:
        violations += _late(sql, view, rules, stored)
    return violations + list(_of_time(rules, found, at))


def broken(sql: duckdb.DuckDBPyConnection, view: str, rules: Rules) -> str:
    """Return the SQL predicate of the rows that break a declared range, declared categories or a check."""
    stored = stored_types(sql, f"SELECT * FROM {quoted(view)}")
    places = {rule.column: _value(rule, stored[rule.column]) for rule in rules.columns if rule.column in stored}
    parts = ["false"]
    for rule in rules.columns:
        if rule.column in places and "range" in rule.declared:
            parts.append(f"coalesce({_beyond(places[rule.column], rule.near)}, false)")
        if rule.column in places and "categories" in rule.declared:
            parts.append(_unknown(places[rule.column], rule))
    checks = [check for check in rules.checks if places.keys() >= columns_of(check)]
    return " OR ".join([*parts, *(broken_sql(rules.broken(check), places) for check in checks)])


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
    places = {rule.column: f"v{index}" for index, rule in enumerate(rules.columns) if rule in present}
    for index, check in enumerate(rules.checks):
        condition = rules.broken(check)
        if places.keys() >= columns_of(check):
            broken = broken_sql(condition, places)
            row = ", ".join(f"{literal(name)}: {places[name]}" for name in sorted(columns_of(check)))
            figures[f"check{index}"] = f"count(*) FILTER ({broken})"
            figures[f"row{index}"] = f"any_value({{{row}}}) FILTER ({broken})"
    asked = ", ".join(f"{figure} AS {quoted(name)}" for name, figure in figures.items())
    result = sql.execute(f"SELECT {asked} FROM (SELECT {', '.join(picked) or '1'} FROM {quoted(view)})")
    return dict(zip(figures, result.fetchall()[0], strict=True))


def _picked(rule: Rule, stored: str, index: int) -> list[str]:
    """Return the column as its rule's type where it can be read as that, and as text where that may fail."""
    picked = [f"{_value(rule, stored)} AS v{index}"]
    if not _is_readable(rule, stored):
        picked.append(f"nullif(CAST({quoted(rule.column)} AS VARCHAR), '') AS raw{index}")
    return picked


def _value(rule: Rule, stored: str) -> str:
    if _is_readable(rule, stored):
        return value_of(Column(rule.column, rule.type), stored)
    return _tried(rule, stored, quoted(rule.column))


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
        asked["outside"] = f"count(*) FILTER ({_beyond(v, rule.near)})"
        asked["far"] = f"count(*) FILTER ({_beyond(v, rule.far)})"
    if rule.categories is not None:
        unknown = _unknown(v, rule)
        asked |= {"unknown": f"count(*) FILTER ({unknown})", "example": f"min({v}) FILTER ({unknown})"}
    if rule.unique:
        asked["distinct"] = f"count(DISTINCT {v})"
    return asked


def _unknown(v: str, rule: Rule) -> str:
    # Casting to an enumeration looks a value up by hash; NOT IN would compare it with every known one.
    known = f"ENUM({', '.join(map(literal, dict.fromkeys(rule.categories)))})" if rule.categories else "DATE"
    return f"({v} IS NOT NULL AND TRY_CAST({v} AS {known}) IS NULL)"


def _beyond(v: str, bounds: Bounds) -> str:
    sides = [f"{v} {sign} {bound!r}" for sign, bound in zip("<>", bounds, strict=True) if bound is not None]
    return " OR ".join(sides) or "false"


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
        allowed = _allowed(rule.near)
        says = f"{outside} values of {rule.column!r} {_beyond_in_words(rule)}; they reach from {seen}."
        yield _violation(rule.column, "range", allowed, seen, outside, says, rule)
    elif figures["far"]:
        allowed = _allowed(rule.far)
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


def _of_checks(rules: Rules, found: Mapping[str, Any]) -> Iterator[Violation]:
    types = {rule.column: rule.type for rule in rules.columns}
    for index, check in enumerate(rules.checks):
        broken = found.get(f"check{index}")
        if not broken:
            continue
        row = found[f"row{index}"]
        shown = ", ".join(f"{name} {_plain(value, types[name])}" for name, value in row.items())
        says = f"The check {check.name!r} ({check.text}) does not hold for {broken} rows, such as {shown}."
        yield _violation(check.name, "check", check.text, shown, broken, says, fail=True)


def _plain(value: Any, type_: str) -> str:
    if value is None:
        return "missing"
    return from_us(value).isoformat() if type_ == "time" else repr(value) if isinstance(value, str) else f"{value:.15g}"


def _tolerated(violation: Violation, rules: Rules, rows: int) -> Violation:
    """Return what is broken by so few rows that they may be left out as something to watch."""
    if violation.rule not in ("range", "categories", "check") or violation.rows > rules.max_broken * rows:
        return violation
    says = f"{violation.says} They are left out of what is learned from."
    return msgspec.structs.replace(violation, verdict="watch", says=says) if violation.verdict == "fail" else violation


def _new(rules: Rules, found: Mapping[str, Any], stored: Mapping[str, str]) -> Iterator[Violation]:
    known = {rule.column for rule in rules.columns} | set(rules.ignored)
    for name in sorted(stored.keys() - known):
        says = f"Column {name!r} is new: the reference lacks it."
        yield _violation(name, "new", "no such column", stored[name], found["rows"], says)


def _late(sql: duckdb.DuckDBPyConnection, view: str, rules: Rules, stored: Mapping[str, str]) -> Iterator[Violation]:
    """Yield how many rows lie before or after the days that hold the others: late events, which are no error."""
    rule = next(rule for rule in rules.columns if rule.column == rules.time)
    (picked, *_) = _picked(rule, stored[rule.column], 0)
    day = f"(v0 - ((v0 % {_DAY_US}) + {_DAY_US}) % {_DAY_US}) // {_DAY_US}"
    query = f"SELECT {day} AS day, count(*) FROM (SELECT {picked} FROM {quoted(view)}) WHERE v0 IS NOT NULL"
    days = sql.execute(f"{query} GROUP BY day ORDER BY day").fetchall()
    counts = sorted(count for _, count in days)
    if not counts:
        return
    usual = counts[len(counts) // 2] * _FULL_DAY
    full = [day for day, count in days if count >= usual]
    late = sum(count for day, count in days if not full[0] <= day <= full[-1])
    if late:
        first, last = (from_us(day * _DAY_US).date().isoformat() for day in (full[0], full[-1]))
        says = f"{late} rows lie outside {first} to {last}, the days of the others: late events, which are no error."
        yield _violation(rule.column, "late", f"{first} to {last}", f"{late} rows", late, says)


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


def _allowed(bounds: Bounds) -> str:
    low, high = bounds
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"at least {low:g}" if low is not None else f"at most {high:g}"


def _beyond_in_words(rule: Rule) -> str:
    low, high = rule.near
    if low is not None and high is not None:
        return f"lie outside {low:g} to {high:g}"
    return f"are under {low:g}" if low is not None else f"are over {high:g}"


def _age(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
