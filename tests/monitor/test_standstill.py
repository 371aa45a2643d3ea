"""No request at all, where every week before had some: said within the hour, and never of what is usual."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from kaizen.core.clock import to_us
from kaizen.core.operations import Figures
from kaizen.monitor.serving.standstill import look
from tests.monitor.days import stamp

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
ZONE = "Europe/Oslo"


def hour(number, requests, seconds=3600.0):
    asked = {"predict": {200: int(requests)}} if requests else {}
    return Figures(at=to_us(START + timedelta(hours=number + 1)), seconds=seconds, requests=asked)


def told(requests, *, weeks, alive=True, incidents=(), zone="UTC"):
    """Return (verdict, hours since START at which it ended, estimate) of what is said after the first weeks."""
    figures = [hour(at, n, 3600.0 if alive or n else 0.0) for at, n in enumerate(requests)]
    found, incidents = look(
        [figure for figure in figures if figure.seconds],
        incidents,
        known_from=START - timedelta(hours=1),
        start=START + timedelta(weeks=weeks),
        end=START + timedelta(hours=len(requests)),
        time_zone=zone,
        stamp=stamp,
    )
    return found, incidents


def week(quiet=range(6)):
    """Return a week of traffic with nights in which nobody asks."""
    return [0 if at % 24 in quiet else 100 for at in range(168)]


def test_a_stop_is_said_after_an_hour_and_its_end_too():
    requests = week() * 4
    requests[3 * 168 + 34 : 3 * 168 + 40] = [0] * 6  # Tuesday from 10 to 16
    found, incidents = told(requests, weeks=3)
    assert [(f.verdict, f.end) for f in found] == [
        ("page", START + timedelta(weeks=3, hours=35)),
        ("resolved", START + timedelta(weeks=3, hours=41)),
    ]
    assert incidents == ()
    page = found[0]
    assert page.estimate == 100
    assert page.began == START + timedelta(weeks=3, hours=34)
    assert "No request for a prediction came in the hour to 2026-03-24 11:00 UTC" in page.says
    assert page.says.endswith("every week before there were 100 or more; servers ran, and nobody asked.")


def test_a_server_that_is_down_is_told_apart():
    requests = week() * 3
    requests[2 * 168 + 34 :] = [0] * len(requests[2 * 168 + 34 :])
    found, incidents = told(requests, weeks=2, alive=False)
    assert [f.verdict for f in found] == ["page"]
    assert found[0].says.endswith("no server told of itself: it may be down.")
    assert len(incidents) == 1


def test_nights_and_weekends_are_no_silence():
    requests = [n if at % 168 < 120 else 0 for at, n in enumerate(week() * 5)]
    assert told(requests, weeks=2)[0] == []


def test_two_weeks_have_to_be_known():
    requests = week() + week()[:40]
    requests[168 + 34 : 168 + 38] = [0] * 4
    assert told(requests, weeks=1)[0] == []


def test_where_few_ask_it_takes_more_hours():
    requests = [8] * 168 * 3
    requests[2 * 168 + 50 : 2 * 168 + 60] = [0] * 10
    found, _ = told(requests, weeks=2)
    assert [(f.verdict, (f.end - START).total_seconds() / 3600 - 2 * 168) for f in found] == [
        ("page", 54),
        ("resolved", 61),
    ]
    assert found[0].estimate == 32


def test_what_happened_once_is_not_said_again():
    requests = week() * 6
    for of_week in (3, 4, 5):
        requests[of_week * 168 + 34 : of_week * 168 + 37] = [0] * 3
    found, _ = told(requests, weeks=2)
    assert [f.verdict for f in found] == ["page", "resolved"]


@pytest.mark.slow
def test_bursts_at_any_hour_are_hardly_ever_a_silence():
    """Jobs that ask a thousand times at once, at one hour in two: most hours without one had some in past weeks."""
    rng, pages = np.random.default_rng(0), 0
    for _ in range(5):
        requests = (rng.random(168 * 8) < 0.5) * 1000
        pages += sum(f.verdict == "page" for f in told(requests.tolist(), weeks=2)[0])
    assert pages <= 2  # in 30 weeks


def test_hours_are_local_ones_whatever_the_clocks_do():
    """Clocks went forward on 29 March 2026: the shop opens at 8 as ever, an hour earlier in UTC."""
    requests = []
    for at in range(168 * 5):
        moment = START + timedelta(hours=at)
        local = (moment.hour + (2 if moment >= datetime(2026, 3, 29, 1, tzinfo=UTC) else 1)) % 24
        requests.append(100 if 8 <= local < 20 else 0)
    assert told(requests, weeks=3, zone=ZONE)[0] == []
    assert told(requests, weeks=3, zone="UTC")[0] != []
