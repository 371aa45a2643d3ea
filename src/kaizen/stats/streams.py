"""Many streams under one promise: the mean of their e-detectors, and which of them to name.

e-detector of each stream ─► weighted mean ─► alarm at 1/alpha            (does anything move?)
                          └► e-BH at alpha ─► the streams that are named  (what moves?)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaizen.stats.detectors import BETS, CAP
from kaizen.stats.ebh import e_bh

Float = NDArray[np.float64]


class Streams(NamedTuple):
    """Where the e-detectors of several streams stand; one entry a stream.

    For fixed weights that add up to 1, their weighted mean is an e-detector whatever the streams have to do with each
    other, so that the mean time to a false alarm at 1/alpha is at least 1/alpha, however many streams there are (Shin,
    Ramdas & Rinaldo, *New England Journal of Statistics in Data Science* 2 (2024), section 2; Dandapanthula & Ramdas,
    arXiv 2501.04130, on the global null).
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    levels: tuple[float, ...]

    @property
    def evidence(self) -> float:
        """The weighted mean, to be held against 1/alpha; 0 without streams."""
        return float(np.dot(self.weights, self.levels)) if self.names else 0.0

    def named(self, alpha: float) -> tuple[str, ...]:
        """Return the streams that e-BH names, the strongest first; of error over patience alpha."""
        kept = np.flatnonzero(e_bh(self.levels, alpha))
        return tuple(self.names[at] for at in sorted(kept.tolist(), key=lambda at: -self.levels[at]))


def risk_levels(scores: Float, bounds: Float) -> Float:
    """Return the level of an e-detector for "the mean has risen over the bound" after all blocks, for many streams.

    The mixture of Shiryaev-Roberts detectors of `kaizen.stats.detectors.RiskDetector`, all streams at once.

    Parameters
    ----------
    scores
        One value in 0..1 a stream and block, in order of time, shape (streams, blocks); NaN where a stream has none.
    bounds
        Of the mean before a change, above 0, shape (streams,).
    """
    bets = np.asarray(BETS)
    levels = np.zeros((len(scores), len(bets)))
    for block in scores.T:
        known = np.isfinite(block)
        factor = 1 + bets * (block[known] / bounds[known] - 1)[:, None]
        levels[known] = np.minimum(factor * (1 + levels[known]), CAP)
    return np.asarray(levels.mean(axis=1))
