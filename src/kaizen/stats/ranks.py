"""Is today unlike the days before it? Ranks among past days as evidence that adds up, whatever the distribution.

    days so far ─► rank of the last ─► bets on it, each of mean 1 ─► R_t = bet (1 + R_{t-1}) ─► alarm at the limit

Where days are exchangeable the rank of each new one among those before it is uniform and independent of the earlier
ranks, so the mean time to a false alarm at R >= limit is at least the limit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

# p**(power - 1): small powers stake much on the very first rank, which is what a loud change brings; large ones on
# the upper third, which a quiet one does.
POWERS = np.array([0.1, 0.25, 0.5])
_CAP = 1e12


def rank_bets(ranks: NDArray[np.int64], counts: NDArray[np.int64]) -> Float:
    """Return what bets on a high score pay, shape (days, bets); each has mean 1 where scores are exchangeable.

    A bet pays ``(k / n)**(power - 1)`` over the mean of that for all ranks k of n. For exchangeable scores the
    conformal p-values k / n are independent (Vovk, Nouretdinov & Gammerman, *Testing exchangeability on-line*, ICML
    2003), and power martingales are theirs; the division makes the bets exact for few days without random numbers.

    Parameters
    ----------
    ranks
        Of each day's score among the scores up to it, from the top: how many are at least as large, itself included.
        So ties only lessen the evidence. Shape (days,).
    counts
        How many scores there were, shape (days,).
    """
    most = int(counts.max(initial=0))
    powers = np.arange(1, most + 1, dtype=np.float64)[:, None] ** (POWERS - 1.0)  # (ranks, bets); n cancels out
    means = np.cumsum(powers, axis=0) / np.arange(1, most + 1)[:, None]
    bets: Float = powers[ranks - 1] / means[counts - 1]
    return bets


def weekday_ranks(values: Float, weekdays: NDArray[np.int64], *, least: int = 4) -> NDArray[np.int64]:
    """Return the rank of each day among the days up to it, from the top, by how far it lies above its weekday's mean.

    A distance from the mean is divided by ``sqrt(1 - 1/m)``, m the days of that weekday so far, because the mean
    contains the value itself: with that the variance is the same for all weekdays, and ranks may be taken over all of
    them. It is a function of the days up to then that does not depend on their order, as conformal ranks need. While
    some weekday has fewer than `least` days, values are compared with the mean of all.

    Parameters
    ----------
    values
        One a day, shape (days,); or several, such as those of its hours, shape (days, values): then a day is far up
        when the sum of the distances, in either direction, is large.
    weekdays
        0 to 6, shape (days,).
    """
    values = np.asarray(values, dtype=np.float64)
    days = len(values)
    if days == 0:
        return np.zeros(0, np.int64)
    held = np.cumsum(np.eye(7)[weekdays], axis=0)  # (days, 7): of each weekday up to then
    told_apart = np.min(np.where(held > 0, held, np.inf), axis=1) >= least
    of_weekday = np.cumsum(np.eye(7)[weekdays][..., None] * values.reshape(days, 1, -1), axis=0)  # (days, 7, values)
    of_all, so_far = of_weekday.sum(axis=1), np.arange(1.0, days + 1)
    sums = np.where(told_apart[:, None, None], of_weekday[:, weekdays], of_all[:, None])  # (up to, day, values)
    size = np.where(told_apart[:, None], held[:, weekdays], so_far[:, None])
    away = values.reshape(1, days, -1) - sums / np.maximum(size, 1)[..., None]
    scores = away[..., 0] if values.ndim == 1 else np.abs(away).sum(axis=2)
    scores = scores / np.sqrt(np.maximum(1 - 1 / np.maximum(size, 1), 1e-9))
    above = scores >= np.diagonal(scores)[:, None]
    ranks: NDArray[np.int64] = np.count_nonzero(np.tril(above), axis=1)
    return ranks


def change_evidence(bets: Float) -> float:
    """Return the evidence of a mixture of Shiryaev-Roberts e-detectors.

    The level of each bet is ``R_t = L_t (1 + R_{t-1})``; the evidence is their mean. Where each L has mean at most 1
    given the past, the mean time until it reaches a limit is at least the limit (Shin, Ramdas & Rinaldo, *New England
    Journal of Statistics in Data Science* 2 (2024), section 2).

    Parameters
    ----------
    bets
        What they paid at each block, shape (blocks, bets).
    """
    levels = np.zeros(bets.shape[1])
    for paid in bets:
        levels = np.minimum(paid * (1 + levels), _CAP)
    return float(levels.mean())


def change_start(ranks: NDArray[np.int64], counts: NDArray[np.int64]) -> int | None:
    """Return the place at which high ranks probably began, None if the last ones are not high.

    A CUSUM (Page 1954) of ``-log(k / n) - 2``: without a change its steps have mean -1, so a lucky day is forgotten in
    two others, which the bets themselves would remember for weeks.
    """
    height, start = 0.0, 0
    for at, step in enumerate((-np.log(ranks / counts) - 2.0).tolist()):
        start = start if height > 0 else at
        height = max(0.0, height + step)
    return start if height > 0 else None
