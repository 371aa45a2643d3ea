"""Durations and rates as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kaizen.core.durations import Rate, duration, rate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("36h", timedelta(hours=36)),
        ("50ms", timedelta(milliseconds=50)),
        ("1.5h", timedelta(minutes=90)),
        (" 2 d ", timedelta(days=2)),
        ("1w", timedelta(days=7)),
        ("0s", timedelta()),
    ],
)
def test_reads_a_number_and_a_unit(text, expected):
    assert duration(text) == expected


@pytest.mark.parametrize("text", ["", "36", "h", "-1h", "36 hours", "1h30m", "1e3s", "1,5h", "36H"])
def test_refuses_what_is_no_duration_and_shows_one(text):
    with pytest.raises(ValueError, match=r"no duration; write a number and a unit .* such as '36h'"):
        duration(text)


def test_refuses_a_duration_that_no_calendar_holds():
    with pytest.raises(ValueError, match="too long"):
        duration("99999999999d")


def test_reads_a_rate():
    assert rate("2/30d") == Rate(2, timedelta(days=30))
    assert rate(" 1 / 12h ") == Rate(1, timedelta(hours=12))


@pytest.mark.parametrize("text", ["", "2", "0/30d", "-1/30d", "1.5/30d", "x/30d", "²/30d", "1/0s"])
def test_refuses_what_is_no_rate_and_shows_one(text):
    with pytest.raises(ValueError, match="no rate; write a count and a duration, such as '1/30d'"):
        rate(text)


@pytest.mark.parametrize("text", ["1/", "1/30"])
def test_refuses_a_rate_without_a_duration(text):
    with pytest.raises(ValueError, match="no duration"):
        rate(text)
