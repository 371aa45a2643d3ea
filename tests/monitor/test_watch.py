"""A day at a time: moderate words, one page an incident, the same answer every time, and a state that travels."""

import msgspec
import numpy as np
import pytest

from kaizen.monitor.settings import MonitorSettings
from kaizen.monitor.status import status
from kaizen.monitor.watch import WatchState, observe
from tests.monitor.days import FIRST_DAY, block, losses, reference, rows, stamp

SETTINGS = MonitorSettings()
REFERENCE = reference(np.random.default_rng(1))


def replay(spoil=None, days=42, state=None, seed=2, through_bytes=False, count=300):
    """Return the Findings of so many days; `spoil` changes a day's rows in place."""
    rng = np.random.default_rng(seed)
    state, found = state or WatchState.fresh(), []
    for day in range(FIRST_DAY, FIRST_DAY + days):
        frame = rows(rng, count)
        if spoil is not None:
            spoil(day - FIRST_DAY, frame)
        matured = [(day - 2, losses(rng, 100, 0.45))]
        state, findings = observe(REFERENCE, state, block(rng, day, frame, matured), SETTINGS, stamp=stamp)
        if through_bytes:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=WatchState)
        found += findings
    return found


def told(found, question):
    return [(f.subject, f.verdict) for f in found if f.question == question]


def test_quiet_weeks_say_three_sentences_each():
    found = replay()
    assert len(found) == 3 * 6
    assert {f.verdict for f in found} == {"ok"}


def test_it_is_the_same_every_time_and_through_bytes():
    assert replay() == replay(through_bytes=True)


def test_the_state_is_small():
    rng = np.random.default_rng(3)
    state, _ = observe(REFERENCE, WatchState.fresh(), block(rng, FIRST_DAY), SETTINGS, stamp=stamp)
    assert len(msgspec.msgpack.encode(state)) < 2000


def shifted(day, frame):
    if 7 <= day < 28:
        frame["size"] += 3


def test_drift_pages_once_stays_silent_and_is_resolved():
    found = replay(shifted)
    assert told(found, "drift") == [("size", "page"), ("size", "resolved")]
    assert [f.verdict for f in found if f.question == "drift window"] == ["ok", "page", "watch", "watch", "ok", "ok"]


def test_a_finding_says_what_where_and_how_sure():
    page = next(f for f in replay(shifted) if f.verdict == "page" and f.question == "drift")
    assert page.estimate is not None
    assert page.estimate >= 0.112
    assert page.evidence < page.limit == pytest.approx(0.01 / (2 * 5))
    assert (page.end - page.start).days == 7
    assert page.n == 7 * 300
    assert page.says.startswith("size drifted: from 2013-10-29 to 2013-11-04 it lies 0.")


def test_missing_values_page_and_say_so():
    def lose(day, frame):
        if day >= 7:
            frame["size"][:60] = np.nan

    found = replay(lose, days=14)
    page = next(f for f in found if f.question == "drift")
    assert (page.subject, page.verdict) == ("size", "page")
    assert "missing in 21." in page.says or "missing in 22." in page.says


def test_strange_rows_open_a_quality_incident_that_does_not_page():
    def new_kind(day, frame):
        if 7 <= day < 14:
            frame["kind"][:9] = "z"
            frame["price"][:9] = 1e6

    found = replay(new_kind, days=21)
    assert told(found, "quality") == [
        ("price", "watch"),
        ("kind", "watch"),
        ("price", "resolved"),
        ("kind", "resolved"),
    ]
    assert not [f for f in found if f.verdict == "page"]


def test_a_new_champion_inherits_open_incidents_and_does_not_page_again():
    def always(day, frame):
        frame["size"] += 3

    rng = np.random.default_rng(4)
    state = WatchState.fresh()
    for day in range(FIRST_DAY, FIRST_DAY + 7):
        frame = rows(rng, 300)
        always(day, frame)
        state, found = observe(REFERENCE, state, block(rng, day, frame), SETTINGS, stamp=stamp)
    assert ("size", "page") in told(found, "drift")
    heir = WatchState.fresh(state.incidents)
    assert told(replay(always, days=14, state=heir), "drift") == []
    assert told(replay(days=14, state=heir), "drift") == [("size", "resolved")]


def test_a_window_with_few_rows_grows_by_weeks():
    found = replay(days=28, count=60)
    windows = [f for f in found if f.question == "drift window"]
    assert [f.n for f in windows] == [21 * 60]


def test_days_without_rows_and_gaps_are_survived():
    rng = np.random.default_rng(5)
    state, found = WatchState.fresh(), []
    for day in [0, 1, 2, 3, 20, 21, 30]:
        frame = rows(rng, 0 if day == 2 else 600)
        state, more = observe(REFERENCE, state, block(rng, FIRST_DAY + day, frame), SETTINGS, stamp=stamp)
        found += more
    assert [f.n for f in found if f.question == "drift window"] == [1800, 1200]


def test_status_is_read_from_findings():
    found = replay(shifted, days=21)
    now = status(found)
    assert [(f.question, f.subject) for f in now.open] == [("drift", "size")]
    assert [f.question for f in now.latest] == ["drift window", "quality window", "performance window"]
    assert status(replay(shifted)).open == ()
