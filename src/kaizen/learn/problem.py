"""What is to be learnt: a target, the rows that may be learnt from, and the rows that judge.

    train ────────────────────────────┬── tune ──────────────┬── holdout ────────────────┐
    fits features and model           │ stops, ranks, calibrates │ is only measured, once │
                                      └────────── valid ─────────────────────────────────┘

The validation part is cut in two, in time order where there is time. The number of rounds, the choice between
settings and the calibration are made on the first half; the metrics are of the second, which no choice has seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import LearnError, nearest
from kaizen.core.ports import Param
from kaizen.core.records import FeatureColumn, Task
from kaizen.stats.metrics import BY_TASK

Encoding: TypeAlias = Literal["codes", "dense"]
Rows: TypeAlias = NDArray[np.int64]

MIN_ROWS = 30


@dataclass(frozen=True, eq=False)
class Features:
    """A feature graph fitted on some rows, and what it makes of all rows."""

    matrix: NDArray[np.float64]  # (rows, columns)
    columns: tuple[FeatureColumn, ...]
    graph: bytes


Featurise: TypeAlias = Callable[[Encoding, Rows], Features]
"""Fits the feature graph on these rows, in this encoding, and transforms all rows."""


class Settings(msgspec.Struct, frozen=True):
    """An algorithm, by the name of its adapter, and its parameters."""

    algorithm: str
    params: dict[str, Param] = {}


@dataclass(frozen=True, eq=False)
class Problem:
    """A target and how its rows are used; row numbers are positions in `target`.

    Parameters
    ----------
    task
        ``classification`` has targets 0 and 1.
    metric
        What settings are ranked by; a name in `kaizen.stats.metrics.SCORES` that fits the task.
    target
        The truth (rows,).
    split
        Row numbers to train on, and to validate on. Rows in neither take part in the final fit only.
    blocks
        The day (rows,) of each row, or None where rows have no time.
    groups
        Where rows have no time: rows of one group stay on one side of the cut between tune and holdout.
    """

    task: Task
    metric: str
    target: NDArray[np.float64]
    split: tuple[Rows, Rows]
    blocks: NDArray[np.int64] | None = None
    groups: NDArray[np.int64] | None = None
    tune: Rows = field(init=False)
    holdout: Rows = field(init=False)

    def __post_init__(self) -> None:
        tune, holdout = _halves(self)
        object.__setattr__(self, "tune", tune)
        object.__setattr__(self, "holdout", holdout)

    @property
    def train(self) -> Rows:
        """The rows that features and model are fitted on before the final fit."""
        return self.split[0]

    def blocks_of(self, rows: Rows) -> NDArray[np.int64] | None:
        """Return the blocks of these rows, or None."""
        return None if self.blocks is None else self.blocks[rows]


def check(problem: Problem) -> None:
    """Raise `LearnError` for a target, a metric or a split that nothing can be learnt from."""
    known = BY_TASK[problem.task]
    if problem.metric not in known:
        raise LearnError(
            f"{problem.metric!r} is no metric of {problem.task}",
            where="learn.metric",
            fix=nearest(problem.metric, known),
        )
    target, train, rows = problem.target, problem.train, len(problem.target)
    if rows < MIN_ROWS:
        raise LearnError(f"{rows} rows are too few to learn from", where="data.target", fix=f"at least {MIN_ROWS}")
    if not bool(np.isfinite(target).all()):
        missing = int((~np.isfinite(target)).sum())
        raise LearnError(
            f"{missing} of {rows} targets are missing or infinite", where="data.target", fix="leave these rows out"
        )
    if min(len(train), len(problem.tune), len(problem.holdout)) == 0:
        raise LearnError(
            "the split leaves no row to train on, or too few to validate on", where="data", fix="give it more rows"
        )
    if problem.task == "classification":
        _check_classes(target, train)
    elif float(np.ptp(target[train])) == 0.0:
        raise LearnError(f"the target is {target[train[0]]:g} in every training row", where="data.target")


def _check_classes(target: NDArray[np.float64], train: Rows) -> None:
    values = np.unique(target)
    if not bool(np.isin(values, (0.0, 1.0)).all()):
        shown = ", ".join(f"{value:g}" for value in values[:5])
        raise LearnError(
            f"classification needs a target of 0 and 1 and found {shown}",
            where="data.target",
            fix='task = "regression"',
        )
    for rows, where in ((target, "every row"), (target[train], "every training row")):
        if len(np.unique(rows)) < 2:
            raise LearnError(
                f"the target has one class: it is {rows[0]:g} in {where}",
                where="data.target",
                fix="give it rows of both classes",
            )


def _halves(problem: Problem) -> tuple[Rows, Rows]:
    valid = problem.split[1]
    if problem.blocks is not None:
        days = np.unique(problem.blocks[valid])
        if len(days) > 1:
            early = problem.blocks[valid] < days[len(days) // 2]
            return valid[early], valid[~early]
    if problem.groups is not None:
        _, place = np.unique(problem.groups[valid], return_inverse=True)
        return valid[place % 2 == 0], valid[place % 2 == 1]
    # In turn along the target, so that both halves have the same share of each class.
    along = valid[np.argsort(problem.target[valid], kind="stable")]
    return np.sort(along[0::2]), np.sort(along[1::2])
