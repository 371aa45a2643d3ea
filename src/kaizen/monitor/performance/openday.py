"""A day whose labels are still coming: sums that a label adds to, or takes its correction's predecessor out of.

    rows without a label     their number, and what they would lose under either label
    rows with one            their number and what they lose, by label

A label moves its row from the first table to the second. That is the same few additions however many rows the day has,
and a later label for the row takes the earlier one's back: nothing is ever summed again. All sums are whole numbers (a
loss is counted in 2^-32 of its cap, at which it is cut), so the order in which labels come leaves no trace, not even in
the last digit.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Task
from kaizen.monitor.performance.maturity import Grid
from kaizen.stats.metrics import Loss, per_row

Float = NDArray[np.float64]
Int = NDArray[np.int64]

ARMS = ("model", "no change", "rate")  # whose losses are summed: the model's, and those of two forecasts without one
FINE = 1024  # bins of the histogram of answers, equally wide in log odds; the middle edge is 1/2
_WIDEST = 12.0  # log odds beyond which answers are not told apart
_UNIT = 2.0**32


class Measures(msgspec.Struct, frozen=True):
    """What is summed: losses by name, each cut at its cap, and the edges of the answers that count as alike.

    Of a classification `error` is 1 where the answer is on the wrong side of a half.
    """

    task: Task
    losses: tuple[str, ...]
    caps: tuple[float, ...]
    edges: tuple[float, ...]

    @property
    def classes(self) -> int:
        """How many classes of label are told apart; 1 where labels are numbers."""
        return 2 if self.task == "classification" else 1

    def counted(self, answers: Float, labels: Float) -> Int:
        """Return the losses of these rows in whole units of the cap, shape (arms, rows, losses).

        Parameters
        ----------
        answers
            Shape (arms, rows).
        labels
            Shape (rows,).
        """
        whole = np.empty((*answers.shape, len(self.losses)), dtype=np.int64)
        for at, (name, cap) in enumerate(zip(self.losses, self.caps, strict=True)):
            if name == "error":
                loss = ((answers >= 0.5) != (labels > 0.5)).astype(np.float64)
            else:
                with np.errstate(over="ignore"):  # an absurd number is cut below, however large
                    loss = per_row(_LOSSES[name], labels, answers)
            whole[..., at] = np.rint(np.fmin(loss / cap, 1.0) * _UNIT)  # a forecast that knows nothing loses the cap
        return whole

    def alike(self, answers: Float) -> Int:
        """Return the group of answers that each is in, shape (rows,)."""
        return np.searchsorted(np.asarray(self.edges), answers, side="right")

    @property
    def groups(self) -> int:
        """How many groups of answers there are."""
        return len(self.edges) + 1


_LOSSES: dict[str, Loss] = {"log_loss": "log_loss", "brier": "brier", "squared": "squared", "absolute": "absolute"}


def fine_bin(answers: Float) -> Int:
    """Return the bin of the histogram that a probability falls in, shape (rows,)."""
    held = np.clip(answers, 1e-9, 1 - 1e-9)
    odds = np.log(held) - np.log1p(-held)
    places = np.floor((odds + _WIDEST) * (FINE / (2 * _WIDEST))).astype(np.int64)
    return np.clip(
        np.where(answers >= 0.5, np.maximum(places, FINE // 2), np.minimum(places, FINE // 2 - 1)), 0, FINE - 1
    )


class OpenDay:
    """One event day.

    Parameters
    ----------
    day, start_us
        Its number, and when it begins.
    grid
        How delays are told apart.
    measures
        What is summed.

    Attributes
    ----------
    rows, waiting
        Predictions, and those of them without a label, by step and group of answers, shape (steps, groups).
    arrivals
        Labels by step, class and bin of delay, shape (steps, classes, bins).
    count
        Rows with a label, by group of answers and class, shape (groups, classes).
    knows_rivals
        Whether some outcome was known at the time of every row: else the forecasts without a model are no rivals yet.
    histogram
        Model's answers by class of their label, the last row of those that have none, shape (classes + 1, FINE).
    """

    def __init__(self, day: int, start_us: int, grid: Grid, measures: Measures) -> None:
        self.day, self.start_us = day, start_us
        self._grid, self._measures = grid, measures
        arms, groups, classes, losses = len(ARMS), measures.groups, measures.classes, len(measures.losses)
        self.rows = np.zeros((grid.steps, groups), np.int64)
        self.waiting = np.zeros((grid.steps, groups), np.int64)
        self.arrivals = np.zeros((grid.steps, classes, grid.bins), np.int64)
        self.count = np.zeros((groups, classes), np.int64)
        self._sums = np.zeros((arms, groups, classes, losses), np.int64)
        self._squares = np.zeros((arms, groups, classes, losses), np.int64)
        self._would = np.zeros((arms, groups, classes, losses), np.int64)  # of the rows without a label
        self.histogram = np.zeros((classes + 1, FINE), np.int64)  # of answers: by class, and without a label
        self.knows_rivals = True
        self._size = 0
        self._columns: dict[str, NDArray[Any]] = {
            "at": np.empty(0, np.int64),
            "known_at": np.empty(0, np.int64),
            "label": np.empty(0),
            "answers": np.empty((0, arms)),
            "last": np.empty(0),
        }

    def __len__(self) -> int:
        """Return how many predictions there are."""
        return self._size

    @property
    def sums(self) -> Float:
        """What the rows with a label lose, shape (arms, groups, classes, losses)."""
        return self._sums * (np.asarray(self._measures.caps) / _UNIT)

    @property
    def squares(self) -> Float:
        """The same of squared losses."""
        return self._squares * (np.asarray(self._measures.caps) ** 2 / _UNIT)

    @property
    def would(self) -> Float:
        """What the rows without a label would lose if all had that of the class; of a regression 0."""
        return self._would * (np.asarray(self._measures.caps) / _UNIT)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of the rows: ``at``, ``known_at``, ``label`` (NaN: none yet), ``answers``, ``last``."""
        return self._columns[name][: self._size]

    def add(self, at: Int, answers: Float, last: Float) -> None:
        """Add predictions without labels.

        Parameters
        ----------
        at
            Event times, microseconds since 1970, UTC, shape (rows,).
        answers
            Of the model and of the forecasts without one, shape (arms, rows).
        last
            The newest outcome known at each row's time, shape (rows,); NaN where none was.
        """
        first, more = self._size, len(at)
        self._make_room(first + more)
        self._size += more
        self.column("at")[first:] = at
        self.column("known_at")[first:] = np.iinfo(np.int64).min
        self.column("label")[first:] = np.nan
        self.column("answers")[first:] = answers.T
        self.column("last")[first:] = last
        self.knows_rivals = self.knows_rivals and bool(np.isfinite(last).all())
        step, group = self._grid.step(at - self.start_us), self._measures.alike(answers[0])
        np.add.at(self.rows, (step, group), 1)
        self._wait(step, group, answers, 1)

    def label(self, rows: Int, values: Float, known_at: Int) -> None:
        """Give rows, each named once, these labels; what a row had before no longer counts, unless it is newer."""
        newer = known_at >= self.column("known_at")[rows]
        rows, values, known_at = rows[newer], values[newer], known_at[newer]
        had = ~np.isnan(self.column("label")[rows])
        self._count_in(rows[had], -1)
        self.column("label")[rows] = values
        self.column("known_at")[rows] = known_at
        self._count_in(rows, 1)
        fresh = rows[~had]
        answers = self.column("answers")[fresh].T
        step = self._grid.step(self.column("at")[fresh] - self.start_us)
        self._wait(step, self._measures.alike(answers[0]), answers, -1)

    def _wait(self, step: Int, group: Int, answers: Float, sign: int) -> None:
        np.add.at(self.waiting, (step, group), sign)
        if self._measures.classes == 1:
            return
        np.add.at(self.histogram[-1], fine_bin(answers[0]), sign)
        for label in range(2):
            would = self._measures.counted(answers, np.full(len(group), float(label)))
            for arm in range(len(ARMS)):
                np.add.at(self._would[arm, :, label], group, sign * would[arm])

    def _count_in(self, rows: Int, sign: int) -> None:
        at, known_at, labels = (self.column(name)[rows] for name in ("at", "known_at", "label"))
        answers = self.column("answers")[rows].T
        group = self._measures.alike(answers[0])
        kind = (labels > 0.5).astype(np.int64) if self._measures.classes == 2 else np.zeros(len(rows), np.int64)
        losses = self._measures.counted(answers, labels)
        squares = np.rint((losses / _UNIT) ** 2 * _UNIT).astype(np.int64)
        np.add.at(self.count, (group, kind), sign)
        for arm in range(len(ARMS)):
            np.add.at(self._sums[arm], (group, kind), sign * losses[arm])
            np.add.at(self._squares[arm], (group, kind), sign * squares[arm])
        np.add.at(self.arrivals, (self._grid.step(at - self.start_us), kind, self._grid.bin(known_at - at)), sign)
        if self._measures.classes == 2:
            np.add.at(self.histogram, (kind, fine_bin(answers[0])), sign)

    def _make_room(self, size: int) -> None:
        have = len(self._columns["at"])
        if size <= have:
            return
        for name, values in self._columns.items():
            room = np.empty((max(size, 2 * have), *values.shape[1:]), values.dtype)
            room[: self._size] = values[: self._size]
            self._columns[name] = room
