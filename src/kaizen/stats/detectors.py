"""Streaming detectors whose false alarms keep a promise: on average at least 1/alpha blocks between two of them.

A block comes with a factor, an e-value: at least 0, and 1 or less on average, given the past, while nothing changes.

e-SR      R_t = L_t (1 + R_{t-1})        E[R] = t exactly at factors of mean 1: tight, alarms soonest
e-CUSUM   C_t = L_t max(1, C_{t-1})      never above R: of many streams, the one that does not count time
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

Float: TypeAlias = NDArray[np.float64]

# Small bets only count days (R_t is about t); with the bound above the mean, large ones page sooner and less falsely.
BETS = (0.2, 0.4, 0.6, 0.8, 0.95)
CAP = 1e12  # far above every limit; keeps the recursion finite
_LOG_CAP = float(np.log(CAP))

E = TypeVar("E", bound="EDetector")


class EDetector(msgspec.Struct, frozen=True):
    """A mixture of e-detectors over several bets, one factor a bet and block.

    Both means over the bets are e-detectors: their expectation at any stopping time is at most the expected number of
    blocks until then, so the mean time to a (false) alarm is at least the limit. Shin, Ramdas & Rinaldo, *E-detectors:
    a nonparametric framework for sequential change detection*, New England Journal of Statistics in Data Science 2
    (2024), sections 2 and 4. So is the mean over streams, however they depend on each other.

    ``levels`` are Shiryaev-Roberts sums; ``runs`` are CUSUMs, and the start of the best one's present run is when the
    change began, as far as one can tell.
    """

    levels: tuple[float, ...] = ()
    runs: tuple[float, ...] = ()
    starts: tuple[int, ...] = ()  # the block at which the run began; -1: none is under way
    seen: int = 0

    @property
    def evidence(self) -> float:
        """The mean of the Shiryaev-Roberts sums, to be held against 1/alpha."""
        return sum(self.levels) / len(self.levels) if self.levels else 0.0

    @property
    def run(self) -> float:
        """The mean of the CUSUMs, to be held against 1/alpha times the number of streams; 1 says nothing."""
        return sum(self.runs) / len(self.runs) if self.runs else 1.0

    @property
    def start(self) -> int | None:
        """The block at which the suspected change began, or None when nothing is suspected."""
        best = int(np.argmax(self.runs)) if self.runs else -1
        return self.starts[best] if best >= 0 and self.runs[best] > 1 else None

    def after(self: E, factors: Sequence[float], block: int) -> E:
        """Return the detector after one more block, with a factor for each bet."""
        bets = len(factors)
        levels, runs, starts = [], [], []
        for factor, level, run, start in zip(
            factors, self.levels or (0.0,) * bets, self.runs or (1.0,) * bets, self.starts or (-1,) * bets, strict=True
        ):
            levels.append(min(factor * (1 + level), CAP))
            starts.append(start if run > 1 else block)
            runs.append(min(factor * max(1.0, run), CAP))
        return msgspec.structs.replace(
            self, levels=tuple(levels), runs=tuple(runs), starts=tuple(starts), seen=self.seen + 1
        )


class RiskDetector(EDetector, frozen=True):
    """An e-detector for "the mean of x, given the past, has risen over m": ``L(x) = 1 + bet (x / m - 1)``.

    For x >= 0 whose mean given the past is at most m each factor has mean at most 1: no distribution, no independence
    and no fixed variance is assumed.
    """

    def update(self, x: float, m: float, block: int) -> RiskDetector:
        """Return the detector after one more block, with mean x >= 0 and bound m > 0 of the mean before a change."""
        if not (x >= 0 and m > 0):
            raise ValueError(f"a risk detector takes x >= 0 and m > 0, not x={x!r}, m={m!r}")
        return self.after([1 + bet * (x / m - 1) for bet in BETS], block)


def sr_paths(levels: Float, log_factors: Float) -> Float:
    """Return the Shiryaev-Roberts sums after each value, shape (values, bets), from `levels` (bets,) before them.

    ``R_t = F_t (R_0 + sum over s < t of 1 / F_s)``, F the running product of the factors, in logarithms.
    """
    total = np.cumsum(log_factors, axis=0)
    before = np.vstack((np.zeros_like(total[:1]), total[:-1]))
    with np.errstate(divide="ignore"):
        sums = np.logaddexp(np.logaddexp.accumulate(-before, axis=0), np.log(levels))
    return np.minimum(np.exp(np.minimum(total + sums, _LOG_CAP)), CAP)


def cusum_paths(runs: Float, log_factors: Float) -> Float:
    """Return the CUSUMs after each value, shape (values, bets), from `runs` (bets,) before them.

    ``C_t = F_t / min over s < t of F_s``, the start counting as ``1 / max(1, C_0)``.
    """
    total = np.cumsum(log_factors, axis=0)
    start = -np.log(np.maximum(runs, 1.0))
    lowest = np.minimum.accumulate(np.vstack((start[None], total[:-1])), axis=0)
    return np.minimum(np.exp(np.minimum(total - lowest, _LOG_CAP)), CAP)


class Account:
    """The same, kept running over many values at a time: `EDetector` in arrays, with a weight for each bet."""

    def __init__(self, weights: Float) -> None:
        self._weights = weights
        self.clear()

    def clear(self) -> None:
        """Start anew."""
        self._levels, self._runs = np.zeros(len(self._weights)), np.ones(len(self._weights))
        self._starts = np.zeros(len(self._weights), np.int64)

    def start(self, now: int) -> int:
        """Return the number of the value at which the suspected change began; `now` where nothing is suspected."""
        best = int(np.argmax(self._runs * self._weights))
        return int(self._starts[best]) if self._runs[best] > 1 else now

    def advance(self, log_factors: Float, first: int) -> Float:
        """Take in the logarithms of the factors of some values, and return the evidence after each, shape (values,).

        Parameters
        ----------
        log_factors
            Shape (values, bets).
        first
            The number of the first value.
        """
        levels, runs = sr_paths(self._levels, log_factors), cusum_paths(self._runs, log_factors)
        begins = np.vstack((self._runs[None], runs[:-1])) <= 1
        numbers = first + np.arange(len(log_factors))[:, None]
        latest = np.where(begins, numbers, -1).max(axis=0)
        self._starts = np.where(latest >= 0, latest, self._starts)
        self._levels, self._runs = levels[-1], runs[-1]
        return np.asarray(levels @ self._weights)
