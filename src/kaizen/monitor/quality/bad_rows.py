"""Which shares of a day's rows are watched, and what a day has of each.

| rate       | rows that                          | may be, without anything being wrong            |
|------------|------------------------------------|-------------------------------------------------|
| range      | lie outside the usual range        | one in 1,000, and ten of the reference's rows   |
| extreme    | are absurd                         | the same                                        |
| categories | have none of the known values      | what Good (1953) expects of rare ones           |
| missing    | lack a value                       | the reference's share, and half as much again   |
| check      | break a declared check             | one in 1,000                                    |
| repeats    | are there before                   | the reference's share, and half as much again   |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kaizen.core.rules import Bounds, RowRule, Rule, Rules, columns_of
from kaizen.graph.batch_check import BatchCheck
from kaizen.graph.frame import Frame, rows_of
from kaizen.monitor.quality.repeats import repeated
from kaizen.monitor.reference import Profile, Reference
from kaizen.stats.distances import INDEPENDENT
from kaizen.stats.intervals import clopper_pearson

RateKind: TypeAlias = Literal["range", "extreme", "categories", "missing", "check", "repeats"]

REPEATS: Final = "rows there before"
LEAST_BOUND: Final = 0.001
LEAST_WORTH: Final = 20  # independent rows a week: a column worth fewer, such as the month, has no usual range
_MOST: Final = 0.9  # a share that may be larger says nothing


class Rate(NamedTuple):
    """A share of rows that is watched.

    Attributes
    ----------
    subject
        The column, of a check its name, or `REPEATS`.
    bound
        The share that there may be.
    worth
        How many independent rows one row is worth, for the rows of a day are alike.
    wants
        What should be, for people.
    """

    kind: RateKind
    subject: str
    columns: tuple[str, ...]
    bound: float
    worth: float
    is_declared: bool
    wants: str

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.kind} {self.subject}"

    @property
    def says(self) -> str:
        """What is wrong with such rows, for people."""
        return {
            "range": f"lie outside {self.wants}: {self.subject}",
            "extreme": f"are absurd, outside {self.wants}: {self.subject}",
            "categories": f"have none of the known values: {self.subject}",
            "missing": f"lack a value: {self.subject}",
            "check": f"break the check {self.subject} ({self.wants})",
            "repeats": "are there before, value by value",
        }[self.kind]


class Day(NamedTuple):
    """What a day's rows have: for each rate the rows that hit, (rows,), and for each rule of a row those that break it.

    A rate of a column that the log does not carry is not there.
    """

    rows: int
    hits: dict[str, NDArray[np.bool_]]
    broken: list[tuple[RowRule, NDArray[np.bool_]]]

    def share(self, rate: Rate) -> float:
        """Return the share of rows that hit."""
        return float(self.hits[rate.key].mean())


def watched(rules: Rules, reference: Reference) -> tuple[Rate, ...]:
    """Return the shares of rows that are watched: some of each column, one of each check, and one of repeats."""
    profiles = {profile.name: profile for profile in reversed(reference.columns)}  # of several parts the first
    found: list[Rate] = []
    for rule in rules.columns:
        if rule.column != rules.target:
            found += _of_column(rule, profiles.get(rule.column), reference)
    for check in rules.checks:
        columns = tuple(sorted(columns_of(check)))
        found.append(Rate("check", check.name, columns, LEAST_BOUND, 1.0, is_declared=True, wants=check.text))
    if rules.max_repeats < _MOST:
        found.append(Rate("repeats", REPEATS, (), rules.max_repeats, 1.0, is_declared=False, wants="each once"))
    return tuple(found)


def _of_column(rule: Rule, profile: Profile | None, reference: Reference) -> list[Rate]:
    spread = INDEPENDENT if profile is None else profile.spread
    missing = 1.0 if profile is None else profile.spread_missing
    a_week = reference.rows / max(1, reference.blocks) * 7
    says_much = reference.blocks == 0 or a_week >= LEAST_WORTH * spread.factor
    found: list[Rate] = []

    def add(kind: RateKind, bound: float, factor: float, wants: str) -> None:
        is_declared = ("range" if kind == "extreme" else kind) in rule.declared
        worth = 1.0 if is_declared else 1 / factor
        if bound <= _MOST:
            bound = max(bound, LEAST_BOUND)
            found.append(Rate(kind, rule.column, (rule.column,), bound, worth, is_declared, wants))

    if rule.type == "number" and rule.far != (None, None):  # what is absurd needs no usual range to be told
        add("extreme", rule.max_outside, 1.0, _shown(rule.far))
    if rule.type == "number" and rule.usual != (None, None) and (says_much or "range" in rule.declared):
        add("range", rule.max_outside, spread.factor, _shown(rule.usual))
    if rule.categories is not None and (says_much or "categories" in rule.declared):
        add("categories", rule.max_unknown, spread.factor, "")
    add("missing", rule.max_missing, missing, "")
    return found


def _shown(bounds: Bounds) -> str:
    return RowRule("range", "", (), is_declared=False, bounds=bounds).wants


def count(rates: tuple[Rate, ...], check: BatchCheck, frame: Frame) -> Day:
    """Return what the rows of a day have."""
    broken = [(rule, mask) for _, rule, mask in check.masks(frame)]
    by_rule: dict[tuple[str, str], NDArray[np.bool_]] = {(rule.kind, rule.name): mask for rule, mask in broken}
    hits = {}
    for rate in rates:
        mask = _hits(rate, by_rule, check, frame)
        if mask is not None:
            hits[rate.key] = mask
    return Day(rows_of(frame), hits, broken)


def _hits(
    rate: Rate, by_rule: Mapping[tuple[str, str], NDArray[np.bool_]], check: BatchCheck, frame: Frame
) -> NDArray[np.bool_] | None:
    if rate.kind == "repeats":  # of a part of the columns more rows are alike
        return repeated(frame) if frame.keys() >= check.types.keys() else None
    if rate.kind == "missing":
        return check.missing(rate.subject, frame) if rate.subject in frame else None
    mask = by_rule.get((rate.kind, rate.subject))
    if rate.kind == "range" and mask is not None:
        absurd = by_rule.get(("extreme", rate.subject))
        return mask if absurd is None else mask | absurd
    return mask


def example(rule: RowRule | Rate, mask: NDArray[np.bool_], frame: Mapping[str, NDArray[Any]]) -> str:
    """Return the value that stands for those that hit: the farthest number, the commonest category."""
    name = rule.name if isinstance(rule, RowRule) else rule.subject
    if rule.kind == "categories":
        value, _ = Counter(frame[name][mask].tolist()).most_common(1)[0]
        return repr(value)
    if rule.kind in ("range", "extreme"):
        values = frame[name][mask]
        return f"{values[np.argmax(np.abs(values - np.nanmedian(frame[name])))]:,.12g}"
    return ""


def rules_of(reference: Reference) -> Rules:
    """Return what a reference says of rows: the rules of bundles that were made before bundles had their own.

    Categories only where they are words: a reference has them in a canonical spelling, in which 2.0 is 2.
    """
    columns = tuple(_rule_of(profile, reference.rows) for profile in reference.columns if not profile.part)
    return Rules(rows=reference.rows, columns=columns, task="regression", target="")


def _rule_of(profile: Profile, rows: int) -> Rule:
    missing = profile.counts[-1]
    share = float(clopper_pearson(missing, rows, alpha=2e-6)[1])
    bins = profile.bins
    has_range = profile.type == "number" and bool(bins.edges)
    is_listed = profile.type == "category" and bins.known is not None
    labels = (*bins.labels, *(bins.known or ()))
    is_listed = is_listed and bool(labels) and not any(label.lstrip("-").isdigit() for label in labels)
    return Rule(
        column=profile.name,
        type=profile.type,
        low=bins.low if has_range else None,
        high=bins.high if has_range else None,
        max_outside=LEAST_BOUND + 10 / max(1, rows - missing),
        never_missing=missing == 0,
        max_missing=min(1.0, share + max(0.01, 0.5 * share)),
        categories=labels if is_listed else None,
        max_unknown=0.005 + 2 * bins.novelty,
    )
