"""What estimates without labels need of a project: made when a model is trained, found again when it is watched.

training    rows that the model had not seen ─► EstimateReference, in the bundle; the rows by their bins, a blob
            regression: a model of their losses ─► `loss.onnx`, in the bundle
watching    a day's frame ─► its answers, or the losses that `loss.onnx` expects
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.bundle import keys, manifest
from kaizen.bundle.verify import verify
from kaizen.core import plugins
from kaizen.core.errors import NotFoundError
from kaizen.core.ports import Framework
from kaizen.core.project import Project
from kaizen.core.projectfile import Gate
from kaizen.core.records import Bundle, Column
from kaizen.features.declare import Expression
from kaizen.graph.frame import Frame, feeds, take
from kaizen.graph.join import chain
from kaizen.graph.run import Session
from kaizen.learn import losses
from kaizen.learn.fit import Outcome
from kaizen.loop.material import Material
from kaizen.monitor.columns.binning import place
from kaizen.monitor.columns.parts import VALUES
from kaizen.monitor.estimates import estimate
from kaizen.monitor.estimates.basis import ReferenceRows
from kaizen.monitor.estimates.estimate import EstimateReference
from kaizen.monitor.reference import Reference
from kaizen.stats.expected import LOWER_IS_BETTER

ANSWER = Column("the model's answer", "number")  # a column more that the loss model reads: errors grow with it
_INSTEAD = {"ece": "log_loss", "r2": "rmse"}  # what cannot be estimated, and what is in its place


class Prepared(NamedTuple):
    """The reference with what estimates need in it, and the graph of the expected loss, for a regression."""

    reference: Reference
    loss: bytes | None


def prepared(project: Project, rows: Material, outcome: Outcome, reference: Reference) -> Prepared:
    """Return the reference and graph for estimates without labels; as it was where the rows do not allow any."""
    sample, task = outcome.out_of_sample, rows.problem.task
    score, truth, loss = sample.prediction, sample.target, None
    if task == "regression":
        if len(sample.rows) < estimate.FEWEST_ROWS:
            return Prepared(reference, None)
        truth = np.abs(sample.target - sample.prediction)
        score, loss = _loss_model(rows, outcome, truth)
    metric = _INSTEAD.get(rows.problem.metric, rows.problem.metric)
    found = estimate.fit(task, metric, score, truth, sample.blocks)
    if found is None:
        return Prepared(reference, None)
    made, groups = found
    inputs = take(rows.frame, sample.rows)
    placed = {p.key: (place(p.bins, inputs[p.name]), p.bins.size) for p in reference.columns if p.part == VALUES}
    kept = project.blobs.put(msgspec.msgpack.encode(estimate.keep(made, groups, score, truth, placed)))
    matters = allowed_by(project.file.learn.gates, metric, made.figures[metric])
    made = msgspec.structs.replace(made, rows=kept, matters=made.matters if matters is None else matters)
    return Prepared(msgspec.structs.replace(reference, estimate=made), loss)


def _loss_model(rows: Material, outcome: Outcome, error: NDArray[np.float64]) -> tuple[NDArray[np.float64], bytes]:
    """Return the loss expected of each row out of sample, and the graph from raw rows and answers to it."""
    framework: Framework = plugins.load("framework", losses.FRAMEWORK)()
    sample = outcome.out_of_sample
    answered = replace(
        rows,
        definition={**rows.definition, ANSWER.name: Expression("col", (ANSWER.name,))},
        inputs=(*rows.inputs, ANSWER),
        frame=take(rows.frame, sample.rows) | {ANSWER.name: sample.prediction},
    )
    every = np.arange(len(sample.rows), dtype=np.int64)
    features = answered.featurise(framework.encoding, every)
    made = losses.fit(framework, features, every, error, sample.blocks, rows.project.file.learn.seed)
    return made.expected, chain(features.graph, made.graph)


def allowed_by(gates: list[Gate], metric: str, reached: float) -> float | None:
    """Return how much worse than the reference the first gate about this metric lets a model be, or None."""
    for gate in gates:
        if gate.metric != metric:
            continue
        bound = gate.max if metric in LOWER_IS_BETTER else gate.min
        allowed = gate.margin if bound is None else abs(reached - bound)
        if allowed > 0:
            return allowed
    return None


def scores(
    project: Project, champion: str, reference: Reference, frame: Frame, outputs: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return what estimates rest on, (rows,): the answers, or the losses expected; None where they cannot be had."""
    if reference.estimate is None or reference.estimate.outcomes.task == "classification":
        return outputs
    bundle = project.records.get(Bundle, champion)
    if any(column.name not in frame for column in bundle.inputs):
        return None  # the log does not carry all that the loss model reads
    files = verify(bundle, project.blobs, keys.trusted(project.keys), without_graph=True)
    answered = feeds((*bundle.inputs, ANSWER), frame | {ANSWER.name: outputs})
    expected: NDArray[np.float64] = Session(files[manifest.LOSS]).run(answered)[:, 0]
    return expected


def reference_rows(project: Project, reference: EstimateReference | None) -> ReferenceRows | None:
    """Return the reference's rows by their bins, or None where this project does not have them."""
    if reference is None or reference.rows is None:
        return None
    try:
        data = project.blobs.path(reference.rows).read_bytes()
    except NotFoundError:
        return None  # the bundle was made in another project
    return msgspec.msgpack.decode(data, type=ReferenceRows)
