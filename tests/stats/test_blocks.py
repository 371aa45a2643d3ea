"""Local days: every moment has the day that a calendar on the wall there would show."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen.stats.blocks import day_blocks, day_start

EPOCH = date(1970, 1, 1)
ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"]


def us(*parts):
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000


@given(
    moments=st.lists(st.integers(us(1971, 1, 1), us(2037, 1, 1)), min_size=1, max_size=20),
    zone=st.sampled_from(ZONES),
)
def test_a_moment_has_the_local_date(moments, zone):
    local = [(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=m)).astimezone(ZoneInfo(zone)) for m in moments]
    expected = [(at.date() - EPOCH).days for at in local]
    assert day_blocks(np.array(moments), zone).tolist() == expected


@pytest.mark.parametrize("zone", ZONES)
def test_a_day_starts_at_its_first_microsecond(zone):
    for day in range(15000, 15800):
        first = int(day_start(day, zone).timestamp() * 1_000_000)
        found = day_blocks(np.array([first - 1, first]), zone).tolist()
        if zone == "Pacific/Apia" and day in (15338, 15339):  # Samoa had no 30 December 2011
            continue
        assert found == [day - 1, day]


def test_days_of_23_and_25_hours():
    march, november = (date(2013, 3, 10) - EPOCH).days, (date(2013, 11, 3) - EPOCH).days
    lengths = [day_start(d + 1, "America/New_York") - day_start(d, "America/New_York") for d in (march, november)]
    assert lengths == [timedelta(hours=23), timedelta(hours=25)]


def test_a_missing_time_has_no_day():
    missing = np.iinfo(np.int64).min
    assert day_blocks(np.array([missing, us(2013, 1, 1, 12)]), "UTC").tolist() == [missing, 15706]
    assert day_blocks(np.array([missing]), "UTC").tolist() == [missing]
    assert day_blocks(np.array([], dtype=np.int64), "UTC").tolist() == []
