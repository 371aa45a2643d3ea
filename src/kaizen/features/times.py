"""Calendar parts of UTC microseconds in a time zone, compiled from `zoneinfo` into the graph.

The years 1900 to 2100 are cut into segments in which the offset from UTC and the local month stay the same. A tree
finds the segment of a time, a table gives what to add (in microseconds, exact in double), and every part is then

    floor(mod(time + shift[segment, part], period[part]) / unit[part])

Before 1900, after 2100 and where the time is missing the shift is NaN, and so is the part.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from kaizen.core.clock import EPOCH, from_us, to_us
from kaizen.features.steps import Steps, step
from kaizen.graph.build import Builder

_SECOND = 1e6
_MINUTE, _HOUR, _DAY, _WEEK = 60 * _SECOND, 3600 * _SECOND, 86_400 * _SECOND, 604_800 * _SECOND
_START, _END = datetime(1900, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_POSITIVE = 5000 * _WEEK  # whole weeks, hours and minutes; more than lies between 1900 and 1970
_HUGE = 1e300  # a period that never ends
_FAR = 1e30  # a unit so long that what is added decides alone
_MONDAY = 3 * _DAY  # 1970 began on a Thursday

_UNITS = {
    "minute": (_HOUR, _MINUTE),
    "hour": (_DAY, _HOUR),
    "minute_of_day": (_DAY, _MINUTE),
    "weekday": (_WEEK, _DAY),
    "day": (_HUGE, _DAY),
    "day_of_year": (_HUGE, _DAY),
    "month": (_HUGE, _FAR),
    "year": (_HUGE, _FAR),
}


@dataclass(frozen=True)
class Segments:
    """Spans of time with one offset and one local month; span i ends where `edges[i]` begins the next."""

    edges: NDArray[np.float64]  # (segments - 1,) microseconds since 1970, UTC
    offset: NDArray[np.float64]  # (segments,) microseconds that local time is ahead; NaN outside the years
    local: tuple[datetime, ...]  # (segments,) the local time, without zone, that each begins with


def parts(graph: Builder, times: str, wanted: Sequence[tuple[int, str]], time_zone: str, columns: int) -> str:
    """Return calendar parts, double [n, len(wanted)]; NaN where the time is missing or out of the years.

    Parameters
    ----------
    graph
        Where the nodes go.
    times
        Double [n, columns]: microseconds since 1970, UTC; a missing time is any value outside the years.
    wanted
        The column of `times` and the name of the part.
    time_zone
        An IANA name, such as "America/New_York".
    columns
        How many columns `times` has.
    """
    segments = segments_of(time_zone)
    read = sorted({column for column, _ in wanted})
    which = Steps(segments.edges, np.arange(len(segments.offset), dtype=np.float64))
    found = step(graph, times, [(column, which) for column in read])  # [n, len(read)]
    if len(read) > 1:
        found = graph.node("Gather", found, graph.constant(np.array([read.index(c) for c, _ in wanted])), axis=1)
    if columns > 1:
        times = graph.node("Gather", times, graph.constant(np.array([c for c, _ in wanted])), axis=1)
    names = [name for _, name in wanted]
    table = np.concatenate([_shift(segments, name) for name in names])
    starts = np.arange(len(names), dtype=np.float64) * len(segments.offset)
    place = graph.node("Cast", graph.node("Add", found, graph.constant(starts)), to=7)  # int64
    shifted = graph.node("Add", times, graph.node("Gather", graph.constant(table), place))
    within = graph.node("Mod", shifted, graph.constant(np.array([_UNITS[name][0] for name in names])), fmod=1)
    return graph.node("Floor", graph.node("Div", within, graph.constant(np.array([_UNITS[n][1] for n in names]))))


@functools.lru_cache(maxsize=8)
def segments_of(time_zone: str) -> Segments:
    """Return the segments of a time zone from 1900 to 2100, with one before and one after, where the offset is NaN."""
    zone = ZoneInfo(time_zone)
    edges: list[int] = []
    offsets: list[float] = [np.nan]
    local: list[datetime] = [_START.replace(tzinfo=None)]
    changes = [to_us(_START), *_changes(zone), to_us(_END)]
    for start, end in itertools.pairwise(changes):
        offset = to_us(from_us(start).astimezone(zone).replace(tzinfo=UTC)) - start
        for begin in [start, *_month_starts(start + offset, end + offset, offset)]:
            edges.append(begin)
            offsets.append(float(offset))
            local.append(from_us(begin + offset).replace(tzinfo=None))
    return Segments(
        np.array([*edges, changes[-1]], np.float64),
        np.array([*offsets, np.nan]),
        (*local, _END.replace(tzinfo=None)),
    )


def _shift(segments: Segments, part: str) -> NDArray[np.float64]:
    """Return what brings a time of each segment to where the part can be read off it."""
    if part in ("month", "year"):
        constant = np.array([(getattr(begin, part) + 0.5) * _FAR for begin in segments.local])
        return np.where(np.isnan(segments.offset), np.nan, constant)
    if part in ("day", "day_of_year"):
        first = [begin.replace(day=1, month=begin.month if part == "day" else 1) for begin in segments.local]
        midnight = [to_us(at.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)) for at in first]
        return segments.offset - np.array(midnight, np.float64) + _DAY
    return segments.offset + _POSITIVE + (_MONDAY if part == "weekday" else 0.0)


def _changes(zone: ZoneInfo) -> list[int]:
    """Return the moments, microseconds UTC, at which the offset changes: day by day, then halved to the second."""
    found: list[int] = []
    low, step = _START, timedelta(days=1)
    before = low.astimezone(zone).utcoffset()
    while low < _END:
        high = min(low + step, _END)
        after = high.astimezone(zone).utcoffset()
        if after != before:
            found.append(to_us(_first_change(zone, low, high)))
            before, high = from_us(found[-1]).astimezone(zone).utcoffset(), from_us(found[-1])
        low = high
    return found


def _first_change(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    before = low.astimezone(zone).utcoffset()
    seconds_low, seconds_high = (low - EPOCH) // timedelta(seconds=1), (high - EPOCH) // timedelta(seconds=1)
    while seconds_high - seconds_low > 1:
        middle = (seconds_low + seconds_high) // 2
        same = (EPOCH + timedelta(seconds=middle)).astimezone(zone).utcoffset() == before
        seconds_low, seconds_high = (middle, seconds_high) if same else (seconds_low, middle)
    return EPOCH + timedelta(seconds=seconds_high)


def _month_starts(local_start: int, local_end: int, offset: int) -> list[int]:
    """Return the moments, microseconds UTC, between two local times at which a local month begins."""
    at = from_us(local_start).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    found: list[int] = []
    while True:
        at = at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)
        if to_us(at) >= local_end:
            return found
        found.append(to_us(at) - offset)
