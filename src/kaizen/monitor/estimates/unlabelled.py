"""How good is the model now, before labels say so? A day at a time, and a sentence for each full window.

    scores of a day ─► expected metric ─► e-SR ─────────┐ evidence
    window's counts ─► estimate, by the method that fits ┴ effect ─► page when both keys turn
    labels of a mature day, less what was expected ─► e-SR on either side ─► no longer trusted (`trust.py`)
    labels of mature days, and what is expected of those that wait (`performance/corrected.py`) ─► the loss, set right

An estimate stands on what inputs and outcomes had to do with each other in the reference. Should that change, nothing
in the inputs shows it; the first labels do, and that is what the last line is for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Finding, Task, Verdict
from kaizen.monitor.columns.parts import VALUES
from kaizen.monitor.estimates.basis import ReferenceRows
from kaizen.monitor.estimates.estimate import BLIND, Estimate, Estimated, EstimateReference, estimate, outside
from kaizen.monitor.estimates.estimate_days import CHECKED, expected_figure
from kaizen.monitor.estimates.outcomes import outcome_of
from kaizen.monitor.paging import Incident, Stamp, settle
from kaizen.monitor.performance.corrected import Shown, corrected
from kaizen.monitor.reference import Reference
from kaizen.monitor.window import Day, Window, window_of
from kaizen.stats.detectors import RiskDetector

QUESTION = "estimated performance"
SUMMARY = "estimated performance window"
TRUST = "estimate check"
KEY = "score:"  # of the window's counts
RESOLVES_BELOW = 0.8  # of the drop that matters
_MOST_PENDING = 400  # days that wait for their labels
_AT_STAKE: dict[Task, str] = {"classification": "log_loss", "regression": "mse"}  # as `LossReference` has it
METHODS = {
    "calibrated": "outcomes of the reference at the same score",
    "reweighted": "outcomes of the reference at the same score, its rows weighted to look like the window",
    "prior shift": "outcomes of the reference at the same score, with the share of positives that explains the window",
}


class Pending(msgspec.Struct, frozen=True):
    """A day whose labels are not known yet: the mean loss that is expected of its rows."""

    day: int
    loss: float


class Miss(msgspec.Struct, frozen=True):
    """A mature day: the mean loss of its rows less the one that was expected, and how many labels there were."""

    day: int
    expected: float
    difference: float
    rows: int


class UnlabelledState(msgspec.Struct, frozen=True, omit_defaults=True):
    """The detector of a worse metric, those of misses to either side, and the days that they rest on."""

    worse: RiskDetector = RiskDetector()
    over: RiskDetector = RiskDetector()
    under: RiskDetector = RiskDetector()
    pending: tuple[Pending, ...] = ()
    misses: tuple[Miss, ...] = ()
    quiet_days: int = 0  # mature days since the estimate was no longer trusted


def counted(reference: Reference, scores: NDArray[np.float64] | None) -> dict[str, NDArray[np.int64]]:
    """Return the counts of a day's scores, shape (rows,), under `KEY`; nothing where they are not known."""
    if reference.estimate is None or scores is None:
        return {}
    return {KEY: reference.estimate.outcomes.count(scores)}


def observe(
    reference: Reference,
    state: UnlabelledState,
    day: Day,
    window: Window | None,
    incidents: tuple[Incident, ...],
    *,
    rows: Callable[[], ReferenceRows | None],
    limit: float,
    stamp: Stamp,
) -> tuple[UnlabelledState, list[Finding], tuple[Incident, ...]]:
    """Return the state after this day, what there is to say of the window that it fills, and what is open.

    Parameters
    ----------
    rows
        Gives the reference's rows, when a window is full.
    limit
        See `assess`.
    """
    known = reference.estimate
    if known is None:
        return state, [], incidents
    if KEY in day.counts:
        state = seen(known, state, day.number, np.asarray(day.counts[KEY]))
    if window is None:
        return state, [], incidents
    return assess(
        known,
        state,
        window.counts,
        incidents,
        profiles=_profiles(reference),
        rows=rows(),
        limit=limit,
        start=window.start,
        end=window.end,
        days=window.days,
        stamp=stamp,
    )


def seen(reference: EstimateReference, state: UnlabelledState, day: int, counts: NDArray[np.int64]) -> UnlabelledState:
    """Return the state after one more day of scores, counted by bin; a day with very few rows changes nothing."""
    daily, outcomes = reference.daily, reference.outcomes
    if daily is None or counts.sum() < daily.estimate.least_rows:
        return state
    rows = counts.astype(np.float64)

    kinds = [outcome_of(metric, outcomes.task) for metric in (reference.metric, CHECKED[outcomes.task])]
    told = {kind: outcomes.expect(kind, jackknife=False) for kind in kinds}
    value = expected_figure(outcomes, reference.metric, rows, told[kinds[0]])
    loss = expected_figure(outcomes, CHECKED[outcomes.task], rows, told[kinds[1]])
    worse = state.worse
    if np.isfinite(value):
        worse = worse.update(daily.badness(reference.metric, value), daily.estimate.bound, day)
    pending = (*state.pending, Pending(day, loss))[-_MOST_PENDING:]
    return msgspec.structs.replace(state, worse=worse, pending=pending)


def assess(
    reference: EstimateReference,
    state: UnlabelledState,
    counts: Mapping[str, NDArray[np.int64]],
    incidents: tuple[Incident, ...],
    *,
    profiles: Mapping[str, Sequence[int]],
    rows: ReferenceRows | None,
    limit: float,
    start: datetime,
    end: datetime,
    days: str,
    stamp: Stamp,
) -> tuple[UnlabelledState, list[Finding], tuple[Incident, ...]]:
    """Return the Findings of a full window, one that opens or closes an incident and a summary, and what is open.

    Parameters
    ----------
    counts
        Of the window by bin: of the scores under `KEY`, of the columns under their profiles' keys.
    profiles
        The reference's counts by the profiles' keys.
    rows
        The reference's rows; None: nothing is reweighted.
    limit
        The e-value at which a page may be sent, 1/alpha.
    days
        The window's days, for people.
    """
    if KEY not in counts:
        return state, [], incidents
    made = _made(reference, counts, profiles, rows)
    if made is None or reference.metric not in {each.name for each in made.figures}:
        return state, [], incidents
    figure = made.figure(reference.metric)
    happened, incidents = settle(
        incidents,
        QUESTION,
        figure.name,
        fires=state.worse.evidence >= limit and figure.drop >= reference.matters,
        clean=figure.drop < RESOLVES_BELOW * reference.matters,
        at=end,
    )
    trusted = all(i.question != TRUST for i in incidents)

    def finding(question: str, verdict: Verdict) -> Finding:
        return _finding(question, verdict, reference, state, made, figure, limit, (start, end, days), trusted, stamp)

    findings = []
    if happened in ("opened", "closed"):
        findings.append(finding(QUESTION, "page" if happened == "opened" else "resolved"))
    findings.append(finding(SUMMARY, "watch" if happened in ("opened", "open") else "ok"))
    return (
        (msgspec.structs.replace(state, worse=RiskDetector()) if happened == "opened" else state),
        findings,
        incidents,
    )


def _made(
    reference: EstimateReference,
    counts: Mapping[str, NDArray[np.int64]],
    profiles: Mapping[str, Sequence[int]],
    rows: ReferenceRows | None,
) -> Estimate | None:
    columns = {key: values for key, values in counts.items() if key in profiles}
    return estimate(reference, counts[KEY], columns=columns, rows=rows, outside=outside(profiles, columns))


def priced(
    finding: Finding, reference: Reference, days: Sequence[Day], rows: Callable[[], ReferenceRows | None]
) -> Finding:
    """Return a page with what the model is expected to lose since it began, where that can be estimated.

    Parameters
    ----------
    days
        Of which those since the page's start are taken.
    rows
        See `observe`.
    """
    since = [day for day in days if finding.start is None or day.start >= finding.start]
    known = reference.estimate
    if known is None or not since or any(KEY not in day.counts for day in since):
        return finding
    window = window_of(since)
    made = _made(known, window.counts, _profiles(reference), rows())
    loss = next((each for each in made.figures if each.name == _AT_STAKE[known.outcomes.task]), None) if made else None
    if made is None or loss is None:
        return finding
    return msgspec.structs.replace(
        finding, impact=loss.drop, says=f"{finding.says} {_put(loss, window.days, made)} {BLIND}"
    )


def _profiles(reference: Reference) -> dict[str, Sequence[int]]:
    return {p.key: p.counts for p in reference.columns if p.part == VALUES}


def _put(figure: Estimated, days: str, made: Estimate) -> str:
    return (
        f"Without labels, {figure.name} from {days} is put at {figure.value:.4f} "
        f"[{figure.low:.4f}, {figure.high:.4f}], {made.method}; in the reference it was {figure.reference:.4f}."
    )


def _finding(
    question: str,
    verdict: Verdict,
    reference: EstimateReference,
    state: UnlabelledState,
    made: Estimate,
    figure: Estimated,
    limit: float,
    window: tuple[datetime, datetime, str],
    trusted: bool,  # noqa: FBT001 (one of the things that a finding is made of)
    stamp: Stamp,
) -> Finding:
    start, end, days = window
    ends = sorted((_drop(figure, figure.low), _drop(figure, figure.high)))
    says = _put(figure, days, made)
    doubts = ("Labels have shown this estimate to be wrong of late: do not trust it.",) * (not trusted)
    return stamp(
        question=question,
        subject=figure.name,
        method=METHODS[made.method],
        estimate=figure.drop,
        low=ends[0],
        high=ends[1],
        evidence=state.worse.evidence,
        limit=limit,
        verdict=verdict,
        n=made.rows,
        start=start,
        end=end,
        says=" ".join((says, *doubts, BLIND, *_early(state, CHECKED[reference.outcomes.task]), *made.warnings)),
        matters=reference.matters,
        detectable=max(ends[1] - figure.drop, figure.drop - ends[0]),
        impact=next((each.drop for each in made.figures if each.name == _AT_STAKE[reference.outcomes.task]), None),
    )


def _early(state: UnlabelledState, name: str) -> tuple[str, ...]:
    """Return what the first labels make of the estimate, where there are enough of them."""
    known = [Shown(each.expected, each.expected + each.difference) for each in state.misses]
    found = corrected([*known, *(Shown(each.loss, None) for each in state.pending)])
    if found is None:
        return ()
    days = f"With the labels of {found.known} of {len(known) + len(state.pending)} days"
    return (f"{days}, the {name} of a day is put at {found.mean:.4f} [{found.low:.4f}, {found.high:.4f}].",)


def _drop(figure: Estimated, value: float) -> float:
    return figure._replace(value=value).drop
