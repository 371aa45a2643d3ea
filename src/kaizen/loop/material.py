"""What a fit is made from: a dataset's rows, the declared features, the split, and the target, ready for learning."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import FeatureError, LeakageError, ProjectError, nearest
from kaizen.core.ids import content_id
from kaizen.core.project import Project
from kaizen.core.projectfile import FILE_NAME
from kaizen.core.records import Column, Dataset
from kaizen.data import columns as typed
from kaizen.data import snapshot, tables
from kaizen.data.split import split
from kaizen.features import fit as features
from kaizen.features import module
from kaizen.features.declare import Expression
from kaizen.graph.frame import Frame, take
from kaizen.learn.problem import Encoding, Features, Problem, Rows
from kaizen.stats.blocks import day_blocks


@dataclass(frozen=True, eq=False)
class Material:
    """One dataset, ready to learn from.

    Parameters
    ----------
    definition
        The declared features.
    inputs
        The raw columns that they read: what a request carries.
    lookups
        The tables that the graph carries.
    """

    project: Project
    dataset: Dataset
    definition: dict[str, Expression]
    inputs: tuple[Column, ...]
    frame: Frame
    lookups: dict[str, Frame]
    problem: Problem

    @cached_property
    def definition_id(self) -> str:
        """The hash of everything but the dataset that the fitted features depend on."""
        tables_ = {
            name: {column: values.tolist() for column, values in table.items()} for name, table in self.lookups.items()
        }
        zone = self.project.file.data.time_zone
        return content_id(features.definition_id(self.definition), self.inputs, zone, str(tables_))

    def featurise(self, encoding: Encoding, rows: Rows) -> Features:
        """Fit the feature graph on these rows and run it on all."""
        fitted = self.fitted(encoding, rows)
        return Features(features.transform(fitted.graph, self.inputs, self.frame), fitted.outputs, fitted.graph)

    def fitted(self, encoding: Encoding, rows: Rows) -> features.FittedFeatures:
        """Fit the feature graph on these rows."""
        return features.fit(
            self.definition,
            self.inputs,
            take(self.frame, rows),
            encoding=encoding,
            time_zone=self.project.file.data.time_zone,
            tables=self.lookups,
        )


def material(project: Project, dataset: Dataset, *, newest_days: int | None = None) -> Material:
    """Return a dataset ready to learn from.

    Parameters
    ----------
    newest_days
        Validate on so many of the newest event days; None: on about a quarter of the rows.

    Raises
    ------
    FeatureError
        A declared feature reads a column that the dataset does not have.
    LeakageError
        A declared feature reads a column that is known only afterwards.
    """
    file = project.file
    definition = definition_of(project, dataset.columns)
    inputs = _inputs(project, dataset, definition)
    _check_listed(project, inputs)
    frame = snapshot.load_dataset(dataset, project.blobs)
    target = frame[dataset.target]
    times = frame[dataset.time] if dataset.time else None
    blocks = day_blocks(times, file.data.time_zone) if times is not None else None
    groups = frame[file.learn.group] if file.learn.group else None
    share = _share(blocks, newest_days)
    parts = split(target, times=times, blocks=blocks, groups=groups, valid_share=share, seed=file.learn.seed)
    problem = Problem(
        task=file.project.task,
        metric=file.metric,
        target=target,
        split=(parts.train, parts.valid),
        blocks=blocks,
        groups=None if groups is None else np.unique(groups, return_inverse=True)[1].astype(np.int64),
    )
    with tables.connect(file, project.folder) as sql:
        lookups = tables.lookups(sql, file)
    return Material(project, dataset, definition, inputs, frame, lookups, problem)


def definition_of(project: Project, columns: tuple[Column, ...]) -> dict[str, Expression]:
    """Return the declared features, or the default of every column that may be learned from."""
    if project.file.features.module is not None:
        return module.load_module(project.folder / project.file.features.module)
    inputs = typed.inputs_of(columns, project.file)
    if not inputs:
        raise FeatureError(
            "there is no column to learn from: all are the target, declared as outcomes, or ignored",
            where=project.file.data.source,
            fix="take columns from outcome or ignore under [data], or name another table",
        )
    return features.defaults(inputs)


def _inputs(project: Project, dataset: Dataset, definition: dict[str, Expression]) -> tuple[Column, ...]:
    known = {column.name: column for column in dataset.columns}
    read = features.required(definition)
    where = f"{project.file.features.module or 'features'}"
    for name in sorted(read):
        if name in project.file.data.outcome or name == dataset.target:
            raise LeakageError(
                f"a feature reads {name!r}, which is known only afterwards", where=where, fix="take it out of FEATURES"
            )
        if name not in known:
            raise FeatureError(f"a feature reads {name!r}, which is no column", where=where, fix=nearest(name, known))
    return tuple(column for column in dataset.columns if column.name in read)


def _check_listed(project: Project, inputs: tuple[Column, ...]) -> None:
    """Raise where a column that the monitors shall group rows by is none that a request carries, or makes no groups."""
    known = {column.name: column.type for column in inputs}
    for key in ("segments", "fairness"):
        for index, name in enumerate(getattr(project.file.monitor, key)):
            where = f"{FILE_NAME}: monitor.{key}[{index}]"
            if name not in known:
                raise ProjectError(f"{name!r} is no column that the model reads", where=where, fix=nearest(name, known))
            if known[name] in ("time", "text"):
                what = f"{name!r} is a {known[name]}, which makes no groups"
                raise ProjectError(what, where=where, fix="name a category, a boolean or a number")


def _share(blocks: NDArray[np.int64] | None, newest_days: int | None) -> float:
    if blocks is None or newest_days is None:
        return 0.25
    days = np.unique(blocks)
    return float((blocks >= days[-min(newest_days, len(days) - 1)]).mean()) if len(days) > 1 else 0.25
