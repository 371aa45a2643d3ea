"""Bets on p-values: how values may have changed, each a density on [0, 1], so that its mean is 1 while nothing does.

| bet           | what it expects                                        | best at                            |
|---------------|--------------------------------------------------------|------------------------------------|
| up, down      | a shift by so many standard deviations                 | means                              |
| wider, narrower | a spread so many times as large                      | variances                          |
| skew, tails   | the third and fourth Legendre polynomial               | shapes with the same mean and variance |
| odds          | one interval of p so many times as likely              | rates, categories, single values   |
| learner       | what the last few hundred values were like             | whatever the others do not expect  |

The average of bets is a bet: it pays for those that are wrong with a delay of about log(bets), not with false alarms.
The first two are likelihood ratios of normal values, at the normal score of p; the polynomials are Neyman's smooth
alternatives (*Skandinavisk Aktuarietidskrift* 20 (1937)); the learner is the histogram betting martingale of Fedorova,
Gammerman, Nouretdinov & Vovk, *Plug-in martingales for testing exchangeability on-line*, ICML (2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Float: TypeAlias = NDArray[np.float64]

SHIFTS = (0.25, 0.5, 1.0)
SPREADS = (0.65, 1.4)
SMOOTH = 0.9  # of the polynomials, which lie between -1 and 1
ODDS = (0.5, 1.5, 2.5)
PRIOR = 20.0  # values that the learner's first guess is worth
DECAY = 0.99  # of what the learner remembers, a value
_WEIGHTS = {"shift": 0.6, "spread": 0.15, "smooth": 0.1, "learner": 0.15}
_WEIGHTS_OF_FEW = {"odds": 0.6, "learner": 0.4}
_WEIGHTS_OF_SOME = {"shift": 0.35, "spread": 0.05, "smooth": 0.05, "odds": 0.35, "learner": 0.2}


class Bets:
    """The bets on the values of one stream, and what the learner remembers of them.

    Parameters
    ----------
    masses
        The share of the reference in each interval that is bet on, in order, shape (intervals,), summing to 1.
    ordered
        Whether values have an order: then they may shift and spread.
    heavy
        Which intervals are bet on by odds; empty: none.
    """

    def __init__(self, masses: Float, *, ordered: bool, heavy: Sequence[int]) -> None:
        self._masses = np.maximum(np.asarray(masses, np.float64), 1e-6)
        self._cuts = np.cumsum(self._masses)[:-1]
        self._heavy = np.asarray(heavy, np.int64)
        self._ordered = ordered and len(masses) > 2
        weights = _WEIGHTS_OF_FEW if not self._ordered else _WEIGHTS_OF_SOME if len(heavy) else _WEIGHTS
        sizes = {
            "shift": 2 * len(SHIFTS),
            "spread": len(SPREADS),
            "smooth": 4,
            "odds": len(ODDS) * len(heavy),
            "learner": 1,
        }
        used = {name: share for name, share in weights.items() if sizes[name]}
        parts = [np.full(sizes[name], share / sizes[name] / sum(used.values())) for name, share in used.items()]
        self.weights = np.concatenate(parts)
        self._learned = np.zeros(len(masses))

    def log_factors(self, p: Float) -> Float:
        """Return the logarithm of each bet's factor, shape (values, bets), and learn from the values.

        The learner's factor of a value rests on those before it only. At most a few hundred values at a time.
        """
        at = np.searchsorted(self._cuts, p, side="right")
        parts = []
        if self._ordered:
            score = ndtri(p)[:, None]
            sizes = np.array([sign * size for size in SHIFTS for sign in (1.0, -1.0)])
            parts.append(sizes * score - sizes * sizes / 2)
            spreads = np.array(SPREADS)
            parts.append(-0.5 * score * score * (1 / spreads**2 - 1) - np.log(spreads))
            u = 2 * p - 1
            third, fourth = (5 * u**3 - 3 * u) / 2, (35 * u**4 - 30 * u * u + 3) / 8
            signed = np.stack((third, -third, fourth, -fourth), axis=1)
            parts.append(np.log1p(SMOOTH * signed))
        if len(self._heavy):
            parts.append(self._odds(at))
        parts.append(self._learner(at)[:, None])
        return np.concatenate(parts, axis=1)

    def _odds(self, at: NDArray[np.int64]) -> Float:
        odds = np.array(ODDS)
        shares = self._masses[self._heavy]
        outside = -np.log1p(np.multiply.outer(shares, odds - 1))  # (heavy, odds)
        inside = (at[:, None] == self._heavy)[:, :, None] * np.log(odds)
        return np.asarray((outside + inside).reshape(len(at), -1))

    def _learner(self, at: NDArray[np.int64]) -> Float:
        ones = np.zeros((len(at), len(self._masses)))
        ones[np.arange(len(at)), at] = 1.0
        ages = DECAY ** np.arange(len(at) + 1)  # what is remembered of the first after so many
        recent = np.vstack((np.zeros_like(ones[:1]), np.cumsum(ones / ages[1:, None], axis=0)))
        seen = ages[:, None] * (self._learned + recent)  # before each value, and after the last
        self._learned = seen[-1]
        guess = (PRIOR * self._masses + seen[:-1]) / (PRIOR + seen[:-1].sum(axis=1, keepdims=True))
        return np.asarray(np.log(guess[np.arange(len(at)), at] / self._masses[at]))

    def forget(self) -> None:
        """Forget what the learner has seen."""
        self._learned = np.zeros_like(self._learned)
