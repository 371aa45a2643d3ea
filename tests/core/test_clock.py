"""Clocks and the microseconds that the log counts in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen.core.clock import EventClock, SystemClock, from_us, to_us


def test_the_system_clock_tells_utc_and_goes_forward():
    clock = SystemClock()
    first, second = clock.now(), clock.now()
    assert first.utcoffset() == timedelta()
    assert first <= second


def test_the_event_clock_stands_until_it_is_set_and_never_goes_back():
    clock = EventClock(datetime(2013, 3, 1, tzinfo=UTC))
    clock.advance(datetime(2013, 3, 2, tzinfo=UTC))
    clock.advance(datetime(2013, 3, 2, tzinfo=UTC))
    assert clock.now() == datetime(2013, 3, 2, tzinfo=UTC)
    with pytest.raises(ValueError, match=r"2013-03-02T00:00:00.* cannot go back to 2013-03-01"):
        clock.advance(datetime(2013, 3, 1, tzinfo=UTC))
    assert clock.now() == datetime(2013, 3, 2, tzinfo=UTC)


offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=offsets))
def test_microseconds_are_exact(at):
    assert from_us(to_us(at)) == at


def test_microseconds_count_from_1970():
    assert to_us(datetime(1970, 1, 1, tzinfo=UTC)) == 0
    assert to_us(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)) == -1
    assert from_us(1_356_998_400_000_001) == datetime(2013, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
