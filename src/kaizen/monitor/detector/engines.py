"""What a `Detector` runs for a column: single values, blocks of them, or losses against a bound; chosen, and said.

| the reference shows                        | engine                                                       |
|--------------------------------------------|--------------------------------------------------------------|
| values that do not resemble their neighbours | `ValueEngine`: every value is ranked and bet on             |
| autocorrelation, a period, stretches that differ | `BlockEngine`: blocks are, of a period or longer       |
| losses in [0, 1], asked for with ``watch="rise"`` | `RiseEngine`: the mean against the reference's upper bound |
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import DataError
from kaizen.monitor.columns.binning import Bins, bins_of, place, tally
from kaizen.monitor.columns.habit import FEWEST_BLOCKS, Habit, habit_of
from kaizen.monitor.columns.stream import Stream, advance, fresh
from kaizen.monitor.detector.values import Values
from kaizen.stats.detectors import BETS, Account
from kaizen.stats.distances import js_distance, spread_of
from kaizen.stats.intervals import bounded_mean_upper
from kaizen.stats.serial import autocorrelation, mid_ranks, period_of

Float: TypeAlias = NDArray[np.float64]

STRETCHES = 30  # of a reference: do they differ more than chance would have it?
_SHORT = 0.04  # autocorrelation of neighbours from which on single values would alarm too often
_BASE_BLOCKS = 200  # that a reference is cut into, of which blocks are then made
_LEAST_BLOCK = 8
_KEPT = 4096  # values that an effect is measured on, the newest


class Engine(Protocol):
    """Watches one column."""

    says: str
    """How values are counted, for people."""

    def advance(self, values: NDArray[Any], first: int) -> Float:
        """Take values in, at most a few hundred, and return the evidence after each, counted in values."""
        ...

    def rest(self) -> None:
        """Start anew, with the evidence gone."""
        ...

    def start(self, now: int) -> int:
        """Return the number of the value at which the suspected change began."""
        ...

    def effect(self, since: int, now: int) -> float:
        """Return how large the change is, measured on the values since then."""
        ...


def engine_of(reference: NDArray[Any], *, block: int | None, chance: np.random.Generator) -> Engine:
    """Return the engine that the values of a reference ask for.

    Parameters
    ----------
    reference
        Numbers or labels, in order, shape (values,).
    block
        Values a block; 1: single values; None: chosen.
    """
    kind = "category" if reference.dtype == np.object_ else "number"
    bins = bins_of("category" if kind == "category" else "number", reference)
    if block is None:
        block = _block(reference, bins)
    if block == 1:
        return ValueEngine(bins, tally(bins, reference), chance)
    return BlockEngine(bins, reference, block, chance)


class ValueEngine:
    """Every value by itself."""

    says = "single values: they do not resemble their neighbours"

    def __init__(self, bins: Bins, counts: NDArray[np.int64], chance: np.random.Generator) -> None:
        self._bins = bins
        self._counts = counts
        self._values = Values(bins, counts, chance)
        self._recent: deque[int] = deque(maxlen=_KEPT)

    def advance(self, values: NDArray[Any], first: int) -> Float:
        """See `Engine`."""
        codes = place(self._bins, values)
        self._recent.extend(codes.tolist())
        return self._values.advance(codes, first)

    def rest(self) -> None:
        """See `Engine`."""
        self._values.rest()

    def start(self, now: int) -> int:
        """See `Engine`."""
        return self._values.account.start(now)

    def effect(self, since: int, now: int) -> float:
        """See `Engine`: the debiased Jensen-Shannon distance."""
        newest = list(self._recent)[-max(1, now - since) :]
        return _distance(self._bins, self._counts, np.bincount(newest, minlength=self._bins.size))


class BlockEngine:
    """Blocks of neighbours, each ranked among all before it."""

    def __init__(self, bins: Bins, reference: NDArray[Any], block: int, chance: np.random.Generator) -> None:
        self._bins, self._block, self._chance = bins, block, chance
        table = np.stack([tally(bins, part) for part in _cut(reference, block)])
        habit = habit_of(bins, table, np.zeros(len(table), np.int64))
        if habit is None:
            raise DataError(
                f"a reference of {len(reference)} values has fewer than {FEWEST_BLOCKS} blocks of {block}",
                where="Detector",
                fix="give a longer reference, or block=1 if values do not resemble their neighbours",
            )
        self._habit: Habit = habit
        self._counts = table.sum(axis=0)
        self._stream: Stream = fresh(habit, 1)
        self._under_way: list[NDArray[Any]] = []
        self._recent: deque[NDArray[np.int64]] = deque(maxlen=max(1, _KEPT // block))
        self.says = f"blocks of {block * habit.days} values, in which neighbours resemble each other"

    def advance(self, values: NDArray[Any], first: int) -> Float:
        """See `Engine`."""
        evidence = np.empty(len(values))
        for at, value in enumerate(values):
            self._under_way.append(value)
            if len(self._under_way) == self._block:
                self._close((first + at) // self._block)
            evidence[at] = self._stream.evidence * self._block
        return evidence

    def _close(self, number: int) -> None:
        dtype = np.object_ if self._bins.edges is None else np.float64
        counts = tally(self._bins, np.array(self._under_way, dtype))
        self._under_way.clear()
        self._recent.append(counts)
        self._stream = advance(self._stream, self._habit, self._bins, self._counts, number, counts, chance=self._chance)

    def rest(self) -> None:
        """See `Engine`."""
        self._stream = self._stream.rested()

    def start(self, now: int) -> int:
        """See `Engine`."""
        begun = self._stream.start
        return now if begun is None else min(now, begun * self._block)

    def effect(self, since: int, now: int) -> float:
        """See `Engine`: the debiased Jensen-Shannon distance."""
        blocks = list(self._recent)[-max(1, (now - since) // self._block) :]
        return _distance(self._bins, self._counts, np.sum(blocks, axis=0)) if blocks else 0.0


class RiseEngine:
    """Losses in [0, 1], whose mean given the past may not exceed the upper bound of the reference's mean.

    Parameters
    ----------
    reference
        Losses, shape (values,).
    tolerance
        By how much more the mean may rise.
    """

    def __init__(self, reference: Float, tolerance: float) -> None:
        if len(reference) == 0 or not (np.isfinite(reference).all() and reference.min() >= 0 and reference.max() <= 1):
            raise DataError("a rise is watched of values from 0 to 1", where="Detector", fix="rescale the losses")
        self._mean = float(reference.mean())
        self._bound = min(1.0, bounded_mean_upper(reference) + tolerance)
        self._recent: deque[float] = deque(maxlen=_KEPT)
        self.says = f"the mean against {self._bound:.4g}, the upper 95 % bound of the reference's {self._mean:.4g}"
        self._account = Account(np.full(len(BETS), 1 / len(BETS)))

    def advance(self, values: NDArray[Any], first: int) -> Float:
        """See `Engine`."""
        x = np.asarray(values, np.float64)
        if not np.isfinite(x).all() or x.min() < 0 or x.max() > 1:
            raise DataError("a rise is watched of values from 0 to 1", where="Detector", fix="rescale the losses")
        self._recent.extend(x.tolist())
        return self._account.advance(np.log1p(np.multiply.outer(x / self._bound - 1, np.array(BETS))), first)

    def rest(self) -> None:
        """See `Engine`."""
        self._account.clear()

    def start(self, now: int) -> int:
        """See `Engine`."""
        return self._account.start(now)

    def effect(self, since: int, now: int) -> float:
        """See `Engine`: the mean since then less the reference's."""
        newest = list(self._recent)[-max(1, now - since) :]
        return float(np.mean(newest)) - self._mean if newest else 0.0


def _block(reference: NDArray[Any], bins: Bins) -> int:
    """Return how many values a block should have: 1 where they say nothing of their neighbours."""
    codes = place(bins, reference)
    if bins.edges is None:  # labels have no order: is the commonest where it was just before?
        codes = (codes == 0).astype(np.int64)
    ranked = mid_ranks(codes.astype(np.float64))
    n = len(ranked)
    period = period_of(ranked)
    parts = np.array_split(codes, STRETCHES)
    stretches = np.stack([np.bincount(part, minlength=bins.size).astype(np.float64) for part in parts])
    is_alike = autocorrelation(ranked) < max(_SHORT, 3 / np.sqrt(n)) and spread_of(stretches).blocks == 0
    if is_alike and period is None:
        return 1
    return period if period is not None else max(_LEAST_BLOCK, n // _BASE_BLOCKS)


def _cut(values: NDArray[Any], block: int) -> list[NDArray[Any]]:
    """Return whole blocks of values, the newest ones."""
    count = len(values) // block
    return np.split(values[len(values) - count * block :], max(count, 1))


def _distance(bins: Bins, reference: NDArray[np.int64], counts: NDArray[np.int64]) -> float:
    return js_distance(bins.compared(reference), bins.compared(counts))
