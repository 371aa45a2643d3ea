"""Is a limit that a project declares broken so fast that it matters? Burn rates over a long and a short window.

| level | window | and still in the last | at a burn rate of | of a month's budget | verdict |
|-------|--------|-----------------------|-------------------|---------------------|---------|
| fast  | 1 h    | 5 min                 | 14.4              | 2 %                 | page    |
| fast  | 6 h    | 30 min                | 6                 | 5 %                 | page    |
| slow  | 3 days | 6 h                   | 1                 | 10 %                | watch   |

A limit allows a share of the requests to be bad: the error budget. The burn rate is the share that is bad over that
one. The table is that of *The Site Reliability Workbook* (Beyer, Murphy, Rensin, Kawahara & Thorne 2018), chapter 5,
table 5-8; where few ask, it adds, a single failure burns much: so a window needs 10 bad requests here. It is looked
at on a grid of 5 minutes, so that it does not depend on when one looks. An alarm is over when it would not have
been raised for an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaizen.core.clock import from_us, to_us
from kaizen.core.durations import duration
from kaizen.core.monitoring import LimitsSection
from kaizen.core.operations import Figures
from kaizen.core.records import Finding, Verdict
from kaizen.monitor.paging import Incident, Stamp, settle
from kaizen.monitor.serving.operations import QUESTION
from kaizen.monitor.serving.signals import asked, failed, refused
from kaizen.stats.histograms import dense, share_above

Float = NDArray[np.float64]

METHOD: Final = "burn rate of the error budget over two windows"
GRID_S: Final = 300
_GRID_US: Final = GRID_S * 1_000_000
_LEAST_BAD: Final = 10
_CALM: Final = 3600 // GRID_S  # cells without an alarm that end one
_MONTH_DAYS: Final = 30
LOOKS_BACK: Final = timedelta(days=3, hours=1)


class Rule(NamedTuple):
    """Two windows in cells of the grid, and the burn rate that both must reach."""

    long: int
    short: int
    burn: float


FAST: Final = (Rule(12, 1, 14.4), Rule(72, 6, 6.0))
SLOW: Final = (Rule(864, 72, 1.0),)


_LEVELS: Final[tuple[tuple[str, tuple[Rule, ...], Verdict], ...]] = (
    ("limit", FAST, "page"),
    ("budget", SLOW, "watch"),
)


class Objective(NamedTuple):
    """A limit: which requests are bad, of which, and the share of them that may be."""

    name: str
    budget: float
    bad: Callable[[Figures], float]
    all: Callable[[Figures], float]
    says: str  # what the bad ones did


class _Alarm(NamedTuple):
    """A rule that holds at a cell."""

    rule: Rule
    cell: int
    bad: float
    all: float
    recent_share: float

    @property
    def share(self) -> float:
        return self.bad / self.all


def objectives(limits: LimitsSection) -> list[Objective]:
    """Return the limits that are a share of requests."""
    found = []
    if limits.latency_p99 is not None:
        limit_us = duration(limits.latency_p99).total_seconds() * 1e6
        found.append(
            Objective("latency p99", 0.01, lambda f: _slower(f, limit_us), _answered, f"took over {limits.latency_p99}")
        )
    if limits.error_rate is not None:
        found.append(Objective("errors", limits.error_rate, failed, asked, "failed"))
    if limits.refusal_rate is not None:
        found.append(Objective("refusals", limits.refusal_rate, refused, asked, "were refused, or too late"))
    return found


def look(
    figures: Iterable[Figures],
    limits: Sequence[Objective],
    incidents: Sequence[Incident],
    *,
    start: datetime,
    end: datetime,
    stamp: Stamp,
) -> tuple[list[Finding], tuple[Incident, ...]]:
    """Return what opens and closes in (start, end], and what is open then.

    Parameters
    ----------
    figures
        Spans of `GRID_S` or less, from `LOOKS_BACK` before the start on.
    """
    every, findings, opened = list(figures), [], tuple(incidents)
    first, last = to_us(start - LOOKS_BACK) // _GRID_US + 1, to_us(end) // _GRID_US
    judged = range(to_us(start) // _GRID_US + 1, last + 1)
    for limit in limits:
        bad, all_ = (_by_cell(every, of, first, last) for of in (limit.bad, limit.all))
        for level, rules, verdict in _LEVELS:
            alarms = _alarms(bad, all_, first, limit.budget, rules)
            subject = f"{limit.name} {level}"
            for cell in judged:
                alarm = alarms.get(cell)
                is_calm = not any(cell - back in alarms for back in range(_CALM))
                happened, opened = settle(
                    opened, QUESTION, subject, fires=alarm is not None, clean=is_calm, at=_moment(cell)
                )
                if happened == "opened" and alarm is not None:
                    findings.append(
                        _opened(limit, subject, alarm, _began(bad, all_, first, alarm, limit), verdict, stamp)
                    )
                elif happened == "closed":
                    findings.append(_closed(limit, subject, bad, all_, cell - first, _moment(cell), stamp))
    return findings, opened


def _alarms(bad: Float, all_: Float, first: int, budget: float, rules: Sequence[Rule]) -> dict[int, _Alarm]:
    """Return the cells at which a rule holds, with the first that does."""
    found: dict[int, _Alarm] = {}
    for rule in rules:
        long_bad, long_all = _trailing(bad, rule.long), _trailing(all_, rule.long)
        long, short = _ratio(long_bad, long_all), _ratio(_trailing(bad, rule.short), _trailing(all_, rule.short))
        limit = rule.burn * budget
        for at in np.flatnonzero((long >= limit) & (short >= limit) & (long_bad >= _LEAST_BAD)).tolist():
            alarm = _Alarm(rule, first + at, float(long_bad[at]), float(long_all[at]), float(short[at]))
            found.setdefault(first + at, alarm)
    return found


def _by_cell(figures: Iterable[Figures], of: Callable[[Figures], float], first: int, last: int) -> Float:
    found = np.zeros(max(0, last - first + 1))
    for each in figures:
        cell = -(-each.at // _GRID_US)
        if first <= cell <= last:
            found[cell - first] += of(each)
    return found


def _trailing(values: Float, cells: int) -> Float:
    """Return the sum over each cell and those before it, so many in all."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    trailing: Float = sums[ends] - sums[np.maximum(ends - cells, 0)]
    return trailing


def _ratio(bad: Float, all_: Float) -> Float:
    ratio: Float = np.divide(bad, all_, out=np.zeros_like(bad), where=all_ > 0)
    return ratio


def _moment(cell: int) -> datetime:
    return from_us(cell * _GRID_US)


def _began(bad: Float, all_: Float, first: int, alarm: _Alarm, limit: Objective) -> datetime:
    """Return the begin of the first cell in the window that broke the limit."""
    end = alarm.cell - first + 1
    start = max(0, end - alarm.rule.long)
    over = np.flatnonzero(_ratio(bad[start:end], all_[start:end]) > limit.budget)
    return _moment(first + start + int(over[0]) - 1) if len(over) else _moment(alarm.cell - alarm.rule.long)


def _opened(limit: Objective, subject: str, alarm: _Alarm, began: datetime, verdict: Verdict, stamp: Stamp) -> Finding:
    end, rule = _moment(alarm.cell), alarm.rule
    burn = alarm.share / limit.budget
    return stamp(
        question=QUESTION,
        subject=subject,
        method=METHOD,
        estimate=alarm.share,
        low=None,
        high=None,
        evidence=None,
        limit=None,
        verdict=verdict,
        n=round(alarm.all),
        start=end - timedelta(seconds=rule.long * GRID_S),
        end=end,
        says=f"In the {_span(rule.long)} to {end:%Y-%m-%d %H:%M} UTC, {alarm.share:.2%} of {alarm.all:,.0f} "
        f"predictions {limit.says} ({alarm.recent_share:.2%} in the last {_span(rule.short)}); {limit.budget:.2%} may: "
        f"a month's budget would be gone in {_span_of_days(_MONTH_DAYS / burn)}.",
        matters=rule.burn * limit.budget,
        began=began,
    )


def _closed(limit: Objective, subject: str, bad: Float, all_: Float, at: int, end: datetime, stamp: Stamp) -> Finding:
    counted = slice(max(0, at + 1 - _CALM), at + 1)
    spoilt, total = float(bad[counted].sum()), float(all_[counted].sum())
    share = spoilt / total if total else 0.0
    return stamp(
        question=QUESTION,
        subject=subject,
        method=METHOD,
        estimate=share,
        low=None,
        high=None,
        evidence=None,
        limit=None,
        verdict="resolved",
        n=round(total),
        start=end - timedelta(seconds=_CALM * GRID_S),
        end=end,
        says=f"In the hour to {end:%Y-%m-%d %H:%M} UTC, {share:.2%} of {total:,.0f} predictions {limit.says}: over.",
        matters=limit.budget,
    )


def _slower(figures: Figures, limit_us: float) -> float:
    counts = dense(figures.latency)
    return share_above(counts, limit_us).value * float(counts.sum()) if len(counts) else 0.0


def _answered(figures: Figures) -> float:
    return float(sum(figures.latency.values()))


def _span(cells: int) -> str:
    minutes = cells * GRID_S // 60
    if minutes < 60:
        return f"{minutes} minutes"
    if minutes == 60:
        return "hour"
    return f"{minutes // 60} hours" if minutes < 2880 else f"{minutes // 1440} days"


def _span_of_days(days: float) -> str:
    return f"{days * 24:.0f} hours" if days < 2 else f"{days:.0f} days"
