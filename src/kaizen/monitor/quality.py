"""Rows that the reference never saw the like of: numbers far out of its range, unseen categories. They never page.

Far is as far again as the range is wide: a season lies beyond the range of the months before it, a unit confused with
another lies far beyond.

Types are enforced at the door. What is here has a question of its own and never pages.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Finding
from kaizen.monitor.paging import Incident, Stamp, settle
from kaizen.monitor.reference import Profile, Reference
from kaizen.monitor.window import Window
from kaizen.stats.intervals import clopper_pearson

QUESTION = "quality"
SUMMARY = "quality window"
METHOD = "Clopper-Pearson lower bound of the share of strange rows"
OPENS_FROM, RESOLVES_BELOW = 0.01, 0.008
LEAST_WORTH = 20  # independent rows in a window: a column worth fewer, such as the month, has no usual range


class Strange(NamedTuple):
    """The rows of a window that the reference of one column knows nothing like."""

    profile: Profile
    rows: int
    strange: int
    share: float
    low: float
    high: float

    @property
    def beyond(self) -> float:
        """The lower bound of the share, less what new labels are usual here."""
        return self.low - self.profile.bins.novelty

    @property
    def kind(self) -> str:
        """What is strange about them, for people."""
        bins = self.profile.bins
        if bins.edges is None:
            return "carry a category that the reference lacks"
        return (
            f"lie far outside {bins.low:g} to {bins.high:g}"
            if bins.edges
            else "have a value where the reference had none"
        )


def strange(profile: Profile, counts: NDArray[np.int64]) -> Strange:
    """Return the share of a window's rows that are far out of range or unseen, with its 95 % bounds.

    Rows count as the independent rows that they are worth, by what the reference's days showed.
    """
    rows = int(counts.sum())
    found = 0
    if profile.bins.edges is not None:
        found = int(counts[0] + counts[-2]) if profile.bins.edges else int(counts[0])
    elif profile.type == "category":
        found = int(counts[-2])
    worth = 1 / profile.spread.factor
    low, high = clopper_pearson(found * worth, rows * worth)
    return Strange(profile, rows, found, found / max(1, rows), float(low), float(high))


def assess(
    reference: Reference, window: Window, incidents: tuple[Incident, ...], *, stamp: Stamp
) -> tuple[list[Finding], tuple[Incident, ...]]:
    """Return the Findings of a full window, one for each column that turns strange or normal and a summary."""
    seen = [
        strange(p, np.asarray(window.counts[p.key])) for p in reference.columns if p.key in window.counts and not p.part
    ]
    if not seen:
        return [], incidents
    findings: list[Finding] = []
    for one in seen:
        happened, incidents = settle(
            incidents,
            QUESTION,
            one.profile.name,
            fires=one.beyond >= OPENS_FROM and one.rows >= LEAST_WORTH * one.profile.spread.factor,
            clean=one.share - one.profile.bins.novelty < RESOLVES_BELOW,
            at=window.end,
        )
        if happened in ("opened", "closed"):
            findings.append(_column_finding(one, window, stamp, is_over=happened == "closed"))
    findings.append(_summary(seen, incidents, window, stamp))
    return findings, incidents


def _column_finding(one: Strange, window: Window, stamp: Stamp, *, is_over: bool) -> Finding:
    return stamp(
        question=QUESTION,
        subject=one.profile.name,
        method=METHOD,
        estimate=one.share,
        low=one.low,
        high=one.high,
        evidence=None,
        limit=OPENS_FROM + one.profile.bins.novelty,
        verdict="resolved" if is_over else "watch",
        n=one.rows,
        start=window.start,
        end=window.end,
        says=f"From {window.days}, {one.share:.1%} of the rows ({one.strange}) {one.kind}: {one.profile.name}.",
    )


def _summary(seen: list[Strange], incidents: tuple[Incident, ...], window: Window, stamp: Stamp) -> Finding:
    worst = max(seen, key=lambda one: one.beyond)
    still = [i.subject for i in incidents if i.question == QUESTION]
    touched = sum(1 for one in seen if one.strange)
    told = f"{worst.share:.2%} ({worst.strange}) {worst.kind}: {worst.profile.name}" if worst.strange else "none"
    return stamp(
        question=SUMMARY,
        subject=worst.profile.name,
        method=METHOD,
        estimate=worst.share,
        low=worst.low,
        high=worst.high,
        evidence=None,
        limit=OPENS_FROM + worst.profile.bins.novelty,
        verdict="watch" if still else "ok",
        n=window.rows,
        start=window.start,
        end=window.end,
        says=f"Strange rows from {window.days} in {touched} of {len(seen)} columns; most: {told}."
        + (f" Open: {', '.join(still)}." if still else ""),
    )
