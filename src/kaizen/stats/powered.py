"""A mean of which few outcomes are known and all are predicted: the prediction, set right by the known ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaizen.stats.metrics import mean_interval

Float = NDArray[np.float64]


class Powered(NamedTuple):
    """A mean with its interval, and how the known outcomes differ from what was predicted for them."""

    mean: float
    low: float
    high: float
    trust: float  # the weight of the predictions: 0 where they tell nothing, about 1 where they tell all
    difference: float  # of the outcomes from their predictions, on average
    difference_low: float
    difference_high: float
    known: int


def powered_mean(
    outcomes: Float,
    predicted: Float,
    probability: Float | float,
    blocks: NDArray[np.int64] | None = None,
    *,
    level: float = 0.95,
) -> Powered:
    """Return the mean outcome of a stream of rows, of which some were picked at random to be labelled.

    ``trust x mean(predicted) + mean over the known of (outcome - trust x predicted)``, the known weighted by one over
    their probability. Whatever the predictions are worth, the mean is right; the better they are, the narrower its
    interval, and never wider than without them in the limit: Angelopoulos, Bates, Fannjiang, Jordan & Zrnic, *Science*
    382 (2023); with the trust that makes the variance least, Angelopoulos, Duchi & Zrnic, arXiv:2311.01453 (2023),
    section 6 (for rows picked with one probability it is their Cov / Var, for their form of the mean over all rows).

    Parameters
    ----------
    outcomes
        Such as losses, shape (rows,); NaN where the label is not known.
    predicted
        The outcome expected of each row, shape (rows,), by a rule that has not seen the outcomes.
    probability
        With which each row was picked to be labelled, above 0. It must not depend on the outcome: labels that come
        early because they are bad are no random pick.
    blocks
        The block (rows,) of each row; rows of different blocks are taken as independent. None: all rows are.
    level
        Coverage of the interval of the mean of the stream, in the limit of many known outcomes.
    """
    known = np.isfinite(outcomes)
    if np.count_nonzero(known) < 2:
        raise ValueError(f"two known outcomes are the least that say anything, not {np.count_nonzero(known)}")
    raised = np.where(known, 1 / np.asarray(probability, dtype=np.float64), 0.0)
    weight = raised / raised.mean()
    filled = np.where(known, outcomes, 0.0)
    centre, guess = float((weight * filled).mean()), float((weight * predicted).mean())
    told = weight * (filled - centre)  # the influence of each row on the mean of the known
    helped = weight * (predicted - guess) - (predicted - predicted.mean())  # and on what the predictions can take off
    spread = float(helped @ helped)
    trust = float(np.clip(told @ helped / spread, 0.0, 1.0)) if spread > 0 else 0.0
    mean = centre - trust * (guess - float(predicted.mean()))
    _, low, high = mean_interval(told - trust * helped, blocks, level=level)
    gap = centre - guess
    _, gap_low, gap_high = mean_interval(told - weight * (predicted - guess), blocks, level=level)
    return Powered(mean, mean + low, mean + high, trust, gap, gap + gap_low, gap + gap_high, int(known.sum()))
