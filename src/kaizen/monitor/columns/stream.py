"""A column as a stream of blocks: each is ranked among all before it, and bets on the ranks add up to evidence.

    a day's counts ─► block ─► values, scores (`habit.py`) ─► ranks ─► factors ─► e-CUSUMs ─► evidence

The evidence of a column is the mean over what is measured and bet on, so it is an e-detector counted in days: against
1/alpha it would page once in 1/alpha days at most without change, and so does the mean over all columns.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.monitor.columns.binning import Bins
from kaizen.monitor.columns.habit import Habit, Measure, values
from kaizen.stats.conformal import down, rank, up
from kaizen.stats.detectors import EDetector

SIZES = (1.0, 2.0)  # deviations that place and missing are bet to have moved by, up and down
SIZES_OF_SHAPE = (1.0, 2.0, 3.0)  # a divergence only grows


class Stream(msgspec.Struct, frozen=True):
    """What is remembered of a column.

    ``counts`` is the block under way and ``days`` how many days it has; ``bags`` are, by measure and class of days,
    how many scores fell into each cell, those of the reference included; ``unit`` is how many days a block has.
    """

    counts: tuple[int, ...] = ()
    days: int = 0
    bags: tuple[tuple[tuple[int, ...], ...], ...] = ()
    detectors: tuple[EDetector, ...] = ()  # one a measure
    unit: int = 1

    @property
    def evidence(self) -> float:
        """The evidence of a change, counted in days."""
        runs = [detector.run for detector in self.detectors]
        return self.unit * sum(runs) / len(runs) if runs else 0.0

    @property
    def start(self) -> int | None:
        """The day on which the suspected change began, as far as one can tell."""
        best = max(self.detectors, key=lambda detector: detector.run, default=None)
        return best.start if best is not None else None

    def rested(self) -> Stream:
        """Return the stream with its evidence gone and its memory kept: after an alarm, and when one is over."""
        return msgspec.structs.replace(self, detectors=(EDetector(),) * len(self.detectors))


def fresh(habit: Habit | None, window_days: int) -> Stream:
    """Return the stream of a column of which nothing was seen but the reference.

    Without a habit its blocks are windows, and `advance_by_window` takes what a test says of each.
    """
    if habit is None:
        return Stream(detectors=(EDetector(),), unit=window_days)
    bags = tuple(
        tuple(tuple(measure.cells(group).tolist()) for group in range(habit.classes)) for measure in habit.measures
    )
    return Stream(bags=bags, detectors=(EDetector(),) * len(habit.measures), unit=habit.days)


def advance_by_window(stream: Stream, e_value: float, first_day: int) -> Stream:
    """Return the stream after one more window, with the e-value of "it is as the reference was"."""
    return msgspec.structs.replace(stream, detectors=(stream.detectors[0].after([e_value], first_day),))


def advance(
    stream: Stream,
    habit: Habit,
    bins: Bins,
    reference: NDArray[np.int64],
    day: int,
    counts: NDArray[np.int64],
    *,
    chance: np.random.Generator,
) -> Stream:
    """Return the stream after one more day.

    Parameters
    ----------
    reference, counts
        Of the reference and of the day, by bin, missing last, shape (bins,).
    day
        Days since 1970-01-01, which was a Thursday.
    chance
        Breaks ties among scores.
    """
    total = counts if not stream.counts else counts + np.asarray(stream.counts)
    first = day - stream.days
    if stream.days + 1 < habit.days:
        return msgspec.structs.replace(stream, counts=tuple(total.tolist()), days=stream.days + 1)
    if total.sum() < habit.least_rows:
        return msgspec.structs.replace(stream, counts=(), days=0)
    group = habit.group((first + 3) % 7)
    pool = np.asarray(reference, dtype=np.float64)
    found = values(bins, pool, total.astype(np.float64))
    bags, detectors = list(stream.bags), list(stream.detectors)
    for place, measure in enumerate(habit.measures):
        if measure.name in found:
            cell = measure.cell(measure.score(found[measure.name]), group)
            bag = np.asarray(bags[place][group])
            p = rank(bag, cell, float(chance.random()))
            bag[cell] += 1
            bags[place] = (*bags[place][:group], tuple(bag.tolist()), *bags[place][group + 1 :])
            detectors[place] = detectors[place].after(_factors(measure, p), first)
    return Stream(bags=tuple(bags), detectors=tuple(detectors), unit=habit.days)


def _factors(measure: Measure, p: float) -> list[float]:
    if measure.name == "shape":
        return [float(up(p, size)) for size in SIZES_OF_SHAPE]
    return [float(bet(p, size)) for size in SIZES for bet in (up, down)]
