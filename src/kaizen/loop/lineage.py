"""One id explains everything: a record or a prediction, and all that it stands on.

prediction ─► bundle ─► run ─► dataset          decision ─► findings
                 │                                  └─────► bundle, endpoint revision before
                 └─► endpoint revision ─► decision
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import msgspec

from kaizen.core.clock import from_us
from kaizen.core.errors import KaizenError, NotFoundError
from kaizen.core.ids import time_of
from kaizen.core.project import Project
from kaizen.core.records import (
    Alert,
    AnyRecord,
    Bundle,
    Dataset,
    Decision,
    Delivery,
    Endpoint,
    FeatureSet,
    Finding,
    PredictionBatch,
    Run,
    Silence,
)

_KINDS: tuple[type[AnyRecord], ...] = (
    *(Decision, Finding, Alert, Delivery, Silence),
    *(Bundle, Run, Endpoint, FeatureSet, Dataset),
)


class Prediction(msgspec.Struct, frozen=True):
    """One answer, as the log has it, and what turned out to be true."""

    id: str
    at: str
    endpoint: str
    revision: int
    role: str
    bundle: str
    unit: str | None
    output: float
    propensity: float
    latency_us: int
    label: float | None  # the one that became known last
    before: tuple[float, ...] = ()  # what was thought before it was corrected, oldest first


class Explained(msgspec.Struct, frozen=True):
    """A record or a prediction, and the records it stands on, nearest first."""

    subject: AnyRecord | Prediction
    stands_on: tuple[AnyRecord, ...]


def explain(project: Project, which: str) -> Explained:
    """Return what an id leads to.

    Parameters
    ----------
    which
        The beginning of a record's id, or a whole prediction id.

    Raises
    ------
    NotFoundError
        Nothing has this id.
    KaizenError
        Several records begin with it.
    """
    found = {
        record.id: record for kind in _KINDS for record in project.records.find(kind) if record.id.startswith(which)
    }
    exact = found.get(which)
    if exact is None and len(found) > 1:
        raise KaizenError(f"{which!r} fits {len(found)} records", fix="give more of the id")
    record = exact or next(iter(found.values()), None)
    if record is not None:
        return Explained(record, tuple(_ancestors(project, record.parents)))
    prediction = _prediction(project, which)
    revision = f"{prediction.endpoint}@{prediction.revision}"
    return Explained(prediction, tuple(_ancestors(project, (prediction.bundle, revision), depth=3)))


def _ancestors(project: Project, parents: tuple[str, ...], *, depth: int = 4) -> Iterator[AnyRecord]:
    """Yield the records of these ids and what they stand on, breadth first, each once."""
    seen: set[str] = set()
    for _ in range(depth):
        following: list[str] = []
        for identity in parents:
            record = None if identity in seen else _get(project, identity)
            seen.add(identity)
            if record is not None:
                yield record
                following += record.parents
        parents = tuple(following)


def _get(project: Project, identity: str) -> AnyRecord | None:
    for kind in _KINDS:
        try:
            return project.records.get(kind, identity)
        except NotFoundError:
            continue
    return None


def _prediction(project: Project, identity: str) -> Prediction:
    batch, row = _logged(project, identity)
    labels = [
        (at, value)
        for labelled in project.log.labels(from_us(batch.at[row]))
        for other, value, at in zip(labelled.ids, labelled.values, labelled.at, strict=True)
        if other == identity
    ]
    labels.sort(key=lambda label: label[0])
    return Prediction(
        id=identity,
        at=from_us(batch.at[row]).isoformat(),
        endpoint=batch.endpoint,
        revision=batch.revision,
        role=batch.role,
        bundle=batch.bundle,
        unit=batch.units[row],
        output=batch.outputs[row],
        propensity=batch.propensity[row],
        latency_us=batch.latency_us[row],
        label=labels[-1][1] if labels else None,
        before=tuple(value for _, value in labels[:-1]),
    )


def _logged(project: Project, identity: str) -> tuple[PredictionBatch, int]:
    """Find a prediction in the log: near the time in its id first, then everywhere."""
    for batches in (_near(project, identity), project.log.predictions()):
        found = [batch for batch in batches if identity in batch.ids]
        if found:
            batch = min(found, key=_rank)
            return batch, batch.ids.index(identity)
    raise NotFoundError(
        f"nothing has the id {identity!r}", where=str(project.folder), fix="kaizen loop decisions lists decisions"
    )


def _rank(batch: PredictionBatch) -> tuple[bool, bool]:
    """Order the answers to one row: what a user got comes first, and only that carries the inputs."""
    return batch.role != "champion", not batch.columns


def _near(project: Project, identity: str) -> Iterator[PredictionBatch]:
    """Yield the batches around the time that the id holds, if it is a ULID."""
    try:
        at = time_of(identity)
    except ValueError:
        return
    yield from project.log.predictions(at - timedelta(minutes=1), at + timedelta(minutes=1))


def lines(explained: Explained) -> Iterator[str]:
    """Yield the explanation for people."""
    yield _line(explained.subject)
    if explained.stands_on:
        yield "It stands on:"
    for record in explained.stands_on:
        yield "  " + _line(record).replace("\n", "\n  ")


def _line(record: AnyRecord | Prediction) -> str:
    if isinstance(record, Prediction):
        truth = "not known yet" if record.label is None else f"{record.label:g}"
        if record.before:
            truth += f" (before it was corrected: {', '.join(f'{value:g}' for value in record.before)})"
        return (
            f"prediction {record.id}: {record.output:.4f} for unit {record.unit} at {record.at}, by the {record.role} "
            f"of revision {record.revision} in {record.latency_us} us; the truth: {truth}"
        )
    if isinstance(record, Decision):
        made = f", which made revision {record.revision}" if record.revision else ""
        return f"decision  {record.id}  {record.at:%Y-%m-%d}  {record.action} by {record.by}{made}: {record.reason}"
    if isinstance(record, Finding):
        return f"finding   {record.id}  {record.at:%Y-%m-%d}  {record.verdict}: {record.says}\n{_figures(record)}"
    if isinstance(record, Bundle):
        return f"bundle    {record.id[:12]}  {record.name} version {record.version}, made {record.at:%Y-%m-%d}"
    if isinstance(record, Run):
        metrics = ", ".join(f"{metric.name} {metric.value:.4f}" for metric in record.metrics)
        return f"run       {record.id}  {record.algorithm}, seed {record.seed}: {metrics}"
    if isinstance(record, Dataset):
        span = f", {record.start:%Y-%m-%d} to {record.end:%Y-%m-%d}" if record.start and record.end else ""
        return f"dataset   {record.id[:12]}  {record.rows:,} rows{span}"
    if isinstance(record, Endpoint):
        arms = ", ".join(f"{arm.role} {arm.bundle[:12]}" for arm in record.arms)
        return f"endpoint  {record.id}  {arms}"
    if isinstance(record, FeatureSet):
        return f"features  {record.id[:12]}  {len(record.inputs)} columns in, {len(record.outputs)} features out"
    if isinstance(record, Alert):
        return f"alert     {record.id}  {record.at:%Y-%m-%d}  {record.change}: {record.title}"
    if isinstance(record, Delivery):
        came = "delivered" if record.delivered else f"failed: {record.says}"
        return f"delivery  {record.id}  {record.at:%Y-%m-%d}  to {record.channel}, try {record.attempt}: {came}"
    if isinstance(record, Silence):
        return f"silence   {record.id}  until {record.until:%Y-%m-%d %H:%M} by {record.by}: {record.reason}"
    return f"step      {record.id[:12]}  {record.name}"


def _figures(finding: Finding) -> str:
    parts = [f"          {finding.question} {finding.subject} (n = {finding.n:,}; {finding.method})"]
    if finding.estimate is not None:
        interval = (
            f" [{finding.low:.4g}, {finding.high:.4g}]" if finding.low is not None and finding.high is not None else ""
        )
        parts.append(f"          estimate {finding.estimate:.4g}{interval}")
    if finding.evidence is not None and finding.limit is not None:
        parts.append(f"          evidence {finding.evidence:.4g} against a limit of {finding.limit:.4g}")
    return "\n".join(parts)
