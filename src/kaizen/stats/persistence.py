"""What a forecast without a model could have said: "as last time", with only what was known at the moment.

A stream whose outcomes come in runs makes any model look good: on the electricity prices of New South Wales "as half
an hour ago" is right in 85 % of the rows. Beside such a score a model's own means something. (Bifet, Read, Zliobaite,
Pfahringer & Holmes, *Pitfalls in benchmarking data stream classification*, ECML PKDD 2013, on the no-change classifier;
Zliobaite, *How good is the electricity benchmark for evaluating concept drift adaptation*, arXiv 1301.3524.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def newest_known(asked_at: Int, row_at: Int, known_at: Int, values: Float) -> Float:
    """Return, for each moment, the outcome of the newest row whose outcome was known by then; NaN where none was.

    A row whose outcome was corrected comes twice; the correction counts from when it became known.

    Parameters
    ----------
    asked_at
        When a forecast is asked for, shape (questions,).
    row_at, known_at, values
        When the row was, when its outcome became known, and what it was, shape (outcomes,), in any order; of outcomes
        of one moment that became known together the last one counts.

    Examples
    --------
    Three rows an hour apart, whose outcomes are known ninety minutes later.

    >>> row_at = np.array([0, 60, 120])
    >>> newest_known(np.array([0, 60, 120, 180]), row_at, row_at + 90, np.array([1.0, 2, 3]))
    array([nan, nan,  1.,  2.])
    """
    order = np.argsort(known_at, kind="stable")
    row_at, known_at, values = row_at[order], known_at[order], values[order]
    if not len(order):
        return np.full(len(asked_at), np.nan)
    newest = np.maximum.accumulate(row_at)
    # Where a row is as new as all before it, it is the newest from then on; elsewhere the one before stays so.
    leader = np.maximum.accumulate(np.where(row_at == newest, np.arange(len(row_at)), 0))
    place = np.searchsorted(known_at, asked_at, side="right") - 1
    return np.where(place >= 0, values[leader[np.maximum(place, 0)]], np.nan)


def persistence_rates(turns: Float) -> Float:
    """Return P(1) after a last known 0 and after a last known 1, shape (2,).

    Half a 0 and half a 1 more after each (Krichevsky & Trofimov 1981) keep the log loss of "as last time" finite.

    Parameters
    ----------
    turns
        ``turns[last, now]``: how often `now` followed the last known outcome, shape (2, 2).
    """
    rates: Float = (turns[:, 1] + 0.5) / (turns.sum(axis=1) + 1.0)
    return rates
