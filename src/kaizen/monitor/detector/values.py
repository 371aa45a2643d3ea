"""One stream of values, each on its own: ranked among all before it, bet on, and the bets added up.

For values that are exchangeable while nothing changes. Values that resemble their neighbours go in blocks
(`columns/stream.py`); one value at a time they would look like a change again and again.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kaizen.monitor.columns.binning import Bins
from kaizen.stats.bets import Bets
from kaizen.stats.conformal import ranks
from kaizen.stats.detectors import Account

Float: TypeAlias = NDArray[np.float64]

FEW = 12  # filled bins: values that are told apart one by one
HEAVY = 0.05  # share of a bin that is bet on by itself among many
INTERVALS = 16  # that the learner tells apart


class Values:
    """The state of a stream of single values.

    Parameters
    ----------
    bins
        Those of the reference.
    counts
        Of the reference, shape (bins,).
    chance
        Breaks ties among values of one bin.
    """

    def __init__(self, bins: Bins, counts: NDArray[np.int64], chance: np.random.Generator) -> None:
        self._bins = bins
        self._bag = np.array(counts, np.int64)
        self._chance = chance
        self._bets = bets_of(bins, counts)
        self.account = Account(self._bets.weights)

    def rest(self) -> None:
        """Start anew: what was seen stays in the bag, the evidence goes."""
        self.account.clear()
        self._bets.forget()

    def advance(self, codes: NDArray[np.int64], first: int) -> Float:
        """Take values in, and return the evidence after each, shape (values,).

        Parameters
        ----------
        codes
            Their bins; at most a few hundred.
        first
            The number of the first, counted from the beginning of the stream.
        """
        p = ranks(self._bag, codes, self._chance.random(len(codes)))
        return self.account.advance(self._bets.log_factors(p), first)


def bets_of(bins: Bins, counts: NDArray[np.int64]) -> Bets:
    """Return the bets that suit the reference: on a few values one by one, on many by how they may move."""
    masses = (counts + 0.5) / (counts + 0.5).sum()
    filled = np.flatnonzero(counts)
    is_few = len(filled) <= FEW
    groups = _groups(masses, 1.0 / INTERVALS)
    grouped = np.add.reduceat(masses, groups)
    if is_few or bins.edges is None:
        heavy = np.argsort(-grouped, kind="stable")[:FEW]
    else:
        edges = np.append(groups, len(masses))
        alone = np.diff(edges) == 1
        heavy = np.flatnonzero(alone & (grouped >= HEAVY))
    ordered = bins.edges is not None
    return Bets(grouped, ordered=ordered, heavy=heavy.tolist())


def _groups(masses: Float, least: float) -> NDArray[np.int64]:
    """Return where groups of neighbouring bins begin: each of the least mass or more, a heavy bin by itself."""
    starts, held, alone = [0], 0.0, False
    for place_, mass in enumerate(masses.tolist()):
        if place_ and (alone or held >= least or mass >= least):
            starts.append(place_)
            held = 0.0
        held, alone = held + mass, mass >= least
    return np.array(starts, np.int64)
