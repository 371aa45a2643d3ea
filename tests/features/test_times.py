"""Calendar parts in the graph against `datetime` and `zoneinfo`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen.core.clock import from_us, to_us
from kaizen.features.declare import PARTS
from kaizen.features.times import parts, segments_of
from kaizen.graph.build import Builder
from kaizen.graph.frame import MISSING_TIME
from kaizen.graph.run import Session

ZONES = ["America/New_York", "UTC", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu"]


def compiled(zone: str) -> Session:
    graph = Builder("times")
    times = graph.node("Cast", graph.input("times", np.int64, 1), to=11)
    graph.output("features", parts(graph, times, [(0, part) for part in PARTS], zone, 1), np.float64, len(PARTS))
    return Session(graph.to_bytes())


SESSIONS = {zone: compiled(zone) for zone in ZONES}


def reference(us: int, zone: str) -> list[float]:
    at = from_us(us).astimezone(ZoneInfo(zone))
    values = (at.minute, at.hour, at.hour * 60 + at.minute, at.weekday(), at.day, at.timetuple().tm_yday)
    return [float(value) for value in (*values, at.month, at.year)]


def answers(zone: str, us: list[int]) -> list[list[float]]:
    answer: list[list[float]] = SESSIONS[zone].run({"times": np.array(us, np.int64)[:, None]}).tolist()
    return answer


@pytest.mark.parametrize("zone", ZONES)
@given(at=st.datetimes(datetime(1900, 1, 2), datetime(2099, 12, 30), timezones=st.just(UTC)))
def test_parts_are_those_of_the_local_clock(zone: str, at: datetime) -> None:
    assert answers(zone, [to_us(at)]) == [reference(to_us(at), zone)]


@pytest.mark.parametrize("zone", ZONES)
def test_parts_are_right_around_every_change_of_the_clock_and_of_the_month(zone: str) -> None:
    edges = segments_of(zone).edges.astype(np.int64)[1:-1]
    hour = 3_600_000_000
    us = np.concatenate([edges + shift for shift in (-hour, -1, 0, 1, hour)]).tolist()
    inside = [
        at for at in us if to_us(datetime(1900, 1, 1, tzinfo=UTC)) <= at < to_us(datetime(2100, 1, 1, tzinfo=UTC))
    ]
    assert answers(zone, inside) == [reference(at, zone) for at in inside]


def test_the_hour_that_comes_twice_and_the_one_that_never_comes() -> None:
    hour = PARTS.index("hour")
    spring = to_us(datetime(2013, 3, 10, 6, 59, tzinfo=UTC))  # 01:59 in New York, then 03:00
    autumn = to_us(datetime(2013, 11, 3, 5, 59, tzinfo=UTC))  # 01:59, then 01:00 again
    minute = timedelta(minutes=1) // timedelta(microseconds=1)
    found = answers("America/New_York", [spring, spring + minute, autumn, autumn + minute])
    assert [row[hour] for row in found] == [1, 3, 1, 1]


def test_missing_and_far_times_have_no_parts() -> None:
    far = [MISSING_TIME, to_us(datetime(1899, 12, 31, tzinfo=UTC)), to_us(datetime(2100, 1, 1, tzinfo=UTC))]
    assert np.isnan(answers("America/New_York", far)).all()
