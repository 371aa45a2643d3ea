"""The reference made to look like a window: by its inputs, or by how many positives it has.

balance        weights under which every column of the reference is distributed as in the window
prior_shift    the share of positives that explains the window best, and how much of its change it explains
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Float = NDArray[np.float64]

RIDGE = 10.0
_LEAST_EXPECTED = 5.0
_CERTAIN = 4.0  # standard errors; with 3, inputs that moved pass for a prior shift three times as often


def balance(codes: NDArray[Any], wanted: Sequence[Float], ridge: float = RIDGE) -> Float:
    """Return weights of reference rows, mean 1, under which their columns are distributed as wanted.

    The weights are ``exp(sum of one effect for each column's bin)``, those nearest to equal ones in the sense of
    Kullback and Leibler that bring the shares of the bins to the wanted ones: entropy balancing (Hainmueller,
    *Political Analysis* 20 (2012)), and at the same time the density ratio that a logistic classifier of window
    against reference would find, with one indicator a bin (Sugiyama et al., *Annals of the Institute of Statistical
    Mathematics* 60 (2008)). All that it needs of the window are counts. How columns go together may change only as
    the weights make it; of what the reference lacks no weight makes more.

    Parameters
    ----------
    codes
        The bin of each row in each column, shape (rows, columns).
    wanted
        For each column the window's count in each of its bins.
    ridge
        How strongly effects are held towards 0, in rows of the window; the shares are then met up to about the
        noise that they have.
    """
    rows = len(codes)
    sizes = [len(counts) for counts in wanted]
    place = np.asarray(codes, dtype=np.int64) + np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int64)
    window = max(1.0, max(float(counts.sum()) for counts in wanted))
    shares = np.concatenate([counts / max(1.0, float(counts.sum())) for counts in wanted])
    flat = place.ravel()

    def loss(effects: Float) -> tuple[float, Float]:
        logs = effects[place].sum(axis=1)
        top = float(logs.max())
        weights = np.exp(logs - top)
        total = float(weights.sum())
        reached = np.bincount(flat, np.repeat(weights / total, len(sizes)), len(shares))
        value = top + np.log(total) - shares @ effects + ridge / (2 * window) * (effects @ effects)
        return float(value), reached - shares + ridge / window * effects

    found = minimize(loss, np.zeros(len(shares)), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    logs = found.x[place].sum(axis=1)
    weights = np.exp(logs - logs.max())
    return np.asarray(weights * (rows / weights.sum()))


def effective_share(weights: Float) -> float:
    """Return how much of the rows the weights leave: the effective sample size over the rows (Kish 1965), 0 to 1."""
    return float(weights.sum() ** 2 / (weights @ weights) / len(weights))


class PriorShift(NamedTuple):
    """The share of positives in a window, and how far it explains that the columns moved.

    ``moved`` and ``unexplained`` are by how many standard deviations the columns are further from the reference, and
    from the reference with the new share, than chance takes them.
    """

    share: float
    error: float  # standard error of the share
    before: float  # the share in the reference
    moved: float
    unexplained: float

    @property
    def explains(self) -> bool:
        """Whether the share moved for certain, and what it leaves unexplained is chance, or under a tenth."""
        is_certain = abs(self.share - self.before) >= _CERTAIN * self.error
        return is_certain and self.unexplained <= max(2.0, 0.1 * self.moved)

    @property
    def may_explain(self) -> bool:
        """Whether it looks as if the share moved, by a standard error at least, and columns do not rule it out."""
        return abs(self.share - self.before) >= self.error and self.unexplained <= max(4.0, 0.2 * self.moved)

    @property
    def is_worth_a_word(self) -> bool:
        """Whether it moved by more than chance takes it in 19 of 20 windows."""
        return abs(self.share - self.before) >= 2 * self.error


def prior_shift(negatives: Sequence[Float], positives: Sequence[Float], window: Sequence[Float]) -> PriorShift:
    """Return the share of positives under which the window is a mixture of the reference's two classes.

    The share is the one of highest likelihood on the first table, which is that of the scores (Saerens, Latinne &
    Decaestecker, *Neural Computation* 14 (2002); Garg, Wu, Balakrishnan & Lipton, NeurIPS 2020, who show why it beats
    the solution of the confusion matrix of Lipton, Wang & Smola, ICML 2018). Its error has the noise of the window
    and of both classes of the reference (delta method).

    Without labels a new share of positives cannot be told from inputs that moved along the score. But one share has
    to explain how all columns moved, and inputs that move otherwise hardly ever look like that.

    Parameters
    ----------
    negatives, positives, window
        For each table the counts by bin: of the reference's two classes, and of the window. The first is of scores.

    Raises
    ------
    ValueError
        The reference lacks a class, or the scores of the two classes are alike, so that the share cannot be told.
    """
    if not (negatives[0].sum() > 0 and positives[0].sum() > 0):
        raise ValueError("the reference has rows of one class only")
    low, high, seen = _smooth(negatives[0]), _smooth(positives[0]), window[0]
    share = _likeliest(low, high, seen)
    error = _error(low, high, share, float(negatives[0].sum()), float(positives[0].sum()), float(seen.sum()))
    if not error < 0.25:
        raise ValueError(f"the scores of the two classes are too alike: the share has a standard error of {error:.2f}")
    moved = unexplained = freedom = 0.0
    for none, one, now in zip(negatives, positives, window, strict=True):
        if now.sum() > 0:
            m = float(none.sum() + one.sum())
            mixed = share * one / one.sum() + (1 - share) * none / none.sum()
            distance, bins = _distance((none + one) / m, now, m)
            moved, freedom = moved + distance - bins, freedom + bins
            unexplained += _distance(mixed, now, m)[0] - bins
    noise = float(np.sqrt(2 * max(freedom, 1.0)))
    before = float(positives[0].sum() / (positives[0].sum() + negatives[0].sum()))
    return PriorShift(share, error, before, moved / noise, unexplained / noise)


def _smooth(counts: Float) -> Float:
    return np.asarray((counts + 0.5) / (counts.sum() + 0.5 * len(counts)))


def _likeliest(low: Float, high: Float, seen: Float) -> float:
    """Return the root of the score in the share, which falls everywhere, by bisection."""
    left, right = 0.0, 1.0
    for _ in range(50):
        share = (left + right) / 2
        slope = float(np.sum(seen * (high - low) / (share * high + (1 - share) * low)))
        left, right = (share, right) if slope > 0 else (left, share)
    return (left + right) / 2


def _error(low: Float, high: Float, share: float, m_low: float, m_high: float, n: float) -> float:
    mixed = share * high + (1 - share) * low
    lean = (high - low) / mixed
    information = float(np.sum((high - low) * lean))
    if information <= 0:
        return float("inf")
    noise = 1 / (n * information)
    for shape, rows, part in ((high, m_high, share), (low, m_low, 1 - share)):
        noise += part**2 * float(shape @ lean**2 - (shape @ lean) ** 2) / (rows * information**2)
    return float(np.sqrt(noise))


def _distance(shape: Float, seen: Float, m: float) -> tuple[float, float]:
    """Return Pearson's statistic against a shape that m rows told, rare bins pooled, and its freedom."""
    n = float(seen.sum())
    expected = shape * n
    common = expected >= _LEAST_EXPECTED
    if np.count_nonzero(common) < 2:
        return 0.0, 0.0
    gaps = (seen[common] - expected[common]) ** 2 / expected[common]
    rare, rare_expected = float(seen[~common].sum()), float(expected[~common].sum())
    total, bins = float(gaps.sum()), len(gaps)
    if rare_expected >= _LEAST_EXPECTED:
        total, bins = total + (rare - rare_expected) ** 2 / rare_expected, bins + 1
    return total / (1 + n / m), float(bins - 1)
