"""All columns of a full window at once, beside rows of the reference: what no column shows by itself.

The reference's rows are those that estimates without labels keep, by their bins, and the window's are taken by theirs.
It is told once a window and pages nobody: evidence of one window is not counted in days, as that of columns is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kaizen.core.project import Project
from kaizen.core.records import Column, Finding
from kaizen.graph.frame import Frame
from kaizen.loop import history, unlabelled
from kaizen.loop.told_apart import classify
from kaizen.monitor.columns.binning import place
from kaizen.monitor.drift.joint import MATTERS, METHOD, SUMMARY, Side, joint
from kaizen.monitor.estimates.basis import ReferenceRows
from kaizen.monitor.paging import Stamp
from kaizen.monitor.reference import Profile, Reference
from kaizen.stats.blocks import day_blocks

MOST_ROWS: Final = 6000  # of the window, evenly picked
FEWEST_ROWS: Final = 200  # of either
LIMIT: Final = 100.0  # so often, at most, is a window without a change told as one


def look(
    project: Project, champion: str, reference: Reference, window: Finding, still: Sequence[str], stamp: Stamp
) -> Finding | None:
    """Return what all columns of a window show together, None where it cannot be said.

    Parameters
    ----------
    window
        The summary of drift in that window.
    still
        Columns that have drifted by themselves: while there are any, they are what there is to see.
    """
    assert window.start is not None
    assert window.end is not None
    known = unlabelled.reference_rows(project, reference.estimate)
    rows = _rows(project, champion, window.start, window.end)
    if known is None or rows is None:
        return None
    profiles = [p for p in reference.columns if p.key in known.keys and p.name in rows.frame]
    old, new = _old(known, profiles), _new(rows, profiles, project.file.data.time_zone)
    if len(profiles) < 2 or min(len(old.blocks), len(new.blocks)) < FEWEST_ROWS:
        return None
    found = joint([Column(p.name, "number") for p in profiles], old, new, classify)
    differ = found.auc >= MATTERS and found.evidence >= LIMIT
    small = "" if found.auc >= MATTERS else f", less than the {MATTERS:g} that matters"
    explained = f"; {', '.join(still)} changed by themselves" if differ and still else ""
    return stamp(
        question=SUMMARY,
        subject="all columns",
        method=METHOD,
        estimate=found.auc,
        low=None,
        high=None,
        evidence=found.evidence,
        limit=LIMIT,
        verdict="watch" if differ and not still else "ok",
        n=found.rows,
        start=window.start,
        end=window.end,
        says=f"All columns together: {found.says}{small}{explained}.",
        matters=MATTERS,
        blames=tuple(list(found.importance)[:5]) if differ else (),
    )


def _rows(project: Project, champion: str, start: datetime, end: datetime) -> history.Answers | None:
    groups = [each for each in history.champions(project.log, start, end) if each.bundle == champion]
    if not groups:
        return None
    rows = history.in_event_order(groups[0])
    picked = np.unique(np.linspace(0, len(rows.ids) - 1, min(MOST_ROWS, len(rows.ids))).astype(np.int64))
    return history.select(rows, picked)


def _old(known: ReferenceRows, profiles: Sequence[Profile]) -> Side:
    codes = known.columns()
    at = [known.keys.index(profile.key) for profile in profiles]
    frame: Frame = {p.name: _ranked(codes[:, column], p) for p, column in zip(profiles, at, strict=True)}
    return Side(frame, known.of("groups"))


def _new(rows: history.Answers, profiles: Sequence[Profile], time_zone: str) -> Side:
    frame: Frame = {p.name: _ranked(place(p.bins, rows.frame[p.name]), p) for p in profiles}
    return Side(frame, day_blocks(rows.at, time_zone))


def _ranked(codes: NDArray[np.int64], profile: Profile) -> NDArray[np.float64]:
    """Return bins as numbers, (rows,), NaN for missing; an unseen label counts with the rare ones, as for a column."""
    bins = profile.bins
    last = bins.size - 1
    if bins.edges is None:
        codes = np.where(codes == last - 1, last - 2, codes)
    return np.where(codes == last, np.nan, codes).astype(np.float64)
