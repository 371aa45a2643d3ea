"""What may wake somebody: the project's `[monitor]` section as numbers that the detectors are held against."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final, Literal, TypeAlias

import msgspec

from kaizen.core.durations import duration, rate
from kaizen.core.projectfile import MonitorSection
from kaizen.monitor.quality.quality import BETWEEN_FALSE_ALARMS, QualitySettings

Family: TypeAlias = Literal["performance", "drift", "estimate", "operations"]

_DAY = timedelta(days=1)
_OF_QUALITY = 0.1  # of the false pages, where bad rows page
_SHARES: Final[dict[Family, float]] = {"drift": 0.5, "performance": 0.3, "estimate": 0.1, "operations": 0.1}


class MonitorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the monitors.

    Attributes
    ----------
    window_days
        Length of a window: whole weeks, so that weekdays weigh alike.
    min_rows
        A window with fewer rows grows by as many days again.
    limit
        1/alpha: at least so many days lie between two false pages, on average.
    shares
        What each family of streams may spend of the false pages. The sum over families of share times evidence is an
        e-detector as each of them is, so that together they keep to `limit`.
    quality
        Limits of the quality of rows.
    """

    window_days: int = 7
    min_rows: int = 1000
    limit: float = 30.0
    shares: dict[Family, float] = msgspec.field(default_factory=lambda: dict(_SHARES))
    quality: QualitySettings = QualitySettings()

    def limit_of(self, family: Family) -> float:
        """Return the evidence, counted in days, at which a family pages."""
        return self.limit / self.shares[family]


def settings_of(section: MonitorSection) -> MonitorSettings:
    """Return the limits that keep the contract.

    Where bad rows page too, they get a tenth of what is allowed, at most one a year.

    >>> settings = settings_of(MonitorSection(max_false_pages="1/30d", window="7d"))
    >>> settings.window_days, settings.limit, settings.limit_of("operations")
    (7, 30.0, 300.0)
    """
    allowed = rate(section.max_false_pages)
    pages_a_day = min(1.0, allowed.count / (allowed.per / _DAY))
    window_days = 7 * max(1, math.ceil(duration(section.window) / timedelta(days=7)))
    limit, of_quality = 1 / pages_a_day, _OF_QUALITY if section.page_on_quality else 0.0
    return MonitorSettings(
        window_days=window_days,
        limit=limit,
        shares={family: (1 - of_quality) * share for family, share in _SHARES.items()},
        quality=QualitySettings(
            patience_days=math.ceil(duration(section.quality_patience) / _DAY),
            window_days=window_days,
            between_days=max(BETWEEN_FALSE_ALARMS, limit / of_quality if of_quality else 0.0),
            pages=section.page_on_quality,
        ),
    )
