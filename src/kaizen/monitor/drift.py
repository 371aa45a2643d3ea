"""Has a column changed? Two keys must turn: evidence that it is no accident, and an effect that is worth a page.

| key      | values                                      | missing values                                    |
|----------|---------------------------------------------|---------------------------------------------------|
| evidence | chi2 on the bins, p < level / 2D            | hypergeometric test, p < level / 2D               |
| effect   | debiased Jensen-Shannon distance >= 0.112   | 95 % Clopper-Pearson bounds 0.01 apart or more    |
| resolved | distance < 0.09                             | bounds less than 0.008 apart                      |

D counts the columns. Rows that are alike within a day count for less, by what the reference's days showed (`Spread`).
"""

from __future__ import annotations

import statistics
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Finding
from kaizen.monitor.paging import Incident, Stamp, settle
from kaizen.monitor.reference import Profile, Reference
from kaizen.monitor.window import Window
from kaizen.stats.distances import chi2_test, hypergeometric_test, js_detectable, js_distance
from kaizen.stats.intervals import clopper_pearson

QUESTION = "drift"
SUMMARY = "drift window"
METHOD = "chi2 and debiased Jensen-Shannon distance"
METHOD_MISSING = "hypergeometric test and Clopper-Pearson bounds of the missing share"
PAGES_FROM, RESOLVES_BELOW = 0.112, 0.09
MISSING_PAGES_FROM, MISSING_RESOLVES_BELOW = 0.01, 0.008


class Change(NamedTuple):
    """What a window shows of one column: both keys for its values and for its missing values."""

    profile: Profile
    rows: int
    distance: float
    p_value: float
    detectable: float  # the smallest distance that would have paged
    missing: float  # share
    missing_low: float
    missing_high: float
    missing_gap: float  # between the bounds of the reference and of the window
    missing_p_value: float

    def fires(self, limit: float) -> bool:
        """Whether both keys turn, for the values or for missing, p held against `limit`."""
        return self.values_fire(limit) or (self.missing_p_value < limit and self.missing_gap >= MISSING_PAGES_FROM)

    def values_fire(self, limit: float) -> bool:
        """Whether both keys turn for the values."""
        return self.p_value < limit and self.distance >= PAGES_FROM

    @property
    def is_clean(self) -> bool:
        """Whether it is back in the range in which an incident is over."""
        return self.distance < RESOLVES_BELOW and self.missing_gap < MISSING_RESOLVES_BELOW


def change(profile: Profile, counts: NDArray[np.int64], limit: float) -> Change:
    """Return what the counts of a window show against the reference, tests held against `limit`.

    Parameters
    ----------
    profile
        The column's reference.
    counts
        Of the window, shape (bins,), the last for missing.
    """
    reference, current = np.asarray(profile.counts, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    values = reference[:-1], current[:-1]
    p_value, _ = chi2_test(*values, profile.spread)
    worth = 1 / profile.spread_missing
    low, high = clopper_pearson(
        np.array([reference[-1], current[-1]]) * worth, np.array([reference.sum(), current.sum()]) * worth
    )
    missing_p = hypergeometric_test(
        current[-1] * worth, current.sum() * worth, reference[-1] * worth, reference.sum() * worth
    )
    return Change(
        profile=profile,
        rows=int(current.sum()),
        distance=js_distance(*values, profile.spread),
        p_value=p_value,
        detectable=max(PAGES_FROM, js_detectable(*values, limit, profile.spread)),
        missing=float(current[-1] / max(1.0, current.sum())),
        missing_low=float(low[1]),
        missing_high=float(high[1]),
        missing_gap=float(max(low[1] - high[0], low[0] - high[1])),
        missing_p_value=missing_p,
    )


def assess(
    reference: Reference, window: Window, incidents: tuple[Incident, ...], *, level: float, stamp: Stamp
) -> tuple[list[Finding], tuple[Incident, ...]]:
    """Return the Findings of a full window, one for each column that fires or resolves and a summary, and what is open.

    ``level`` is the most that P(a page) may be without change, over all columns.
    """
    profiles = [p for p in reference.profiles if p.key in window.counts]
    if not profiles:
        return [], incidents
    limit = level / (2 * len(profiles))
    changes = [change(p, np.asarray(window.counts[p.key]), limit) for p in profiles]
    findings: list[Finding] = []
    opened: list[Change] = []
    for seen in changes:
        happened, incidents = settle(
            incidents, QUESTION, seen.profile.name, fires=seen.fires(limit), clean=seen.is_clean, at=window.end
        )
        if happened == "opened":
            opened.append(seen)
        if happened in ("opened", "closed"):
            findings.append(_column_finding(seen, window, limit, stamp, is_over=happened == "closed"))
    unseen = [p.name for p in reference.columns if p.key not in window.counts]
    findings.append(_summary(changes, opened, unseen, incidents, window, level, stamp))
    return findings, incidents


def _column_finding(seen: Change, window: Window, limit: float, stamp: Stamp, *, is_over: bool) -> Finding:
    by_values = is_over or seen.values_fire(limit)
    return stamp(
        question=QUESTION,
        subject=seen.profile.name,
        method=METHOD if by_values else METHOD_MISSING,
        estimate=seen.distance if by_values else seen.missing,
        low=None if by_values else seen.missing_low,
        high=None if by_values else seen.missing_high,
        evidence=seen.p_value if by_values else seen.missing_p_value,
        limit=limit,
        verdict="resolved" if is_over else "page",
        n=seen.rows,
        start=window.start,
        end=window.end,
        says=_says(seen, window, by_values=by_values, is_over=is_over),
    )


def _says(seen: Change, window: Window, *, by_values: bool, is_over: bool) -> str:
    reference = seen.profile.counts
    missing = f"is missing in {seen.missing:.1%} of the rows (reference: {reference[-1] / max(1, sum(reference)):.1%})"
    lies = f"lies {seen.distance:.3f} from the reference"
    name = seen.profile.name
    if is_over:
        return f"{name} is back: from {window.days} it {lies} and {missing}."
    told = f"{lies} (pages from {PAGES_FROM})" if by_values else missing
    return f"{name} drifted: from {window.days} it {told}."


def _summary(
    changes: list[Change],
    opened: list[Change],
    unseen: list[str],
    incidents: tuple[Incident, ...],
    window: Window,
    level: float,
    stamp: Stamp,
) -> Finding:
    still = [i.subject for i in incidents if i.question == QUESTION]
    worst = max(changes, key=lambda seen: seen.distance)
    usual = statistics.median(seen.detectable for seen in changes)
    smallest = min(min(seen.p_value, seen.missing_p_value) for seen in changes)
    new = ", ".join(seen.profile.name for seen in opened)
    if opened:
        says = f"{len(opened)} of {len(changes)} columns drifted from {window.days}: {new}."
    elif still:
        says = f"No new drift from {window.days}; still open: {', '.join(still)}."
    else:
        shown = f"in half of them a distance of {usual:.3f} would have shown"
        says = f"No drift in {len(changes)} columns from {window.days}; {shown}."
    if unseen:
        says += f" Not watched, for the log does not carry them: {', '.join(unseen)}."
    return stamp(
        question=SUMMARY,
        subject=worst.profile.name,
        method=METHOD,
        estimate=worst.distance,
        low=None,
        high=None,
        evidence=min(1.0, 2 * len(changes) * smallest),
        limit=level,
        verdict="page" if opened else "watch" if still else "ok",
        n=window.rows,
        start=window.start,
        end=window.end,
        says=says,
    )
