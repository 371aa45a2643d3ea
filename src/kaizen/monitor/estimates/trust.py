"""Are estimates without labels to be trusted? What labels showed of each day, less what was expected of it.

labels of a mature day ─► the loss that came, less the one expected ─► e-SR on either side ─► trusted, or not
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Finding
from kaizen.monitor.estimates.estimate import BLIND, EstimateReference
from kaizen.monitor.estimates.estimate_days import CHECKED
from kaizen.monitor.estimates.unlabelled import TRUST, Miss, UnlabelledState
from kaizen.monitor.paging import Incident, Stamp, settle
from kaizen.monitor.reference import Reference
from kaizen.monitor.settings import MonitorSettings
from kaizen.monitor.window import day_name
from kaizen.stats.detectors import RiskDetector
from kaizen.stats.intervals import t_bounds

TRUST_LIMIT = 365.0  # on average at least so many days between two false ends of trust, which page nobody


def mature(
    reference: Reference,
    state: UnlabelledState,
    days: Sequence[tuple[int, NDArray[np.float64]]],
    incidents: tuple[Incident, ...],
    *,
    day: int,
    start: datetime,
    settings: MonitorSettings,
    stamp: Stamp,
) -> tuple[UnlabelledState, list[Finding], tuple[Incident, ...]]:
    """Return the state after the labels of these days, what they say of the estimates, and what is open.

    Parameters
    ----------
    days
        The days whose labels have all come, and the losses of their rows (see `labelled`).
    day, start
        Today, and when it began.
    """
    findings: list[Finding] = []
    for number, losses in days if reference.estimate is not None else ():
        assert reference.estimate is not None
        state, more, incidents = labelled(
            reference.estimate,
            state,
            number,
            losses,
            incidents,
            window_days=settings.window_days,
            start=start - timedelta(days=day - number),
            stamp=stamp,
        )
        findings += more
    return state, findings, incidents


def labelled(
    reference: EstimateReference,
    state: UnlabelledState,
    day: int,
    losses: NDArray[np.float64],
    incidents: tuple[Incident, ...],
    *,
    window_days: int,
    start: datetime,
    stamp: Stamp,
) -> tuple[UnlabelledState, list[Finding], tuple[Incident, ...]]:
    """Return the state after the labels of a day, and a Finding when they show that estimates are to be trusted or not.

    Parameters
    ----------
    losses
        Of the day's rows with labels, shape (rows,): log loss, or squared error. They must be such as come by chance;
        labels that come because something went wrong speak for themselves only.
    window_days
        So many mature days that miss by no more than the reference allows restore trust.
    start
        When the day began.
    """
    daily, task = reference.daily, reference.outcomes.task
    awaited = next((each for each in state.pending if each.day == day), None)
    known = losses[np.isfinite(losses)]
    if daily is None or awaited is None or len(known) < daily.estimate.least_rows:
        return state, [], incidents
    # The loss in which labels check: from the log loss the squared distance of the chance, or the absolute error.
    checked = (-np.expm1(-known)) ** 2 if task == "classification" else np.sqrt(known)
    miss = Miss(day, awaited.loss, float(checked.mean()) - awaited.loss, len(known))
    scaled = daily.miss(miss.difference)
    name = CHECKED[task]
    is_open = any((i.question, i.subject) == (TRUST, name) for i in incidents)
    state = msgspec.structs.replace(
        state,
        over=state.over if is_open else state.over.update(scaled, daily.miss_bound, day),
        under=state.under if is_open else state.under.update(1 - scaled, daily.miss_bound, day),
        pending=tuple(each for each in state.pending if each.day > day),
        misses=(*state.misses, miss)[-window_days:],
        quiet_days=state.quiet_days + 1 if is_open else 0,
    )
    mean = daily.miss(float(np.mean([each.difference for each in state.misses])))
    happened, incidents = settle(
        incidents,
        TRUST,
        name,
        fires=(state.over.evidence + state.under.evidence) / 2 >= TRUST_LIMIT,
        clean=state.quiet_days >= window_days and max(mean, 1 - mean) <= daily.miss_bound,
        at=start + timedelta(days=1),
    )
    if happened not in ("opened", "closed"):
        return state, [], incidents
    finding = _trust(name, state, start, stamp, is_over=happened == "closed")
    return msgspec.structs.replace(state, over=RiskDetector(), under=RiskDetector()), [finding], incidents


def _trust(name: str, state: UnlabelledState, start: datetime, stamp: Stamp, *, is_over: bool) -> Finding:
    differences = np.array([each.difference for each in state.misses])
    low, high = t_bounds(differences)
    first, last = state.misses[0].day, state.misses[-1].day
    mean, days = float(differences.mean()), f"from {day_name(first)} to {day_name(last)}"
    begins = [
        each.start for each in (state.over, state.under) if each.evidence >= TRUST_LIMIT and each.start is not None
    ]
    side = "above" if mean > 0 else "below"
    told = f"on average {days} the {name} of a day lay {abs(mean):.4f} {side} what was expected"
    says = (
        f"Estimates without labels hold again: {told}."
        if is_over
        else f"Estimates without labels are no longer to be trusted: {told}. {BLIND}"
    )
    return stamp(
        question=TRUST,
        subject=name,
        method="e-SR mixture on the daily mean loss less the one expected, to either side",
        estimate=mean,
        low=low if np.isfinite(low) else None,
        high=high if np.isfinite(high) else None,
        evidence=(state.over.evidence + state.under.evidence) / 2,
        limit=TRUST_LIMIT,
        verdict="resolved" if is_over else "watch",
        n=sum(each.rows for each in state.misses),
        start=start - timedelta(days=last - first),
        end=start + timedelta(days=1),
        says=says,
        began=start - timedelta(days=last - min(begins)) if begins and not is_over else None,
    )
