"""Declared limits: an alarm when two windows burn the budget fast enough, over once it has been quiet for an hour."""

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from kaizen.core.clock import to_us
from kaizen.core.monitoring import LimitsSection
from kaizen.core.operations import Figures
from kaizen.monitor.serving.burn import FAST, LOOKS_BACK, SLOW, look, objectives
from tests.monitor.days import stamp
from tests.monitor.served import histogram

START = datetime(2026, 3, 5, tzinfo=UTC)
ERRORS = objectives(LimitsSection(error_rate=0.001))


def minute(at, *, bad=0, asked=100, slow=0):
    """Return a minute of one process that answers 100 requests in 10 ms."""
    return Figures(
        at=to_us(START + timedelta(minutes=at)),
        seconds=60.0,
        requests={"predict": {200: asked - bad, 500: bad}},
        latency=histogram([10_000.0] * (asked - bad - slow) + [200_000.0] * slow),
    )


def told(figures, *, hours, limits=ERRORS, every=None, incidents=()):
    """Return what is said in so many hours from START on, looked at once or every so many minutes."""
    looks = np.arange(0, hours * 60 + 1, every or hours * 60).tolist()
    found = []
    for before, after in itertools.pairwise(looks):
        start, end = (START + timedelta(minutes=m) for m in (before, after))
        seen = [f for f in figures if to_us(start - LOOKS_BACK) < f.at <= to_us(end)]
        more, incidents = look(seen, limits, incidents, start=start, end=end, stamp=stamp)
        found += more
    return [(f.subject, f.verdict, round((f.end - START).total_seconds() / 60)) for f in found]


def of(said, subject):
    return [(verdict, at) for name, verdict, at in said if name == subject]


def test_the_rules_are_those_of_the_workbook():
    month = 30 * 24 * 12  # cells
    for rule, budget in zip((*FAST, *SLOW), (0.02, 0.05, 0.10), strict=True):
        assert rule.burn * rule.long / month == pytest.approx(budget)
        assert rule.long == 12 * rule.short


def test_an_outage_pages_within_minutes_and_is_over_when_it_is_quiet():
    figures = [minute(at, bad=50 if 600 <= at < 630 else 0) for at in range(-4400, 1440)]
    # Half of the requests fail: 14.4 times the budget is used up by 1.44 % of an hour, within the second minute.
    # The last half hour is clean of it at 660, and an hour later it is over.
    assert of(told(figures, hours=24), "errors limit") == [("page", 605), ("resolved", 715)]


def test_it_does_not_matter_how_often_one_looks():
    rng = np.random.default_rng(0)
    bad = (rng.random(1800) < 0.4) * (rng.random(1800) * 9 * (np.sin(np.arange(1800) / 60) > 0.8)).astype(int)
    figures = [minute(at, bad=int(bad[at])) for at in range(-900, 720)]
    once = told(figures, hours=12)
    assert len(once) >= 3
    for every in (10, 90):
        assert sorted(told(figures, hours=12, every=every)) == sorted(once)


def test_a_slow_burn_is_watched_and_wakes_nobody():
    figures = [minute(at, bad=1 if at % 5 == 0 else 0) for at in range(-6000, 600)]  # 0.2 %: twice what may be
    assert told(figures, hours=10) == [("errors budget", "watch", 5)]


def test_what_was_over_before_the_short_window_is_no_news():
    """An hour that burnt enough for a page, but whose last half hour is good again."""
    figures = [minute(at, bad=30 if -50 <= at < -31 else 0) for at in range(-4400, 60)]
    assert of(told(figures, hours=1), "errors limit") == []


def test_a_handful_of_failures_where_few_ask_pages_nobody():
    figures = [minute(at, asked=1, bad=1 if at in (100, 110, 120) else 0) for at in range(-4400, 600)]
    assert told(figures, hours=10) == []
    figures = [minute(at, asked=1, bad=1 if at > 100 else 0) for at in range(-4400, 600)]
    assert told(figures, hours=10)[0] == ("errors limit", "page", 110)


def test_slow_answers_burn_the_budget_of_one_in_a_hundred():
    limits = objectives(LimitsSection(latency_p99="50ms"))
    fine = [minute(at, slow=1 if at % 2 else 0) for at in range(-4400, 600)]  # half of what may be
    assert told(fine, hours=10, limits=limits) == []
    slow = [minute(at, slow=20 if at > 60 else 0) for at in range(-4400, 600)]
    assert told(slow, hours=10, limits=limits)[0] == ("latency p99 limit", "page", 105)
    seen, _ = look(slow, limits, (), start=START, end=START + timedelta(hours=3), stamp=stamp)
    page = next(finding for finding in seen if finding.verdict == "page")
    assert page.says.startswith(
        "In the hour to 2026-03-05 01:45 UTC, 15.00% of 6,000 predictions took over 50ms (20.00"
    )
    assert page.says.endswith("% in the last 5 minutes); 1.00% may: a month's budget would be gone in 2 days.")
    assert page.estimate == pytest.approx(0.15)
    assert page.matters == pytest.approx(0.144)
    assert page.began == START + timedelta(minutes=60)
    assert (page.end - page.start).total_seconds() == 3600


def test_without_requests_nothing_burns_and_an_incident_ends():
    figures = [minute(at, bad=50) for at in range(-4400, 0)]
    assert of(told(figures, hours=12), "errors limit") == [("page", 5), ("resolved", 85)]
    assert told([], hours=12) == []
    assert objectives(LimitsSection(saturation=0.8)) == []
