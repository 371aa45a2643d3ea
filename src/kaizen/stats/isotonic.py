"""The least-squares fit that never falls: how scores become probabilities, and expected losses losses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

Float = NDArray[np.float64]


class Steps(NamedTuple):
    """The steps of an isotonic fit from left to right, one entry a step in every array."""

    centre: Float  # mean x of its rows
    height: Float  # mean y of its rows, never falling
    weight: Float  # of its rows

    def at(self, x: Float) -> Float:
        """Return the fit at x, the middles of the steps joined by lines and level beyond the outer ones.

        Joined middles keep apart what one step makes equal, at the same mean squared error to first order (Oron &
        Flournoy, *Statistics in Biopharmaceutical Research* 9 (2017), on centred isotonic regression).
        """
        return np.asarray(np.interp(x, self.centre, self.height))


def steps(x: Float, y: Float, weight: Float | None = None) -> Steps:
    """Return the weighted isotonic regression of y on x (Barlow, Bartholomew, Bremner & Brunk 1972, section 1.2).

    Parameters
    ----------
    x, y
        Shape (rows,), in any order; rows of equal x keep the order in which they are given.
    weight
        Shape (rows,), not negative; rows of weight 0 are left out. None: all alike.

    Examples
    --------
    >>> steps(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 3.0, 1.0, 5.0])).height
    array([0., 2., 5.])
    """
    if weight is not None:
        kept = weight > 0
        x, y, weight = x[kept], y[kept], weight[kept]
    if len(x) == 0:
        return Steps(np.zeros(0), np.zeros(0), np.zeros(0))
    order = np.argsort(x, kind="stable")
    mass = np.ones(len(x)) if weight is None else weight[order]
    starts = np.asarray(isotonic_regression(y[order], weights=mass).blocks)[:-1]
    size = np.add.reduceat(mass, starts)
    centre = np.add.reduceat(mass * x[order], starts) / size
    return Steps(centre, np.add.reduceat(mass * y[order], starts) / size, size)
