"""Does the model do worse than it did when it was made? One step for each day whose labels are known.

    losses of a day ─ cut, mean, rescaled ─► x ─► e-SR against the reference's upper bound ─► page at 1/alpha

On average at least 1/alpha days pass between two false pages, however days differ (`RiskDetector`), on the 95 % of
references whose bound holds. Simulated for 1/alpha = 31 and a reference of 45 days whose loss differs by a tenth: 170
days (100 where a day correlates with the one before by 0.4); a loss that rises by a tenth is paged after a median of
12 days, by a fifth after 7. After a page the detector rests; the incident is over once a week of days is back under the
bound, and the detector starts anew.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Finding, Verdict
from kaizen.monitor.paging import Incident, Stamp, settle
from kaizen.monitor.performance.loss import LossReference
from kaizen.monitor.window import day_name
from kaizen.stats.detectors import RiskDetector
from kaizen.stats.intervals import t_bounds

QUESTION = "performance"
SUMMARY = "performance window"
METHOD = "e-SR mixture on the daily mean loss"


class Day(msgspec.Struct, frozen=True):
    """A day whose labels are known: its mean loss (rows cut at the cap), the same rescaled, and its rows."""

    day: int
    loss: float
    score: float
    rows: int


class PerformanceState(msgspec.Struct, frozen=True):
    """The detector, the last days, and how many days have passed since the last summary."""

    detector: RiskDetector = RiskDetector()
    recent: tuple[Day, ...] = ()
    since_summary: int = 0
    quiet_days: int = 0  # days since the page; a week of them may end the incident


def mature(
    loss: LossReference,
    state: PerformanceState,
    day: int,
    losses: NDArray[np.float64],
    incidents: tuple[Incident, ...],
    *,
    limit: float,
    window_days: int,
    start: datetime,
    stamp: Stamp,
) -> tuple[PerformanceState, list[Finding], tuple[Incident, ...]]:
    """Return the state after one more day of losses, what it finds, and the incidents open afterwards.

    Parameters
    ----------
    losses
        Of the day's rows, shape (rows,); NaN where a label is still unknown. A day with less than a tenth of the rows
        that days of the reference have is passed over: its mean says little.
    limit
        1/alpha.
    window_days
        How often a summary is made, and how long a calm ends an incident.
    start
        When the day began.
    """
    known = losses[np.isfinite(losses)]
    if len(known) < loss.daily.least_rows:
        return state, [], incidents
    today = Day(day, float(np.minimum(known, loss.cap).mean()), loss.score(known), len(known))
    is_open = any((i.question, i.subject) == (QUESTION, loss.metric) for i in incidents)
    state = msgspec.structs.replace(
        state,
        detector=state.detector if is_open else state.detector.update(today.score, loss.daily.bound, day),
        recent=(*state.recent, today)[-window_days:],
        since_summary=state.since_summary + 1,
        quiet_days=state.quiet_days + 1 if is_open else 0,
    )
    calm = state.quiet_days >= window_days and np.mean([d.score for d in state.recent]) <= loss.daily.bound
    happened, incidents = settle(
        incidents,
        QUESTION,
        loss.metric,
        fires=state.detector.evidence >= limit,
        clean=bool(calm),
        at=start + timedelta(days=1),
    )
    findings: list[Finding] = []
    if happened == "opened":
        findings.append(_finding(QUESTION, "page", loss, state, limit, start, stamp))
        state = msgspec.structs.replace(state, detector=RiskDetector())
    elif happened == "closed":
        findings.append(_finding(QUESTION, "resolved", loss, state, limit, start, stamp))
    if state.since_summary >= window_days:
        verdict: Verdict = "watch" if happened in ("opened", "open") else "ok"
        findings.append(_finding(SUMMARY, verdict, loss, state, limit, start, stamp))
        state = msgspec.structs.replace(state, since_summary=0)
    return state, findings, incidents


def _finding(
    question: str,
    verdict: Verdict,
    loss: LossReference,
    state: PerformanceState,
    limit: float,
    last_start: datetime,
    stamp: Stamp,
) -> Finding:
    means = np.array([day.loss for day in state.recent])
    low, high = t_bounds(means)
    first, last, began = state.recent[0].day, state.recent[-1].day, state.detector.start
    return stamp(
        question=question,
        subject=loss.metric,
        method=METHOD,
        estimate=float(means.mean()),
        low=low if np.isfinite(low) else None,
        high=high if np.isfinite(high) else None,
        evidence=state.detector.evidence,
        limit=limit,
        verdict=verdict,
        n=sum(day.rows for day in state.recent),
        start=last_start - timedelta(days=last - first),
        end=last_start + timedelta(days=1),
        says=_says(verdict, loss, state, float(means.mean())),
        matters=loss.daily.value_bound,
        began=None if began is None or verdict != "page" else last_start - timedelta(days=last - began),
        impact=float(means.mean()) - loss.daily.mean if verdict == "page" else None,
    )


def _says(verdict: Verdict, loss: LossReference, state: PerformanceState, mean: float) -> str:
    days = f"from {day_name(state.recent[0].day)} to {day_name(state.recent[-1].day)}"
    against = (
        f"the {loss.metric} of a day is {mean:.4f} on average {days}; the reference allows {loss.daily.value_bound:.4f}"
    )
    if verdict == "page":
        began = state.detector.start
        since = f", worse since about {day_name(began)}" if began is not None else ""
        return f"The model does worse than when it was made{since}: {against}."
    if verdict == "resolved":
        return f"The model is back where it was: {against}."
    return f"{'Still worse' if verdict == 'watch' else 'Performance holds'}: {against}."
