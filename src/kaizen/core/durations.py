"""Durations and rates as people write them: ``36h``, ``7d``, ``1/30d``."""

from __future__ import annotations

import re
from datetime import timedelta

import msgspec

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*")


def duration(text: str) -> timedelta:
    """Return the time span of a number and a unit (ms, s, m, h, d, w).

    >>> duration("36h")
    datetime.timedelta(days=1, seconds=43200)
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration; write a number and a unit (ms, s, m, h, d, w), such as '36h'")
    try:
        return timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError as err:
        raise ValueError(f"{text!r} is too long a duration") from err


class Rate(msgspec.Struct, frozen=True):
    """So many in a time span."""

    count: int
    per: timedelta


def rate(text: str) -> Rate:
    """Return the rate of "count/duration".

    >>> rate("2/30d")
    Rate(count=2, per=datetime.timedelta(days=30))
    """
    count, slash, span = text.partition("/")
    if not slash or not count.strip().isdecimal() or int(count) < 1 or not duration(span):
        raise ValueError(f"{text!r} is no rate; write a count and a duration, such as '1/30d'")
    return Rate(int(count), duration(span))
