"""Blocks: the local days that evidence is counted in, because the rows of one day are too alike to count singly."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

_DAY_US = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MISSING = np.iinfo(np.int64).min
# Offsets are asked for inside these years only; a time beyond them takes the offset of the nearest bound.
_FIRST_DAY = (date(1900, 1, 1) - date(1970, 1, 1)).days
_LAST_DAY = (date(2500, 1, 1) - date(1970, 1, 1)).days


def day_blocks(times_us: NDArray[np.int64], time_zone: str) -> NDArray[np.int64]:
    """Return the local day of each moment, as days since 1970-01-01.

    Parameters
    ----------
    times_us
        Microseconds since 1970, UTC, shape (rows,). The smallest int64 stands for a missing time.
    time_zone
        An IANA name such as ``America/New_York``.

    Returns
    -------
    NDArray[np.int64]
        Shape (rows,); a missing time has no day and gives the smallest int64.

    Examples
    --------
    >>> day_blocks(np.array([1_357_016_400_000_000 - 1, 1_357_016_400_000_000]), "America/New_York")
    array([15705, 15706])
    """
    times_us = np.asarray(times_us, dtype=np.int64)
    missing = times_us == _MISSING
    if missing.all():
        return times_us.copy()
    zone = ZoneInfo(time_zone)
    known = np.where(missing, times_us[~missing][0], times_us)
    starts, offsets = _offsets(known // _DAY_US, zone)
    local = known + offsets[np.maximum(np.searchsorted(starts, known, side="right") - 1, 0)]
    return np.where(missing, _MISSING, local // _DAY_US)


def day_start(day: int, time_zone: str) -> datetime:
    """Return the moment, in UTC, at which a local day (days since 1970-01-01) begins.

    >>> day_start(15706, "America/New_York")
    datetime.datetime(2013, 1, 1, 5, 0, tzinfo=datetime.timezone.utc)
    """
    midnight = datetime(1970, 1, 1, tzinfo=ZoneInfo(time_zone)) + timedelta(days=int(day))
    return midnight.astimezone(UTC)


def _offsets(days: NDArray[np.int64], zone: ZoneInfo) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the moments (us) from which an offset (us) holds, for the UTC days that occur."""
    starts: list[int] = []
    offsets: list[int] = []
    for day in np.unique(np.clip(days, _FIRST_DAY, _LAST_DAY)).tolist():
        begin, end = day * _DAY_US, (day + 1) * _DAY_US
        before, after = _offset(begin, zone), _offset(end, zone)
        starts.append(begin)
        offsets.append(before)
        if before != after:
            starts.append(_change(begin, end, zone))
            offsets.append(after)
    return np.array(starts, dtype=np.int64), np.array(offsets, dtype=np.int64)


def _offset(at_us: int, zone: ZoneInfo) -> int:
    shift = (_EPOCH + timedelta(microseconds=at_us)).astimezone(zone).utcoffset()
    return 0 if shift is None else shift // timedelta(microseconds=1)


def _change(begin: int, end: int, zone: ZoneInfo) -> int:
    """Return the first microsecond of the new offset, by bisection."""
    before = _offset(begin, zone)
    while end - begin > 1:
        middle = (begin + end) // 2
        if _offset(middle, zone) == before:
            begin = middle
        else:
            end = middle
    return end
