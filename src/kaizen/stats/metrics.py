"""How good predictions are, with intervals.

>>> import numpy as np
>>> target, prediction = np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.1, 0.8, 0.6, 0.3])
>>> round(log_loss(target, prediction), 4)
0.299
>>> auc(target, prediction)
1.0

Every metric takes optional row weights; a metric that the rows do not define (auc of one class) is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Array: TypeAlias = NDArray[np.float64]
Loss: TypeAlias = Literal["log_loss", "brier", "squared", "absolute"]

_TINY = 1e-15  # probabilities are held this far from 0 and 1, so that one sure mistake costs 34.5, not infinity
_BINS = 20


class Score(Protocol):
    """A metric of target (rows,) and prediction (rows,), with weights (rows,) or None."""

    def __call__(self, target: Array, prediction: Array, weight: Array | None = None) -> float:
        """Return the figure; NaN where the rows do not define it."""
        ...


def per_row(loss: Loss, target: Array, prediction: Array) -> Array:
    """Return the loss of each row (rows,): its mean is the metric, and means of it can be compared by blocks."""
    if loss == "log_loss":
        held = np.clip(prediction, _TINY, 1.0 - _TINY)
        return np.asarray(-np.where(target > 0.5, np.log(held), np.log1p(-held)))
    if loss == "absolute":
        return np.abs(target - prediction)
    return np.asarray((target - prediction) ** 2)


def log_loss(target: Array, prediction: Array, weight: Array | None = None) -> float:
    """Return the mean negative log likelihood, in nats."""
    return _mean(per_row("log_loss", target, prediction), weight)


def brier(target: Array, prediction: Array, weight: Array | None = None) -> float:
    """Return the mean squared distance between probability and outcome."""
    return _mean(per_row("brier", target, prediction), weight)


def accuracy(target: Array, prediction: Array, weight: Array | None = None) -> float:
    """Return the share of rows on the right side of one half."""
    return _mean(((prediction >= 0.5) == (target > 0.5)).astype(np.float64), weight)


def auc(target: Array, prediction: Array, weight: Array | None = None) -> float:
    """Return the area under the ROC curve: how often a positive outranks a negative, a tie counting half."""
    positives, negatives = _tie_groups(target, prediction, weight)
    below = np.cumsum(negatives) - negatives
    pairs = positives.sum() * negatives.sum()
    return float((positives * (below + 0.5 * negatives)).sum() / pairs) if pairs > 0 else float("nan")


def average_precision(target: Array, prediction: Array, weight: Array | None = None) -> float:
    """Return precision averaged over the positives, ranked from the highest prediction down."""
    positives, negatives = _tie_groups(target, prediction, weight)
    hits, misses = np.cumsum(positives[::-1]), np.cumsum(negatives[::-1])
    if len(hits) == 0 or hits[-1] <= 0:
        return float("nan")
    seen = hits + misses
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    return float((precision * positives[::-1]).sum() / hits[-1])


def ece(target: Array, prediction: Array, weight: Array | None = None) -> float:
    """Return the expected calibration error over 20 bins of equal width (Naeini et al. 2015, section 3)."""
    bins = np.minimum((np.clip(prediction, 0.0, 1.0) * _BINS).astype(np.int64), _BINS - 1)
    mass = np.ones(len(target)) if weight is None else weight
    gaps = np.bincount(bins, mass * (target - prediction), _BINS)
    total = float(mass.sum())
    return float(np.abs(gaps).sum() / total) if total > 0 else float("nan")


def mse(target: Array, prediction: Array, weight: Array | None = None) -> float:
    """Return the mean squared error."""
    return _mean(per_row("squared", target, prediction), weight)


def rmse(target: Array, prediction: Array, weight: Array | None = None) -> float:
    """Return the root of the mean squared error, in the target's unit."""
    return float(np.sqrt(mse(target, prediction, weight)))


def mae(target: Array, prediction: Array, weight: Array | None = None) -> float:
    """Return the mean absolute error, in the target's unit."""
    return _mean(per_row("absolute", target, prediction), weight)


def r2(target: Array, prediction: Array, weight: Array | None = None) -> float:
    """Return the share of the target's variance that is explained; below 0 it is worse than the mean."""
    spread = mse(target, np.full(len(target), _mean(target, weight)), weight)
    return 1.0 - mse(target, prediction, weight) / spread if spread > 0 else float("nan")


SCORES: Mapping[str, Score] = MappingProxyType(
    {
        "log_loss": log_loss,
        "brier": brier,
        "auc": auc,
        "average_precision": average_precision,
        "accuracy": accuracy,
        "ece": ece,
        "rmse": rmse,
        "mae": mae,
        "r2": r2,
    }
)
BY_TASK: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "classification": ("log_loss", "brier", "auc", "average_precision", "accuracy", "ece"),
        "regression": ("rmse", "mae", "r2"),
    }
)
HIGHER_IS_BETTER = frozenset({"auc", "average_precision", "accuracy", "r2"})
_BOUNDS = {"rmse": (0.0, np.inf), "mae": (0.0, np.inf), "log_loss": (0.0, np.inf), "r2": (-np.inf, 1.0)}


def interval(
    metric: str,
    target: Array,
    prediction: Array,
    blocks: NDArray[np.int64] | None = None,
    seed: int = 0,
    *,
    level: float = 0.95,
    replicates: int = 200,
) -> tuple[float, float]:
    """Return the interval (low, high) of a metric by the bootstrap over blocks, or over rows without blocks.

    The standard error comes from resampling whole blocks (Davison & Hinkley 1997, section 3.8), widened by
    sqrt(m / (m - 1)) and held against Student's t with m - 1 degrees of freedom, m being the number of blocks:
    rows of one day are alike, and a week has seven independent pieces, not its thousands of rows.

    Parameters
    ----------
    metric
        A name in `SCORES`.
    blocks
        The block (rows,) of each row, such as its day; rows of different blocks are taken as independent.
    level
        Coverage, 0 to 1.
    replicates
        Resamples; 200 give the standard error to 5 %.
    """
    score, estimate = SCORES[metric], SCORES[metric](target, prediction)
    order = np.argsort(prediction, kind="stable")  # ranks are then found on sorted rows, in linear time
    target, prediction = target[order], prediction[order]
    place = _places(blocks[order] if blocks is not None else None, len(target))
    count = int(place.max()) + 1 if len(place) else 0
    if count < 2 or np.isnan(estimate):
        return estimate, estimate
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(count, np.full(count, 1.0 / count), size=replicates).astype(np.float64)
    figures = np.array([score(target, prediction, weight[place]) for weight in draws])
    figures = figures[np.isfinite(figures)]
    if len(figures) < 2:
        return estimate, estimate
    error = float(figures.std(ddof=1)) * float(np.sqrt(count / (count - 1)))
    reach = float(stdtrit(count - 1, 0.5 + level / 2)) * error
    least, most = _BOUNDS.get(metric, (0.0, 1.0))
    return max(least, estimate - reach), min(most, estimate + reach)


def mean_interval(
    values: Array, blocks: NDArray[np.int64] | None = None, *, level: float = 0.95
) -> tuple[float, float, float]:
    """Return the mean of per-row values (rows,) and its interval, such as of paired differences of losses.

    The error is that of a ratio of block sums, the first-order form of the bootstrap over blocks (Cochran 1977,
    section 6.3), with Student's t on blocks - 1 degrees of freedom. NaN bounds where there is one block.
    """
    mean = float(values.mean())
    place = _places(blocks, len(values))
    count = int(place.max()) + 1
    if count < 2:
        return mean, float("nan"), float("nan")
    spread = np.bincount(place, values - mean)
    error = float(np.sqrt((spread**2).sum() * count / (count - 1))) / len(values)
    reach = float(stdtrit(count - 1, 0.5 + level / 2)) * error
    return mean, mean - reach, mean + reach


def _places(blocks: NDArray[np.int64] | None, rows: int) -> NDArray[np.int64]:
    if blocks is not None:
        distinct, place = np.unique(blocks, return_inverse=True)
        if len(distinct) > 1:
            return place.astype(np.int64)
    return np.arange(rows, dtype=np.int64)


def _mean(values: Array, weight: Array | None) -> float:
    if len(values) == 0:
        return float("nan")
    if weight is None:
        return float(values.mean())
    return float(values @ weight / weight.sum())


def _tie_groups(target: Array, prediction: Array, weight: Array | None) -> tuple[Array, Array]:
    """Return the weight of positives and of negatives at each distinct prediction, ascending."""
    if len(target) == 0:
        return np.zeros(0), np.zeros(0)
    order = np.argsort(prediction, kind="stable")
    ranked = prediction[order]
    starts = np.concatenate(([0], np.flatnonzero(ranked[1:] != ranked[:-1]) + 1))
    mass = np.ones(len(target)) if weight is None else weight[order]
    positive = mass * (target[order] > 0.5)
    return np.add.reduceat(positive, starts), np.add.reduceat(mass - positive, starts)
