"""How much an estimate, and what labels later show of it, moves from day to day while nothing changes.

What detectors without labels are scaled by: a day's estimate is a figure like any other, and has a usual range.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Task
from kaizen.monitor.estimates.outcomes import Expectation, Outcomes, outcome_of
from kaizen.stats.expected import LOWER_IS_BETTER, figure
from kaizen.stats.intervals import t_bounds

Float: TypeAlias = NDArray[np.float64]

FEWEST_DAYS = 5
_TOLERANCE = 0.01  # relative: what rises by less is not worth a page
CHECKED: dict[Task, str] = {"classification": "brier", "regression": "mae"}
"""The loss of a row by which labels check the estimates: bounded, or as light in its tails as there is."""


class Daily(msgspec.Struct, frozen=True, kw_only=True):
    """The usual range of a day's estimate and of its miss, both on a scale from 0 to 1.

    A day's estimate of the metric (its negative where higher is better) is rescaled so that ``floor`` is 0 and
    ``ceiling`` 1; ``bound`` is the upper 95 % bound of the mean of days so rescaled. A day's miss, the mean loss that
    labels showed less the one that was expected, is rescaled so that a miss of ``-reach`` is 0 and of ``reach`` is 1;
    ``miss_bound`` is the largest mean that an honest estimate can have by the reference, on either side.
    """

    days: int
    least_rows: int  # a day with fewer is passed over
    floor: float
    ceiling: float
    bound: float
    reach: float
    miss_bound: float

    def badness(self, metric: str, value: float) -> float:
        """Return a day's estimate on the scale from 0 to 1, the higher the worse."""
        bad = value if metric in LOWER_IS_BETTER else -value
        return min(max((bad - self.floor) / (self.ceiling - self.floor), 0.0), 1.0)

    def miss(self, difference: float) -> float:
        """Return a day's difference of shown and expected loss on the scale from 0 to 1; 0.5 is none."""
        return min(max(0.5 + difference / (2 * self.reach), 0.0), 1.0)


def expected_figure(outcomes: Outcomes, metric: str, counts: Float, told: Expectation) -> float:
    """Return what is expected of the metric on so many rows in each bin."""
    return figure(metric, np.asarray(outcomes.centres), counts, counts * told.mean, counts * told.variance).value


def fit(
    outcomes: Outcomes, metric: str, score: Float, outcome: Float, groups: NDArray[np.int64], blocks: NDArray[np.int64]
) -> Daily | None:
    """Return the usual range of these days; None with fewer than `FEWEST_DAYS`.

    Parameters
    ----------
    score, outcome, groups
        Of rows of the reference, shape (rows,): as `table` took them and the groups that it gave.
    blocks
        The day of each row.
    """
    days, member = np.unique(blocks, return_inverse=True)
    rows = np.bincount(member)
    least = max(1, int(np.median(rows)) // 10)
    told = outcomes.expect(outcome_of(metric, outcomes.task), jackknife=False)
    place = outcomes.place(score)
    counts = np.bincount(member * outcomes.size + place, minlength=len(days) * outcomes.size).reshape(len(days), -1)
    used = np.flatnonzero(rows >= least)
    bad = np.array([expected_figure(outcomes, metric, counts[day].astype(np.float64), told) for day in used])
    bad = bad if metric in LOWER_IS_BETTER else -bad
    misses = np.bincount(member, _missed(outcomes, score, outcome, groups, place)) / rows
    used, bad = used[np.isfinite(bad)], bad[np.isfinite(bad)]
    if len(bad) < FEWEST_DAYS:
        return None
    centre, deviation = float(bad.mean()), _deviation(bad)
    floor, ceiling = centre - 2 * deviation, centre + 4 * deviation
    scaled = np.clip((bad - floor) / (ceiling - floor), 0.0, 1.0)
    reach = 4 * _deviation(misses[used])
    # The rows that fitted the estimate may mislead it by as much as the mean of their days can be off.
    uncertain = -t_bounds(misses[used] - misses[used].mean(), alpha=0.1)[0]
    return Daily(
        days=len(bad),
        least_rows=least,
        floor=floor,
        ceiling=ceiling,
        bound=min(1.0, t_bounds(scaled, alpha=0.1)[1] + _TOLERANCE * abs(centre) / (ceiling - floor)),
        reach=reach,
        miss_bound=min(1.0, 0.5 + uncertain / (2 * reach)),
    )


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
