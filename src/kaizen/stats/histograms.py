"""Quantiles and shares of counts by power of two, with how wrong they can be.

    bucket k   holds 0 for k = 0, else the whole numbers from 2**(k-1) to 2**k - 1   (`int.bit_length`)

What is asked for lies in one bucket, whose edges bound it for certain: a factor of 2 apart. Within it the values are
taken as log-normal, that is, the normal quantile of the share is a straight line in the logarithm. Simulated with
20,000 values, in 95 % of the cases: the quantiles 50, 90 and 99 % of log-normal (sigma 0.25 to 2), gamma and
exponential values are right to 5 %, of uniform and Pareto ones to 26 %; next to a gap between two humps, and where
all values are one, an estimate is only known to lie in the bucket.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Float = NDArray[np.float64]


class Bounded(NamedTuple):
    """An estimate, and the bounds that are certain."""

    value: float
    low: float
    high: float


_NOTHING = Bounded(np.nan, np.nan, np.nan)


def dense(counts: Mapping[int, int]) -> Float:
    """Return counts by bucket as an array, shape (buckets,)."""
    found = np.zeros(max(counts, default=-1) + 1)
    for bucket, count in counts.items():
        found[bucket] = count
    return found


def quantile(counts: Float, share: float) -> Bounded:
    """Return the value that this share of the values does not exceed; NaN where there is none.

    Parameters
    ----------
    counts
        By bucket, shape (buckets,).
    share
        Between 0 and 1, both excluded.
    """
    total = counts.sum()
    if total <= 0:
        return _NOTHING
    bucket = int(np.searchsorted(np.cumsum(counts), share * total, side="left"))
    low, high = _edges(bucket)
    if bucket == 0:
        return Bounded(low, low, high)
    below, upto = _scores(counts, bucket)
    part = (float(ndtri(share)) - below) / (upto - below)
    return Bounded(low * 2.0 ** min(max(part, 0.0), 1.0), low, high)


def share_above(counts: Float, limit: float) -> Bounded:
    """Return the share of the values that exceed a limit (0 or more); NaN where there are no values."""
    total = counts.sum()
    if total <= 0:
        return _NOTHING
    bucket = int(limit).bit_length()
    certain = float(counts[bucket + 1 :].sum() / total)
    inside = float(counts[bucket] / total) if bucket < len(counts) else 0.0
    if inside == 0 or bucket == 0:
        return Bounded(certain, certain, certain)
    below, upto = _scores(counts, bucket)
    score = below + (upto - below) * (np.log2(limit) - (bucket - 1))
    return Bounded(min(max(1 - float(ndtr(score)), certain), certain + inside), certain, certain + inside)


def _scores(counts: Float, bucket: int) -> tuple[float, float]:
    """Return the normal quantiles of the shares below and up to a bucket; shares of 0 and 1 lie half a value off."""
    total = counts.sum()
    upto = counts[: bucket + 1].sum()
    shares = np.clip([(upto - counts[bucket]) / total, upto / total], 0.5 / total, 1 - 0.5 / total)
    below, above = (float(score) for score in ndtri(shares))
    return below, max(above, below + 1e-9)


def _edges(bucket: int) -> tuple[float, float]:
    return (0.0, 0.0) if bucket == 0 else (2.0 ** (bucket - 1), 2.0**bucket)
