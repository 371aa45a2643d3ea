"""One event day at a time: what the monitors make of it. Pure: no clock, no chance, no store.

Block (a day of inputs and answers, and the days whose labels are now known)
  ├─ rows ─► quality
  ├─ counts ─► streams, windows ─► drift, performance without labels
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

from kaizen.core.records import Column, Finding
from kaizen.core.rules import Rules
from kaizen.graph.frame import Frame, rows_of
from kaizen.monitor.drift import inputs
from kaizen.monitor.drift.inputs import Inputs
from kaizen.monitor.estimates import trust, unlabelled
from kaizen.monitor.estimates.basis import ReferenceRows
from kaizen.monitor.estimates.unlabelled import UnlabelledState
from kaizen.monitor.paging import Incident, Stamp
from kaizen.monitor.performance import performance
from kaizen.monitor.performance.performance import PerformanceState
from kaizen.monitor.quality import quality
from kaizen.monitor.quality.spells import QualityState, Rows
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
    scores
        What performance without labels is estimated from, shape (rows,): of a classifier the answers, else the
        losses expected of the rows. None: it is not estimated.
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
    times: NDArray[np.int64] | None = None
    scores: NDArray[np.float64] | None = None
    hidden: frozenset[str] = frozenset()
    rules: Rules | None = None
    signature: tuple[Column, ...] | None = None
    logged: tuple[Column, ...] | None = None
    masked: frozenset[str] = frozenset()
    matured: Sequence[tuple[int, NDArray[np.float64]]] = field(default=())


class WatchState(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a monitor remembers: the newest days and the streams, the detector of losses, and what is open."""

    inputs: Inputs = Inputs()
    performance: PerformanceState = PerformanceState()
    unlabelled: UnlabelledState = UnlabelledState()
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
    reference: Reference,
    state: WatchState,
    block: Block,
    settings: MonitorSettings,
    *,
    stamp: Stamp,
    rows: Callable[[], ReferenceRows | None] = lambda: None,
) -> tuple[WatchState, list[Finding]]:
    """Return the state after this day, and what there is to say about it.

    Days come in order; days without rows may be left out. Most days say nothing: a change is said on the day that its
    evidence suffices, a full window says one sentence on drift and one on what performance is expected to be, a week
    one on quality and, of matured days, one on performance; a page or its end is said at once.

    Parameters
    ----------
    rows
        Gives the reference's rows by their bins when a window is full, for estimates without labels.
    """
    many = rows_of(block.frame) if block.outputs is None else len(block.outputs)
    of_rows, findings, incidents = quality.assess_day(
        block.rules,
        reference,
        state.quality,
        _rows(block, many),
        state.incidents,
        settings=settings.quality,
        stamp=stamp,
    )
    seen, progress, estimates = state.inputs, state.performance, state.unlabelled
    if many:
        day = _counted(reference, block, many)
        before = seen.summed_up
        seen, more, incidents = inputs.observe(reference, seen, day, incidents, settings, stamp=stamp)
        findings += [
            unlabelled.priced(each, reference, seen.days, rows) if _is_of_drift(each) else each for each in more
        ]
        due = [each for each in seen.days if (before or 0) < each.number <= (seen.summed_up or 0)]
        window = window_of(due) if due and before != seen.summed_up else None
        estimates, more, incidents = unlabelled.observe(
            reference, estimates, day, window, incidents, rows=rows, limit=settings.limit_of("estimate"), stamp=stamp
        )
        findings += more
    estimates, more, incidents = trust.mature(
        reference, estimates, block.matured, incidents, day=block.day, start=block.start, settings=settings, stamp=stamp
    )
    findings += more
    for number, losses in block.matured if reference.loss is not None else ():
        assert reference.loss is not None
        progress, more, incidents = performance.mature(
            reference.loss,
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
    return WatchState(seen, progress, estimates, incidents, of_rows), findings


def _is_of_drift(finding: Finding) -> bool:
    return finding.question == inputs.SUMMARY and finding.verdict == "page"


def _rows(block: Block, rows: int) -> Rows:
    return Rows(
        day=block.day,
        start=block.start,
        end=block.end,
        frame=block.frame,
        rows=rows,
        expected=block.signature,
        logged=block.logged,
        hidden=block.masked,
    )


def _counted(reference: Reference, block: Block, rows: int) -> Day:
    counts = count(reference, block.frame, block.outputs, times=block.times, hidden=block.hidden)
    counts |= unlabelled.counted(reference, block.scores)
    return Day(
        number=block.day,
        start=block.start,
        end=block.end,
        rows=rows,
        counts={key: tuple(counted.tolist()) for key, counted in counts.items()},
    )
