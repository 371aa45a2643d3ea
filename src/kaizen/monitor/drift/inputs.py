"""The inputs and the answers of a model, day by day: which columns have changed, since when, and are they back?

    a day's counts ─► each column's stream ─► evidence ─► e-BH ─► effect since it began ─┬─ matters ─► page
                                                                                         └─ does not ─► start anew
    a full window  ─► what it shows of each column ─► one sentence; incidents that are over

Evidence is counted in days and held against one limit for all columns together: the mean over them is an e-detector,
so that on average at least so many days lie between two false alarms, however many columns there are and however they
depend on each other (`kaizen.stats.detectors`). A column whose incident is open leaves the mean, which is still divided
by all, so that one loud column does not hide the next.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
import numpy as np

from kaizen.core.ids import content_id
from kaizen.core.records import Finding
from kaizen.monitor.columns.stream import Stream, advance, advance_by_window, fresh
from kaizen.monitor.drift.change import MATTERS, MISSING_MATTERS, Change, change
from kaizen.monitor.paging import Incident, Stamp, settle
from kaizen.monitor.reference import Profile, Reference, by_column
from kaizen.monitor.settings import MonitorSettings
from kaizen.monitor.window import MOST_DAYS, Day, Window, day_name, newest, window_of
from kaizen.stats.ebh import e_bh

QUESTION = "drift"
SUMMARY = "drift window"
METHOD = "conformal e-detector on days, e-BH over columns; debiased Jensen-Shannon distance"
METHOD_MISSING = "conformal e-detector on days, e-BH over columns; Clopper-Pearson bounds of the missing share"
LEAST_ROWS = 300  # since it began, that an effect is measured on: the distance of fewer is mostly noise

Streams = Mapping[str, Stream]


class Inputs(msgspec.Struct, frozen=True):
    """What is remembered of the inputs: the newest days, the last one that a summary covered, and the streams."""

    days: tuple[Day, ...] = ()
    summed_up: int | None = None
    streams: dict[str, Stream] = {}  # by the profile's key


class _Column(NamedTuple):
    """A column, or the answers: its parts, the evidence that they have changed, and since when."""

    name: str
    parts: Sequence[Profile]
    evidence: float
    began: int | None


def observe(
    reference: Reference,
    state: Inputs,
    day: Day,
    incidents: tuple[Incident, ...],
    settings: MonitorSettings,
    *,
    stamp: Stamp,
) -> tuple[Inputs, list[Finding], tuple[Incident, ...]]:
    """Return the state after this day, what there is to say, and the incidents open afterwards."""
    summed_up = day.number - 1 if state.summed_up is None else state.summed_up
    days = _kept(state.days, day, summed_up, settings)
    last = day.number - (day.number - summed_up) % settings.window_days
    due = [each for each in days if summed_up < each.number <= last]
    window = window_of(due) if sum(each.rows for each in due) >= settings.min_rows else None
    quiet = {i.subject for i in incidents if i.question == QUESTION}
    streams = _advanced(reference, state.streams, day, window, quiet, settings)
    columns = _columns(reference, streams, day, quiet)
    limit = settings.limit_of("drift")
    opened: list[Finding] = []
    for column, needed in _carried(columns, limit):
        told = _held_against_effect(column, days, needed, stamp)
        if told is None:
            continue  # too few rows to measure an effect on: the evidence stands, and tomorrow there are more
        streams |= {part.key: streams[part.key].rested() for part in column.parts if part.key in streams}
        if told:
            _, incidents = settle(incidents, QUESTION, column.name, fires=True, clean=False, at=day.end)
            opened += told
    findings = [*opened, _group(opened, columns, day, limit, stamp)] if opened else []
    if window is not None:
        needed = limit * len(columns)
        changes = [change(p, window.counts[p.key], needed) for p in reference.profiles if p.key in window.counts]
        fresh_names = {finding.subject for finding in opened}  # what opens today is not over today
        more, incidents = _ended(changes, window, incidents, fresh_names, stamp)
        findings += more
        if not opened:  # the page says what there is to say of this window
            unseen = [p.name for p in reference.columns if p.key not in window.counts]
            findings.append(_summary(changes, columns, unseen, incidents, window, limit, stamp))
        summed_up = last
    return Inputs(days, summed_up, streams), findings, incidents


def _kept(days: Sequence[Day], day: Day, summed_up: int, settings: MonitorSettings) -> tuple[Day, ...]:
    """Return the days with one more, less those that neither the next summary nor an effect is measured on."""
    every = (*days, day)[-MOST_DAYS:]
    return tuple(newest(every, since=summed_up + 1, rows=settings.min_rows, least_days=settings.window_days))


def _advanced(
    reference: Reference,
    streams: Streams,
    day: Day,
    window: Window | None,
    quiet: set[str],
    settings: MonitorSettings,
) -> dict[str, Stream]:
    """Return the streams after this day; that of a column whose incident is open stands still."""
    after = dict(streams)
    for profile in reference.profiles:
        if profile.key not in day.counts or profile.name in quiet:
            continue
        stream = after.get(profile.key) or fresh(profile.habit, settings.window_days)
        if profile.habit is not None:
            chance = np.random.default_rng(int(content_id(profile.key, day.number)[:16], 16))
            counts = np.asarray(day.counts[profile.key], np.int64)
            pool = np.asarray(profile.counts, np.int64)
            stream = advance(stream, profile.habit, profile.bins, pool, day.number, counts, chance=chance)
        elif window is not None and profile.key in window.counts:
            e_value = change(profile, window.counts[profile.key], settings.limit).evidence
            stream = advance_by_window(stream, e_value, window.first_day)
        after[profile.key] = stream
    return after


def _columns(reference: Reference, streams: Streams, day: Day, quiet: set[str]) -> list[_Column]:
    found = []
    for name, parts in by_column([p for p in reference.profiles if p.key in day.counts]):
        mine = [] if name in quiet else [streams[part.key] for part in parts if part.key in streams]
        best = max(mine, key=lambda stream: stream.evidence, default=None)
        evidence = sum(stream.evidence for stream in mine) / len(parts)
        found.append(_Column(name, parts, evidence, best.start if best is not None else None))
    return found


def _carried(columns: Sequence[_Column], limit: float) -> list[tuple[_Column, float]]:
    """Return the columns that evidence points at, the most first, each with what it needed."""
    carried = e_bh([column.evidence for column in columns], 1 / limit) if columns else np.zeros(0, np.bool_)
    needed = len(columns) * limit / max(1, int(carried.sum()))
    chosen = [(column, needed) for column, has in zip(columns, carried, strict=True) if has]
    return sorted(chosen, key=lambda pair: -pair[0].evidence)


def _held_against_effect(column: _Column, days: Sequence[Day], needed: float, stamp: Stamp) -> list[Finding] | None:
    """Return the page of a column whose effect matters, nothing where it does not, None where none can be measured."""
    weekly = any(part.habit is not None and part.habit.classes > 1 for part in column.parts)
    began = column.began if column.began is not None else days[-1].number
    having = [day for day in days if any(part.key in day.counts for part in column.parts)]
    window = window_of(newest(having, since=began, least_days=7 if weekly else 1))
    if window.rows < LEAST_ROWS:
        return None
    changes = [change(part, window.counts[part.key], needed) for part in column.parts if part.key in window.counts]
    worst = max(changes, key=lambda seen: (seen.matters is not None, seen.distance), default=None)
    if worst is None or worst.matters is None:
        return []
    return [_page(column, worst, window, _moment(days, began), needed, stamp)]


def _moment(days: Sequence[Day], number: int) -> datetime:
    """Return when a day began; of one that is not kept any more, by counting back."""
    known = next((day.start for day in days if day.number == number), None)
    return known if known is not None else days[0].start - timedelta(days=days[0].number - number)


def _page(column: _Column, seen: Change, window: Window, began: datetime, needed: float, stamp: Stamp) -> Finding:
    by_missing = seen.matters == "missing"
    since = day_name(column.began) if column.began is not None else window.days
    return stamp(
        question=QUESTION,
        subject=column.name,
        method=METHOD_MISSING if by_missing else METHOD,
        estimate=seen.missing_gap if by_missing else seen.distance,
        low=seen.missing_low if by_missing else None,
        high=seen.missing_high if by_missing else None,
        evidence=column.evidence,
        limit=needed,
        verdict="page",
        n=window.rows,
        start=window.start,
        end=window.end,
        says=f"{seen.profile.label} changed, probably on {since}: from {window.days} it {seen.says}.",
        matters=MISSING_MATTERS if by_missing else MATTERS,
        detectable=seen.detectable,
        began=began,
        blames=(column.name,),
    )


def _group(opened: Sequence[Finding], columns: Sequence[_Column], day: Day, limit: float, stamp: Stamp) -> Finding:
    """Return what a day's drift comes to: one page, however many columns it names."""
    names = tuple(finding.subject for finding in opened)
    began = min(finding.began for finding in opened if finding.began is not None)
    worst = max(opened, key=lambda finding: finding.estimate or 0.0)
    return stamp(
        question=SUMMARY,
        subject=worst.subject,
        method=METHOD,
        estimate=worst.estimate,
        low=None,
        high=None,
        evidence=sum(column.evidence for column in columns) / len(columns),
        limit=limit,
        verdict="page",
        n=worst.n,
        start=min(finding.start for finding in opened if finding.start is not None),
        end=day.end,
        says=f"{len(names)} of {len(columns)} columns changed: {', '.join(names)}. {opened[0].says}",
        matters=worst.matters,
        detectable=worst.detectable,
        began=began,
        blames=names,
    )


def _ended(
    changes: Sequence[Change],
    window: Window,
    incidents: tuple[Incident, ...],
    opened: set[str],
    stamp: Stamp,
) -> tuple[list[Finding], tuple[Incident, ...]]:
    """Return which incidents a full window ends, and those that it does not."""
    findings: list[Finding] = []
    for name, profiles in by_column([seen.profile for seen in changes]):
        parts = [seen for seen in changes if seen.profile in profiles]
        clean = name not in opened and all(seen.is_clean for seen in parts)
        happened, incidents = settle(incidents, QUESTION, name, fires=False, clean=clean, at=window.end)
        if happened == "closed":
            findings.append(_over(name, max(parts, key=lambda seen: seen.distance), window, stamp))
    return findings, incidents


def _over(name: str, seen: Change, window: Window, stamp: Stamp) -> Finding:
    return stamp(
        question=QUESTION,
        subject=name,
        method=METHOD,
        estimate=seen.distance,
        low=None,
        high=None,
        evidence=None,
        limit=None,
        verdict="resolved",
        n=window.rows,
        start=window.start,
        end=window.end,
        says=f"{name} is back: from {window.days} it {seen.says}.",
        matters=MATTERS,
    )


def _summary(
    changes: Sequence[Change],
    columns: Sequence[_Column],
    unseen: Sequence[str],
    incidents: tuple[Incident, ...],
    window: Window,
    limit: float,
    stamp: Stamp,
) -> Finding:
    still = tuple(i.subject for i in incidents if i.question == QUESTION)
    worst = max(changes, key=lambda seen: seen.distance)
    usual = statistics.median(seen.detectable for seen in changes)
    if still:
        says = f"Still changed, from {window.days}: {', '.join(still)}."
    else:
        shown = f"in half of them a distance of {usual:.3f} would have shown"
        says = f"No drift in {len(columns)} columns from {window.days}; {shown}."
    if unseen:
        says += f" Not watched, for the log does not carry them: {', '.join(dict.fromkeys(unseen))}."
    return stamp(
        question=SUMMARY,
        subject=worst.profile.name,
        method=METHOD,
        estimate=worst.distance,
        low=None,
        high=None,
        evidence=sum(column.evidence for column in columns) / max(1, len(columns)),
        limit=limit,
        verdict="watch" if still else "ok",
        n=window.rows,
        start=window.start,
        end=window.end,
        says=says,
        matters=MATTERS,
        detectable=usual,
        blames=still,
    )
