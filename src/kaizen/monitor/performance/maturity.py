"""How fast labels come: learnt from the days that are over and from what has come of those that are not.

    predictions, by step of the day           ─┐
    labels, by step, bin of delay and class   ─┴─► Delays, sums that add up ─► Curves: the share that is here by an age

| curve      | of what                                           | with                                             |
|------------|---------------------------------------------------|--------------------------------------------------|
| `share`    | all predictions, some of which never get a label  | Kaplan and Meier, a band                         |
| `by_class` | the labels of one class that come at all          | truncated on the right, read backwards in age    |

The second exists because a prediction without a label has no class yet: only labels that have come can tell whether
positives come sooner than negatives.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.stats.arrivals import Arrived, arrived_by, kaplan_meier

Float = NDArray[np.float64]
Int = NDArray[np.int64]

FORGETS = 1 / 28  # of what older days said, as one more is over: speeds change, and four weeks have all weekdays
_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
_HOURS = (1, 2, 3, 4, 6, 8, 12, 24)
_MOST_BINS = 96


class Grid(msgspec.Struct, frozen=True):
    """How finely delays are told apart: bins of so many microseconds, and so many steps of a day that long."""

    width_us: int
    bins: int
    steps: int
    delay_us: int

    def step(self, since_start_us: Int) -> Int:
        """Return the step of the day for times since its start; an hour more, as clocks change, joins the last."""
        return np.asarray(np.minimum(np.maximum(since_start_us, 0) // self.width_us, self.steps - 1))

    def bin(self, delay_us: Int) -> Int:
        """Return the bin of a delay; a label from before its prediction counts as immediate."""
        return np.clip(delay_us // self.width_us, 0, self.bins - 1)

    def ages(self, start_us: int, now_us: int) -> Float:
        """Return how old the predictions of each step of a day are in bins, at the middle of the step, (steps,)."""
        middle = start_us + (np.arange(self.steps) + 0.5) * min(self.width_us, _DAY_US)
        return np.clip((now_us - middle) / self.width_us, 0.0, self.bins)

    def watched(self, start_us: int, now_us: int) -> Int:
        """Return how many bins of delay are over for every prediction of each step, (steps,)."""
        ends = start_us + (np.arange(self.steps) + 1) * min(self.width_us, _DAY_US)
        return np.clip((now_us - ends) // self.width_us, 0, self.bins)


def grid_of(delay: timedelta) -> Grid:
    """Return the grid for labels that may take so long: at most 96 bins, of at least an hour.

    >>> grid_of(timedelta(hours=36)).bins, grid_of(timedelta(days=60)).width_us // 3_600_000_000
    (60, 24)
    """
    delay_us = delay // timedelta(microseconds=1)
    hours = next((h for h in _HOURS if delay_us <= _MOST_BINS * h * _HOUR_US), 0)
    width_us = hours * _HOUR_US or -(-delay_us // (_MOST_BINS * _DAY_US)) * _DAY_US
    steps = max(1, _DAY_US // width_us)
    return Grid(width_us, -(-delay_us // width_us) + steps, steps, delay_us)  # the first rows of a day wait a day more


class Curves(NamedTuple):
    """The share of labels that has come by each edge of the bins, shapes (bins + 1,) and (classes, bins + 1)."""

    share: Arrived
    by_class: Float

    def share_at(self, ages: Float) -> Float:
        """Return the share of all predictions whose label has come at these ages (in bins)."""
        return np.asarray(np.interp(ages, np.arange(len(self.share.share)), self.share.share))

    def class_at(self, of: int, ages: Float) -> Float:
        """Return the share of the labels of a class that has come at these ages, of those that come at all."""
        return np.asarray(np.interp(ages, np.arange(self.by_class.shape[1]), self.by_class[of]))


class Delays(msgspec.Struct, frozen=True):
    """Sums over days, older ones weighing less: all that the curves are made of.

    Attributes
    ----------
    events
        Labels by class and bin of delay, of predictions watched to the end of the bin, shape (classes, bins).
    up_to
        Of the same predictions those that came in the bin or before, shape (classes, bins).
    at_risk
        Predictions watched to the end of a bin whose label had not come before it, shape (bins,).
    days
        How many days are over.
    """

    events: tuple[tuple[float, ...], ...]
    up_to: tuple[tuple[float, ...], ...]
    at_risk: tuple[float, ...]
    days: int = 0

    @classmethod
    def none(cls, grid: Grid, classes: int) -> Delays:
        """Return what is known before anything is."""
        empty = (0.0,) * grid.bins
        return cls((empty,) * classes, (empty,) * classes, empty)

    @classmethod
    def of_day(cls, arrivals: Int, rows: Int, watched: Int) -> Delays:
        """Return the sums of one day.

        Parameters
        ----------
        arrivals
            Labels by step of the day, class and bin of delay, shape (steps, classes, bins).
        rows
            Predictions by step, shape (steps,).
        watched
            How many bins are over for each step, shape (steps,).
        """
        seen = np.arange(arrivals.shape[2]) < watched[:, None]  # (steps, bins)
        so_far = np.cumsum(arrivals, axis=2)
        before = so_far.sum(axis=1) - arrivals.sum(axis=1)  # (steps, bins)
        return cls(
            _nested(np.einsum("skb,sb->kb", arrivals, seen)),
            _nested(np.einsum("skb,sb->kb", so_far, seen)),
            tuple(((rows[:, None] - before) * seen).sum(axis=0, dtype=np.float64).tolist()),
        )

    def add(self, other: Delays) -> Delays:
        """Return the sums of both."""
        return Delays(
            _nested(np.add(self.events, other.events)),
            _nested(np.add(self.up_to, other.up_to)),
            tuple(np.add(self.at_risk, other.at_risk).tolist()),
            self.days,
        )

    def learn(self, day: Delays) -> Delays:
        """Return the sums with one more day that is over; what was known before counts for a little less."""
        kept = Delays(
            _nested(np.multiply(self.events, 1 - FORGETS)),
            _nested(np.multiply(self.up_to, 1 - FORGETS)),
            tuple(np.multiply(self.at_risk, 1 - FORGETS).tolist()),
        )
        return msgspec.structs.replace(kept.add(day), days=self.days + 1)

    def curves(self) -> Curves:
        """Return the curves of these sums."""
        events, up_to = np.asarray(self.events), np.asarray(self.up_to)
        return Curves(
            kaplan_meier(events.sum(axis=0), np.asarray(self.at_risk)),
            np.stack([arrived_by(came, all_) for came, all_ in zip(events, up_to, strict=True)]),
        )


def _nested(sums: NDArray[np.float64] | Int) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in np.asarray(sums, dtype=np.float64).tolist())
