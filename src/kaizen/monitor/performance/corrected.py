"""The loss of a day, expected of all days and known of the first of them: the estimate, set right by early labels.

days whose labels are known ─ shown, expected ─┐
days that still wait        ─ expected ────────┴─► prediction-powered mean over days, and its interval
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kaizen.stats.powered import Powered, powered_mean

FEWEST_KNOWN = 5  # days


class Shown(NamedTuple):
    """A day: the mean loss that is expected of its rows, and the one that labels showed, None while they wait."""

    expected: float
    shown: float | None


def corrected(days: Sequence[Shown]) -> Powered | None:
    """Return the mean loss of days like these; None with fewer than `FEWEST_KNOWN` known, or none that waits.

    Days are the independent units. Which of them are known is a matter of time alone: labels of bad days that come
    sooner than those of good ones would mislead it.
    """
    shown = np.array([np.nan if day.shown is None else day.shown for day in days], np.float64)
    known = int(np.isfinite(shown).sum())
    if known < FEWEST_KNOWN or known == len(days):
        return None
    return powered_mean(shown, np.array([day.expected for day in days], np.float64), 1.0)
