"""What may wake somebody: the project's `[monitor]` section as numbers that the detectors are held against."""

from __future__ import annotations

import math
from datetime import timedelta

import msgspec

from kaizen.core.durations import duration, rate
from kaizen.core.projectfile import MonitorSection
from kaizen.monitor.quality import BETWEEN_FALSE_ALARMS, QualitySettings

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
    quality
        Limits of the quality of rows.
    """

    window_days: int = 7
    min_rows: int = 1000
    drift_level: float = 0.01
    limit: float = 30.0
    quality: QualitySettings = QualitySettings()


def settings_of(section: MonitorSection) -> MonitorSettings:
    """Return the limits that keep the contract: of the pages it allows, drift gets at most 1 % a window.

    Where bad rows page too, they get one a year, or a tenth of what is allowed where that is less.

    >>> settings = settings_of(MonitorSection(max_false_pages="1/30d", window="7d"))
    >>> settings.window_days, settings.drift_level, round(settings.limit, 2)
    (7, 0.01, 31.34)
    """
    allowed = rate(section.max_false_pages)
    pages_a_day = min(1.0, allowed.count / (allowed.per / _DAY))
    window_days = 7 * max(1, math.ceil(duration(section.window) / timedelta(days=7)))
    drift_level = min(0.01, pages_a_day * window_days / 2)
    of_quality = min(1 / BETWEEN_FALSE_ALARMS, pages_a_day / 10) if section.page_on_quality else 0.0
    return MonitorSettings(
        window_days=window_days,
        drift_level=drift_level,
        limit=1 / (pages_a_day - drift_level / window_days - of_quality),
        quality=QualitySettings(
            patience_days=math.ceil(duration(section.quality_patience) / _DAY),
            window_days=window_days,
            between_days=1 / of_quality if of_quality else BETWEEN_FALSE_ALARMS,
            pages=section.page_on_quality,
        ),
    )
