"""Streaming detectors whose false alarms keep a promise: on average at least 1/alpha blocks between two of them.

e-SR   R_t = L(x_t) (1 + R_{t-1}),  L(x) = 1 + bet (x / m - 1)     alarm at mean over bets >= 1/alpha
"""

from __future__ import annotations

import msgspec
import numpy as np

# Small bets only count days (R_t is about t); with the bound above the mean, large ones page sooner and less falsely.
BETS = (0.2, 0.4, 0.6, 0.8, 0.95)
_CAP = 1e12  # far above every limit; keeps the recursion finite


class RiskDetector(msgspec.Struct, frozen=True):
    """A mixture of Shiryaev-Roberts e-detectors for "the mean of x, given the past, has risen over m".

    For x >= 0 whose mean given the past is at most m, each ``L(x)`` has mean at most 1 and ``R_t - t`` is a
    supermartingale, so the mean time to a (false) alarm is at least the limit: no distribution, no independence and
    no fixed variance is assumed. Shin, Ramdas & Rinaldo, *E-detectors: a nonparametric framework for sequential
    change detection*, New England Journal of Statistics in Data Science 2 (2024), sections 2 and 4.

    ``runs`` are e-CUSUMs of the same bets; the start of the best one's present run is when the rise began, as far as
    one can tell.
    """

    levels: tuple[float, ...] = (0.0,) * len(BETS)
    runs: tuple[float, ...] = (1.0,) * len(BETS)
    starts: tuple[int, ...] = (-1,) * len(BETS)  # the block at which the run began; -1: none is under way
    seen: int = 0

    @property
    def evidence(self) -> float:
        """The mean of the detectors, to be held against 1/alpha."""
        return sum(self.levels) / len(self.levels)

    @property
    def start(self) -> int | None:
        """The block at which the suspected rise began, or None when nothing is suspected."""
        best = int(np.argmax(self.runs))
        return self.starts[best] if self.runs[best] > 1 else None

    def update(self, x: float, m: float, block: int) -> RiskDetector:
        """Return the detector after one more block, with mean x >= 0 and bound m > 0 of the mean before a change."""
        if not (x >= 0 and m > 0):
            raise ValueError(f"a risk detector takes x >= 0 and m > 0, not x={x!r}, m={m!r}")
        levels, runs, starts = [], [], []
        for bet, level, run, start in zip(BETS, self.levels, self.runs, self.starts, strict=True):
            factor = 1 + bet * (x / m - 1)
            levels.append(min(factor * (1 + level), _CAP))
            starts.append(start if run > 1 else block)
            runs.append(min(factor * max(1.0, run), _CAP))
        return RiskDetector(tuple(levels), tuple(runs), tuple(starts), self.seen + 1)
