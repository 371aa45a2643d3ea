"""How good is the model on rows without labels? Expected from the scores alone, with an interval.

    window's scores ─ counts ─► calibrated, reweighted or prior shift (`basis.py`) ─► each metric, and how uncertain

All of them are blind to concept drift: inputs do not show that they have come to mean something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from kaizen.core.records import Task
from kaizen.monitor.estimates import estimate_days
from kaizen.monitor.estimates.basis import Basis, Method, ReferenceRows, Window, basis_of, expected
from kaizen.monitor.estimates.estimate_days import Daily
from kaizen.monitor.estimates.misses import excess_of, seen, usual_change
from kaizen.monitor.estimates.outcomes import Outcomes, outcome_of, table
from kaizen.stats.expected import LOWER_IS_BETTER

Float = NDArray[np.float64]

BLIND = "Estimates without labels do not see concept drift."
METRICS: Mapping[Task, tuple[str, ...]] = {
    "classification": (
        "log_loss",
        "brier",
        "auc",
        "average_precision",
        "accuracy",
        "precision",
        "recall",
        "specificity",
        "f1",
    ),
    "regression": ("mae", "mse", "rmse"),
}
FEWEST_ROWS = 200
MOST_ROWS = 5000  # of the reference's, kept to be reweighted
_RARE = 5


class EstimateReference(msgspec.Struct, frozen=True, kw_only=True):
    """What estimates without labels stand on: what came of rows that the model had not seen.

    ``excess`` is, for each metric, by how much estimates of one run of the reference's days from the others missed
    beyond what chance explains (a standard deviation; 0: nothing), ``matters`` the loss of ``metric`` that is worth a
    page, and ``rows`` the blob of the reference's rows by their bins, without which nothing is reweighted.
    """

    metric: str
    outcomes: Outcomes
    figures: dict[str, float]
    excess: dict[str, float]
    matters: float
    daily: Daily | None = None  # without enough days nothing pages
    rows: str | None = None


class Estimated(NamedTuple):
    """A metric that is expected of rows without labels; the interval is where labels will show it to be."""

    name: str
    value: float
    low: float
    high: float
    reference: float  # what it was on the reference's own labels
    error: float  # standard error

    @property
    def drop(self) -> float:
        """How much worse than in the reference; below 0 it is better."""
        return self.value - self.reference if self.name in LOWER_IS_BETTER else self.reference - self.value


class Estimate(NamedTuple):
    """What is expected of a window."""

    figures: tuple[Estimated, ...]
    method: Method
    rows: int
    outside: float  # the largest share of rows, of any column, where the reference has next to no rows
    effective: float | None  # what the weights leave of the reference's rows, as a share
    prior: float | None  # the share of positives, where that is what has moved
    warnings: tuple[str, ...]

    def figure(self, name: str) -> Estimated:
        """Return the figure of this metric; KeyError if these rows do not define it."""
        return {each.name: each for each in self.figures}[name]


def fit(
    task: Task,
    metric: str,
    score: Float,
    outcome: Float,
    blocks: NDArray[np.int64] | None,
    *,
    matters: float | None = None,
) -> tuple[EstimateReference, NDArray[np.int64]] | None:
    """Return the reference of estimates, and the group of each row; None if the rows are too few or of one class.

    Parameters
    ----------
    metric
        The one that findings are about, a name in `METRICS`.
    score
        Shape (rows,): of a classifier its answers; of a regression the loss expected of each row. Rows that neither
        the model nor the loss model has seen.
    outcome
        Shape (rows,): the label, 0 or 1; the absolute error.
    blocks
        The day of each row, shape (rows,).
    matters
        The loss of the metric that is worth a page. None: twice the deviation of the metric between runs of the
        reference's days, and at least a hundredth of it.
    """
    known = np.isfinite(score) & np.isfinite(outcome)
    if np.count_nonzero(known) < FEWEST_ROWS or (task == "classification" and len(np.unique(outcome[known])) < 2):
        return None
    score_, outcome_, days = score[known], outcome[known], None if blocks is None else blocks[known]
    outcomes, groups = table(task, score_, outcome_, days)
    total = {name: np.asarray(sums) for name, sums in outcomes.sums.items()}
    rows = np.asarray(outcomes.rows, np.float64)
    figures = {name: seen(outcomes, name, rows.sum(axis=0), total, slice(None)).value for name in METRICS[task]}
    reference = EstimateReference(
        metric=metric,
        outcomes=outcomes,
        figures={name: value for name, value in figures.items() if np.isfinite(value)},
        excess=excess_of(outcomes, METRICS[task]) if outcomes.is_by_time else {},
        matters=usual_change(outcomes, metric) if matters is None else matters,
        daily=None if days is None else estimate_days.fit(outcomes, metric, score_, outcome_, groups, days),
    )
    member = np.full(len(score), -1, np.int64)
    member[known] = groups
    return reference, member


def keep(
    reference: EstimateReference,
    groups: NDArray[np.int64],
    score: Float,
    outcome: Float,
    columns: Mapping[str, tuple[NDArray[np.int64], int]],
) -> ReferenceRows:
    """Return reference rows by their bins, `MOST_ROWS` at most, evenly picked.

    Parameters
    ----------
    groups
        Of each row, as `fit` gave them.
    columns
        For each column's key the bin of each row and how many bins there are.
    """
    known = np.flatnonzero(groups >= 0)
    picked = known[np.unique(np.linspace(0, len(known) - 1, min(MOST_ROWS, len(known))).astype(np.int64))]
    codes = (
        np.stack([place[picked] for place, _ in columns.values()], axis=1) if columns else np.zeros((len(picked), 0))
    )
    return ReferenceRows(
        keys=tuple(columns),
        sizes=tuple(size for _, size in columns.values()),
        codes=codes.astype("<u2").tobytes(),
        groups=groups[picked].astype("<u2").tobytes(),
        scores=reference.outcomes.place(score[picked]).astype("<u2").tobytes(),
        outcomes=outcome[picked].astype("<f8").tobytes(),
    )


def estimate(
    reference: EstimateReference,
    counts: NDArray[np.int64] | Sequence[int],
    *,
    columns: Mapping[str, NDArray[np.int64] | Sequence[int]] | None = None,
    rows: ReferenceRows | None = None,
    outside: float = 0.0,
    level: float = 0.95,
    method: Method | None = None,
) -> Estimate | None:
    """Return what is expected of a window's rows; None if it has none.

    Parameters
    ----------
    counts
        Of the window's scores by bin (`Outcomes.count`), shape (bins,).
    columns
        Of the window's columns by bin, for each column's key.
    rows
        The reference's rows by bin. None: nothing is reweighted.
    outside
        The largest share of rows where a column has values that the reference has next to none of (`outside`).
    level
        Coverage of the intervals.
    method
        Which estimate to make; None: by the rule.
    """
    seen = np.asarray(counts, np.float64)
    if not seen.sum() > 0:
        return None
    known = Window(seen, {key: np.asarray(c, np.float64) for key, c in (columns or {}).items()}, outside)
    chosen, warnings = basis_of(reference.outcomes, reference.metric, known, rows, method)
    made = [_estimated(reference, name, known, chosen, level) for name in METRICS[reference.outcomes.task]]
    if outside >= 0.01:
        warnings = (*warnings, f"In {outside:.0%} of the rows a column has values that the reference hardly has.")
    return Estimate(
        figures=tuple(each for each in made if each is not None),
        method=chosen.method,
        rows=int(seen.sum()),
        outside=outside,
        effective=chosen.effective,
        prior=chosen.prior,
        warnings=warnings,
    )


def outside(reference: Mapping[str, Sequence[int]], window: Mapping[str, NDArray[np.int64] | Sequence[int]]) -> float:
    """Return the largest share of rows, over the columns, in bins where the reference has fewer than five rows.

    The rows outside of the support are at least so many; bins of the same key must be the same.
    """
    shares = [0.0]
    for key, counts in window.items():
        if key in reference:
            now = np.asarray(counts, np.float64)
            shares.append(float(now[np.asarray(reference[key]) < _RARE].sum() / max(1.0, now.sum())))
    return max(shares)


def _estimated(
    reference: EstimateReference, metric: str, window: Window, basis: Basis, level: float
) -> Estimated | None:
    """Return a metric with the interval of what labels will show, from all that is uncertain about it."""
    outcomes, counts = reference.outcomes, window.scores
    found = expected(outcomes, metric, counts, basis.expected)
    if metric not in reference.figures or not np.isfinite(found.value):
        return None
    told = basis.expected[outcome_of(metric, outcomes.task)]
    slope = found.gradient * counts
    chance = float(found.gradient**2 @ (counts * told.variance))
    fitted = told.spread(slope) + reference.excess.get(metric, 0.0) ** 2
    ends = [expected(outcomes, metric, counts, each).value for each in basis.shifted]
    moved = ((ends[1] - ends[0]) / 2) ** 2 if ends else 0.0
    reach = 1.0 if outcomes.task == "classification" else 2 * float(counts @ told.mean / counts.sum())
    unknown = (window.outside * reach * float(np.abs(slope).sum())) ** 2 / 12  # outside, any outcome is as likely
    if basis.rival is not None:  # the truth may be there, and as far to the other side
        moved += (expected(outcomes, metric, counts, basis.rival).value - found.value) ** 2
    variance = chance + fitted + moved + unknown
    freedom = (len(outcomes.rows) - 1) * (variance / fitted) ** 2 if fitted > 0 else 1e6  # Satterthwaite (1946)
    half = float(stdtrit(min(freedom, 1e6), 0.5 + level / 2)) * float(np.sqrt(variance))
    top = np.inf if metric in ("log_loss", "mae", "mse", "rmse") else 1.0
    low, high = max(0.0, found.value - half), min(top, found.value + half)
    return Estimated(metric, found.value, low, high, reference.figures[metric], float(np.sqrt(variance)))
