"""What a model has to beat: the rate of the class, and "as the previous day"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Task

CLASS_RATE = "class_rate"
MEAN = "mean"
PREVIOUS_BLOCK = "as_the_previous_day"


def constant(task: Task, known: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """Return the known rate, or mean, for each of `rows` rows."""
    return np.full(rows, _level(task, float(known.sum()), len(known)))


def previous_block(task: Task, target: NDArray[np.float64], blocks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return, for each row, the rate (or mean) of the nearest earlier block; the first block gets its own.

    It looks at every target of the day before, also those not known yet when the day begins: a rival that is a
    little better than it could be.
    """
    distinct, place = np.unique(blocks, return_inverse=True)
    count = np.bincount(place, minlength=len(distinct))
    total = np.bincount(place, target, len(distinct))
    level = np.array([_level(task, *pair) for pair in zip(total.tolist(), count.tolist(), strict=True)])
    return np.concatenate((level[:1], level[:-1]))[place]


def _level(task: Task, total: float, count: int) -> float:
    # Half a positive and half a negative more (Krichevsky & Trofimov 1981) keep a rate away from 0 and 1.
    return (total + 0.5) / (count + 1.0) if task == "classification" else total / max(count, 1)
