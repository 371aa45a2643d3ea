"""One event day at a time: what the monitors make of it. Pure: no clock, no chance, no store.

Block (a day of inputs and answers, and the days whose labels are now known)
  ├─ counts ─► window ─► full? ─► drift, quality, performance without labels
  └─ losses ─► performance
                              └─► Findings, and the state for the next day
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Finding
from kaizen.graph.frame import Frame, rows_of
from kaizen.monitor import drift, performance, quality, unlabelled
from kaizen.monitor.estimate import ReferenceRows
from kaizen.monitor.paging import Incident, Stamp
from kaizen.monitor.performance import PerformanceState
from kaizen.monitor.reference import Reference, count
from kaizen.monitor.settings import MonitorSettings
from kaizen.monitor.unlabelled import UnlabelledState
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
    scores
        What performance without labels is estimated from, shape (rows,): of a classifier the answers, else the
        losses expected of the rows. None: it is not estimated.
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
    scores: NDArray[np.float64] | None = None
    hidden: frozenset[str] = frozenset()
    matured: Sequence[tuple[int, NDArray[np.float64]]] = field(default=())


class WatchState(msgspec.Struct, frozen=True):
    """What a monitor remembers: the counts of the window under way, the detector, and what is open."""

    window: Window | None = None
    performance: PerformanceState = PerformanceState()
    unlabelled: UnlabelledState = UnlabelledState()
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
    reference: Reference,
    state: WatchState,
    block: Block,
    settings: MonitorSettings,
    *,
    stamp: Stamp,
    rows: Callable[[], ReferenceRows | None] = lambda: None,
) -> tuple[WatchState, list[Finding]]:
    """Return the state after this day, and what there is to say about it.

    Days come in order; days without rows may be left out. Most days say nothing: a full window says one sentence on
    drift and one on quality, and one for each column whose incident opens or closes; a week of matured days says one
    on performance, and a page or its end is said at once.

    Parameters
    ----------
    rows
        Gives the reference's rows by their bins when a window is full, for estimates without labels.
    """
    window, findings, incidents = _elapse(reference, state.window, block.day, state.incidents, settings, stamp)
    estimating = _Estimating(reference, state.unlabelled, settings, rows, stamp)
    more, incidents = estimating.judge(state.window, window, incidents)
    findings += more
    many = rows_of(block.frame) if block.outputs is None else len(block.outputs)
    if many:
        window = window or _new(block, settings)
        counts = count(reference, block.frame, block.outputs, hidden=block.hidden) | estimating.count(block)
        window = window.add(counts, many, block.end)
    before = window
    window, more, incidents = _elapse(reference, window, block.day + 1, incidents, settings, stamp)
    findings += more
    more, incidents = estimating.judge(before, window, incidents)
    findings += more
    for day, losses in block.matured:
        more, incidents = estimating.check(day, losses, block, incidents)
        findings += more
    progress, loss = state.performance, reference.loss
    if loss is None:
        return WatchState(window, progress, estimating.state, incidents), findings
    for day, losses in block.matured:
        progress, more, incidents = performance.mature(
            loss,
            progress,
            day,
            losses,
            incidents,
            limit=_limit(reference, settings),
            window_days=settings.window_days,
            start=block.start - timedelta(days=block.day - day),
            stamp=stamp,
        )
        findings += more
    return WatchState(window, progress, estimating.state, incidents), findings


def _limit(reference: Reference, settings: MonitorSettings) -> float:
    """Return the e-value that pages: performance with labels and without them share what false pages are allowed."""
    both = reference.loss is not None and reference.estimate is not None
    return settings.limit * 2 if both else settings.limit


class _Estimating:
    """Performance without labels over one day: what it counts, and its state as the day goes on."""

    def __init__(
        self,
        reference: Reference,
        state: UnlabelledState,
        settings: MonitorSettings,
        rows: Callable[[], ReferenceRows | None],
        stamp: Stamp,
    ) -> None:
        self.state = state
        self._reference = reference
        self._settings = settings
        self._rows = rows
        self._stamp = stamp

    def count(self, block: Block) -> dict[str, NDArray[np.int64]]:
        """Count the day's scores, and take them in."""
        known = self._reference.estimate
        if known is None or block.scores is None:
            return {}
        counts = known.outcomes.count(block.scores)
        self.state = unlabelled.seen(known, self.state, block.day, counts)
        return {unlabelled.KEY: counts}

    def judge(
        self, before: Window | None, after: Window | None, incidents: tuple[Incident, ...]
    ) -> tuple[list[Finding], tuple[Incident, ...]]:
        """Return what there is to say of a window that has just become full."""
        known = self._reference.estimate
        if known is None or before is None or after is not None:
            return [], incidents
        self.state, findings, incidents = unlabelled.assess(
            known,
            self.state,
            before.counts,
            incidents,
            profiles={p.key: p.counts for p in self._reference.columns},
            rows=self._rows(),
            limit=_limit(self._reference, self._settings),
            start=before.start,
            end=before.end,
            days=before.days,
            stamp=self._stamp,
        )
        return findings, incidents

    def check(
        self, day: int, losses: NDArray[np.float64], block: Block, incidents: tuple[Incident, ...]
    ) -> tuple[list[Finding], tuple[Incident, ...]]:
        """Return what the labels of a mature day say of the estimates."""
        known = self._reference.estimate
        if known is None:
            return [], incidents
        self.state, findings, incidents = unlabelled.labelled(
            known,
            self.state,
            day,
            losses,
            incidents,
            window_days=self._settings.window_days,
            start=block.start - timedelta(days=block.day - day),
            stamp=self._stamp,
        )
        return findings, incidents


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
    more, incidents = quality.assess(reference, window, incidents, stamp=stamp)
    return None, findings + more, incidents
