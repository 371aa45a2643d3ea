"""A candidate on its way: from a decision to retrain, over the gates, into shadow, or dropped with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.bundle import keys, load
from kaizen.core.durations import duration
from kaizen.core.errors import KaizenError, LearnError, StoreError
from kaizen.core.ids import derived
from kaizen.core.project import Project
from kaizen.core.projectfile import Gate
from kaizen.core.records import Bundle, Column, Dataset, Decision, Endpoint, Finding, Record, Run
from kaizen.data import snapshot
from kaizen.graph.frame import Frame, concat, take
from kaizen.learn.problem import Settings
from kaizen.loop import history, policy, skew
from kaizen.loop.act import act, first
from kaizen.loop.bad_data import LEFT_OUT, Sieve, spells
from kaizen.loop.journal import Journal
from kaizen.loop.material import Material, material
from kaizen.loop.observe import rules_of
from kaizen.loop.policy import Proposal
from kaizen.loop.train import Trained, train
from kaizen.stats.metrics import HIGHER_IS_BETTER, SCORES

Note: TypeAlias = Callable[[str], None]
HOLDOUT_DAYS = 14  # of event time, that a retrained candidate is judged on


class Judged(msgspec.Struct, frozen=True):
    """What became of a candidate."""

    decision: str


def make(project: Project, journal: Journal, asked: Decision, *, note: Note = lambda _: None) -> Decision:
    """Carry out a decision to retrain: dataset, training, gates; return the decision about the candidate.

    A training that fails ends in a decision too, so that the loop goes on and the ledger says why nothing came of it.
    """
    try:
        return _make(project, journal, asked, note)
    except StoreError:
        raise  # the disk or the database: nothing can be written down now, and the next turn tries again
    except KaizenError as err:
        proposal = Proposal("stop", f"the retraining failed: {err.what}")
        judged = journal.step("failed", (asked.id,), lambda made: _act(project, proposal, made, asked.id), Judged)
        return project.records.get(Decision, judged.decision)


def unfinished(project: Project) -> Decision | None:
    """Return the decision to retrain of which nothing came yet: no later decision names it as a parent."""
    asked = project.records.find(Decision, where={"action": "retrain"}, newest_first=True, limit=1)
    if not asked:
        return None
    decisions = project.records.find(Decision, where={"endpoint": project.name})
    return None if any(asked[0].id in decision.parents for decision in decisions) else asked[0]


def _make(project: Project, journal: Journal, asked: Decision, note: Note) -> Decision:
    note("retraining: reading what is known by now")
    dataset = journal.step("retraining rows", (asked.id,), lambda made: _dataset(project, asked, made), str)
    note("retraining: comparing what was served with the source")
    key = f"skew {asked.id}"
    said = journal.step("skew", (asked.id,), lambda made: skew.at_retraining(project, asked.at, made, key), str)
    note(f"retraining: {said}")
    rows = material(project, project.records.get(Dataset, dataset), newest_days=HOLDOUT_DAYS)
    champion = _run_of(project, _endpoint(project).champion.bundle)
    settings = Settings(champion.algorithm, dict(champion.params))
    note(f"retraining {settings.algorithm} on {len(rows.problem.target):,} rows")
    trained = train(project, journal, rows, settings)
    left_out = [f for f in project.records.find(Finding, where={"question": LEFT_OUT}) if asked.id in f.parents]
    return enter(project, journal, trained, rows, key=asked.id, by="loop", follows=(asked.id,), about=left_out)


def _act(project: Project, proposal: Proposal, made: list[Record], asked: str) -> Judged:
    records = act(project, proposal, project.endpoint(), by="loop", key=f"failed {asked}", follows=(asked,))
    made.extend(records)
    return Judged(records[0].id)


def by_hand(project: Project, *, by: str, reason: str, note: Note) -> Decision:
    """Retrain now because a person asks; return the decision about the candidate."""
    endpoint = _endpoint(project)
    proposal = Proposal("retrain", reason or "asked for by hand")
    records = act(project, proposal, endpoint, by=by, key=f"by hand {endpoint.id}")
    project.records.put(records)
    asked = records[0]
    assert isinstance(asked, Decision)
    return make(project, Journal(project), asked, note=note)


def enter(
    project: Project,
    journal: Journal,
    trained: Trained,
    rows: Material,
    *,
    key: str,
    by: str,
    follows: tuple[str, ...] = (),
    about: Sequence[Finding] = (),
) -> Decision:
    """Judge a bundle at the gates and act: the first becomes champion, a later one goes to shadow or is dropped.

    `about` are findings on the rows that it was trained on: the decision names them.
    """
    judged = journal.step(
        "judge",
        (key, trained.bundle),
        lambda made: _judge(project, trained, rows, made, key, by, follows, about),
        Judged,
    )
    return project.records.get(Decision, judged.decision)


def _judge(
    project: Project,
    trained: Trained,
    rows: Material,
    made: list[Record],
    key: str,
    by: str,
    follows: tuple[str, ...],
    about: Sequence[Finding],
) -> Judged:
    endpoint = project.endpoint()
    findings = _gates(project, trained, rows, endpoint, key)
    made.extend(findings)
    proposal = _proposal(endpoint, trained, findings)
    proposal = msgspec.structs.replace(
        proposal,
        reason=" ".join([proposal.reason, *(f"({finding.says.rstrip('.')})" for finding in about)]),
        findings=(*proposal.findings, *(finding.id for finding in about)),
    )
    records = act(project, proposal, endpoint, by=by, key=f"judge {key}", follows=follows)
    made.extend(records)
    return Judged(records[0].id)


def _proposal(endpoint: Endpoint | None, trained: Trained, findings: list[Finding]) -> Proposal:
    ids = tuple(finding.id for finding in findings)
    failed = [finding.says for finding in findings if finding.verdict == "fail"]
    if failed:
        return Proposal("stop", f"the candidate failed a gate: {'; '.join(failed)}", ids, trained.bundle)
    if endpoint is None:
        return msgspec.structs.replace(first(trained.bundle), findings=ids)
    if any(arm.bundle == trained.bundle for arm in endpoint.arms):
        return Proposal("hold", "this very bundle is on the endpoint already", ids, trained.bundle)
    if endpoint.arm("challenger") is not None:
        return Proposal("hold", "a challenger is being tried already", ids, trained.bundle)
    arms = policy.with_challenger(endpoint, trained.bundle)
    return Proposal(
        "shadow", "the candidate passed the gates and is tried beside the champion", ids, trained.bundle, arms
    )


def _gates(project: Project, trained: Trained, rows: Material, endpoint: Endpoint | None, key: str) -> list[Finding]:
    run = project.records.get(Run, trained.run)
    champion: NDArray[np.float64] | None = None
    if endpoint is not None and endpoint.champion.bundle != trained.bundle:
        bundle = project.records.get(Bundle, endpoint.champion.bundle)
        model = load.load(bundle, project.blobs, keys.trusted(project.keys))
        champion = model.predict(take(rows.frame, rows.problem.holdout))
    return [
        _gate(project, gate, run, _score(gate.metric, rows, champion), f"{key} gate {index}")
        for index, gate in enumerate(project.file.learn.gates)
    ]


def _score(metric: str, rows: Material, prediction: NDArray[np.float64] | None) -> float | None:
    """Return a metric on the rows that the candidate was measured on."""
    if prediction is None or metric not in SCORES:
        return None
    return SCORES[metric](rows.problem.target[rows.problem.holdout], prediction)


def _gate(project: Project, gate: Gate, run: Run, theirs: float | None, key: str) -> Finding:
    """Return what a gate says of a run; `theirs` is the champion's metric on the same rows."""
    own = next((metric for metric in run.metrics if metric.name == gate.metric), None)
    if own is None:
        known = ", ".join(metric.name for metric in run.metrics)
        raise LearnError(
            f"a gate asks for {gate.metric!r}, which the run does not have", where="learn.gates", fix=f"known: {known}"
        )
    passed, says = True, f"{gate.metric} {own.value:.4f}"
    if gate.min is not None and own.value < gate.min:
        passed, says = False, f"{says} is under {gate.min:g}"
    if gate.max is not None and own.value > gate.max:
        passed, says = False, f"{says} is over {gate.max:g}"
    limit = gate.min if gate.min is not None else gate.max
    if gate.no_worse_than is not None and theirs is not None:
        worse_by = (theirs - own.value) if gate.metric in HIGHER_IS_BETTER else (own.value - theirs)
        passed = passed and worse_by <= gate.margin
        limit = theirs
        says = f"{says}, the champion's on the same rows {theirs:.4f}" + (
            "" if passed else ": worse by over the margin"
        )
    now = project.clock.now()
    return Finding(
        id=derived(now, project.name, key),
        project=project.name,
        at=now,
        by="loop",
        parents=(run.id,),
        question=f"gate: is {gate.metric} good enough?",
        subject=gate.metric,
        method="metric on held-out rows, 95 % block bootstrap",
        estimate=own.value,
        low=own.low,
        high=own.high,
        evidence=None,
        limit=limit,
        verdict="pass" if passed else "fail",
        n=own.n,
        says=says,
    )


def _dataset(project: Project, asked: Decision, made: list[Record]) -> str:
    """Freeze what may be learned from at the time of a decision: the first dataset, and good mature logged rows."""
    now = asked.at
    base = _first_dataset(project)
    columns = _columns(project, base)
    frames: list[Frame] = [snapshot.load_dataset(base, project.blobs)]
    frames[0] = {column.name: frames[0][column.name] for column in columns}
    mature = now - duration(project.file.data.label_delay)
    known = history.labels(project.log, known_by=now)
    champion = _endpoint(project).champion.bundle
    sieve = Sieve(rules_of(project, champion), spells(project), project.file.data.time_zone)
    for answered in history.champions(project.log, end=mature):
        labelled = history.labelled(history.in_event_order(answered), known)
        good = history.select(labelled, np.flatnonzero(sieve.good(labelled)))
        frames.append(_learnable(good, known, columns, base))
    left_out = sieve.finding(project, now, asked.id)
    made.extend([] if left_out is None else [left_out])
    rows = _by_time(concat(frames), base.time)
    dataset = snapshot.freeze_frame(
        rows, columns, file=project.file, blobs=project.blobs, at=now, by="loop", parents=(base.id,)
    )
    made.append(dataset)
    return dataset.id


def _learnable(answered: history.Answers, known: dict[str, float], columns: tuple[Column, ...], base: Dataset) -> Frame:
    """Return logged rows with the dataset's columns."""
    target = history.targets(answered.ids, known)
    frame = {**answered.frame, base.target: target}
    if base.time is not None:
        frame[base.time] = answered.at
    missing = [column.name for column in columns if column.name not in frame]
    if missing:
        raise LearnError(
            f"the logged predictions do not carry {', '.join(missing)}",
            where="retraining",
            fix="kaizen learn, which reads the source; what [serve.log] hides cannot be learned from",
        )
    return {column.name: frame[column.name] for column in columns}


def _by_time(frame: Frame, time: str | None) -> Frame:
    if time is None:
        return frame
    order: NDArray[np.int64] = np.argsort(frame[time], kind="stable")
    return take(frame, order)


def _columns(project: Project, base: Dataset) -> tuple[Column, ...]:
    """Return what a request carries, the row's time and the target: what logged rows have too."""
    champion = project.records.get(Bundle, _endpoint(project).champion.bundle)
    carried = {column.name for column in champion.inputs} | {base.target, base.time}
    return tuple(column for column in base.columns if column.name in carried)


def _first_dataset(project: Project) -> Dataset:
    """Return the dataset at the root of the champion's line: the one that came from the source."""
    dataset = project.records.get(Dataset, _run_of(project, _endpoint(project).champion.bundle).dataset)
    while dataset.parents:
        dataset = project.records.get(Dataset, dataset.parents[0])
    return dataset


def _run_of(project: Project, bundle: str) -> Run:
    run = project.records.get(Bundle, bundle).run
    if run is None:
        raise LearnError(
            "the champion was imported, so there are no settings to train again with",
            where=f"bundle {bundle[:12]}",
            fix="kaizen learn",
        )
    return project.records.get(Run, run)


def _endpoint(project: Project) -> Endpoint:
    endpoint = project.endpoint()
    if endpoint is None:
        raise LearnError("this project has no endpoint yet", where=str(project.folder), fix="kaizen learn")
    return endpoint
