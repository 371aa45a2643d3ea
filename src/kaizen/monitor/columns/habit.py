"""How much the days of a column differ among themselves while nothing changes: what a new day is ranked among.

    counts of a block ─┬─► place     numbers: the mean normal score, so how high its values lie
                       ├─► shape     the divergence from all other blocks
                       └─► missing   the share of missing values
                             each over its own deviation ─► score ─► rank among the scores of the reference

A block is a day, or as many days as it takes for neighbours not to resemble each other; days of the week are ranked
among their like where they differ. Both are read off the reference, and told.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from kaizen.monitor.columns.binning import Bins
from kaizen.stats.distances import js_divergence
from kaizen.stats.serial import autocorrelation, kruskal, mid_ranks

Float: TypeAlias = NDArray[np.float64]
Name: TypeAlias = Literal["place", "shape", "missing"]

LENGTHS = (1, 2, 4, 7, 14, 28)  # days a block may have
FEWEST_BLOCKS = 8  # of a reference: fewer cannot say what is usual
WEEKDAYS = 7
_LEVEL = 0.01  # at which weekdays count as different
_RESEMBLE = 0.3  # autocorrelation of blocks from which on they are longer; below, the promise holds as it is
_BY_CHANCE = 2.0  # deviations that an autocorrelation may have by chance
_LEAST_DAYS_OF_A_WEEKDAY = 6


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is watched of a column: its usual value, and the scores of the reference's blocks by class.

    The score of a block is its value less ``centre``, over the deviation that ``between`` (the variance between
    blocks) and the number of its rows make.
    """

    name: Name
    centre: float
    between: float
    scores: tuple[tuple[float, ...], ...]  # ascending, of each class of days

    def score(self, value: Value) -> float:
        """Return the score of a new block."""
        return (value.value - self.centre) / float(np.sqrt(self.between + value.noise) or 1.0)

    def cells(self, group: int) -> NDArray[np.int64]:
        """Return the counts of the reference's scores in the cells of `cell`, for `kaizen.stats.conformal.rank`."""
        own = self.scores[group]
        return np.bincount([self.cell(score, group) for score in own], minlength=2 * len(own) + 1)

    def cell(self, score: float, group: int) -> int:
        """Return where a score falls: cells are in order of score, and ties share one."""
        own = self.scores[group]
        return bisect_left(own, score) + bisect_right(own, score)


class Habit(msgspec.Struct, frozen=True, kw_only=True):
    """The habit of a column: the length of a block in days, how many classes of days there are, what is measured."""

    days: int
    classes: int  # 1: all alike, 2: weekends apart, 7: each weekday
    blocks: int
    least_rows: int  # a block with fewer is passed over
    is_short: bool  # the reference has too few days to tell how long a block should be
    measures: tuple[Measure, ...]

    def group(self, weekday: int) -> int:
        """Return the class of a block whose first day is this weekday (0: Monday)."""
        return {1: 0, 2: int(weekday >= 5), WEEKDAYS: weekday}[self.classes]

    @property
    def says(self) -> str:
        """How it is counted, for people."""
        kinds = {1: "", 2: ", weekends apart", WEEKDAYS: ", each weekday among its like"}[self.classes]
        short = "; the reference is too short to tell whether that is enough" if self.is_short else ""
        return f"{'a day' if self.days == 1 else f'{self.days} days'} a block{kinds}{short}"


class Value(NamedTuple):
    """What a block has of a measure, and the variance that its few rows give it."""

    value: float
    noise: float


def values(bins: Bins, reference: Float, block: Float, scores: Float | None = None) -> dict[Name, Value]:
    """Return what a block shows against the counts of a reference, both with missing last, shape (bins,).

    Parameters
    ----------
    scores
        What `bin_scores` gave for the reference, where it is at hand.
    """
    known, pool = bins.compared(block), bins.compared(reference)
    if scores is None and bins.edges is not None:
        scores = bin_scores(reference)
    n, m = float(known.sum()), float(pool.sum())
    found: dict[Name, Value] = {}
    if n > 0 and m > 0:
        if scores is not None:
            p = pool / m
            variance = float(p @ scores**2 - (p @ scores) ** 2)
            found["place"] = Value(float(known @ scores) / n, variance / n)
        freedom, weight = max(int(np.count_nonzero(pool + known)) - 1, 0), (1 / n + 1 / m) / 8
        # JSD is about weight * chi2(freedom), whose variance is 2 * freedom.
        noise = 2 * freedom * weight * weight
        found["shape"] = Value(js_divergence(pool, known) - freedom * weight, noise)
    rows, all_rows = float(block.sum()), float(reference.sum())
    if rows > 0:
        usual = (float(reference[-1]) + 0.5) / (all_rows + 1)
        found["missing"] = Value(float(block[-1]) / rows, usual * (1 - usual) / rows)
    return found


def bin_scores(reference: Float) -> Float:
    """Return the normal score of the middle of each bin of values, of counts with missing last."""
    known = reference[:-1]
    total = max(float(known.sum()), 1.0)
    middle = (np.cumsum(known) - known / 2) / total
    scores: Float = ndtri(np.clip(middle, 0.5 / total, 1 - 0.5 / total))
    return scores


def habit_of(bins: Bins, table: NDArray[np.int64], weekdays: NDArray[np.int64]) -> Habit | None:
    """Return the habit that the days of a reference show; None with fewer than 8 days.

    Parameters
    ----------
    table
        Counts by day, in order, missing last, shape (days, bins); a day without rows is left out.
    weekdays
        Of each day, 0 for Monday, shape (days,).
    """
    kept = table.sum(axis=1) > 0
    counts, weekdays = np.asarray(table, np.float64)[kept], np.asarray(weekdays)[kept]
    best: Habit | None = None
    for days in LENGTHS:
        blocks, of = _blocks(counts, weekdays, days)
        if len(blocks) < FEWEST_BLOCKS:
            break
        best = _fitted(bins, blocks, of, days)
        if not best.is_short:
            break
    return best


def _blocks(table: Float, weekdays: NDArray[np.int64], days: int) -> tuple[Float, NDArray[np.int64]]:
    """Return the counts of blocks, the newest days whole, and the weekday that each begins on."""
    count = len(table) // days
    first = len(table) - count * days
    return table[first:].reshape(count, days, -1).sum(axis=1), weekdays[first::days][:count]


def _fitted(bins: Bins, blocks: Float, weekdays: NDArray[np.int64], days: int) -> Habit:
    total = blocks.sum(axis=0)
    scores = bin_scores(total) if bins.edges is not None else None
    found = [values(bins, total - block, block, scores) for block in blocks]
    names: list[Name] = [name for name in ("place", "shape", "missing") if all(name in each for each in found)]
    fitted = [_scored(name, [each[name] for each in found]) for name in names]
    classes = _classes([own for _, own in fitted], weekdays) if days < WEEKDAYS else 1
    if classes > 1 and days > 1:
        classes = 0  # weekdays are mixed in such blocks, and differ
    group = {0: weekdays * 0, 1: weekdays * 0, 2: (weekdays >= 5).astype(np.int64), WEEKDAYS: weekdays}[classes]
    rows = blocks.sum(axis=1)
    return Habit(
        days=days,
        classes=max(classes, 1),
        blocks=len(blocks),
        least_rows=max(1, int(np.median(rows)) // 10),
        is_short=classes == 0 or any(_resemble(own, group) for _, own in fitted),
        measures=tuple(_measure(measure, own, group, max(classes, 1)) for measure, own in fitted),
    )


def _scored(name: Name, found: list[Value]) -> tuple[Measure, Float]:
    """Return a measure without its scores, and the scores of the blocks, each against all others."""
    value = np.array([each.value for each in found])
    noise = np.array([each.noise for each in found])
    n = len(value)
    between = max(0.0, float(value.var(ddof=1) - noise.mean()))
    if name == "shape":  # each block's divergence is against all others already
        return Measure(name=name, centre=0.0, between=between, scores=()), value / _deviation(between + noise)
    apart = (value - value.mean()) * n / (n - 1)
    return Measure(name=name, centre=float(value.mean()), between=between, scores=()), apart / _deviation(
        between + noise
    )


def _deviation(variance: Float) -> Float:
    return np.where(variance > 0, np.sqrt(variance), 1.0)


def _classes(fitted: list[Float], weekdays: NDArray[np.int64]) -> int:
    """Return into how many classes days fall: by weekday where each is there often enough, else by weekend."""
    seen = np.bincount(weekdays, minlength=WEEKDAYS)
    if len(weekdays) < 2 * WEEKDAYS or seen.min() == 0:
        return 1
    if min(kruskal(own, weekdays) for own in fitted) >= _LEVEL / len(fitted):
        return 1
    return WEEKDAYS if seen.min() >= _LEAST_DAYS_OF_A_WEEKDAY else 2


def _resemble(scores: Float, group: NDArray[np.int64]) -> bool:
    """Say whether a block resembles the one before it, more than chance would have it."""
    ranks = np.empty(len(scores))
    for one in np.unique(group):
        mine = group == one
        ranks[mine] = mid_ranks(scores[mine]) / (mine.sum() + 1)
    return bool(autocorrelation(ranks) > max(_RESEMBLE, _BY_CHANCE / np.sqrt(len(scores))))


def _measure(measure: Measure, scores: Float, group: NDArray[np.int64], classes: int) -> Measure:
    by_class = tuple(tuple(np.sort(scores[group == one]).tolist()) for one in range(classes))
    return msgspec.structs.replace(measure, scores=by_class)
