"""From settings to a signed bundle, in one durable step: fit, certify against the trained model, pack, register."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kaizen.bundle import certify, keys, pack
from kaizen.bundle.environment import environment
from kaizen.core import plugins
from kaizen.core.ids import content_id, derived
from kaizen.core.ports import Framework
from kaizen.core.project import Project
from kaizen.core.records import Bundle, FeatureSet, Record, Run
from kaizen.core.rules import Rules
from kaizen.data import profile, snapshot
from kaizen.data.rules import infer
from kaizen.features import fit as features
from kaizen.graph.frame import take
from kaizen.graph.join import chain
from kaizen.graph.run import Session
from kaizen.learn import report
from kaizen.learn.fit import Outcome, finish
from kaizen.learn.problem import Settings
from kaizen.learn.search import Trial
from kaizen.loop.journal import Journal
from kaizen.loop.material import Material
from kaizen.loop.unlabelled import prepared
from kaizen.monitor import reference
from kaizen.monitor.quality.day_rules import by_day
from kaizen.monitor.segments.facets import with_facets


class Trained(msgspec.Struct, frozen=True):
    """What training came to."""

    dataset: str
    run: str
    bundle: str
    says: str


def train(
    project: Project,
    journal: Journal,
    rows: Material,
    settings: Settings,
    *,
    trials: Sequence[Trial] = (),
) -> Trained:
    """Return the run and bundle of these settings on these rows; done once for the same rows, code and settings."""
    listed = project.file.monitor.segments, project.file.monitor.fairness  # the bundle's reference is by these
    inputs = (
        rows.dataset.id,
        rows.definition_id,
        settings,
        project.file.learn.seed,
        len(rows.problem.split[1]),
        listed,
    )
    return journal.step("train", inputs, lambda made: _train(project, rows, settings, trials, made), Trained)


def _train(
    project: Project, rows: Material, settings: Settings, trials: Sequence[Trial], made: list[Record]
) -> Trained:
    seed = project.file.learn.seed
    framework: Framework = plugins.load("framework", settings.algorithm)()
    outcome = finish(rows.problem, settings, framework, rows.featurise, seed, look_back=bool(trials))
    feature_set = _feature_set(project, rows, outcome)
    run = _run(project, rows, settings, outcome, feature_set, trials)
    bundle = _packed(project, rows, outcome, framework, run)
    made.extend((feature_set, run, bundle))
    metric = outcome.metric(rows.problem.metric)
    versus = ", ".join(
        f"{name} {figure.value:.4f}"
        for name, figures in outcome.baselines.items()
        for figure in figures
        if figure.name == metric.name
    )
    says = (
        f"{settings.algorithm}, {metric.name} {metric.value:.4f} [{metric.low:.4f}, {metric.high:.4f}] "
        f"on {metric.n:,} rows never seen (baselines: {versus}); bundle {bundle.version}"
    )
    return Trained(rows.dataset.id, run.id, bundle.id, says)


def _feature_set(project: Project, rows: Material, outcome: Outcome) -> FeatureSet:
    graph = project.blobs.put(outcome.features.graph)
    return FeatureSet(
        id=content_id("features", rows.definition_id, rows.dataset.id, graph),
        project=project.name,
        at=project.clock.now(),
        by="learn",
        parents=(rows.dataset.id,),
        dataset=rows.dataset.id,
        inputs=rows.inputs,
        outputs=outcome.features.columns,
        graph=graph,
    )


def _run(
    project: Project,
    rows: Material,
    settings: Settings,
    outcome: Outcome,
    feature_set: FeatureSet,
    trials: Sequence[Trial],
) -> Run:
    now = project.clock.now()
    return Run(
        id=derived(now, "run", rows.dataset.id, feature_set.id, content_id(settings), str(project.file.learn.seed)),
        project=project.name,
        at=now,
        by="learn",
        parents=(rows.dataset.id, feature_set.id),
        dataset=rows.dataset.id,
        feature_set=feature_set.id,
        task=rows.problem.task,
        algorithm=settings.algorithm,
        params=dict(settings.params),
        seed=project.file.learn.seed,
        metrics=outcome.metrics,
        baselines=dict(outcome.baselines),
        artefact=project.blobs.put(outcome.model.graph()),
        report=project.blobs.put(_report(project, rows, outcome, trials).encode()),
    )


def _report(project: Project, rows: Material, outcome: Outcome, trials: Sequence[Trial]) -> str:
    held = take(rows.frame, outcome.holdout.rows)
    segments = {
        column.name: held[column.name]
        for column in rows.inputs
        if column.type == "category" and 2 <= len(set(held[column.name].tolist())) <= 20
    }
    return report.html(
        outcome,
        title=f"{project.name}: {outcome.settings.algorithm}",
        task=rows.problem.task,
        metric=rows.problem.metric,
        trials=trials,
        segments=segments,
    )


def _packed(project: Project, rows: Material, outcome: Outcome, framework: Framework, run: Run) -> Bundle:
    graph = chain(outcome.features.graph, outcome.model.graph(), outcome.calibrator.graph())
    session = Session(outcome.features.graph)
    trained = certify.Trained(
        features=lambda frame: features.transform(session, rows.inputs, frame),
        columns=outcome.features.columns,
        encoding=framework.encoding,
        model=outcome.model,
        calibrate=outcome.calibrator.apply,
    )
    validation = take(rows.frame, rows.problem.split[1])
    own = {column.name: validation[column.name] for column in rows.inputs}
    normal = prepared(project, rows, outcome, _reference(rows, outcome))
    parts = pack.Parts(
        graph=graph,
        task=rows.problem.task,
        inputs=rows.inputs,
        output="probability" if rows.problem.task == "classification" else "value",
        certificate=certify.certify(graph, rows.inputs, own, trained),
        environment=environment(project.folder),
        reference=msgspec.json.encode(normal.reference),
        loss=normal.loss,
        rules=_rules(project, rows),
        examples=pack.examples_of(rows.inputs, own),
        seen=pack.seen_of(rows.inputs, rows.frame),
    )
    return pack.pack(
        parts,
        name=project.name,
        project=project.name,
        blobs=project.blobs,
        key=keys.load(project.keys),
        known=project.records.find(Bundle),
        at=project.clock.now(),
        by="learn",
        run=run.id,
        parents=(run.id,),
    )


def _rules(project: Project, rows: Material) -> Rules:
    """Return what must hold for a request and a day, by the rows that the model was fitted on and what is declared."""
    with snapshot.opened(rows.dataset, project.blobs) as sql:
        found = profile.profile(sql, "rows", rows.dataset.columns)
    frame = {column.name: rows.frame[column.name] for column in rows.inputs}
    return by_day(infer(found, project.file).of(rows.inputs), frame, rows.problem.blocks)


def _reference(rows: Material, outcome: Outcome) -> reference.Reference:
    """Return what was normal: the inputs of all rows, and answers and losses of rows that the model had not seen."""
    sample, section = outcome.out_of_sample, rows.project.file.monitor
    known = reference.fit(
        rows.inputs,
        {column.name: rows.frame[column.name] for column in rows.inputs},
        sample.prediction,
        blocks=rows.problem.blocks,
        output_blocks=sample.blocks,
        losses=sample.losses(rows.problem.task),
        loss_blocks=sample.blocks,
        metric="log_loss" if rows.problem.task == "classification" else "squared",
    )
    if sample.blocks is None:
        return known
    return with_facets(
        known,
        rows.inputs,
        take({column.name: rows.frame[column.name] for column in rows.inputs}, sample.rows),
        outputs=sample.prediction,
        target=sample.target,
        losses=sample.losses(rows.problem.task),
        blocks=sample.blocks,
        task=rows.problem.task,
        segments=section.segments,
        fairness=section.fairness,
    )
