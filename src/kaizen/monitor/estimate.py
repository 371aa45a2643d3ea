"""How good is the model on rows without labels? Expected from the scores alone, with an interval.

    window's scores ─ counts ─┬─► calibrated    outcomes as the reference had them at the same score
                              ├─► reweighted    the same, of reference rows weighted to look like the window
                              └─► prior shift   the same, with the share of positives that explains the window

Which of them is shown: prior shift where a new share of positives explains how the columns moved; else reweighted
where the weights leave reference rows worth 40 % of them; else calibrated.

All of them are blind to concept drift: inputs do not show that they have come to mean something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, stdtrit

from kaizen.core.records import Task
from kaizen.monitor import daily
from kaizen.monitor.daily import Daily
from kaizen.monitor.outcomes import POSITIVE, Expectation, Outcomes, outcome_of, table
from kaizen.stats.expected import LOWER_IS_BETTER, Figure, figure
from kaizen.stats.reweighting import balance, effective_share, prior_shift

Float = NDArray[np.float64]
Method: TypeAlias = Literal["calibrated", "reweighted", "prior shift"]

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
WORTH_FROM = 0.4
MOST_ROWS = 5000  # of the reference's, kept to be reweighted
_RARE = 5
_SCORE_BINS, _COLUMN_BINS = 32, 10


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


class ReferenceRows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of the reference by their bins, little-endian and row-major: what reweighting needs, and nothing more."""

    keys: tuple[str, ...]  # of the columns
    sizes: tuple[int, ...]  # how many bins each has
    codes: bytes  # uint16 (rows, columns)
    groups: bytes  # uint16 (rows,)
    scores: bytes  # uint16 (rows,) the bin
    outcomes: bytes  # float64 (rows,)

    def columns(self) -> NDArray[np.int64]:
        """Return the bins by row and column, (rows, columns)."""
        return np.frombuffer(self.codes, "<u2").reshape(-1, len(self.keys)).astype(np.int64)

    def of(self, part: Literal["groups", "scores"]) -> NDArray[np.int64]:
        """Return the group or the score's bin of each row, (rows,)."""
        return np.frombuffer(getattr(self, part), "<u2").astype(np.int64)


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
    figures = {name: _seen(outcomes, name, rows.sum(axis=0), total, slice(None)).value for name in METRICS[task]}
    reference = EstimateReference(
        metric=metric,
        outcomes=outcomes,
        figures={name: value for name, value in figures.items() if np.isfinite(value)},
        excess=_excess(outcomes, METRICS[task]) if outcomes.is_by_time else {},
        matters=_matters(outcomes, metric) if matters is None else matters,
        daily=None if days is None else daily.fit(outcomes, metric, score_, outcome_, groups, days),
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
    known = _Window(seen, {key: np.asarray(c, np.float64) for key, c in (columns or {}).items()}, outside)
    chosen, warnings = _basis(reference, known, rows, method)
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


def outside(reference: Mapping[str, Sequence[int]], window: Mapping[str, Sequence[int]]) -> float:
    """Return the largest share of rows, over the columns, in bins where the reference has fewer than five rows.

    The rows outside of the support are at least so many; bins of the same key must be the same.
    """
    shares = [0.0]
    for key, counts in window.items():
        if key in reference:
            now = np.asarray(counts, np.float64)
            shares.append(float(now[np.asarray(reference[key]) < _RARE].sum() / max(1.0, now.sum())))
    return max(shares)


class _Window(NamedTuple):
    scores: Float  # (bins,) rows
    columns: dict[str, Float]
    outside: float


class _Basis(NamedTuple):
    """What the chosen method expects of a row in each bin, by outcome, and as the share of positives errs."""

    method: Method
    expected: dict[str, Expectation]
    shifted: tuple[dict[str, Expectation], ...] = ()
    effective: float | None = None
    prior: float | None = None


def _basis(
    reference: EstimateReference, window: _Window, rows: ReferenceRows | None, method: Method | None
) -> tuple[_Basis, tuple[str, ...]]:
    """Return what to expect by the rule, and what there is to warn of."""
    outcomes = reference.outcomes
    if rows is not None and (keys := [key for key in rows.keys if key in window.columns]):
        if outcomes.task == "classification" and method in (None, "prior shift"):
            moved = _prior(outcomes, rows, window, keys, is_asked=method is not None)
            if moved is not None:
                instead = _expected(outcomes, reference.metric, window.scores, _calibrated(outcomes).expected).value
                says = (
                    f"It would be {instead:.4f}, had the inputs moved along the score and not the share of positives."
                )
                return moved, (says,)
        if method in (None, "reweighted"):
            found = _reweighted(outcomes, rows, window, keys)
            if found.effective is not None and (found.effective >= WORTH_FROM or method is not None):
                return found, ()
            says = (
                f"The inputs lie too far from the reference to reweight it: rows worth {found.effective:.0%} are left."
            )
            return _calibrated(outcomes), (says,)
    return _calibrated(outcomes), ()


def _calibrated(outcomes: Outcomes) -> _Basis:
    return _Basis("calibrated", {name: outcomes.expect(name) for name in _outcomes_of(outcomes.task)})


def _outcomes_of(task: Task) -> tuple[str, ...]:
    return (POSITIVE,) if task == "classification" else ("absolute", "squared")


class _Coarse(NamedTuple):
    """The reference's rows and the window by few bins a column, the score first: what the two are compared by."""

    reference: NDArray[np.int64]  # (rows, 1 + columns)
    window: list[Float]  # for each the counts by bin


def _coarse(outcomes: Outcomes, rows: ReferenceRows, window: _Window, keys: Sequence[str], scores: int) -> _Coarse:
    """Return both by few bins, each of about as many reference rows: fine ones would each be known too badly."""
    merged = _merged(np.asarray(outcomes.rows, np.float64).sum(axis=0), scores)
    codes, counts = [merged[rows.of("scores")]], [_tally(merged, window.scores)]
    for key in keys:
        place, now = rows.columns()[:, rows.keys.index(key)], window.columns[key]
        merged = _merged(_tally(place, size=len(now)), _COLUMN_BINS)
        codes.append(merged[place])
        counts.append(_tally(merged, now))
    return _Coarse(np.stack(codes, axis=1), counts)


def _merged(rows: Float, most: int) -> NDArray[np.int64]:
    """Return for each bin the one of `most` at the most that it becomes a part of; neighbours are merged."""
    share = (np.cumsum(rows) - rows / 2) / max(1.0, float(rows.sum()))
    return np.unique(np.floor(share * most), return_inverse=True)[1].astype(np.int64)


def _reweighted(outcomes: Outcomes, rows: ReferenceRows, window: _Window, keys: Sequence[str]) -> _Basis:
    coarse = _coarse(outcomes, rows, window, keys, _SCORE_BINS // 2)
    weights = balance(coarse.reference, coarse.window)
    tables = _weighted(outcomes, rows, weights)
    expected = {name: outcomes.expect_of(name, *tables) for name in _outcomes_of(outcomes.task)}
    return _Basis("reweighted", expected, effective=effective_share(weights))


def _weighted(outcomes: Outcomes, rows: ReferenceRows, weights: Float) -> tuple[Float, dict[str, Float]]:
    many = len(outcomes.rows)
    cell = rows.of("groups") * outcomes.size + rows.of("scores")
    told = np.frombuffer(rows.outcomes, "<f8")
    powers = {"absolute": 1, "squared": 2, "fourth": 4, POSITIVE: 1}

    def tally(values: Float) -> Float:
        return _tally(cell, values, many * outcomes.size).reshape(many, outcomes.size)

    return tally(weights), {name: tally(weights * told ** powers[name]) for name in outcomes.sums}


def _tally(place: NDArray[np.int64], values: Float | None = None, size: int = 0) -> Float:
    return np.bincount(place, values, size).astype(np.float64)


def _prior(
    outcomes: Outcomes, rows: ReferenceRows, window: _Window, keys: Sequence[str], *, is_asked: bool
) -> _Basis | None:
    """Return what to expect if the share of positives moved and nothing else; None if that does not explain it."""
    is_one = np.frombuffer(rows.outcomes, "<f8") > 0.5
    coarse = _coarse(outcomes, rows, window, keys, _SCORE_BINS)
    none, one = (
        [_tally(place[which], size=len(now)) for place, now in zip(coarse.reference.T, coarse.window, strict=True)]
        for which in (~is_one, is_one)
    )
    try:
        found = prior_shift(none, one, coarse.window)
    except ValueError:
        if is_asked:
            raise
        return None
    if not is_asked and not found.explains:
        return None
    low, high = max(found.share - found.error, 0.0), min(found.share + found.error, 1.0)
    shifted = tuple(_with_prior(outcomes, share) for share in (low, high))
    return _Basis("prior shift", _with_prior(outcomes, found.share), shifted, prior=found.share)


def _with_prior(outcomes: Outcomes, share: float) -> dict[str, Expectation]:
    rows, ones = np.asarray(outcomes.rows, np.float64), np.asarray(outcomes.sums[POSITIVE])
    before = ones.sum() / rows.sum()
    raised, rest = share / before * ones, (1 - share) / (1 - before) * (rows - ones)
    return {POSITIVE: outcomes.expect_of(POSITIVE, raised + rest, {POSITIVE: raised})}


def _expected(outcomes: Outcomes, metric: str, counts: Float, expected: Mapping[str, Expectation]) -> Figure:
    told = expected[outcome_of(metric, outcomes.task)]
    return figure(metric, np.asarray(outcomes.centres), counts, counts * told.mean, counts * told.variance)


def _estimated(
    reference: EstimateReference, metric: str, window: _Window, basis: _Basis, level: float
) -> Estimated | None:
    """Return a metric with the interval of what labels will show, from all that is uncertain about it."""
    outcomes, counts = reference.outcomes, window.scores
    found = _expected(outcomes, metric, counts, basis.expected)
    if metric not in reference.figures or not np.isfinite(found.value):
        return None
    told = basis.expected[outcome_of(metric, outcomes.task)]
    slope = found.gradient * counts
    chance = float(found.gradient**2 @ (counts * told.variance))
    fitted = told.spread(slope) + reference.excess.get(metric, 0.0) ** 2
    ends = [_expected(outcomes, metric, counts, each).value for each in basis.shifted]
    moved = ((ends[1] - ends[0]) / 2) ** 2 if ends else 0.0
    reach = 1.0 if outcomes.task == "classification" else 2 * float(counts @ told.mean / counts.sum())
    unknown = (window.outside * reach * float(np.abs(slope).sum())) ** 2 / 12  # outside, any outcome is as likely
    variance = chance + fitted + moved + unknown
    freedom = (len(outcomes.rows) - 1) * (variance / fitted) ** 2 if fitted > 0 else 1e6  # Satterthwaite (1946)
    half = float(stdtrit(min(freedom, 1e6), 0.5 + level / 2)) * float(np.sqrt(variance))
    top = np.inf if metric in ("log_loss", "mae", "mse", "rmse") else 1.0
    low, high = max(0.0, found.value - half), min(top, found.value + half)
    return Estimated(metric, found.value, low, high, reference.figures[metric], float(np.sqrt(variance)))


def _seen(outcomes: Outcomes, metric: str, rows: Float, sums: Mapping[str, Float], groups: slice | int) -> Figure:
    """Return a metric by the outcomes of some groups themselves."""
    total = sums[outcome_of(metric, outcomes.task)][groups]
    return figure(metric, np.asarray(outcomes.centres), rows, total.sum(axis=0) if total.ndim == 2 else total)


def _excess(outcomes: Outcomes, metrics: Sequence[str]) -> dict[str, float]:
    """Return how far the estimates of one run of days from the others miss, beyond chance.

    The variance is the moment estimate of DerSimonian & Laird, *Controlled Clinical Trials* 7 (1986), taken where
    the misses are too large for chance at one in ten: otherwise its positive part would widen every interval.
    """
    found = {}
    for metric in metrics:
        misses, variances = _misses(outcomes, metric)
        if len(misses) < 2:
            continue
        heterogeneity = float(np.sum(misses**2 / variances))
        if heterogeneity > chdtri(len(misses), 0.1):
            found[metric] = float(np.sqrt((heterogeneity - len(misses)) / np.sum(1 / variances)))
    return found


def _misses(outcomes: Outcomes, metric: str) -> tuple[Float, Float]:
    """Return for each run of days the estimate from the others less the truth, and the variance that chance gives."""
    kind = outcome_of(metric, outcomes.task)
    told = outcomes.expect(kind)
    score, sums = np.asarray(outcomes.centres), {name: np.asarray(each) for name, each in outcomes.sums.items()}
    misses, variances = [], []
    for group, counts in enumerate(np.asarray(outcomes.rows, np.float64)):
        without = told.without[group]
        noise = without * (1 - without) if outcomes.task == "classification" else told.variance
        guess = figure(metric, score, counts, counts * without, counts * noise)
        truth = _seen(outcomes, metric, counts, sums, group).value
        variance = float(guess.gradient**2 @ (counts * noise)) + told.spread(guess.gradient * counts)
        if np.isfinite(truth) and np.isfinite(guess.value) and variance > 0:
            misses.append(guess.value - truth)
            variances.append(variance)
    return np.array(misses), np.array(variances)


def _matters(outcomes: Outcomes, metric: str) -> float:
    """Return twice the deviation of the metric between ten runs of the reference, at least a hundredth of it."""
    rows = np.asarray(outcomes.rows, np.float64)
    sums = {name: np.asarray(each) for name, each in outcomes.sums.items()}
    runs = [np.array(part) for part in np.array_split(np.arange(len(rows)), min(10, len(rows)))]
    seen = np.array(
        [
            _seen(outcomes, metric, rows[r].sum(axis=0), {k: v[r] for k, v in sums.items()}, slice(None)).value
            for r in runs
        ]
    )
    seen = seen[np.isfinite(seen)]
    whole = _seen(outcomes, metric, rows.sum(axis=0), sums, slice(None)).value
    return max(2 * float(seen.std(ddof=1)) if len(seen) > 1 else 0.0, 0.01 * abs(whole))
