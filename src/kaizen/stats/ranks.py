"""Is today unlike the days before it? Ranks among past days as evidence that adds up, whatever the distribution.

    days so far, weekdays aside ─► rank of the last ─► bets on it, each of mean 1 ─► an e-detector (`detectors.py`)

Where days are exchangeable the rank of each new one among those before it is uniform and independent of the earlier
ranks. Unlike `conformal.py`, whose p-values are broken up by chance, this is for few values without ties: bets are
made exact for the number of days, and the same days give the same evidence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

# p**(power - 1): small powers stake much on the very first rank, which is what a loud change brings; large ones on
# the upper third, which a quiet one does.
POWERS = np.array([0.1, 0.25, 0.5])


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
