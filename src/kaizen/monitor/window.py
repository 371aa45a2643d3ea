"""A window: whole weeks of daily counts, added up."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

_EPOCH = date(1970, 1, 1)


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of the days from ``first_day`` on; it is full at the end of ``last_day``."""

    first_day: int
    last_day: int
    start: datetime
    end: datetime
    rows: int
    counts: dict[str, tuple[int, ...]]  # by the profile's key

    def add(self, counts: dict[str, NDArray[np.int64]], rows: int, end: datetime) -> Window:
        """Return the window with one more day in it."""
        total = {
            key: tuple((np.asarray(self.counts[key]) + more).tolist()) if key in self.counts else tuple(more.tolist())
            for key, more in counts.items()
        }
        return msgspec.structs.replace(self, counts={**self.counts, **total}, rows=self.rows + rows, end=end)

    def longer(self, days: int) -> Window:
        """Return the window with so many more days to go."""
        return msgspec.structs.replace(self, last_day=self.last_day + days)

    @property
    def days(self) -> str:
        """Its days, for people."""
        return f"{day_name(self.first_day)} to {day_name(self.last_day)}"


def day_name(day: int) -> str:
    """Return the date of a day number, as ISO 8601.

    >>> day_name(15706)
    '2013-01-01'
    """
    return (_EPOCH + timedelta(days=day)).isoformat()
