"""What the log knows: predictions by arm, and the labels that were known by a moment.

Everything here takes the moment as an argument and returns nothing that was not known then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import chain, groupby
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.ports import Log
from kaizen.core.project import Project
from kaizen.core.records import Column, PredictionBatch, Role, Task
from kaizen.graph.frame import Frame, concat, from_batch
from kaizen.stats import metrics
from kaizen.stats.blocks import day_start


class Answers(NamedTuple):
    """Predictions of one bundle in one role, in the order they were logged; one entry a row."""

    bundle: str
    role: Role
    ids: list[str]
    at: NDArray[np.int64]  # (rows,) microseconds
    outputs: NDArray[np.float64]  # (rows,)
    columns: tuple[Column, ...]
    frame: Frame  # the inputs that all rows have: not those that the log hides; empty for shadows


def answers(log: Log, start: datetime | None = None, end: datetime | None = None) -> list[Answers]:
    """Return the predictions with event time in [start, end), one entry a (role, bundle), first seen first.

    A prediction id that was answered twice (a caller's retry) counts once: the first answer.
    """
    groups: dict[tuple[Role, str], list[PredictionBatch]] = {}
    for batch in log.predictions(start, end):
        groups.setdefault((batch.role, batch.bundle), []).append(batch)
    return [_join(role, bundle, batches) for (role, bundle), batches in groups.items()]


def champions(log: Log, start: datetime | None = None, end: datetime | None = None) -> list[Answers]:
    """Return only what users were answered, one entry a bundle."""
    return [group for group in answers(log, start, end) if group.role == "champion"]


def _join(role: Role, bundle: str, batches: list[PredictionBatch]) -> Answers:
    runs = [_joined(list(alike)) for _, alike in groupby(batches, key=lambda batch: batch.columns)]
    columns = tuple(column for column in runs[0].columns if all(column in run.columns for run in runs))
    names = {column.name for column in columns}
    group = Answers(
        bundle,
        role,
        [identity for run in runs for identity in run.ids],
        np.concatenate([np.asarray(run.at, np.int64) for run in runs]),
        np.concatenate([np.asarray(run.outputs, np.float64) for run in runs]),
        columns,
        concat([{name: values for name, values in from_batch(run).items() if name in names} for run in runs]),
    )
    return _first_answers(group)


def _joined(batches: list[PredictionBatch]) -> PredictionBatch:
    """Return batches with the same columns as one: their bytes are row-major, so they join end to end."""
    return msgspec.structs.replace(
        batches[0],
        ids=list(chain.from_iterable(batch.ids for batch in batches)),
        at=list(chain.from_iterable(batch.at for batch in batches)),
        outputs=list(chain.from_iterable(batch.outputs for batch in batches)),
        numbers=b"".join(batch.numbers for batch in batches),
        times=b"".join(batch.times for batch in batches),
        strings=list(chain.from_iterable(batch.strings for batch in batches)),
    )


def _first_answers(group: Answers) -> Answers:
    seen: dict[str, int] = {}
    for index, identity in enumerate(group.ids):
        seen.setdefault(identity, index)
    if len(seen) == len(group.ids):
        return group
    return select(group, np.fromiter(seen.values(), np.int64, len(seen)))


def labelled(group: Answers, known: Mapping[str, float]) -> Answers:
    """Return the rows whose label is known."""
    kept = [place for place, identity in enumerate(group.ids) if identity in known]
    return select(group, np.asarray(kept, np.int64))


def select(group: Answers, index: NDArray[np.int64]) -> Answers:
    """Return the rows at these positions."""
    return group._replace(
        ids=[group.ids[i] for i in index],
        at=group.at[index],
        outputs=group.outputs[index],
        frame={name: values[index] for name, values in group.frame.items()},
    )


def in_event_order(group: Answers) -> Answers:
    """Return the rows by event time, then id, so that the order of arrival does not matter."""
    order = np.lexsort((np.asarray(group.ids, dtype=object).astype(str), group.at))
    return select(group, order)


def labels(log: Log, known_by: datetime, since: datetime | None = None) -> dict[str, float]:
    """Return the labels that became known before a moment, by prediction id; the last one wins."""
    known: dict[str, tuple[int, float]] = {}
    for batch in log.labels(since, known_by):
        for identity, value, at in zip(batch.ids, batch.values, batch.at, strict=True):
            if identity not in known or at >= known[identity][0]:
                known[identity] = (at, value)
    return {identity: value for identity, (_, value) in known.items()}


def losses(task: Task, target: NDArray[np.float64], outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the loss of each row that evidence is counted in: the log loss, or the squared error, (rows,)."""
    return metrics.per_row("log_loss" if task == "classification" else "squared", target, outputs)


def labelled_share(project: Project, day: int) -> float:
    """Return the share of the predictions of an event day whose label is known by now; 1 where there are none."""
    zone = project.file.data.time_zone
    start, end = day_start(day, zone), day_start(day + 1, zone)
    ids = {each for b in project.log.predictions(start, end) if b.role == "champion" for each in b.ids}
    known = labels(project.log, known_by=project.clock.now(), since=start)
    return sum(each in known for each in ids) / len(ids) if ids else 1.0


def targets(ids: Iterable[str], known: dict[str, float]) -> NDArray[np.float64]:
    """Return the label of each id, NaN where it is not known, (rows,)."""
    return np.asarray([known.get(identity, np.nan) for identity in ids], np.float64)
