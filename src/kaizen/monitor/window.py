"""A window: the counts of some days, added up; and the days that are kept to make windows of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

_EPOCH = date(1970, 1, 1)
MOST_DAYS = 56  # that are kept, however few their rows


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """What a day has: how many rows, and their counts by the profile's key."""

    number: int  # since 1970
    start: datetime
    end: datetime
    rows: int
    counts: dict[str, tuple[int, ...]]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of some days, which need not follow each other."""

    first_day: int
    last_day: int
    start: datetime
    end: datetime
    rows: int
    counts: Mapping[str, NDArray[np.int64]]

    @property
    def days(self) -> str:
        """Its days, for people."""
        if self.first_day == self.last_day:
            return day_name(self.first_day)
        return f"{day_name(self.first_day)} to {day_name(self.last_day)}"


def window_of(days: Sequence[Day]) -> Window:
    """Return the days, in order, as one window; only what every one of them counted is in it."""
    keys = [key for key in days[0].counts if all(key in day.counts for day in days)]
    return Window(
        first_day=days[0].number,
        last_day=days[-1].number,
        start=days[0].start,
        end=days[-1].end,
        rows=sum(day.rows for day in days),
        counts={key: np.sum([day.counts[key] for day in days], axis=0, dtype=np.int64) for key in keys},
    )


def newest(days: Sequence[Day], *, since: int, rows: int = 0, least_days: int = 1) -> Sequence[Day]:
    """Return the newest days from `since` on, and as many before them as it takes to have so many rows and days."""
    first = next((place for place, day in enumerate(days) if day.number >= since), len(days))
    first = max(0, min(first, len(days) - least_days))
    while first > 0 and sum(day.rows for day in days[first:]) < rows:
        first -= 1
    return days[first:]


def day_name(day: int) -> str:
    """Return the date of a day number, as ISO 8601.

    >>> day_name(15706)
    '2013-01-01'
    """
    return (_EPOCH + timedelta(days=day)).isoformat()
