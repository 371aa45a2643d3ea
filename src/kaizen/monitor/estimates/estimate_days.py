"""How much an estimate, and what labels later show of it, moves from day to day while nothing changes.

What detectors without labels are scaled by: a day's estimate is a figure like any other, and has a usual range.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Task
from kaizen.monitor.daily import DailyBound, daily_bound
from kaizen.monitor.estimates.outcomes import Expectation, Outcomes, outcome_of
from kaizen.stats.expected import LOWER_IS_BETTER, figure
from kaizen.stats.intervals import t_bounds

Float: TypeAlias = NDArray[np.float64]

CHECKED: dict[Task, str] = {"classification": "brier", "regression": "mae"}
"""The loss of a row by which labels check the estimates: bounded, or as light in its tails as there is."""


class Daily(msgspec.Struct, frozen=True, kw_only=True):
    """The usual range of a day's estimate and of its miss, both on a scale from 0 to 1.

    ``estimate`` is of the metric, or of its negative where higher is better. A day's miss, the mean loss that labels
    showed less the one that was expected, is rescaled so that a miss of ``-reach`` is 0 and of ``reach`` is 1;
    ``miss_bound`` is the largest mean that an honest estimate can have by the reference, on either side.
    """

    estimate: DailyBound
    reach: float
    miss_bound: float

    def badness(self, metric: str, value: float) -> float:
        """Return a day's estimate on the scale from 0 to 1, the higher the worse."""
        return self.estimate.score(value if metric in LOWER_IS_BETTER else -value)

    def miss(self, difference: float) -> float:
        """Return a day's difference of shown and expected loss on the scale from 0 to 1; 0.5 is none."""
        return min(max(0.5 + difference / (2 * self.reach), 0.0), 1.0)


def expected_figure(outcomes: Outcomes, metric: str, counts: Float, told: Expectation) -> float:
    """Return what is expected of the metric on so many rows in each bin."""
    return figure(metric, np.asarray(outcomes.centres), counts, counts * told.mean, counts * told.variance).value


def fit(
    outcomes: Outcomes, metric: str, score: Float, outcome: Float, groups: NDArray[np.int64], blocks: NDArray[np.int64]
) -> Daily | None:
    """Return the usual range of these days; None with too few of them (`daily_bound`).

    Parameters
    ----------
    score, outcome, groups
        Of rows of the reference, shape (rows,): as `table` took them and the groups that it gave.
    blocks
        The day of each row.
    """
    days, member = np.unique(blocks, return_inverse=True)
    rows = np.bincount(member)
    told = outcomes.expect(outcome_of(metric, outcomes.task), jackknife=False)
    place = outcomes.place(score)
    counts = np.bincount(member * outcomes.size + place, minlength=len(days) * outcomes.size).reshape(len(days), -1)
    figures = np.array([expected_figure(outcomes, metric, each.astype(np.float64), told) for each in counts])
    bad = figures if metric in LOWER_IS_BETTER else -figures
    usual = daily_bound(bad, rows, least=-np.inf)
    if usual is None:
        return None
    misses = np.bincount(member, _missed(outcomes, score, outcome, groups, place)) / rows
    misses = misses[np.isfinite(bad) & (rows >= usual.least_rows)]
    reach = 4 * _deviation(misses)
    # The rows that fitted the estimate may mislead it by as much as the mean of their days can be off.
    uncertain = -t_bounds(misses - misses.mean(), alpha=0.1)[0]
    return Daily(estimate=usual, reach=reach, miss_bound=min(1.0, 0.5 + uncertain / (2 * reach)))


def _deviation(values: Float) -> float:
    return max(float(values.std(ddof=1)), 1e-9 + 1e-3 * abs(float(values.mean())))


def _missed(
    outcomes: Outcomes, score: Float, outcome: Float, groups: NDArray[np.int64], place: NDArray[np.int64]
) -> Float:
    """Return of each row its loss less the one expected by the other groups."""
    if outcomes.task == "regression":
        return np.asarray(outcome - outcomes.expect("absolute").without[groups, place])
    chance = outcomes.expect("positive").without[groups, place]
    return np.asarray((outcome - score) ** 2 - (chance * (1 - score) ** 2 + (1 - chance) * score**2))
