"""One event day at a time: what the monitors make of it. Pure: no clock, no chance, no store.

Block (a day of inputs and answers, and the days whose labels are now known)
  ├─ counts ─► streams, windows ─► drift, quality
  └─ losses ─► performance
                               └─► Findings, and the state for the next day
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Finding
from kaizen.graph.frame import Frame, rows_of
from kaizen.monitor import inputs, performance, quality
from kaizen.monitor.inputs import Inputs
from kaizen.monitor.paging import Incident, Stamp
from kaizen.monitor.performance import PerformanceState
from kaizen.monitor.reference import Reference, count
from kaizen.monitor.settings import MonitorSettings
from kaizen.monitor.window import Day, window_of


@dataclass(frozen=True, kw_only=True)
class Block:
    """One event day of the champion's predictions.

    Attributes
    ----------
    day
        Its number, as `kaizen.stats.blocks.day_blocks` counts.
    start, end
        When it begins and ends, UTC.
    frame
        The inputs, one row a prediction.
    outputs
        The answers, shape (rows,).
    times
        The rows' own times, microseconds since 1970, shape (rows,).
    hidden
        Inputs that the log does not carry, so that they cannot be watched.
    matured
        Days whose labels are all known since the last block, each with the losses of its rows, in order of time.
    """

    day: int
    start: datetime
    end: datetime
    frame: Frame
    outputs: NDArray[np.float64] | None
    times: NDArray[np.int64] | None = None
    hidden: frozenset[str] = frozenset()
    matured: Sequence[tuple[int, NDArray[np.float64]]] = field(default=())


class WatchState(msgspec.Struct, frozen=True):
    """What a monitor remembers: the newest days and the streams, the detector of losses, and what is open."""

    inputs: Inputs = Inputs()
    performance: PerformanceState = PerformanceState()
    incidents: tuple[Incident, ...] = ()

    @classmethod
    def fresh(cls, incidents: Sequence[Incident] = ()) -> WatchState:
        """Return the state to start with.

        When the champion changes, give the new one's reference a fresh state and hand it the open incidents of the
        old: a person who was paged is told when it is over, measured against the new reference, and is not paged a
        second time for what goes on.
        """
        return cls(incidents=tuple(incidents))


def observe(
    reference: Reference, state: WatchState, block: Block, settings: MonitorSettings, *, stamp: Stamp
) -> tuple[WatchState, list[Finding]]:
    """Return the state after this day, and what there is to say about it.

    Days come in order; days without rows may be left out. Most days say nothing: a change is said on the day that its
    evidence suffices, a full window says one sentence on drift and one on quality, a week of matured days one on
    performance, and a page or its end is said at once.
    """
    seen, progress, incidents = state.inputs, state.performance, state.incidents
    findings: list[Finding] = []
    rows = rows_of(block.frame) if block.outputs is None else len(block.outputs)
    if rows:
        day = _counted(reference, block, rows)
        before = seen.summed_up
        seen, findings, incidents = inputs.observe(reference, seen, day, incidents, settings, stamp=stamp)
        due = [each for each in seen.days if (before or 0) < each.number <= (seen.summed_up or 0)]
        if due and before != seen.summed_up:
            more, incidents = quality.assess(reference, window_of(due), incidents, stamp=stamp)
            findings += more
    loss = reference.loss
    if loss is None:
        return WatchState(seen, progress, incidents), findings
    for number, losses in block.matured:
        progress, more, incidents = performance.mature(
            loss,
            progress,
            number,
            losses,
            incidents,
            limit=settings.limit_of("performance"),
            window_days=settings.window_days,
            start=block.start - timedelta(days=block.day - number),
            stamp=stamp,
        )
        findings += more
    return WatchState(seen, progress, incidents), findings


def _counted(reference: Reference, block: Block, rows: int) -> Day:
    counts = count(reference, block.frame, block.outputs, times=block.times, hidden=block.hidden)
    return Day(
        number=block.day,
        start=block.start,
        end=block.end,
        rows=rows,
        counts={key: tuple(counted.tolist()) for key, counted in counts.items()},
    )
