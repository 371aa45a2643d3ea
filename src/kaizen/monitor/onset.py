"""Has a column drifted, or was it never what the model was trained on? The first window of a new champion tells.

reference │ day 1 │ days 2 … 7 │            drift: as ever at first, and then another
          └ ≠ ────┴── = ───────┘            skew:  another from the first day on, and it stays
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kaizen.stats.distances import INDEPENDENT, Spread, chi2_test, js_distance

_LEVEL: Final = 0.01
_MOST_GAP_DAYS: Final = 14.0  # between the last training row and the first answer: in longer ones the world moves


def is_skew(
    reference: NDArray[np.int64],
    first_day: NDArray[np.int64],
    window: NDArray[np.int64],
    *,
    matters: float,
    spread: Spread = INDEPENDENT,
    gap_days: float = 0.0,
) -> bool:
    """Say whether a column that differs over the first window of a champion did so from its first day on.

    It did if that day alone shows both keys of drift (chi2, p < 0.01, and the distance that matters), and the rest
    of the window lies less than half as far from that day as the reference does. After a gap of more than two weeks
    between the training rows and the first answer nobody can tell, and it is called drift.

    Parameters
    ----------
    reference, first_day, window
        Counts by bin, that of missing values included, shape (bins,); the window contains its first day.
    matters
        The debiased Jensen-Shannon distance from which on a drift matters.
    spread
        How the days of the reference differ.
    gap_days
        From the end of the training rows to the first answer.
    """
    before, day, rest = (np.asarray(c, np.float64) for c in (reference, first_day, np.subtract(window, first_day)))
    if gap_days > _MOST_GAP_DAYS or not day.sum() or not rest.sum():
        return False
    p_value, _ = chi2_test(before, day, spread)
    away = js_distance(before, day, spread)
    return p_value < _LEVEL and away >= matters and js_distance(day, rest, spread) < away / 2


def skew_says(column: str, first_day: str, version: int) -> str:
    """Return the sentence for a column that `is_skew` is true of; its question is `kaizen.monitor.skew.QUESTION`."""
    return (
        f"{column} has differed from the training rows since the first day on which bundle {version} answered"
        f" ({first_day}), and has stayed as it was then: more likely serving fills it in another way than training"
        " than that the world has changed. kaizen monitor skew compares the two row by row."
    )
