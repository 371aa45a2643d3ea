"""What a day looks like: the monitors' findings, and how each shadow stands against the champion.

Reads the log up to the clock and nothing beyond it. A day is mature when its labels have had `label_delay` to arrive;
losses are counted on mature days only, or early labels, which are not like the others, would speak for the rest.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.bundle import keys, load, manifest
from kaizen.core.durations import duration
from kaizen.core.project import Project
from kaizen.core.records import Arm, Bundle, Column, Endpoint, Finding
from kaizen.core.rules import Rules
from kaizen.experiment.compare import Comparison, compare, pair
from kaizen.graph.frame import take
from kaizen.loop import history, labelled, operations, together, unlabelled
from kaizen.loop.history import Answers
from kaizen.loop.labelled import LabelledState, MatureDay, Today
from kaizen.loop.policy import Compared
from kaizen.loop.triggers import Request
from kaizen.monitor.drift import inputs
from kaizen.monitor.reference import Reference
from kaizen.monitor.serving.operations import OperationsState
from kaizen.monitor.settings import MonitorSettings, settings_of
from kaizen.monitor.stamp import Stamper
from kaizen.monitor.watch import Block, WatchState
from kaizen.monitor.watch import observe as watch
from kaizen.stats.blocks import day_start


class PairedDay(msgspec.Struct, frozen=True):
    """A mature day of two models side by side: the mean of loss(champion) - loss(other), over so many rows."""

    day: int
    champion: str
    other: str
    difference: float
    rows: int


class State(msgspec.Struct, frozen=True):
    """What the loop remembers from one turn to the next."""

    matured: int | None = None  # the last mature day that was counted
    watched: str | None = None  # the champion that the monitors' state is about
    watch: WatchState = WatchState()
    operations: OperationsState = OperationsState()
    labelled: LabelledState = LabelledState()
    pairs: tuple[PairedDay, ...] = ()  # of the arms that are on the endpoint now
    joined: dict[str, int] = {}  # arm: its first whole day
    requests: tuple[Request, ...] = ()
    asked: tuple[str, ...] = ()  # the triggers that fired last time
    new_rows: int = 0  # with labels, since the last training


class Observed(NamedTuple):
    """What a day came to."""

    state: State
    findings: list[Finding]
    compared: tuple[Compared, ...]


def observe(project: Project, endpoint: Endpoint, day: int, before: State) -> Observed:
    """Return what this event day adds to what was known before it."""
    joined = {arm.bundle: before.joined.get(arm.bundle, day) for arm in endpoint.arms}
    last, mature, pairs, gaps = _mature(project, endpoint, day, before, joined)
    state, findings = _watched(project, endpoint, day, before, mature, last, min(joined.values()))
    state, more = _served(project, endpoint, day, state)
    findings += [*more, *gaps]
    on_endpoint = [p for p in (*before.pairs, *pairs) if p.champion == endpoint.champion.bundle and p.other in joined]
    compared = []
    for arm in endpoint.arms[1:]:
        days = [p for p in on_endpoint if p.other == arm.bundle]
        if any(p.other == arm.bundle for p in pairs):
            finding = _comparison(project, endpoint, arm, days, day)
            if _is_worth_keeping(project, finding):
                findings.append(finding)
                compared.append(Compared(arm.bundle, finding.verdict, len(days), finding.id))
    state = msgspec.structs.replace(
        state,
        matured=last,
        pairs=tuple(on_endpoint),
        joined=joined,
        new_rows=before.new_rows + sum(len(each.losses) for each in mature),
    )
    return Observed(state, findings, tuple(compared))


def _watched(
    project: Project,
    endpoint: Endpoint,
    day: int,
    before: State,
    mature: list[MatureDay],
    last: int | None,
    joined: int,
) -> tuple[State, list[Finding]]:
    """Run the monitors on the champion's answers of the day; a new champion is held against its own reference."""
    champion = endpoint.champion.bundle
    reference = reference_of(project, champion)
    if reference is None:
        return before, []
    is_new = before.watched != champion
    mature = [] if is_new and before.watched is not None else mature
    state = WatchState.fresh(before.watch.incidents, before.watch.quality) if is_new else before.watch
    zone = project.file.data.time_zone
    start, end = day_start(day, zone), day_start(day + 1, zone)
    groups = [history.in_event_order(g) for g in history.champions(project.log, start, end) if g.bundle == champion]
    signature = project.records.get(Bundle, champion).inputs
    read = {column.name for column in signature}
    log = project.file.serve.log
    block = Block(
        day=day,
        start=start,
        end=end,
        frame=groups[0].frame if groups else {},
        outputs=groups[0].outputs if groups else None,
        times=groups[0].at if groups else None,
        scores=unlabelled.scores(project, champion, reference, groups[0].frame, groups[0].outputs) if groups else None,
        hidden=frozenset(read - set(groups[0].frame)) if groups else frozenset(),
        rules=rules_of(project, champion),
        signature=signature,
        logged=_logged(groups[0].columns, endpoint, project) if groups else None,
        masked=frozenset((*log.hash, *log.drop)),
        matured=[(each.day, each.losses) for each in mature],
    )
    settings = _shared(settings_of(project.file.monitor), reference)
    stamp = _stamp(project, champion, f"watch {day}")
    known = partial(unlabelled.reference_rows, project, reference.estimate)
    after, findings = watch(reference, state, block, settings, stamp=stamp, rows=known)
    findings += _together(project, champion, reference, findings, after, stamp)
    open_from = joined if before.matured is None else before.matured + 1
    last = open_from - 1 if last is None else last
    by_label, more = labelled.observe(
        project,
        champion,
        reference,
        before.labelled.of_another() if is_new else before.labelled,
        Today(day, start, block.frame, block.outputs if block.outputs is not None else np.empty(0)),
        mature,
        open_from,
        range(open_from, last + 1),
        settings,
        stamp,
    )
    findings = labelled.explained(project, champion, reference, by_label, findings, last)
    return msgspec.structs.replace(before, watched=champion, watch=after, labelled=by_label), findings + more


def _together(
    project: Project, champion: str, reference: Reference, findings: list[Finding], after: WatchState, stamp: Stamper
) -> list[Finding]:
    """Return what all columns show together, on the day that a window is full."""
    full = next((f for f in findings if f.question == inputs.SUMMARY and f.verdict != "page"), None)
    if full is None:
        return []
    still = [incident.subject for incident in after.incidents if incident.question == inputs.QUESTION]
    found = together.look(project, champion, reference, full, still, stamp)
    return [] if found is None else [found]


def _shared(settings: MonitorSettings, reference: Reference) -> MonitorSettings:
    """Return the settings with what performance may page divided by who pages: all rows, segments, fairness."""
    askers = 1 + bool(reference.segments) + bool(reference.fairness)
    shares = {**settings.shares, "performance": settings.shares["performance"] / askers}
    return msgspec.structs.replace(settings, shares=shares)


def _served(project: Project, endpoint: Endpoint, day: int, state: State) -> tuple[State, list[Finding]]:
    """Run the monitors on what servers told of the day; what is open is kept with the incidents of all monitors."""
    stamp = _stamp(project, endpoint.champion.bundle, f"served {day}")
    seen = operations.watched(project, day, state.operations, state.watch.incidents, stamp)
    watch = msgspec.structs.replace(state.watch, incidents=seen.incidents)
    return msgspec.structs.replace(state, operations=seen.state, watch=watch), list(seen.findings)


def _mature(
    project: Project, endpoint: Endpoint, day: int, before: State, joined: dict[str, int]
) -> tuple[int | None, list[MatureDay], list[PairedDay], list[Finding]]:
    """Return the last mature day, the champion's rows of each newly mature day, the paired days, and their gaps."""
    zone, now = project.file.data.time_zone, project.clock.now()
    delay = duration(project.file.data.label_delay)
    last = day
    while day_start(last + 1, zone) + delay > now:
        last -= 1
    first = before.matured + 1 if before.matured is not None else min(joined.values())
    share = project.file.monitor.mature_share
    while share is not None and last < day and (last + 1 < first or history.labelled_share(project, last + 1) >= share):
        last += 1
    found, pairs, gaps = [], [], []
    for mature in range(first, last + 1):
        start, end = day_start(mature, zone), day_start(mature + 1, zone)
        groups = history.answers(project.log, start, end)
        known = history.labels(project.log, known_by=now, since=start)
        champion = next((g for g in groups if g.role == "champion" and g.bundle == endpoint.champion.bundle), None)
        if champion is None:
            continue
        champion = history.labelled(history.in_event_order(champion), known)
        if not champion.ids:
            continue
        target = history.targets(champion.ids, known)
        loss = history.losses(project.file.project.task, target, champion.outputs)
        found.append(MatureDay(mature, champion.frame, champion.outputs, target, loss))
        for arm in endpoint.arms[1:]:
            if joined[arm.bundle] <= mature:
                answers, hidden = _other(project, arm, groups, champion)
                both = np.flatnonzero(~np.isnan(answers))
                if len(both) < len(loss):
                    gaps.append(_gap(project, arm, mature, len(loss) - len(both), len(loss), hidden))
                if not len(both):
                    continue
                other = history.losses(project.file.project.task, target[both], answers[both])
                paired = pair(np.full(len(both), mature), loss[both], other)
                pairs.append(PairedDay(mature, champion.bundle, arm.bundle, float(paired.differences[0]), len(both)))
    return max(last, first - 1) if before.matured is None else max(last, before.matured), found, pairs, gaps


def _other(
    project: Project, arm: Arm, groups: list[Answers], champion: Answers
) -> tuple[NDArray[np.float64], list[str]]:
    """Return the shadow's answers to the champion's rows, and the inputs that are hidden from us.

    What a stopped server left out is computed from the inputs; it stays NaN where the log does not carry one of them.
    The graph answers a row the same whatever its batch (the bundle's certificate says so), so it does not matter
    which of the two an answer is.
    """
    scored = {
        identity: output
        for group in groups
        if group.bundle == arm.bundle and group.role != "champion"
        for identity, output in zip(group.ids, group.outputs.tolist(), strict=True)
    }
    outputs = np.asarray([scored.get(identity, np.nan) for identity in champion.ids], np.float64)
    left = np.flatnonzero(np.isnan(outputs))
    if not len(left):
        return outputs, []
    bundle = project.records.get(Bundle, arm.bundle)
    hidden = [column.name for column in bundle.inputs if column.name not in champion.frame]
    if not hidden:
        model = load.load(bundle, project.blobs, keys.trusted(project.keys))
        outputs[left] = model.predict(take(champion.frame, left))
    return outputs, hidden


def _gap(project: Project, arm: Arm, day: int, left_out: int, rows: int, hidden: list[str]) -> Finding:
    """Return the finding that some rows of a day could not be compared."""
    zone = project.file.data.time_zone
    start, end = day_start(day, zone), day_start(day + 1, zone)
    return _stamp(project, arm.bundle, f"gap {day}")(
        question="comparison coverage",
        subject=arm.bundle,
        method="rows without an answer of this arm, which the log does not let us compute",
        estimate=left_out / rows,
        low=None,
        high=None,
        evidence=None,
        limit=None,
        verdict="watch",
        n=rows,
        start=start,
        end=end,
        says=f"Of the {rows} rows of {start:%Y-%m-%d}, {left_out} are left out of the comparison: the {arm.role} did "
        f"not score them, and the log does not carry {', '.join(hidden)}, which it reads.",
    )


def _comparison(project: Project, endpoint: Endpoint, arm: Arm, days: list[PairedDay], day: int) -> Finding:
    section = project.file.experiment
    found = compare(
        np.asarray([paired.difference for paired in days]), alpha=section.alpha, min_blocks=section.min_blocks
    )
    zone = project.file.data.time_zone
    who = "the challenger" if arm.role == "challenger" else "the displaced champion"
    stamp = _stamp(project, arm.bundle, f"compare {day} {endpoint.champion.bundle}")
    return stamp(
        question=f"comparison: is {who} better than the champion?",
        subject=arm.bundle,
        method=f"paired losses, means of event days, anytime-valid test of symmetry (e-value), alpha {section.alpha:g}",
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        evidence=found.evidence,
        limit=found.limit,
        verdict=found.verdict,
        n=found.n,
        start=day_start(days[0].day, zone),
        end=day_start(days[-1].day + 1, zone),
        says=_said(who, found),
    )


def _is_worth_keeping(project: Project, finding: Finding) -> bool:
    """Say whether a comparison decides something, or a week has gone by since the last one that was kept."""
    return finding.verdict != "undecided" or finding.n % 7 == 0 or finding.n >= project.file.experiment.max_blocks


def _said(who: str, found: Comparison) -> str:
    if found.verdict == "undecided":
        return f"After {found.n} days {who} is not told apart from the champion (mean gain {found.estimate:+.4f} a row)"
    return (
        f"Over {found.n} days {who} is {found.verdict} than the champion: mean gain {found.estimate:+.4f} a row, "
        f"evidence {found.evidence:.3g} against a limit of {found.limit:g}"
    )


def reference_of(project: Project, bundle: str) -> Reference | None:
    """Return what a bundle's monitors compare with, if it carries that."""
    data = _file(project, bundle, manifest.REFERENCE)
    return None if data is None else msgspec.json.decode(data, type=Reference)


def rules_of(project: Project, bundle: str) -> Rules | None:
    """Return what must hold for a row, by a bundle; None of one that was made before bundles had rules."""
    data = _file(project, bundle, manifest.RULES)
    return None if data is None else msgspec.json.decode(data, type=Rules)


def _file(project: Project, bundle: str, path: str) -> bytes | None:
    record = project.records.get(Bundle, bundle)
    blob = next((file.blob for file in record.files if file.path == path), None)
    return None if blob is None else project.blobs.path(blob).read_bytes()


def _logged(columns: tuple[Column, ...], endpoint: Endpoint, project: Project) -> tuple[Column, ...]:
    """Return the columns of the log without those that are there for another arm."""
    inputs = {arm: {column.name for column in project.records.get(Bundle, arm.bundle).inputs} for arm in endpoint.arms}
    own, theirs = inputs[endpoint.champion], set().union(*inputs.values())
    return tuple(column for column in columns if column.name in own or column.name not in theirs)


def _stamp(project: Project, bundle: str, key: str) -> Stamper:
    return Stamper(project.name, by="loop", at=project.clock.now(), key=key, parents=(bundle,))
