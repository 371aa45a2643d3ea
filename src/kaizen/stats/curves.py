"""The points behind the curves that people look at: ROC, precision over recall, reliability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

Array = NDArray[np.float64]
MAX_POINTS = 400


def roc(target: Array, prediction: Array) -> tuple[Array, Array]:
    """Return the share of negatives (x) and of positives (y) above each threshold, from (0, 0) to (1, 1)."""
    hits, misses = _from_the_top(target, prediction)
    x, y = misses / max(misses[-1], 1.0), hits / max(hits[-1], 1.0)
    return _few(np.concatenate(([0.0], x)), np.concatenate(([0.0], y)))


def precision_recall(target: Array, prediction: Array) -> tuple[Array, Array]:
    """Return recall (x) and precision (y) above each threshold, by growing recall."""
    hits, misses = _from_the_top(target, prediction)
    return _few(hits / max(hits[-1], 1.0), hits / np.maximum(hits + misses, 1.0))


@dataclass(frozen=True, eq=False)
class Bins:
    """Rows in bins of equal count by prediction; one entry a bin in every array."""

    predicted: Array  # mean prediction
    observed: Array  # share of positives
    low: Array  # 95 % interval of the share
    high: Array
    rows: NDArray[np.int64]


def reliability(target: Array, prediction: Array, bins: int = 12) -> Bins:
    """Return predicted against observed rates, with Jeffreys intervals (Brown, Cai & DasGupta 2001, section 4.3)."""
    order = np.argsort(prediction, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    rows = np.array([len(part) for part in parts])
    hits = np.array([target[part].sum() for part in parts])
    low = np.where(hits > 0, betaincinv(hits + 0.5, rows - hits + 0.5, 0.025), 0.0)
    high = np.where(hits < rows, betaincinv(hits + 0.5, rows - hits + 0.5, 0.975), 1.0)
    return Bins(np.array([prediction[part].mean() for part in parts]), hits / rows, low, high, rows)


def _from_the_top(target: Array, prediction: Array) -> tuple[Array, Array]:
    """Return positives and negatives above each distinct prediction, from the highest down."""
    order = np.argsort(-prediction, kind="stable")
    ranked, hit = prediction[order], target[order] > 0.5
    ends = np.concatenate((np.flatnonzero(ranked[1:] != ranked[:-1]), [len(ranked) - 1]))
    return np.cumsum(hit)[ends].astype(np.float64), np.cumsum(~hit)[ends].astype(np.float64)


def _few(x: Array, y: Array) -> tuple[Array, Array]:
    kept = np.unique(np.linspace(0, len(x) - 1, MAX_POINTS).astype(np.int64))
    return x[kept], y[kept]
