"""What came of the reference's rows, by their score: the table from which outcomes of unlabelled rows are expected.

    score of a row ─► bin │ rows  outcomes (positives, or losses), group by group of days
                          ▼
    a fit over the bins that never falls ─► expected outcome in each bin
    the same without each group in turn  ─► how uncertain that is

The score of a classifier is its answer; that of a regression is the loss that the bundle's loss model expects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Task
from kaizen.stats.calibration import basis, fitted, stiffness_of
from kaizen.stats.isotonic import steps

Float = NDArray[np.float64]

GROUPS = 20
_QUANTILES = 96
# Quantiles alone would leave a window that moves beyond them without ranks, and the log loss is steep there. 0.5, where
# the answer turns, is among these.
_LOG_ODDS = np.arange(-28, 29) / 4
POSITIVE = "positive"
MOMENTS: Mapping[Task, Mapping[str, tuple[str, str]]] = {
    "classification": {POSITIVE: (POSITIVE, POSITIVE)},
    "regression": {"absolute": ("absolute", "squared"), "squared": ("squared", "fourth")},
}
"""For each task its outcomes, and the sums that the mean and the mean square of each rest on."""


def outcome_of(metric: str, task: Task) -> str:
    """Return the outcome that a metric is made of."""
    return POSITIVE if task == "classification" else "absolute" if metric == "mae" else "squared"


class Expectation(NamedTuple):
    """What to expect of a row in each bin."""

    mean: Float  # (bins,)
    variance: Float  # (bins,) of one row's outcome
    without: Float  # (groups, bins) the mean as each group left out tells it

    def spread(self, gradient: Float) -> float:
        """Return the variance that the uncertain means give ``gradient @ mean`` (the grouped jackknife).

        Delete-a-group jackknife: Shao & Tu, *The Jackknife and Bootstrap* (1995), section 1.3.
        """
        told = self.without @ gradient
        groups = len(told)
        return float(((told - told.mean()) ** 2).sum() * (groups - 1) / groups)


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """Rows and sums of outcomes by bin of the score (from ``edges[i - 1]`` to below ``edges[i]``), group by group."""

    task: Task
    edges: tuple[float, ...]
    centres: tuple[float, ...]  # the mean score in each bin
    rows: tuple[tuple[int, ...], ...]  # (groups, bins)
    sums: dict[str, tuple[tuple[float, ...], ...]]  # (groups, bins)
    is_by_time: bool  # groups are runs of days; else rows in turn
    stiffness: float = 0.0  # of the curve of chances

    @property
    def size(self) -> int:
        """How many bins there are."""
        return len(self.centres)

    def place(self, score: Float) -> NDArray[np.int64]:
        """Return the bin of each score (rows,); a missing score has none, -1."""
        bins = np.searchsorted(np.asarray(self.edges), score, side="right")
        return np.where(np.isnan(score), -1, bins).astype(np.int64)

    def count(self, score: Float) -> NDArray[np.int64]:
        """Return how many of the scores (rows,) lie in each bin, (bins,); those of days add up."""
        placed = self.place(score)
        return np.bincount(placed[placed >= 0], minlength=self.size).astype(np.int64)

    def expect(self, outcome: str, *, jackknife: bool = True) -> Expectation:
        """Return what to expect of rows like the reference's; without the jackknife the mean alone, much sooner."""
        sums = {name: np.asarray(each) for name, each in self.sums.items()}
        return self.expect_of(outcome, np.asarray(self.rows, np.float64), sums, jackknife=jackknife)

    def expect_of(self, outcome: str, rows: Float, sums: Mapping[str, Float], *, jackknife: bool = True) -> Expectation:
        """Return what to expect of rows by these tables (groups, bins), such as reweighted ones."""
        first, second = MOMENTS[self.task][outcome]
        centres, total = np.asarray(self.centres), sums[first]
        some, held = rows.sum(axis=0)[None], total.sum(axis=0)[None]
        if jackknife:
            some = np.concatenate((some, np.maximum(some - rows, 0.0)))
            held = np.concatenate((held, np.maximum(held - total, 0.0)))
        if self.task == "classification":
            chance = fitted(basis(centres), some, held, self.stiffness)
            return Expectation(chance[0], chance[0] * (1 - chance[0]), chance[1:])
        mean = np.array([_rising(centres, r, t) for r, t in zip(some, held, strict=True)])
        square = _rising(centres, some[0], sums[second].sum(axis=0))
        return Expectation(mean[0], np.maximum(square - mean[0] ** 2, 0.0), mean[1:])


def _rising(centres: Float, rows: Float, total: Float) -> Float:
    """Return the mean loss in each bin, by a fit that never falls."""
    mean = np.divide(total, rows, out=np.zeros_like(total), where=rows > 1e-9)
    return steps(centres, mean, np.where(rows > 1e-9, rows, 0.0)).at(centres)


def table(
    task: Task, score: Float, outcome: Float, blocks: NDArray[np.int64] | None, *, groups: int = GROUPS
) -> tuple[Outcomes, NDArray[np.int64]]:
    """Return the table of these rows, and the group of each (rows,).

    Parameters
    ----------
    score
        Shape (rows,), of rows that neither the model nor what made the score has seen.
    outcome
        Shape (rows,): 0 or 1, or the absolute error.
    blocks
        The day of each row. Groups are runs of whole days, about alike in rows; None, or fewer than five days: rows
        in turn.
    """
    edges = _edges(task, score)
    place = np.searchsorted(edges, score, side="right")
    member, is_by_time = _members(len(score), blocks, groups)
    bins, many = len(edges) + 1, int(member.max()) + 1
    cell = member * bins + place

    def tally(values: Float | None) -> Float:
        return np.bincount(cell, values, many * bins).reshape(many, bins).astype(np.float64)

    powers = {POSITIVE: outcome} if task == "classification" else _powers(outcome)
    rows = tally(None)
    seen, held = rows.sum(axis=0), tally(score).sum(axis=0)
    found = Outcomes(
        task=task,
        edges=tuple(edges.tolist()),
        centres=tuple(np.where(seen > 0, held / np.maximum(seen, 1), _middles(edges)).tolist()),
        rows=tuple(tuple(int(n) for n in row) for row in rows),
        sums={name: tuple(tuple(_short(x) for x in row) for row in tally(v)) for name, v in powers.items()},
        is_by_time=is_by_time,
    )
    if task == "classification":
        stiffness = stiffness_of(basis(np.asarray(found.centres)), rows, tally(outcome))
        found = msgspec.structs.replace(found, stiffness=stiffness)
    return found, member


def _powers(loss: Float) -> dict[str, Float]:
    return {"absolute": loss, "squared": loss**2, "fourth": loss**4}


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _edges(task: Task, score: Float) -> Float:
    cuts = np.quantile(score, np.arange(1, _QUANTILES) / _QUANTILES)
    return np.unique(cuts if task == "regression" else np.concatenate((cuts, _logistic(_LOG_ODDS))))


def _logistic(x: Float) -> Float:
    return np.asarray(1 / (1 + np.exp(-x)))


def _middles(edges: Float) -> Float:
    return np.concatenate((edges[:1], (edges[1:] + edges[:-1]) / 2, edges[-1:]))


def _members(rows: int, blocks: NDArray[np.int64] | None, groups: int) -> tuple[NDArray[np.int64], bool]:
    if blocks is not None:
        _, day, per_day = np.unique(blocks, return_inverse=True, return_counts=True)
        if len(per_day) >= 5:
            middle = np.cumsum(per_day) - per_day / 2
            run = np.floor(middle * min(groups, len(per_day)) / rows).astype(np.int64)
            return np.unique(run, return_inverse=True)[1][day].astype(np.int64), True
    return np.arange(rows, dtype=np.int64) % min(groups, rows), False
