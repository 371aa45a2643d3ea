"""One event day at a time: what the monitors make of it. Pure: no clock, no chance, no store.

Block (a day of inputs and answers, and the days whose labels are now known)
  ├─ rows ─► quality
  ├─ counts ─► window ─► full? ─► drift
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

from kaizen.core.records import Column, Finding
from kaizen.core.rules import Rules
from kaizen.graph.frame import Frame, rows_of
from kaizen.monitor import drift, performance, quality
from kaizen.monitor.paging import Incident, Stamp
from kaizen.monitor.performance import PerformanceState
from kaizen.monitor.reference import Reference, count
from kaizen.monitor.settings import MonitorSettings
from kaizen.monitor.spells import QualityState, Rows
from kaizen.monitor.window import Window


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
    hidden
        Inputs that the log does not carry, so that they cannot be watched.
    rules
        What must hold for a row, by the champion's bundle; None: what its reference says.
    signature, logged
        The columns that the champion reads, and those that the log carries; None: not known.
    masked
        Columns that the log is told not to carry as they are.
    matured
        Days whose labels are all known since the last block, each with the losses of its rows, in order of time.
    """

    day: int
    start: datetime
    end: datetime
    frame: Frame
    outputs: NDArray[np.float64] | None
    hidden: frozenset[str] = frozenset()
    rules: Rules | None = None
    signature: tuple[Column, ...] | None = None
    logged: tuple[Column, ...] | None = None
    masked: frozenset[str] = frozenset()
    matured: Sequence[tuple[int, NDArray[np.float64]]] = field(default=())


class WatchState(msgspec.Struct, frozen=True):
    """What a monitor remembers: the counts of the window under way, the detector, and what is open."""

    window: Window | None = None
    performance: PerformanceState = PerformanceState()
    incidents: tuple[Incident, ...] = ()
    quality: QualityState = QualityState()

    @classmethod
    def fresh(cls, incidents: Sequence[Incident] = (), quality: QualityState | None = None) -> WatchState:
        """Return the state to start with.

        When the champion changes, give the new one's reference a fresh state and hand it the open incidents of the
        old: a person who was paged is told when it is over, measured against the new reference, and is not paged a
        second time for what goes on.
        """
        return cls(incidents=tuple(incidents), quality=QualityState() if quality is None else quality.heir())


def observe(
    reference: Reference, state: WatchState, block: Block, settings: MonitorSettings, *, stamp: Stamp
) -> tuple[WatchState, list[Finding]]:
    """Return the state after this day, and what there is to say about it.

    Days come in order; days without rows may be left out. Most days say nothing: a full window says one sentence on
    drift, a week one on quality, and one for each column whose incident opens or closes; a week of matured days says
    one on performance, and a page or its end is said at once.
    """
    rows = rows_of(block.frame) if block.outputs is None else len(block.outputs)
    today = Rows(
        day=block.day,
        start=block.start,
        end=block.end,
        frame=block.frame,
        rows=rows,
        expected=block.signature,
        logged=block.logged,
        hidden=block.masked,
    )
    quality_state, of_rows, open_now = quality.assess_day(
        block.rules, reference, state.quality, today, state.incidents, settings=settings.quality, stamp=stamp
    )
    state = msgspec.structs.replace(state, quality=quality_state, incidents=open_now)
    window, findings, incidents = _elapse(reference, state.window, block.day, state.incidents, settings, stamp)
    findings = of_rows + findings
    if rows:
        window = window or _new(block, settings)
        window = window.add(count(reference, block.frame, block.outputs, hidden=block.hidden), rows, block.end)
    window, more, incidents = _elapse(reference, window, block.day + 1, incidents, settings, stamp)
    findings += more
    progress, loss = state.performance, reference.loss
    if loss is None:
        return WatchState(window, progress, incidents, state.quality), findings
    for day, losses in block.matured:
        progress, more, incidents = performance.mature(
            loss,
            progress,
            day,
            losses,
            incidents,
            limit=settings.limit,
            window_days=settings.window_days,
            start=block.start - timedelta(days=block.day - day),
            stamp=stamp,
        )
        findings += more
    return WatchState(window, progress, incidents, state.quality), findings


def _new(block: Block, settings: MonitorSettings) -> Window:
    last = block.day + settings.window_days - 1
    return Window(first_day=block.day, last_day=last, start=block.start, end=block.end, rows=0, counts={})


def _elapse(
    reference: Reference,
    window: Window | None,
    day: int,
    incidents: tuple[Incident, ...],
    settings: MonitorSettings,
    stamp: Stamp,
) -> tuple[Window | None, list[Finding], tuple[Incident, ...]]:
    """Return the window as the given day begins: judged and gone when it is full, longer when it has too few rows."""
    if window is None or day <= window.last_day:
        return window, [], incidents
    if window.rows < settings.min_rows:
        weeks = -(-(day - window.last_day) // settings.window_days)
        return window.longer(weeks * settings.window_days), [], incidents
    findings, incidents = drift.assess(reference, window, incidents, level=settings.drift_level, stamp=stamp)
    return None, findings, incidents
