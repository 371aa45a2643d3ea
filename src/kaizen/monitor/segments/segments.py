"""Does the model do worse for some of the rows? A stream for each listed segment, under one promise for all.

    a mature day ─► rows of a segment ─► mean loss ─► e-SR against the segment's own bound   ─┐
                                                     (weight: its share of the reference)    ├─► mean ─► limit ┐ both:
                                                                                             └─► e-BH ─► names ┘ page

A small segment that gets much worse hardly moves the loss of all rows; its own stream shows it. What it costs is the
logarithm of its share: evidence has to reach 1 / (alpha * share).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Column
from kaizen.graph.frame import Frame
from kaizen.monitor.columns.groups import LEAST_ROWS, Groups, groups_of
from kaizen.monitor.daily import DailyBound, daily_bound
from kaizen.stats.detectors import RiskDetector
from kaizen.stats.differences import difference_interval
from kaizen.stats.intervals import t_bounds
from kaizen.stats.streams import Streams

Float = NDArray[np.float64]
Int = NDArray[np.int64]

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

    def restart(self, names: Collection[str]) -> SegmentState:
        """Return the state with detectors of these segments that have seen nothing: after a page."""
        kept = {name: detector for name, detector in self.detectors.items() if name not in names}
        return msgspec.structs.replace(self, detectors=kept)


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
    references: Sequence[SegmentReference],
    state: SegmentState,
    day: int,
    frame: Frame,
    losses: Float,
    resting: Collection[str] = (),
) -> SegmentState:
    """Return the state after one more day of rows whose labels are known.

    Parameters
    ----------
    frame
        The day's rows; a column that the log hides may be absent, and its segments are then passed over.
    losses
        Of these rows, cut at the cap of the reference, shape (rows,).
    resting
        Segments whose page is open: their days are kept, their detectors wait.
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
            if name not in resting:
                detectors[name] = detectors.get(name, RiskDetector()).update(bound.score(loss), bound.bound, day)
            recent[name] = (*recent.get(name, ()), SegmentDay(day, loss, count))[-RECENT_DAYS:]
    return SegmentState(detectors, recent, state.since_summary + 1)


def streams(references: Sequence[SegmentReference], state: SegmentState) -> Streams:
    """Return where the e-detector of every watched segment stands, weighted by its share of the reference's rows."""
    shares = {name: share for name, (share, _) in watched(references).items()}
    total = sum(shares.values())
    levels = (state.detectors.get(name, RiskDetector()).evidence for name in shares)
    return Streams(tuple(shares), tuple(share / total for share in shares.values()), tuple(levels))


def watched(references: Sequence[SegmentReference]) -> dict[str, tuple[float, DailyBound]]:
    """Return the share of the reference's rows and the bound of every segment that has one, by its name."""
    return {
        name: (share, bound)
        for reference in references
        for name, share, bound in zip(reference.groups.names, reference.groups.shares, reference.bounds, strict=True)
        if bound is not None
    }


def worst_first(references: Sequence[SegmentReference], state: SegmentState) -> list[Excess]:
    """Return what each segment lost over its reference in its last days, the largest lower bound first."""
    found = []
    for name, (_, bound) in watched(references).items():
        days = state.recent.get(name, ())
        if len(days) < 2:
            continue
        losses = np.array([day.loss for day in days])
        mean = float(losses.mean())
        low, high = difference_interval((mean, *t_bounds(losses)), bound.interval())
        found.append(Excess(name, mean - bound.mean, low, high, sum(day.rows for day in days)))
    return sorted(found, key=lambda each: -each.low)
