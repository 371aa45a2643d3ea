"""Does the model do worse for some of the rows? A stream for each listed segment, under one promise for all.

    a mature day ─► rows of a segment ─► mean loss ─► e-SR against the segment's own bound   ─┐
                                                     (weight: its share of the reference)    ├─► mean ─► limit
                                                                                             └─► e-BH ─► names

A small segment that gets much worse hardly moves the loss of all rows; its own stream shows it. What it costs is the
logarithm of its share: evidence has to reach 1 / (alpha * share).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Column, Finding
from kaizen.graph.frame import Frame
from kaizen.monitor.daily import DailyBound, daily_bound
from kaizen.monitor.groups import LEAST_ROWS, Groups, groups_of
from kaizen.monitor.paging import Stamp
from kaizen.monitor.window import day_name
from kaizen.stats.detectors import RiskDetector
from kaizen.stats.differences import difference_interval
from kaizen.stats.intervals import t_bounds
from kaizen.stats.streams import Streams

Float = NDArray[np.float64]
Int = NDArray[np.int64]

SUMMARY = "performance by segment"
METHOD = "mean of e-SR mixtures on the daily mean loss of each segment; e-BH"
RECENT_DAYS = 14


class SegmentReference(msgspec.Struct, frozen=True):
    """A listed column: its groups, and what a day's mean loss was in each (None: too few rows or days to watch it)."""

    groups: Groups
    bounds: tuple[DailyBound | None, ...]


class SegmentDay(msgspec.Struct, frozen=True):
    """What a segment lost on a mature day: its mean loss, cut at the cap, and its rows."""

    day: int
    loss: float
    rows: int


class SegmentState(msgspec.Struct, frozen=True):
    """By segment: its detector, and its last days; and how many days have passed since the last summary."""

    detectors: dict[str, RiskDetector] = {}
    recent: dict[str, tuple[SegmentDay, ...]] = {}
    since_summary: int = 0

    def restart(self) -> SegmentState:
        """Return the state with detectors that have seen nothing: after a page."""
        return msgspec.structs.replace(self, detectors={})


class Excess(NamedTuple):
    """By how much a segment's daily loss exceeds what it was in the reference, with the 95 % interval."""

    segment: str
    value: float
    low: float
    high: float
    rows: int


def fit(
    columns: Sequence[Column], listed: Collection[str], frame: Frame, losses: Float, blocks: Int
) -> tuple[SegmentReference, ...]:
    """Return the reference of the listed columns.

    Parameters
    ----------
    columns, listed
        The columns of the rows, and which of them make segments.
    frame, losses, blocks
        Rows that the model had not seen, their losses (cut at the cap of the reference) and their days, (rows,).
    """
    made = [
        groups
        for column in columns
        if column.name in listed and (groups := groups_of(column.name, column.type, frame[column.name])) is not None
    ]
    streams = sum(len(groups) for groups in made)
    return tuple(_reference(groups, frame, losses, blocks, streams) for groups in made)


def _reference(groups: Groups, frame: Frame, losses: Float, blocks: Int, streams: int) -> SegmentReference:
    rows, means = daily_means(groups.codes(frame[groups.column]), len(groups), losses, blocks)
    bounds = (
        daily_bound(mean, count, streams=streams) if count.sum() >= LEAST_ROWS else None
        for count, mean in zip(rows, means, strict=True)
    )
    return SegmentReference(groups, tuple(bounds))


def daily_means(codes: Int, groups: int, losses: Float, blocks: Int) -> tuple[Int, Float]:
    """Return rows and mean loss by group and day, each (groups, days), days in order; NaN where there is no row."""
    days = np.unique(blocks, return_inverse=True)[1]
    size = (groups, int(days.max(initial=-1)) + 1)
    inside = codes >= 0
    cells = codes[inside] * size[1] + days[inside]
    rows = np.bincount(cells, minlength=size[0] * size[1]).reshape(size)
    sums = np.bincount(cells, losses[inside], size[0] * size[1]).reshape(size)
    return rows, np.divide(sums, rows, out=np.full(size, np.nan), where=rows > 0)


def mature(
    references: Sequence[SegmentReference], state: SegmentState, day: int, frame: Frame, losses: Float
) -> SegmentState:
    """Return the state after one more day of rows whose labels are known.

    Parameters
    ----------
    frame
        The day's rows; a column that the log hides may be absent, and its segments are then passed over.
    losses
        Of these rows, cut at the cap of the reference, shape (rows,).
    """
    detectors, recent = dict(state.detectors), dict(state.recent)
    for reference in references:
        if reference.groups.column not in frame:
            continue
        codes = reference.groups.codes(frame[reference.groups.column])
        rows, means = daily_means(codes, len(reference.groups), losses, np.zeros(len(losses), np.int64))
        for name, bound, count, mean in zip(
            reference.groups.names, reference.bounds, rows.sum(axis=1).tolist(), means, strict=True
        ):
            if bound is None or count < bound.least_rows:
                continue
            loss = float(mean[0])
            detectors[name] = detectors.get(name, RiskDetector()).update(bound.score(loss), bound.bound, day)
            recent[name] = (*recent.get(name, ()), SegmentDay(day, loss, count))[-RECENT_DAYS:]
    return SegmentState(detectors, recent, state.since_summary + 1)


def streams(references: Sequence[SegmentReference], state: SegmentState) -> Streams:
    """Return where the e-detector of every watched segment stands, weighted by its share of the reference's rows."""
    watched = [
        (name, share)
        for reference in references
        for name, share, bound in zip(reference.groups.names, reference.groups.shares, reference.bounds, strict=True)
        if bound is not None
    ]
    total = sum(share for _, share in watched)
    levels = (state.detectors.get(name, RiskDetector()).evidence for name, _ in watched)
    return Streams(tuple(name for name, _ in watched), tuple(share / total for _, share in watched), tuple(levels))


def worst_first(references: Sequence[SegmentReference], state: SegmentState) -> list[Excess]:
    """Return what each segment lost over its reference in its last days, the largest lower bound first."""
    found = []
    for reference in references:
        for name, bound in zip(reference.groups.names, reference.bounds, strict=True):
            days = state.recent.get(name, ())
            if bound is None or len(days) < 2:
                continue
            losses = np.array([day.loss for day in days])
            mean = float(losses.mean())
            low, high = difference_interval((mean, *t_bounds(losses)), bound.interval())
            found.append(Excess(name, mean - bound.mean, low, high, sum(day.rows for day in days)))
    return sorted(found, key=lambda each: -each.low)


def summary(
    references: Sequence[SegmentReference],
    state: SegmentState,
    metric: str,
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
    named = standing.named(1 / limit)
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
        end=start + timedelta(days=1),
        says=_says(worst, named, len(ranked), metric, f"{day_name(days[0].day)} to {day_name(days[-1].day)}"),
        blames=named,
        segment=worst.segment,
    )
    return msgspec.structs.replace(state, since_summary=0), [finding]


def _says(worst: Excess, named: Sequence[str], count: int, metric: str, days: str) -> str:
    told = (
        f"worst of {count} segments from {days}: {worst.segment}, whose {metric} is {worst.value:+.4f} "
        f"({worst.low:+.4f} to {worst.high:+.4f}) against its reference"
    )
    return f"Worse than in the reference: {', '.join(named)}; {told}." if named else f"No segment stands out; {told}."
