"""Fairness from day to day: the e-detectors of every group and rate, the gaps of each window, and what they say.

a day ─► tallies ─► distance of each group ─► e-detectors, both sides ─► mean ─┐ both keys ─► page
                └─► window ─► gap, against the reference's ────────────────────┘
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np

from kaizen.core.records import Finding, Verdict
from kaizen.monitor.paging import Change, Incident, Stamp, settle
from kaizen.monitor.segments.fairness import (
    MATTERS,
    RESOLVES_BELOW,
    FairnessReference,
    Gap,
    Rate,
    RateReference,
    Tally,
    distance,
    gap_of,
)
from kaizen.monitor.window import day_name
from kaizen.stats.detectors import RiskDetector
from kaizen.stats.differences import difference_interval
from kaizen.stats.streams import Streams

QUESTION = "fairness"
SUMMARY = "fairness gap"  # of one column and rate: it says nothing of the others
METHOD = "mean of e-SR mixtures on each group's daily distance to the others; growth of the gap"
SERIES = 26  # windows


class FairDay(msgspec.Struct, frozen=True):
    """The sums of a day, by group."""

    day: int
    top: tuple[float, ...]
    bottom: tuple[float, ...]


class FairPoint(msgspec.Struct, frozen=True):
    """A window of the series: its last day, what it is about, and the gap."""

    day: int
    column: str
    rate: Rate
    gap: Gap


class FairState(msgspec.Struct, frozen=True):
    """Detectors and the days of the window under way, by column and rate; and the gaps of the windows before."""

    detectors: dict[str, tuple[RiskDetector, ...]] = {}
    window: dict[str, tuple[FairDay, ...]] = {}
    series: tuple[FairPoint, ...] = ()


def subject(reference: FairnessReference, rate: RateReference) -> str:
    """Return what a Finding is about, such as ``sex: selection rate``."""
    return f"{reference.groups.column}: {rate.rate}"


def observe(
    references: Sequence[FairnessReference],
    state: FairState,
    day: int,
    tallies: dict[str, dict[Rate, Tally]],
    incidents: tuple[Incident, ...],
    *,
    limit: float,
    window_days: int,
    start: datetime,
    stamp: Stamp,
) -> tuple[FairState, list[Finding], tuple[Incident, ...]]:
    """Return the state after one more day, what it finds, and the incidents open afterwards.

    Parameters
    ----------
    tallies
        The day's sums by column: of rates that are known at once on the day itself, of the others once it is mature.
        Rates that are not there are left as they were.
    limit
        1/alpha, for all columns and rates together.
    window_days
        How many days a gap is taken over.
    start
        When the day began.
    """
    findings: list[Finding] = []
    watched = sum(len(reference.rates) for reference in references)
    for reference in references:
        for rate in reference.rates:
            tally = tallies.get(reference.groups.column, {}).get(rate.rate)
            if tally is None:
                continue
            name = subject(reference, rate)
            state = _with_day(state, name, rate, day, tally)
            if len(state.window[name]) < window_days:
                continue
            # One of so many rates has to reach so many times the limit: then the mean of all has reached it.
            state, found, incidents = _judge(
                state, reference, rate, incidents, limit * watched, start=start, stamp=stamp
            )
            findings += found
    return state, findings, incidents


def streams(references: Sequence[FairnessReference], state: FairState) -> Streams:
    """Return where the e-detector of every column and rate stands, all of the same weight."""
    names = tuple(subject(reference, rate) for reference in references for rate in reference.rates)
    return Streams(names, (1 / max(1, len(names)),) * len(names), tuple(_evidence(state, name) for name in names))


def _with_day(state: FairState, name: str, rate: RateReference, day: int, tally: Tally) -> FairState:
    bounds = (*rate.above, *rate.below)
    apart = distance(tally)
    values = (*apart.tolist(), *(-apart).tolist())
    before = state.detectors.get(name, (RiskDetector(),) * len(bounds))
    after = tuple(
        detector if bound is None or not np.isfinite(value) else detector.update(bound.score(value), bound.bound, day)
        for detector, bound, value in zip(before, bounds, values, strict=True)
    )
    days = (*state.window.get(name, ()), FairDay(day, tuple(tally.top.tolist()), tuple(tally.bottom.tolist())))
    return msgspec.structs.replace(
        state, detectors={**state.detectors, name: after}, window={**state.window, name: days}
    )


def _evidence(state: FairState, name: str) -> float:
    levels = [detector.evidence for detector in state.detectors.get(name, ())]
    return float(np.mean(levels)) if levels else 0.0


def _judge(
    state: FairState,
    reference: FairnessReference,
    rate: RateReference,
    incidents: tuple[Incident, ...],
    limit: float,
    *,
    start: datetime,
    stamp: Stamp,
) -> tuple[FairState, list[Finding], tuple[Incident, ...]]:
    """Return what a full window shows of one rate; the window begins anew."""
    name = subject(reference, rate)
    days = state.window[name]
    state = msgspec.structs.replace(state, window={each: kept for each, kept in state.window.items() if each != name})
    gap = gap_of(rate.rate, [Tally(np.array(each.top), np.array(each.bottom)) for each in days], reference.groups)
    if gap is None:
        return state, [], incidents
    series = (*state.series, FairPoint(days[-1].day, reference.groups.column, rate.rate, gap))
    state = msgspec.structs.replace(state, series=_shortened(series))
    growth, evidence = gap.value - rate.gap.value, _evidence(state, name)
    happened, incidents = settle(
        incidents,
        QUESTION,
        name,
        fires=evidence >= limit and growth >= MATTERS,
        clean=growth < RESOLVES_BELOW,
        at=start + timedelta(days=1),
    )
    began = max(state.detectors.get(name, ()), key=lambda each: each.evidence, default=RiskDetector()).start
    verdicts: dict[Change, Verdict] = {"opened": "page", "open": "watch", "closed": "resolved", "none": "ok"}
    if happened in ("opened", "closed"):
        kept = {each: detectors for each, detectors in state.detectors.items() if each != name}
        state = msgspec.structs.replace(state, detectors=kept)
    finding = _finding(verdicts[happened], name, gap, rate.gap, days, evidence, limit, began, start=start, stamp=stamp)
    return state, [finding], incidents


def _finding(
    verdict: Verdict,
    name: str,
    gap: Gap,
    usual: Gap,
    days: Sequence[FairDay],
    evidence: float,
    limit: float,
    began: int | None,
    *,
    start: datetime,
    stamp: Stamp,
) -> Finding:
    low, high = difference_interval((gap.value, gap.low, gap.high), (usual.value, usual.low, usual.high))
    last = days[-1].day
    return stamp(
        question=QUESTION if verdict in ("page", "resolved") else SUMMARY,
        subject=name,
        method=METHOD,
        estimate=gap.value - usual.value,
        low=low,
        high=high,
        evidence=evidence,
        limit=limit,
        verdict=verdict,
        n=int(sum(sum(each.bottom) for each in days)),
        start=start - timedelta(days=last - days[0].day),
        end=start + timedelta(days=1),
        says=_says(verdict, name, gap, usual, f"{day_name(days[0].day)} to {day_name(last)}"),
        matters=MATTERS,
        began=start - timedelta(days=last - began) if began is not None and verdict == "page" else None,
        blames=(gap.largest, gap.smallest),
    )


def _shortened(series: Sequence[FairPoint]) -> tuple[FairPoint, ...]:
    """Return the newest `SERIES` windows of each column and rate."""
    kept: list[FairPoint] = []
    seen: dict[tuple[str, str], int] = {}
    for point in reversed(series):
        key = point.column, point.rate
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= SERIES:
            kept.append(point)
    return tuple(reversed(kept))


def _says(verdict: Verdict, name: str, gap: Gap, reference: Gap, days: str) -> str:
    told = (
        f"between {gap.largest} and {gap.smallest} it is {gap.value:.3f} ({gap.low:.3f} to {gap.high:.3f}) "
        f"from {days}, in the reference {reference.value:.3f}"
    )
    heads = {"page": "The gap has grown", "resolved": "The gap is back", "watch": "The gap is still grown"}
    return f"{heads.get(verdict, 'The gap holds')}, {name}: {told}."
