"""What a metric is worth when outcomes are known only by their chances, and how far the truth may lie from it.

    rows, by bins of their score ─ count ─┐
    chance of a positive in each bin ─────┴─► value, and its gradient along the positives of each bin
                                                 │
    variance of the figure that labels will show = sum of gradient^2 x variance of the bin's positives

The same formula gives the figure of labelled rows: their positives are then known and have no variance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

THRESHOLD = 0.5  # from here on the answer is yes
_TINY = 1e-15


class Figure(NamedTuple):
    """A metric, and how much it moves with one positive (or one unit of loss) more in each bin."""

    value: float
    gradient: Float  # (bins,)


class _Bins(NamedTuple):
    score: Float  # ascending
    rows: Float
    total: Float  # positives or losses, known or expected
    variance: Float  # of the total


class _Ratio(NamedTuple):
    """A metric as top / bottom, each with its gradient along the totals."""

    top: float
    top_gradient: Float
    bottom: float
    bottom_gradient: Float | float = 0.0


def figure(metric: str, score: Float, count: Float, total: Float, variance: Float | None = None) -> Figure:
    """Return a metric of rows that are grouped by their score; NaN where the rows do not define it.

    Expected confusion counts under calibrated chances are those of confidence-based performance estimation (Bialek,
    Kuberski, Perrakis & Bifet, arXiv:2401.08348 (2024), section 3); here the area under the ROC curve and average
    precision leave out the pairs of a row with itself, and every ratio has its second-order term (Cochran 1977,
    section 6.4), without which few positives bias it.

    Parameters
    ----------
    metric
        A name in `METRICS`.
    score
        The answer in each bin, shape (bins,), ascending; the bins' rows count as tied. The metrics of losses
        (``mae``, ``mse``, ``rmse``) do not read it.
    count
        Rows in each bin, shape (bins,).
    total
        Positives in each bin, shape (bins,), or the sum of its losses; expected ones may be fractions.
    variance
        Of each total, where it is expected: for independent rows ``count p (1 - p)``. None: the totals are known.
    """
    known = np.zeros(len(score)) if variance is None else variance
    bins = _Bins(score, count, total, known)
    parts = METRICS[metric](bins)
    if not parts.bottom > 0:
        return Figure(float("nan"), np.full(len(score), np.nan))
    value = parts.top / parts.bottom
    gradient = (parts.top_gradient - value * parts.bottom_gradient) / parts.bottom
    value -= float(np.sum(known * gradient * parts.bottom_gradient)) / parts.bottom
    if metric != "rmse":
        return Figure(value, gradient)
    root = float(np.sqrt(max(value, 0.0)))
    return Figure(root, gradient / (2 * root) if root > 0 else np.zeros(len(score)))


def _accuracy(bins: _Bins) -> _Ratio:
    right = np.where(bins.score >= THRESHOLD, bins.total, bins.rows - bins.total)
    return _Ratio(float(right.sum()), np.where(bins.score >= THRESHOLD, 1.0, -1.0), float(bins.rows.sum()))


def _precision(bins: _Bins) -> _Ratio:
    above = (bins.score >= THRESHOLD).astype(np.float64)
    return _Ratio(float(above @ bins.total), above, float(above @ bins.rows))


def _recall(bins: _Bins) -> _Ratio:
    above = (bins.score >= THRESHOLD).astype(np.float64)
    return _Ratio(float(above @ bins.total), above, float(bins.total.sum()), 1.0)


def _specificity(bins: _Bins) -> _Ratio:
    below = (bins.score < THRESHOLD).astype(np.float64)
    negatives = bins.rows - bins.total
    return _Ratio(float(below @ negatives), -below, float(negatives.sum()), -1.0)


def _f1(bins: _Bins) -> _Ratio:
    above = (bins.score >= THRESHOLD).astype(np.float64)
    return _Ratio(2 * float(above @ bins.total), 2 * above, float(above @ bins.rows + bins.total.sum()), 1.0)


def _brier(bins: _Bins) -> _Ratio:
    if_one, if_none = (1 - bins.score) ** 2, bins.score**2
    return _mean_of(bins, if_one, if_none)


def _log_loss(bins: _Bins) -> _Ratio:
    held = np.clip(bins.score, _TINY, 1 - _TINY)
    return _mean_of(bins, -np.log(held), -np.log1p(-held))


def _mean_of(bins: _Bins, if_one: Float, if_none: Float) -> _Ratio:
    top = float(if_one @ bins.total + if_none @ (bins.rows - bins.total))
    return _Ratio(top, if_one - if_none, float(bins.rows.sum()))


def _auc(bins: _Bins) -> _Ratio:
    """Pairs of a positive above a negative, a tie counting half, over all pairs; none of a row with itself."""
    positives, negatives = bins.total, bins.rows - bins.total
    below = np.cumsum(negatives) - negatives
    above = positives.sum() - np.cumsum(positives)
    tied = positives * negatives - bins.variance
    pairs = positives.sum() * negatives.sum() - bins.variance.sum()
    along = below - above + 0.5 * (negatives - positives)
    top = float(positives @ below + 0.5 * tied.sum())
    return _Ratio(top, along, float(pairs), float(negatives.sum() - positives.sum()))


def _average_precision(bins: _Bins) -> _Ratio:
    """Precision at each bin from the top, summed over its positives, over all positives."""
    positives = bins.total[::-1]
    hits, seen = np.cumsum(positives), np.cumsum(bins.rows[::-1])
    share = np.divide(1.0, seen, out=np.zeros_like(seen), where=seen > 0)
    top = float(share @ (positives * hits + bins.variance[::-1]))
    along = hits * share + np.cumsum((positives * share)[::-1])[::-1]
    return _Ratio(top, along[::-1], float(positives.sum()), 1.0)


def _mean(bins: _Bins) -> _Ratio:
    return _Ratio(float(bins.total.sum()), np.ones(len(bins.total)), float(bins.rows.sum()))


METRICS: Mapping[str, Callable[[_Bins], _Ratio]] = MappingProxyType(
    {
        "log_loss": _log_loss,
        "brier": _brier,
        "auc": _auc,
        "average_precision": _average_precision,
        "accuracy": _accuracy,
        "precision": _precision,
        "recall": _recall,
        "specificity": _specificity,
        "f1": _f1,
        "mae": _mean,
        "mse": _mean,
        "rmse": _mean,
    }
)
"""What can be expected of rows without labels; the last three of losses, the others of chances."""
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "mae", "mse", "rmse"})
