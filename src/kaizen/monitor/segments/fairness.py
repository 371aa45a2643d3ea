"""Are groups of people treated less alike than when the model was made? Rates by group, their gaps, over time.

| rate             | of a group's rows                         | known                   |
|------------------|-------------------------------------------|-------------------------|
| selection rate   | the share whose answer is a half or more  | at once, without labels |
| true positives   | the same, of those that were positive     | when labels are mature  |
| false positives  | the same, of those that were negative     | when labels are mature  |
| loss             | the mean, over the reference's mean       | when labels are mature  |

The gap of a rate is the largest group's less the smallest's, so that no group has to be the norm. Two keys must turn:

    evidence   a group's rate less that of all others, by day, has left what it was in the reference: e-detectors on
               both sides of every group, and their mean
    effect     the gap of a window has grown by `MATTERS` or more against the reference

A gap that was there from the start is shown and never pages: it is for who accepts the model. Of a regression only the
loss is compared. With few rows of a group in a day its rates of that day are passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from kaizen.core.records import Column, Task
from kaizen.graph.frame import Frame
from kaizen.monitor.columns.groups import LEAST_ROWS, Groups, groups_of
from kaizen.monitor.daily import DailyBound, daily_bound
from kaizen.stats.differences import difference_interval, wilson

Float = NDArray[np.float64]
Int = NDArray[np.int64]

Rate: TypeAlias = Literal["selection rate", "true positive rate", "false positive rate", "loss"]
AT_ONCE: tuple[Rate, ...] = ("selection rate",)
WITH_LABELS: tuple[Rate, ...] = ("true positive rate", "false positive rate", "loss")
MATTERS = 0.05  # a gap that has grown by so much
RESOLVES_BELOW = 0.04
FEWEST_IN_A_DAY = 5  # rows that a group's rate of a day rests on
MOST_GROUPS = 6


class GroupRate(NamedTuple):
    """A rate of one group with its 95 % interval."""

    value: float
    low: float
    high: float


class Gap(msgspec.Struct, frozen=True):
    """The gap of a rate over some days: between the groups with the largest and the smallest, with its interval."""

    value: float
    low: float
    high: float
    largest: str
    smallest: str


class RateReference(msgspec.Struct, frozen=True):
    """A rate in the reference: its gap, and by group what its distance to the other groups was by day, both ways."""

    rate: Rate
    gap: Gap
    above: tuple[DailyBound | None, ...]
    below: tuple[DailyBound | None, ...]


class FairnessReference(msgspec.Struct, frozen=True):
    """A listed column: its groups, and what was usual; ``scale`` is the mean loss that losses are shares of."""

    groups: Groups
    rates: tuple[RateReference, ...]
    scale: float


class Tally(NamedTuple):
    """Sums by group, each (groups,): the rate of a group is ``top / bottom``."""

    top: Float
    bottom: Float


def fit(
    columns: Sequence[Column],
    listed: Collection[str],
    frame: Frame,
    outputs: Float,
    target: Float,
    losses: Float,
    blocks: Int,
    *,
    task: Task,
) -> tuple[FairnessReference, ...]:
    """Return the reference of the listed columns, from rows that the model had not seen.

    Parameters
    ----------
    outputs, target, losses, blocks
        Answers, labels, losses (cut at the cap of the reference) and days, shape (rows,).
    """
    scale = float(losses.mean()) if len(losses) else 0.0
    if not scale > 0:
        return ()
    found = []
    for column in columns:
        values = frame[column.name] if column.name in listed else None
        groups = None if values is None else groups_of(column.name, column.type, values, most=MOST_GROUPS)
        if values is None or groups is None or len(groups) < 2:
            continue
        codes = groups.codes(values)
        days = [
            tallies(codes[rows], len(groups), outputs[rows], target[rows], losses[rows], scale=scale, task=task)
            for rows in (np.flatnonzero(blocks == day) for day in np.unique(blocks))
        ]
        rates = (_rate_reference(rate, [day[rate] for day in days], groups) for rate in days[0])
        found.append(FairnessReference(groups, tuple(rate for rate in rates if rate is not None), scale))
    return tuple(found)


def tallies(
    codes: Int, groups: int, outputs: Float, target: Float | None, losses: Float | None, *, scale: float, task: Task
) -> dict[Rate, Tally]:
    """Return the sums of a day that its rates are made of; those that need labels only where there are any.

    Parameters
    ----------
    codes
        The group of each row, shape (rows,), -1 for none.
    outputs, target, losses
        Answers, labels and losses, shape (rows,).
    """

    def summed(of: NDArray[np.bool_], values: Float) -> Tally:
        rows = of & (codes >= 0)
        count = np.bincount(codes[rows], minlength=groups).astype(np.float64)
        return Tally(np.bincount(codes[rows], values[rows], groups).astype(np.float64), count)

    everyone = np.ones(len(codes), np.bool_)
    found: dict[Rate, Tally] = {}
    selected = (outputs >= 0.5).astype(np.float64)
    if task == "classification":
        found["selection rate"] = summed(everyone, selected)
    if target is None or losses is None:
        return found
    if task == "classification":
        found["true positive rate"] = summed(target > 0.5, selected)
        found["false positive rate"] = summed(target <= 0.5, selected)
    found["loss"] = summed(everyone, losses / scale)
    return found


def _rate_reference(rate: Rate, days: Sequence[Tally], groups: Groups) -> RateReference | None:
    gap = gap_of(rate, days, groups)
    if gap is None:
        return None
    distances = np.array([distance(day) for day in days])  # (days, groups)
    rows = np.array([day.bottom for day in days]).astype(np.int64)
    enough = rows.sum(axis=0) >= LEAST_ROWS // 4
    streams = 2 * len(groups)
    above, below = (
        tuple(
            daily_bound(sign * distances[:, g], rows[:, g], least=-np.inf, streams=streams) if enough[g] else None
            for g in range(len(groups))
        )
        for sign in (1.0, -1.0)
    )
    return RateReference(rate, gap, above, below)


def distance(day: Tally) -> Float:
    """Return each group's rate less that of all others, (groups,); NaN where a side has too few rows."""
    others = Tally(day.top.sum() - day.top, day.bottom.sum() - day.bottom)
    enough = (day.bottom >= FEWEST_IN_A_DAY) & (others.bottom >= FEWEST_IN_A_DAY)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(enough, day.top / day.bottom - others.top / others.bottom, np.nan)


def group_rates(rate: Rate, days: Sequence[Tally]) -> list[GroupRate | None]:
    """Return the rate of each group over some days, with an interval for which days are independent; None: no rows.

    The interval is that of a ratio of daily sums (Cochran, *Sampling Techniques* (1977), section 6.3), and of a
    proportion never narrower than Wilson's, which takes rows as independent.
    """
    top, bottom = (np.array([getattr(day, name) for day in days]) for name in ("top", "bottom"))  # (days, groups)
    found: list[GroupRate | None] = []
    for hits, rows in zip(top.T, bottom.T, strict=True):
        total, count = float(rows.sum()), int(np.count_nonzero(rows))
        if total == 0:
            found.append(None)
            continue
        value = float(hits.sum()) / total
        spread = float(np.sum((hits - value * rows) ** 2))
        reach = float(stdtrit(count - 1, 0.975)) * np.sqrt(spread * count / (count - 1)) / total if count > 1 else 0.0
        low, high = value - reach, value + reach
        if rate != "loss":
            least, most = wilson(hits.sum(), total)
            low, high = max(0.0, min(low, float(least))), min(1.0, max(high, float(most)))
        found.append(GroupRate(value, float(low), float(high)))
    return found


def gap_of(rate: Rate, days: Sequence[Tally], groups: Groups) -> Gap | None:
    """Return the gap of a rate over some days; None where fewer than two groups have rows.

    The interval is of the difference of the two groups that are furthest apart here. That they were chosen for it is
    not accounted for, and makes the gap of groups that are alike look a little above 0, in the reference as later.
    """
    rates = group_rates(rate, days)
    known = [(each, name) for each, name in zip(rates, groups.names, strict=True) if each is not None]
    if len(known) < 2:
        return None
    (largest, its_name), (smallest, other_name) = max(known), min(known)
    low, high = difference_interval(largest, smallest)
    return Gap(largest.value - smallest.value, low, high, its_name, other_name)
