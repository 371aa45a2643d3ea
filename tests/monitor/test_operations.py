"""What is normal is learnt from past days; a page needs evidence and a size, and names who took over that day."""

from datetime import date, timedelta

import msgspec
import pytest

from kaizen.core.monitoring import LimitsSection
from kaizen.core.operations import Figures, total
from kaizen.monitor.serving.operations import QUESTION, SUMMARY, Deployment, OperationsState, assess
from kaizen.monitor.serving.signals import NAMES, failed, refused, series, served_days
from kaizen.monitor.serving.usual import WARM_UP, signal_streams
from kaizen.stats.blocks import day_blocks, day_start
from tests.monitor.days import stamp
from tests.monitor.served import BEGIN, FIRST, World

LIMIT = 31.0


def go_through(days, *, limit=LIMIT, first=WARM_UP, through_bytes=False, **options):
    """Return the Findings of these days, and the state and incidents at their end."""
    state, incidents, found = OperationsState(), (), []
    for count in range(first, len(days) + 1):
        seen = assess(days[:count], state, incidents, limit=limit, stamp=stamp, **options)
        state, incidents = seen.state, seen.incidents
        found += seen.findings
        if through_bytes:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=OperationsState)
    return found, state, incidents


def pages(found):
    return [(f.subject, f.verdict) for f in found if f.question == QUESTION]


def from_day(number, **change):
    return lambda day: change if day >= number else {}


def test_signals_of_a_day_are_what_its_figures_say():
    figures = Figures(
        at=1,
        seconds=7200.0,
        requests={"predict": {200: 900, 400: 20, 429: 30, 500: 4, 503: 36, 504: 10}, "read": {500: 99}},
        overloaded=30,
        latency={10: 900},
        rows=1800,
        cpu_s=3.6,
        busy_s=1000.0,
        starved_s=80.0,
        scoring_s=1440.0,
        memory_byte_s=7200.0 * (200 << 20),
    )
    assert (failed(figures), refused(figures)) == (10, 40)
    at = int(BEGIN.timestamp() * 1e6) + 3_600_000_000
    (day,) = served_days([msgspec.structs.replace(figures, at=at)], range(FIRST, FIRST + 1), "UTC")
    assert day.values["errors"] == pytest.approx(0.01)
    assert day.values["refusals"] == pytest.approx(0.04)
    assert day.values["traffic"] == 1000
    assert day.values["saturation"] == pytest.approx(0.2)
    assert day.values["cpu"] == pytest.approx(2.0)
    assert day.values["memory"] == pytest.approx(200.0)
    assert 0.512 <= day.values["latency p50"] <= day.values["latency p99"] <= 1.024
    assert day.hourly() == [1000] + [0] * 23


def test_days_are_local_and_have_the_hours_that_clocks_leave_them():
    zone, last_sunday_of_march = "Europe/Oslo", (date(2026, 3, 29) - date(1970, 1, 1)).days
    start = day_start(last_sunday_of_march, zone)
    figures = [
        Figures(at=int((start + timedelta(hours=h)).timestamp() * 1e6), requests={"predict": {200: h}})
        for h in range(1, 30)
    ]
    assert day_blocks([each.at - 1 for each in figures], zone).tolist().count(last_sunday_of_march) == 23
    day, after = served_days(figures, range(last_sunday_of_march, last_sunday_of_march + 2), zone)
    assert day.hourly() == list(range(1, 24))
    assert after.hourly()[:6] == [24, 25, 26, 27, 28, 29]


def test_a_day_with_next_to_nothing_has_no_quantile_and_no_cost():
    days = World().days(1, from_day(0, traffic=0.0001))
    assert {name for name, values in series(days).items() if values == [None]} >= {"latency p50", "latency p99", "cpu"}


def test_the_first_two_weeks_are_warm_up_and_say_so():
    days = World(1).days(WARM_UP, from_day(5, slower=5.0))
    found, _, _ = go_through(days, first=1)
    assert [f.question for f in found] == [SUMMARY] * 3
    assert [f.says.split(":")[0] for f in found] == [f"Warm-up, day {n} of 14" for n in (1, 7, 14)]
    assert signal_streams(days, {}) == []


CHANGES = {
    "latency p99": {"slower": 2.5},
    "errors": {"errors": 0.03},
    "refusals": {"refusals": 0.03},
    "traffic": {"traffic": 0.3},
    "saturation": {"busier": 30.0},
    "cpu": {"dearer": 2.0},
    "memory": {"held": 2.0},
}


QUICK = ("latency p99", "errors", "traffic")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CHANGES]
)
def test_a_change_that_lasts_pages_once_within_a_week_and_is_told_when_it_is_over(name):
    days = World(2).days(58, lambda day: CHANGES[name] if 42 <= day < 50 else {})
    found, _, incidents = go_through(days, first=42)
    of_name = [f for f in found if f.subject == name and f.question == QUESTION]
    assert [f.verdict for f in of_name] == ["page", "resolved"]
    page, over = of_name
    assert 42 <= (page.end - BEGIN).days - 1 < 49
    assert 50 <= (over.end - BEGIN).days - 1 < 56
    assert abs((page.began - BEGIN).days - 42) <= 3
    assert page.evidence >= page.limit >= LIMIT
    assert page.estimate >= page.matters
    assert page.detectable >= page.matters
    assert all(i.subject != name for i in incidents)


def test_a_change_too_small_to_matter_pages_nobody_however_sure():
    days = World(3, spread=0.005).days(48, from_day(38, slower=1.1, held=1.1))
    found, _, _ = go_through(days, first=38)
    assert pages(found) == []
    assert max(stream.evidence for stream in signal_streams(days, {})) > LIMIT


def test_quiet_months_say_one_sentence_a_week():
    days = World(4).days(42)
    found, state, _ = go_through(days, limit=30.0, first=1)
    assert pages(found) == []
    assert [f.verdict for f in found] == ["ok"] * 7
    assert found[-1].says.startswith("Serving as usual. On 2024-11-14: latency p50 ")
    assert len(msgspec.msgpack.encode(state)) < 100


def test_it_is_the_same_every_time_and_through_bytes():
    days = World(5).days(38, from_day(30, slower=3.0))
    assert go_through(days, first=29) == go_through(days, first=29, through_bytes=True)


def test_a_day_that_nobody_served_changes_nothing():
    days = World(6).days(30)
    empty = served_days([], range(FIRST + 30, FIRST + 31), "UTC")
    seen = assess([*days, *empty], OperationsState({"errors": 5}, 3), (), limit=LIMIT, stamp=stamp)
    assert (seen.state, seen.findings, seen.streams) == (OperationsState({"errors": 5}, 3), (), ())


def test_a_page_names_the_bundle_that_took_over_when_it_began():
    took_over = [
        Deployment(BEGIN + timedelta(days=10), 1, "b" * 64, 1),
        Deployment(BEGIN + timedelta(days=40, hours=9), 2, "c" * 64, 2),
    ]
    days = World(7).days(50, from_day(40, slower=3.0))
    found, _, _ = go_through(days, first=38, deployments=took_over)
    page = next(f for f in found if f.subject == "latency p50")
    assert page.blames == ("bundle 2",)
    assert "; revision 2 with bundle 2 took over at 2024-11-13 09:00 UTC." in page.says
    found, _, _ = go_through(days, first=38, deployments=took_over[:1])
    assert next(f for f in found if f.subject == "latency p50").blames == ()


@pytest.mark.slow
def test_what_stays_for_four_weeks_is_the_new_normal():
    days = World(8).days(64, from_day(30, held=2.0))
    found, _, _ = go_through(days, first=30)
    memory = [f for f in found if f.subject == "memory" and f.question == QUESTION]
    assert [f.verdict for f in memory] == ["page", "resolved"]
    assert (memory[1].end - memory[0].end).days == 28
    assert "normal now" in memory[1].says


def test_the_cost_is_told_in_money_where_an_hour_has_a_price():
    days = World(9).days(50, from_day(40, dearer=3.0))
    found, _, _ = go_through(days, first=38, cpu_hour_price=36.0)
    page = next(f for f in found if f.subject == "cpu")
    assert f"that is {days[(page.end - BEGIN).days - 1].values['cpu'] / 100:.3g} in money" in page.says


def test_declared_limits_of_a_day_page_when_they_break_and_are_over_when_they_hold():
    days = World(10, spread=0.01).days(6, lambda day: {"busier": 30.0} if day == 3 else {})
    limits = LimitsSection(saturation=0.5, cpu_per_1000="1ms")
    found, _, incidents = go_through(days, first=1, limits=limits)
    broken = [(f.subject, f.verdict, (f.end - BEGIN).days - 1) for f in found if f.question == QUESTION]
    assert broken == [("cpu limit", "page", 0), ("saturation limit", "page", 3), ("saturation limit", "resolved", 4)]
    assert [i.subject for i in incidents] == ["cpu limit"]


@pytest.mark.slow
def test_shares_of_few_requests_are_no_evidence():
    """Three requests a day, one in fifty of which fails by itself: the bound knows how little it knows."""
    world = World(11, daily=3)
    days = world.days(90, from_day(0, errors=0.02))
    evidence = max(s.evidence for n in range(20, 91, 5) for s in signal_streams(days[:n], {}) if s.name == "errors")
    assert evidence < 31


def test_every_signal_has_a_stream():
    assert {stream.name for stream in signal_streams(World(20).days(20), {})} == set(NAMES)


def test_several_signals_at_once_need_less_evidence_each():
    days = World(13).days(50, from_day(40, slower=3.0, dearer=3.0, held=3.0))
    alone, together = (
        next(f for f in go_through(days, first=40)[0] if f.subject == name) for name in ("latency p50", "cpu")
    )
    assert {alone.limit, together.limit} <= {8 * LIMIT / k for k in range(1, 9)}
    assert min(alone.limit, together.limit) <= 8 * LIMIT / 2


def test_a_summary_calls_nothing_over_that_is_open_elsewhere():
    days = World(14).days(21)
    seen = assess(days, OperationsState({}, 6), (), limit=30.0, stamp=stamp, also_open=["errors limit"])
    (summary,) = seen.findings
    assert (summary.verdict, summary.says[:20]) == ("watch", "Open: errors limit. ")


def test_series_are_what_a_chart_is_drawn_from():
    days = World(12).days(5)
    found = series(days)
    assert set(found) == set(NAMES)
    assert found["traffic"] == [float(day.requests) for day in days]
    assert total([day.all for day in days]).rows == total([hour for day in days for hour in day.hours]).rows
