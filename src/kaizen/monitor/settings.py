"""What may wake somebody: the project's `[monitor]` section as numbers that the detectors are held against."""

from __future__ import annotations

import math
from datetime import timedelta

import msgspec

from kaizen.core.durations import duration, rate
from kaizen.core.projectfile import MonitorSection

_DAY = timedelta(days=1)


class MonitorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the monitors.

    Attributes
    ----------
    window_days
        Length of a drift window: whole weeks, so that weekdays weigh alike.
    min_rows
        A window with fewer rows grows by as many days again.
    drift_level
        The most that P(a window pages without change) may be, over all columns together.
    limit
        The e-value at which performance pages, 1/alpha: on average so many days lie between two false pages.
    """

    window_days: int = 7
    min_rows: int = 1000
    drift_level: float = 0.01
    limit: float = 30.0


def settings_of(section: MonitorSection) -> MonitorSettings:
    """Return the limits that keep the contract: of the pages it allows, drift gets at most 1 % a window.

    >>> settings = settings_of(MonitorSection(max_false_pages="1/30d", window="7d"))
    >>> settings.window_days, settings.drift_level, round(settings.limit, 2)
    (7, 0.01, 31.34)
    """
    allowed = rate(section.max_false_pages)
    pages_a_day = min(1.0, allowed.count / (allowed.per / _DAY))
    window_days = 7 * max(1, math.ceil(duration(section.window) / timedelta(days=7)))
    drift_level = min(0.01, pages_a_day * window_days / 2)
    return MonitorSettings(
        window_days=window_days,
        drift_level=drift_level,
        limit=1 / (pages_a_day - drift_level / window_days),
    )
