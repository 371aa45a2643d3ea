"""What a project declares about its monitoring beyond false pages: ``[monitor.limits]``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from kaizen.core.durations import duration


class LimitsSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the serving promises: bounds that are yours, where nothing has to be learnt."""

    latency_p99: str | None = None  # 99 % of the answered predictions take at most so long
    error_rate: float | None = None  # the most that may fail, as a share of the requests for predictions
    refusal_rate: float | None = None  # the most that may be refused for overload, or be too late
    saturation: float | None = None  # of the busiest hour
    cpu_per_1000: str | None = None  # CPU time for a thousand predictions


def wrong(limits: LimitsSection, price: float | None) -> Iterator[tuple[str, str, Any]]:
    """Yield the key below ``monitor``, what is wrong with its value, and the value."""
    for key, text in (("latency_p99", limits.latency_p99), ("cpu_per_1000", limits.cpu_per_1000)):
        try:
            if text is not None and not duration(text):
                yield f"limits.{key}", "a limit of no time at all is no limit", text
        except ValueError as err:
            yield f"limits.{key}", str(err), text
    for key, share in (
        ("error_rate", limits.error_rate),
        ("refusal_rate", limits.refusal_rate),
        ("saturation", limits.saturation),
    ):
        if share is not None and not 0 < share < 1:
            yield f"limits.{key}", "a share lies between 0 and 1", share
    if price is not None and not price >= 0:
        yield "cpu_hour_price", "a price is 0 or more", price
