"""What labels show beyond the loss of all rows: provisional figures, listed segments, fairness, and who is to blame.

    the log: days whose labels still come ─► LabelBook ─► provisional and final figures, beside those without a model
    a mature day (`observe.py`)           ─► segments, fairness: pages of their own
    a page of performance                 ─► slices of the last mature days: its `blames`

The book is filled anew from the log each turn, with the days that are still open and what turned out before them: the
log knows no "since", a label may be told late with the time at which it was known, and two runs of the same days have
to end in the same ledger. Once filled, each label costs the same few additions.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.durations import duration
from kaizen.core.project import Project
from kaizen.core.records import Finding, Task
from kaizen.graph.frame import Frame, concat
from kaizen.loop import history
from kaizen.monitor.paging import Incident, Stamp
from kaizen.monitor.performance import latelabels, performance
from kaizen.monitor.performance.labels import RATE_DAYS, LabelBook
from kaizen.monitor.performance.latelabels import LateState
from kaizen.monitor.reference import Reference
from kaizen.monitor.segments import fairness, fairwatch, segments, segmentwatch, slices
from kaizen.monitor.segments.facets import measures_of
from kaizen.monitor.segments.fairness import FairnessReference, Rate, Tally
from kaizen.monitor.segments.fairwatch import FairState
from kaizen.monitor.segments.segments import SegmentState
from kaizen.monitor.settings import MonitorSettings
from kaizen.stats.blocks import day_blocks, day_start

Float = NDArray[np.float64]

BLAMED_DAYS = 28  # mature ones, at most, that slices are looked for in after a page


class MatureDay(NamedTuple):
    """The champion's rows of a day whose labels are known."""

    day: int
    frame: Frame
    outputs: Float
    target: Float
    losses: Float


class LabelledState(msgspec.Struct, frozen=True):
    """What is remembered from one turn to the next; the segments' and groups' part is of one champion."""

    late: LateState = LateState()
    segments: SegmentState = SegmentState()
    fairness: FairState = FairState()
    incidents: tuple[Incident, ...] = ()  # of segments and fairness

    def of_another(self) -> LabelledState:
        """Return what still holds when another champion answers: how fast labels come, and what is open."""
        late = msgspec.structs.replace(self.late, told=())
        return LabelledState(late=late, fairness=FairState(series=self.fairness.series), incidents=self.incidents)


class Today(NamedTuple):
    """The event day that is over: its number, when it began, and the champion's rows."""

    day: int
    start: datetime
    frame: Frame
    outputs: Float


def observe(
    project: Project,
    champion: str,
    reference: Reference,
    state: LabelledState,
    today: Today,
    matured: Sequence[MatureDay],
    open_from: int,
    final: Sequence[int],
    settings: MonitorSettings,
    stamp: Stamp,
) -> tuple[LabelledState, list[Finding]]:
    """Return the state after this day, and what there is to say.

    Parameters
    ----------
    matured
        The days that became mature since the last turn.
    open_from
        The first day that was not mature before this turn.
    final
        The days whose labels have had their time since the last turn, with rows or not.
    """
    if reference.loss is None:
        return state, []
    task = project.file.project.task
    measures = measures_of(reference, task)
    book = _book(project, champion, LabelBook(measures, _zone(project), _delay(project)), open_from, today.day)
    late, findings = latelabels.follow(
        state.late,
        book,
        measures,
        final=final,
        today=today.day,
        now=project.clock.now(),
        window_days=settings.window_days,
        start=today.start,
        stamp=stamp,
    )
    by_segment, more, incidents = _segments(project, reference, state, matured, settings, stamp)
    findings += more
    fair, more, incidents = _fair(project, reference, state.fairness, incidents, today, matured, settings, stamp)
    return LabelledState(late, by_segment, fair, incidents), findings + more


def _segments(
    project: Project,
    reference: Reference,
    state: LabelledState,
    matured: Sequence[MatureDay],
    settings: MonitorSettings,
    stamp: Stamp,
) -> tuple[SegmentState, list[Finding], tuple[Incident, ...]]:
    """Return the segments after the days whose labels are known."""
    loss, listed = reference.loss, reference.segments
    by_segment, incidents = state.segments, state.incidents
    findings: list[Finding] = []
    if loss is None:
        return by_segment, findings, incidents
    limit, window_days = settings.limit_of("performance"), settings.window_days
    for day in matured:
        cut, start = np.minimum(day.losses, loss.cap), day_start(day.day, _zone(project))
        resting = segmentwatch.open_segments(incidents)
        by_segment = segments.mature(listed, by_segment, day.day, day.frame, cut, resting)
        by_segment, more, incidents = segmentwatch.judge(
            listed,
            by_segment,
            loss.metric,
            incidents,
            day.day,
            limit=limit,
            window_days=window_days,
            start=start,
            stamp=stamp,
        )
        by_segment, told = segmentwatch.summary(
            listed,
            by_segment,
            loss.metric,
            incidents,
            limit=limit,
            window_days=window_days,
            start=start,
            stamp=stamp,
        )
        findings += [*more, *told]
    return by_segment, findings, incidents


def _fair(
    project: Project,
    reference: Reference,
    fair: FairState,
    incidents: tuple[Incident, ...],
    today: Today,
    matured: Sequence[MatureDay],
    settings: MonitorSettings,
    stamp: Stamp,
) -> tuple[FairState, list[Finding], tuple[Incident, ...]]:
    """Return fairness after today, whose answers are known, and after the days whose labels are."""
    task = project.file.project.task
    days = [(today.day, _sums(reference.fairness, task, today.frame, today.outputs, None, None))]
    cap = reference.loss.cap if reference.loss is not None else np.inf
    for each in matured:
        losses = np.minimum(each.losses, cap)
        sums = _sums(reference.fairness, task, each.frame, each.outputs, each.target, losses)
        known = {c: {rate: t for rate, t in of.items() if rate not in fairness.AT_ONCE} for c, of in sums.items()}
        days.append((each.day, known))
    findings: list[Finding] = []
    for day, tallies in days:
        fair, more, incidents = fairwatch.observe(
            reference.fairness,
            fair,
            day,
            tallies,
            incidents,
            limit=settings.limit_of("performance"),
            window_days=settings.window_days,
            start=day_start(day, _zone(project)),
            stamp=stamp,
        )
        findings += more
    return fair, findings, incidents


def _sums(
    references: Sequence[FairnessReference],
    task: Task,
    frame: Frame,
    outputs: Float,
    target: Float | None,
    losses: Float | None,
) -> dict[str, dict[Rate, Tally]]:
    return {
        each.groups.column: fairness.tallies(
            each.groups.codes(frame[each.groups.column]),
            len(each.groups),
            outputs,
            target,
            losses,
            scale=each.scale,
            task=task,
        )
        for each in references
        if each.groups.column in frame
    }


def explained(
    project: Project, champion: str, reference: Reference, state: LabelledState, findings: Sequence[Finding], last: int
) -> list[Finding]:
    """Return the Findings with what belongs beside them: those of performance get what no model would have got.

    A page of performance gets the slices of the rows that are to blame; `last` is the last mature day.
    """
    return [
        _explained(project, champion, reference, state.late, each, last)
        if each.question in (performance.QUESTION, performance.SUMMARY)
        else each
        for each in findings
    ]


def _explained(
    project: Project, champion: str, reference: Reference, late: LateState, finding: Finding, last: int
) -> Finding:
    zone = _zone(project)
    says = finding.says
    days = [p for p in late.series if p.is_final and _within(day_start(p.day, zone), finding)]
    beside = latelabels.without_a_model(days, finding.subject)
    if beside:
        says = f"{says.rstrip('.')}; {beside}."
    if finding.verdict != "page" or reference.slices is None or reference.loss is None:
        return msgspec.structs.replace(finding, says=says)
    frame, losses, blocks = _last_mature(project, champion, finding.began, last)
    cut = np.minimum(losses, reference.loss.cap)
    found = slices.find(reference.slices, frame, cut, blocks, alpha=1 / finding.limit) if finding.limit else []
    if found:
        proof = "named by e-BH" if found[0].is_named else "sure by Bonferroni, too few days for e-BH"
        says = f"{says} Most of it where {found[0].name} ({found[0].value:+.4f} a row; {proof})."
    return msgspec.structs.replace(finding, says=says, blames=tuple(each.name for each in found[:5]))


def _within(start: datetime, finding: Finding) -> bool:
    return finding.start is not None and finding.end is not None and finding.start <= start < finding.end


def _last_mature(
    project: Project, champion: str, began: datetime | None, last: int
) -> tuple[Frame, Float, NDArray[np.int64]]:
    """Return the champion's labelled rows of the mature days since it began, their losses and their days."""
    zone = _zone(project)
    start, end = day_start(last - BLAMED_DAYS + 1, zone), day_start(last + 1, zone)
    start = max(start, began) if began is not None else start
    known = history.labels(project.log, known_by=project.clock.now(), since=start)
    groups = [g for g in history.champions(project.log, start, end) if g.bundle == champion]
    if not groups:
        return {}, np.empty(0), np.empty(0, np.int64)
    frame = concat([group.frame for group in groups])
    target = history.targets([each for group in groups for each in group.ids], known)
    outputs, at = (np.concatenate([getattr(group, name) for group in groups]) for name in ("outputs", "at"))
    kept = np.isfinite(target)
    losses = history.losses(project.file.project.task, target[kept], outputs[kept])
    return {name: values[kept] for name, values in frame.items()}, losses, day_blocks(at[kept], zone)


def _book(project: Project, champion: str, book: LabelBook, first: int, last: int) -> LabelBook:
    """Fill the book: the labels known by now, then the predictions of the days from `first` to `last`.

    What turned out on the days before them is what forecasts without a model may look at.
    """
    zone = _zone(project)
    start = day_start(first, zone) - _delay(project) - timedelta(days=RATE_DAYS + 1)
    for labels in project.log.labels(start, project.clock.now()):
        book.add_labels(labels.ids, np.asarray(labels.values, np.float64), np.asarray(labels.at, np.int64))
    batches = [b for b in project.log.predictions(start, day_start(last + 1, zone)) if b.role == "champion"]
    if batches:
        at = np.concatenate([np.asarray(batch.at, np.int64) for batch in batches])
        own = np.concatenate([np.full(len(batch.ids), batch.bundle == champion) for batch in batches])
        book.add_predictions(
            [identity for batch in batches for identity in batch.ids],
            at,
            np.concatenate([np.asarray(batch.outputs, np.float64) for batch in batches]),
            counted=own & (day_blocks(at, zone) >= first),
        )
    return book


def _zone(project: Project) -> str:
    return project.file.data.time_zone


def _delay(project: Project) -> timedelta:
    return duration(project.file.data.label_delay)
