"""Do as many rows come as should? A day beside the four weeks before it, by what its weekday usually brings.

The reference says how weekdays differ and how far days stray; how many rows there are it cannot say, for what a model
was fitted on may be a sample of what is served.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtr, pdtrc

from kaizen.core.rules import Flow

KEPT_DAYS: Final = 28
LEAST_DAYS: Final = 7  # of service before anything is said
FEWER, MORE = 2 / 3, 3 / 2  # of the usual rows: what matters
USUAL: Final = (0.8, 1.25)
_LEVEL: Final = 1e-4  # of the Poisson test: where few rows come, none is no news
_DEVIATIONS: Final = 3.0
_LEAST_SPREAD: Final = 0.05

Recent = Sequence[tuple[int, int]]  # days and their rows, in order


class Judged(NamedTuple):
    """How many rows a day has, of how many that are usual."""

    rows: int
    usual: float
    fires: bool

    @property
    def ratio(self) -> float:
        """The rows, over the usual ones."""
        return self.rows / self.usual

    @property
    def is_usual(self) -> bool:
        """Whether it is so near that an incident is over."""
        return USUAL[0] < self.ratio < USUAL[1]


def fit(blocks: NDArray[np.int64] | None) -> Flow | None:
    """Return how the days of a reference differ in rows, given the day of each row; None below a week."""
    if blocks is None or not len(blocks):
        return None
    counts = np.bincount(blocks - blocks.min())
    if len(counts) < LEAST_DAYS:
        return None
    days = np.arange(len(counts)) + int(blocks.min())
    weekdays = _weekdays(days, counts)
    return Flow(days=len(counts), weekdays=weekdays, spread=_spread(days, counts, weekdays))


def judge(flow: Flow | None, recent: Recent, day: int, rows: int) -> Judged | None:
    """Return how a day stands beside the recent ones, None while they are too few to say."""
    if len(recent) < LEAST_DAYS:
        return None
    days, counts = (np.array(part) for part in zip(*recent, strict=True))
    has_reference = flow is not None and flow.days >= 2 * LEAST_DAYS
    weekdays = flow.weekdays if flow is not None and flow.days >= KEPT_DAYS else _weekdays(days, counts)
    usual = _level(days, counts, weekdays) * weekdays[weekday(day)]
    if usual < 1:
        return None
    spread = flow.spread if flow is not None and has_reference else _spread(days, counts, weekdays)
    strays = abs(_apart(rows, usual)) >= _DEVIATIONS * max(spread, _LEAST_SPREAD)
    by_chance = pdtr(rows, usual) if rows < usual else pdtrc(rows - 1, usual)
    matters = not FEWER < rows / usual < MORE
    return Judged(rows, usual, bool(matters and strays and by_chance < _LEVEL))


def weekday(day: int) -> int:
    """Return the day of the week of a day since 1970, 0 for Monday."""
    return (day + 3) % 7


def _weekdays(days: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[float, ...]:
    """Return what part of the usual count comes on each weekday; all 1 below four weeks."""
    usual = float(np.median(counts))
    if len(days) < KEPT_DAYS or usual == 0:
        return (1.0,) * 7
    return tuple(float(np.median(counts[(days + 3) % 7 == at])) / usual for at in range(7))


def _level(days: NDArray[np.int64], counts: NDArray[np.int64], weekdays: tuple[float, ...]) -> float:
    parts = np.array(weekdays)[(days + 3) % 7]
    known = parts > 0
    return float(np.median(counts[known] / parts[known])) if known.any() else 0.0


def _spread(days: NDArray[np.int64], counts: NDArray[np.int64], weekdays: tuple[float, ...]) -> float:
    """Return the standard deviation of the logarithm of counts over what is usual."""
    usual = _level(days, counts, weekdays) * np.array(weekdays)[(days + 3) % 7]
    return float(np.std([_apart(count, each) for count, each in zip(counts.tolist(), usual.tolist(), strict=True)]))


def _apart(rows: float, usual: float) -> float:
    return math.log((rows + 0.5) / (usual + 0.5))
