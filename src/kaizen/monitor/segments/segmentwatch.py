"""Segments from day to day: whose page opens, whose is over, and once a window a sentence about the worst.

a mature day ─► streams ─► mean of all at the limit, and named by e-BH ─► page, one a segment
                            a week of its days back under its bound    ─► resolved
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np

from kaizen.core.records import Finding, Verdict
from kaizen.monitor.daily import DailyBound
from kaizen.monitor.paging import Incident, Stamp, settle
from kaizen.monitor.segments.segments import (
    RECENT_DAYS,
    Excess,
    SegmentDay,
    SegmentReference,
    SegmentState,
    streams,
    watched,
    worst_first,
)
from kaizen.monitor.window import day_name

QUESTION = "segments"
SUMMARY = "performance by segment"
METHOD = "mean of e-SR mixtures on the daily mean loss of each segment; e-BH"

_DAY = timedelta(days=1)


def open_segments(incidents: Sequence[Incident]) -> tuple[str, ...]:
    """Return the segments whose page is open."""
    return tuple(each.subject for each in incidents if each.question == QUESTION)


def judge(
    references: Sequence[SegmentReference],
    state: SegmentState,
    metric: str,
    incidents: tuple[Incident, ...],
    day: int,
    *,
    limit: float,
    window_days: int,
    start: datetime,
    stamp: Stamp,
) -> tuple[SegmentState, list[Finding], tuple[Incident, ...]]:
    """Return the state after a mature day's pages, the Findings that open or end one, and the incidents open then.

    Parameters
    ----------
    incidents
        Of any question; of segments there is one for each, whose name is its subject.
    day, start
        The last mature day, which `state` has seen, and when it began.
    limit
        1/alpha, for all segments together.
    window_days
        How long a calm ends a page, at most `RECENT_DAYS`.
    """
    standing, known = streams(references, state), watched(references)
    excess = {each.segment: each for each in worst_first(references, state)}
    named = standing.named(1 / limit) if standing.evidence >= limit else ()
    findings: list[Finding] = []
    for name in dict.fromkeys((*open_segments(incidents), *named)):
        since = next((each.since for each in incidents if (each.question, each.subject) == (QUESTION, name)), start)
        is_calm = name not in known or _is_calm(
            known[name][1], state.recent.get(name, ()), day, (start - since) / _DAY, min(window_days, RECENT_DAYS)
        )
        happened, incidents = settle(
            incidents, QUESTION, name, fires=name in named and name in excess, clean=is_calm, at=start + _DAY
        )
        if happened in ("opened", "closed"):
            verdict: Verdict = "page" if happened == "opened" else "resolved"
            share = known[name][0] if name in known else 0.0
            findings.append(
                _finding(
                    verdict, name, metric, state, excess.get(name), share, standing.evidence, limit, day, start, stamp
                )
            )
    return state.restart(open_segments(incidents)), findings, incidents


def summary(
    references: Sequence[SegmentReference],
    state: SegmentState,
    metric: str,
    incidents: Sequence[Incident] = (),
    *,
    limit: float,
    window_days: int,
    start: datetime,
    stamp: Stamp,
) -> tuple[SegmentState, list[Finding]]:
    """Return the state, and once a window what there is to say of the segments; `start` is of the last mature day."""
    ranked = worst_first(references, state)
    if state.since_summary < window_days or not ranked:
        return state, []
    worst, standing = ranked[0], streams(references, state)
    named = (*open_segments(incidents), *standing.named(1 / limit))
    days = state.recent[worst.segment]
    finding = stamp(
        question=SUMMARY,
        subject=metric,
        method=METHOD,
        estimate=worst.value,
        low=worst.low if np.isfinite(worst.low) else None,
        high=worst.high if np.isfinite(worst.high) else None,
        evidence=standing.evidence,
        limit=limit,
        verdict="watch" if named else "ok",
        n=worst.rows,
        start=start - timedelta(days=days[-1].day - days[0].day),
        end=start + _DAY,
        says=_summed_up(worst, named, len(ranked), metric, _span(days)),
        blames=named,
        segment=worst.segment,
    )
    return msgspec.structs.replace(state, since_summary=0), [finding]


def _is_calm(bound: DailyBound, days: Sequence[SegmentDay], day: int, passed: float, calm_days: int) -> bool:
    """Return whether so many days came since the page, `passed` days before this one, and the newest are usual."""
    after = [each for each in days if day - each.day <= passed + 0.5][-calm_days:]
    return len(after) == calm_days and float(np.mean([bound.score(each.loss) for each in after])) <= bound.bound


def _finding(
    verdict: Verdict,
    name: str,
    metric: str,
    state: SegmentState,
    excess: Excess | None,
    share: float,
    evidence: float,
    limit: float,
    day: int,
    start: datetime,
    stamp: Stamp,
) -> Finding:
    """Return what opens or ends a page; without an excess, the segment is not watched any more."""
    days = state.recent.get(name, ())
    began = state.detectors[name].start if verdict == "page" else None
    return stamp(
        question=QUESTION,
        subject=metric,
        method=METHOD,
        estimate=excess.value if excess else None,
        low=excess.low if excess and np.isfinite(excess.low) else None,
        high=excess.high if excess and np.isfinite(excess.high) else None,
        evidence=evidence,
        limit=limit,
        verdict=verdict,
        n=excess.rows if excess else 0,
        start=start - timedelta(days=day - days[0].day) if days else start,
        end=start + _DAY,
        says=_says(verdict, name, metric, excess, began, days),
        began=None if began is None else start - timedelta(days=day - began),
        blames=(name,),
        segment=name,
        impact=excess.value * share if excess and verdict == "page" else None,
    )


def _says(
    verdict: Verdict, name: str, metric: str, excess: Excess | None, began: int | None, days: Sequence[SegmentDay]
) -> str:
    if excess is None:
        return f"{name} is not watched any more."
    since = f", worse since about {day_name(began)}" if began is not None else ""
    head = "The model does worse for" if verdict == "page" else "The model is back where it was for"
    return f"{head} {name}{since}: {_told(excess, metric)} from {_span(days)}."


def _summed_up(worst: Excess, named: Collection[str], count: int, metric: str, days: str) -> str:
    told = f"worst of {count} segments from {days}: {worst.segment}, whose {_told(worst, metric)}"
    return f"Worse than in the reference: {', '.join(named)}; {told}." if named else f"No segment stands out; {told}."


def _told(excess: Excess, metric: str) -> str:
    return f"{metric} is {excess.value:+.4f} ({excess.low:+.4f} to {excess.high:+.4f}) against its reference"


def _span(days: Sequence[SegmentDay]) -> str:
    return f"{day_name(days[0].day)} to {day_name(days[-1].day)}"
