"""A day at a time: moderate words, one page an incident, the same answer every time, and a state that travels."""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

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
    assert len(msgspec.msgpack.encode(state)) < 4200  # of 6 columns, after a day; a week of days adds 500 bytes each


def shifted(day, frame):
    if 7 <= day < 28:
        frame["size"] += 3


def test_drift_pages_once_stays_silent_and_is_resolved():
    found = replay(shifted)
    assert told(found, "drift") == [("size", "page"), ("size", "resolved")]
    windows = [f.verdict for f in found if f.question == "drift window"]
    assert windows == ["ok", "page", "watch", "watch", "watch", "ok", "ok"]


def test_no_two_findings_of_a_day_have_one_id_though_a_window_ends_on_the_day_of_the_page():
    on_a_last_day = 0
    for first in range(7, 14):

        def moved(day, frame, first=first):
            if day >= first:
                frame["size"] += 3

        found = replay(moved, days=21)
        assert len({f.id for f in found}) == len(found)
        page = next(f for f in found if f.question == "drift" and f.verdict == "page")
        on_a_last_day += (page.end - datetime(1970, 1, 1, tzinfo=UTC)).days % 7 == FIRST_DAY % 7
        assert told(found, "drift") == [("size", "page")]
    assert on_a_last_day


def test_a_finding_says_what_where_and_how_sure():
    page = next(f for f in replay(shifted) if f.verdict == "page" and f.question == "drift")
    assert page.estimate is not None
    assert page.estimate >= 0.112
    assert page.evidence >= page.limit == SETTINGS.limit_of("drift") * 6  # the share of drift, and six columns
    assert page.matters == 0.112
    assert page.detectable >= page.matters
    assert page.blames == ("size",)
    shift = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=FIRST_DAY + 7)
    assert abs(page.began - shift) <= timedelta(days=4)
    assert page.end - shift <= timedelta(days=6)
    assert page.says.startswith("size changed, probably on 2013-10-")


def test_a_change_too_small_to_matter_is_no_page_however_sure_it_is():
    def nudge(day, frame):
        frame["size"] += 0.4

    assert told(replay(nudge, count=2000), "drift") == []


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
    found = []
    for day in range(FIRST_DAY, FIRST_DAY + 14):
        frame = rows(rng, 300)
        always(day, frame)
        state, more = observe(REFERENCE, state, block(rng, day, frame), SETTINGS, stamp=stamp)
        found += more
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
    for day in [0, 1, 2, 3, 20, 21, 30, 34]:
        frame = rows(rng, 0 if day == 2 else 600)
        state, more = observe(REFERENCE, state, block(rng, FIRST_DAY + day, frame), SETTINGS, stamp=stamp)
        found += more
    assert [f.n for f in found if f.question == "drift window"] == [2400, 1800]


def test_status_is_read_from_findings():
    found = replay(shifted, days=21)
    now = status(found)
    assert [(f.question, f.subject) for f in now.open] == [("drift", "size")]
    assert [f.question for f in now.latest] == ["performance window", "drift window", "quality window"]
    assert status(replay(shifted)).open == ()
