"""Has a share of rows risen over what it may be? One step a block, whose rows are counted, not kept.

L(k of n) = (p/m)^k ((1-p)/(1-m))^(n-k)    the likelihood of a share p over that of the bound m
R_t = L (1 + R_{t-1})                      alarm when the mean over several p is at least 1/alpha
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np

from kaizen.stats.intervals import clopper_pearson

EXCESS: Final = (0.01, 0.03, 0.1, 0.3, 0.9)  # where the alternatives lie between the bound and 1
_CAP: Final = 1e12
_LARGEST: Final = math.log(_CAP)


class RateDetector(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True):
    """A mixture of Shiryaev-Roberts e-detectors for "each row hits with a chance, given the past, over m".

    While that chance is at most m, each ``L`` has mean at most 1 (the ratio grows with k, and so does its mean with the
    chance), so ``R_t - t`` is a supermartingale and the mean time to a false alarm is at least the limit: Shin, Ramdas
    & Rinaldo, *E-detectors*, New England Journal of Statistics in Data Science 2 (2024), sections 2 and 4. Where the
    rows of a block are alike, give the independent rows that they are worth; that keeps the promise as far as the
    design effect is known.

    Once there is less evidence than one block without news brings, all is forgotten: that only makes alarms later, and
    what is left, ``began``, ``hits`` and ``rows``, tells of the suspicion under way.
    """

    levels: tuple[float, ...] = (0.0,) * len(EXCESS)
    began: int = -1
    hits: float = 0.0
    rows: float = 0.0

    @property
    def evidence(self) -> float:
        """The mean of the detectors, to be held against 1/alpha."""
        return sum(self.levels) / len(self.levels)

    def update(self, hits: float, rows: float, bound: float, block: int) -> RateDetector:
        """Return the detector after one more block with `hits` among `rows`; the bound m lies between 0 and 1."""
        if not (0 <= hits <= rows and 0 < bound < 1):
            raise ValueError(f"a rate needs 0 <= hits <= rows and 0 < bound < 1, not {hits!r} of {rows!r}, {bound!r}")
        levels = []
        for excess, level in zip(EXCESS, self.levels, strict=True):
            p = bound + (1 - bound) * excess
            log_ratio = hits * math.log(p / bound) + (rows - hits) * math.log((1 - p) / (1 - bound))
            levels.append(min(math.exp(min(log_ratio, _LARGEST)) * (1 + level), _CAP))
        if sum(levels) <= len(levels):
            return RateDetector()
        began = self.began if self.began >= 0 else block
        return RateDetector(tuple(levels), began, self.hits + hits, self.rows + rows)


def detectable(rows: float, least: float) -> float:
    """Return the smallest share of so many rows whose 95 % lower bound reaches `least`; 1 if none does.

    >>> round(detectable(100, 0.01), 2), round(detectable(10_000, 0.01), 3)
    (0.04, 0.013)
    """
    hits = np.arange(math.floor(rows) + 1) if rows < 200 else np.linspace(0, rows, 2001)
    reached = hits[clopper_pearson(hits, np.full(len(hits), rows))[0] >= least]
    return float(reached[0] / rows) if len(reached) else 1.0
