"""How long things take to arrive, from things of which some are still on their way.

kaplan_meier    of all things: which share has come by an age       the rest may come later or never
arrived_by      of those that come at all: which share by an age    told by the ones that have come

Ages are in bins; a share at edge j is the share that came within the first j bins.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Float = NDArray[np.float64]


class Arrived(NamedTuple):
    """The share that has come by each edge of the bins, with its band; shape (bins + 1,), the first is age 0."""

    share: Float
    low: Float
    high: Float


def kaplan_meier(events: Float, at_risk: Float, *, level: float = 0.95) -> Arrived:
    """Return the share that has come by each age, where some have been watched for a short while only.

    The product of ``1 - events / at_risk`` is the share that is still to come (Kaplan & Meier, *Journal of the American
    Statistical Association* 53 (1958)); its variance is Greenwood's (1926), on the scale of log(-log) so that the band
    stays within 0 and 1 (Kalbfleisch & Prentice, *The Statistical Analysis of Failure Time Data* (1980), section 1.3).
    Assumes that how long a thing is watched says nothing about when it comes, and independent things.

    Parameters
    ----------
    events
        How many came in each bin of age, shape (bins,).
    at_risk
        How many had not come before it and were watched to its end, shape (bins,).
    level
        Coverage of the band at one age.

    Examples
    --------
    Ten things, watched for good: five came in the first bin, and of the other five two in the second.

    >>> kaplan_meier(np.array([5.0, 2.0]), np.array([10.0, 5.0])).share.round(6).tolist()
    [0.0, 0.5, 0.7]
    """
    hazard = np.divide(events, at_risk, out=np.zeros(len(events)), where=at_risk > 0)
    waiting = np.cumprod(1.0 - np.minimum(hazard, 1.0))  # (bins,)
    rest = at_risk * (at_risk - events)
    terms = np.divide(events, rest, out=np.zeros(len(events)), where=rest > 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        reach = float(ndtri(0.5 + level / 2)) * np.sqrt(np.cumsum(terms)) / np.log(waiting)
        low, high = waiting ** np.exp(reach), waiting ** np.exp(-reach)
    inside = (waiting > 0) & (waiting < 1)
    start = np.zeros(1)
    return Arrived(
        np.concatenate((start, 1.0 - waiting)),
        np.concatenate((start, 1.0 - np.where(inside, np.maximum(low, high), waiting))),
        np.concatenate((start, 1.0 - np.where(inside, np.minimum(low, high), waiting))),
    )


def arrived_by(events: Float, up_to: Float) -> Float:
    """Return, of the things that come within the bins, the share that has come by each age, shape (bins + 1,).

    Only things that have come are looked at, and of recent ones only quick arrivals can have been: they are truncated
    on the right. Read backwards in age, that is truncation on the left, and the product over later bins of
    ``1 - events / up_to`` is the share (Lagakos, Barraj & De Gruttola, *Biometrika* 75 (1988); Kalbfleisch & Lawless,
    *Journal of the American Statistical Association* 84 (1989), on AIDS reported late). What is known only once a thing
    has come, such as the value of a label, may split the things: no curve of those still on their way could.

    Parameters
    ----------
    events
        How many came in each bin, of those watched to its end, shape (bins,).
    up_to
        How many of those came in it or earlier, shape (bins,).

    Examples
    --------
    Four of the first day, watched for two bins, and two of the next, watched for one.

    >>> arrived_by(np.array([2.0 + 2.0, 2.0]), np.array([2.0 + 2.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    hazard = np.divide(events, up_to, out=np.zeros(len(events)), where=up_to > 0)
    hazard[0] = 1.0 if len(hazard) else 0.0
    return np.append(np.cumprod((1.0 - hazard)[::-1])[::-1], 1.0)
