"""Findings become alerts: grouped, opened once, graded by what they cost, closed when all of it is over."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from kaizen.core.alerting import AlertsSection
from kaizen.core.records import Alert, Decision, Finding
from kaizen.monitor.alerts import alerts
from kaizen.monitor.alerts.alerts import Moment, Rules, Stake, open_alerts, rules_of, severity, update
from kaizen.monitor.drift import inputs
from kaizen.monitor.performance import performance
from kaizen.monitor.quality import quality

START = datetime(2026, 3, 1, tzinfo=UTC)
STAKE = Stake("log_loss", 0.5)


def finding(question, subject="x", verdict="page", *, day=0, **more):
    end = START + timedelta(days=day)
    said = {"segment": "", "says": f"{subject} says {verdict}.", "start": end - timedelta(days=7), "end": end, **more}
    identity = f"{day}-{question}-{subject}-{said['segment']}-{verdict}"
    plain = dict.fromkeys(("estimate", "low", "high", "evidence", "limit"))
    values = {**plain, "n": 100, "method": "m", "question": question, "subject": subject, "verdict": verdict, **said}
    return Finding(id=identity, project="p", at=end, by="loop", **values)


class World:
    """An endpoint whose turns are played one after the other."""

    def __init__(self, rules=None, stake=STAKE):
        self.rules, self.stake, self.all = rules or Rules(), stake, []

    def turn(self, day, *findings, decisions=()):
        at = START + timedelta(days=day)
        moment = Moment(
            project="p", endpoint="flights", at=at, step=f"turn {day}", stake=self.stake, decisions=decisions
        )
        made = update(self.all, findings, moment, self.rules)
        self.all += made
        return made


def test_a_window_of_thirty_drifted_columns_and_its_summary_is_one_alert():
    columns = [finding(inputs.QUESTION, f"c{n}") for n in range(30)]
    (alert,) = World().turn(0, *columns, finding(inputs.SUMMARY, "c0"))
    assert (alert.key, alert.state, alert.change, alert.severity) == ("flights/drift", "open", "opened", "warning")
    assert [part.subject for part in alert.parts] == [f"c{n}" for n in range(30)]
    assert set(alert.findings) == {each.id for each in columns} | {"0-drift window-c0--page"}
    assert alert.parents == alert.findings


def test_questions_and_endpoints_are_apart_and_quality_is_no_more_than_info():
    world = World()
    world.turn(0, finding(inputs.QUESTION), finding(quality.QUESTION, verdict="watch"), finding(performance.QUESTION))
    assert [(a.key, a.severity) for a in open_alerts(world.all)] == [
        ("flights/performance", "critical"), ("flights/drift", "warning"), ("flights/quality", "info"),
    ]  # fmt: skip
    elsewhere = Moment(project="p", endpoint="other", at=START, step="turn 0")
    (other,) = update(world.all, [finding(inputs.QUESTION)], elsewhere, Rules())
    assert (other.key, other.change) == ("other/drift", "opened")


@pytest.mark.parametrize("verdict", ["watch", "ok", "undecided", "worse", "pass"])
@pytest.mark.parametrize("question", ["drift", "drift window", "comparison coverage", "performance window"])
def test_what_does_not_page_opens_nothing(question, verdict):
    assert World().turn(0, finding(question, verdict=verdict)) == []


def test_nothing_new_makes_no_record():
    world = World()
    world.turn(0, finding(inputs.QUESTION))
    assert world.turn(1) == []
    assert world.turn(7, finding(inputs.SUMMARY, verdict="watch", day=7)) == []
    assert world.turn(8, finding(inputs.QUESTION, day=8)) == []  # it is open already


def test_a_part_more_is_worse_a_part_less_is_better_and_all_of_them_resolved():
    world = World()
    (first,) = world.turn(0, finding(inputs.QUESTION, "a"))
    (second,) = world.turn(7, finding(inputs.QUESTION, "b", day=7))
    (third,) = world.turn(14, finding(inputs.QUESTION, "a", "resolved", day=14))
    (fourth,) = world.turn(21, finding(inputs.QUESTION, "b", "resolved", day=21), finding(inputs.SUMMARY, verdict="ok"))
    assert [each.change for each in (first, second, third, fourth)] == ["opened", "worse", "better", "resolved"]
    assert {each.episode for each in world.all} == {first.id}
    assert [second.id in third.parents, first.id in second.parents] == [True, True]
    assert [part.subject for part in third.standing] == ["b"]
    assert fourth.since == START - timedelta(days=7)
    assert open_alerts(world.all) == ()


def test_a_part_that_comes_back_while_others_last_is_no_news():
    world = World()
    world.turn(0, finding(inputs.QUESTION, "a"), finding(inputs.QUESTION, "b"))
    world.turn(7, finding(inputs.QUESTION, "a", "resolved", day=7))
    (again,) = world.turn(14, finding(inputs.QUESTION, "a", day=14))
    assert again.change == "better"
    assert [part.subject for part in again.standing] == ["b", "a"]


def test_what_opens_and_closes_in_one_turn_is_told_to_nobody():
    assert World().turn(0, finding(performance.QUESTION), finding(performance.QUESTION, verdict="resolved")) == []


def test_a_summary_that_says_ok_closes_what_is_left_of_its_question_and_segment():
    world = World()
    world.turn(0, finding(inputs.QUESTION, "gone"), finding(inputs.QUESTION, "far", segment="origin=JFK"))
    (alert,) = world.turn(7, finding(inputs.SUMMARY, "x", "ok", day=7))
    assert [(part.subject, part.closed is None) for part in alert.parts] == [("gone", False), ("far", True)]


def test_a_summary_pages_for_itself_only_where_no_column_does():
    (alone,) = World().turn(0, finding(inputs.SUMMARY, "wind", blames=("wind", "temp")))
    assert [part.subject for part in alone.parts] == ["wind"]
    (both,) = World().turn(0, finding(inputs.QUESTION, "temp"), finding(inputs.SUMMARY, "wind"))
    assert [part.subject for part in both.parts] == ["temp"]


def test_segments_are_one_alert_unless_they_are_split():
    found = [finding(performance.QUESTION, "log_loss", segment=segment) for segment in ("", "origin=JFK", "origin=EWR")]
    assert [a.key for a in World().turn(0, *found)] == ["flights/performance"]
    world = World(Rules(split_by=("segment",)))
    assert [a.key for a in world.turn(0, *found)] == [
        "flights/performance", "flights/performance/origin=JFK", "flights/performance/origin=EWR",
    ]  # fmt: skip
    world.rules = Rules()  # what was opened apart is closed apart, whatever the file says by then
    (over,) = world.turn(7, finding(performance.QUESTION, "log_loss", "resolved", segment="origin=JFK", day=7))
    assert (over.key, over.state) == ("flights/performance/origin=JFK", "resolved")


@pytest.mark.parametrize(
    ("question", "verdict", "impact", "stake", "says"),
    [
        (performance.QUESTION, "page", None, STAKE, "critical"),
        (performance.QUESTION, "page", 0.049, STAKE, "warning"),
        (performance.QUESTION, "page", 0.05, STAKE, "critical"),
        (inputs.QUESTION, "page", None, STAKE, "warning"),
        (inputs.QUESTION, "page", 0.05, STAKE, "critical"),
        (inputs.QUESTION, "page", 0.05, None, "warning"),
        (inputs.QUESTION, "page", 0.05, Stake("rmse", 0.0), "warning"),
        (inputs.QUESTION, "page", -0.3, STAKE, "warning"),  # a page is a warning at least
        (inputs.SUMMARY, "page", 0.4, STAKE, "critical"),
        (quality.QUESTION, "watch", 0.4, STAKE, "info"),
        (inputs.SUMMARY, "watch", 0.4, STAKE, "info"),
        (performance.QUESTION, "resolved", None, STAKE, "info"),
    ],
)
def test_severity_is_what_it_costs_and_where_that_is_unknown_what_it_is_about(question, verdict, impact, stake, says):
    assert severity(finding(question, verdict=verdict, impact=impact), stake, 0.1) == says


def test_the_worst_part_grades_the_alert_and_it_never_falls_while_it_is_open():
    world = World()
    (mild,) = world.turn(0, finding(inputs.QUESTION, "a", impact=0.01))
    assert (mild.severity, mild.at_stake) == ("warning", 0.02)
    (bad,) = world.turn(7, finding(inputs.QUESTION, "b", impact=0.2, day=7))
    assert (bad.severity, bad.at_stake, bad.change) == ("critical", 0.4, "worse")
    (less,) = world.turn(14, finding(inputs.QUESTION, "b", "resolved", day=14))
    assert (less.severity, less.labels["severity"]) == ("critical", "critical")


def test_the_same_parts_at_a_higher_cost_are_news():
    world = World()
    world.turn(0, finding(inputs.QUESTION, "a", impact=0.01))
    (worse,) = world.turn(7, finding(inputs.SUMMARY, "a", "page", impact=0.2, day=7))
    assert (worse.change, worse.severity) == ("worse", "critical")


def test_the_summary_of_a_later_window_may_raise_what_pages_and_nothing_else():
    world = World()
    world.turn(0, finding(inputs.QUESTION, "a"), finding(quality.QUESTION, "a", "watch"))
    assert world.turn(7, finding(inputs.SUMMARY, "a", "watch", impact=0.01, day=7)) == []
    dear = [finding(question, "a", "watch", impact=0.2, day=14) for question in (inputs.SUMMARY, quality.SUMMARY)]
    (worse,) = world.turn(14, *dear)
    assert (worse.key, worse.change, worse.severity, worse.at_stake) == ("flights/drift", "worse", "critical", 0.4)


def test_parts_are_ordered_by_what_they_cost_then_by_how_far_they_went():
    found = [
        finding(inputs.QUESTION, "small", estimate=0.2, matters=0.1),
        finding(inputs.QUESTION, "far", estimate=0.9, matters=0.1),
        finding(inputs.QUESTION, "dear", estimate=0.1, matters=0.1, impact=0.1),
    ]
    (alert,) = World().turn(0, *found)
    assert [part.subject for part in alert.parts] == ["dear", "far", "small"]


def flap(world, *days):
    """Open on the first of these days, close on the second, and so on; return what was made."""
    made = []
    for number, day in enumerate(days):
        made += world.turn(day, finding(inputs.QUESTION, "a", "resolved" if number % 2 else "page", day=day))
    return made


def test_within_the_cooldown_of_its_end_it_is_kept_quiet_until_that_is_over():
    *_, again = flap(World(Rules(cooldown=timedelta(days=3))), 0, 7, 9)
    assert (again.change, again.quiet_until) == ("opened", START + timedelta(days=10))
    *_, late = flap(World(Rules(cooldown=timedelta(days=3))), 0, 7, 10)
    assert late.quiet_until is None
    *_, off = flap(World(Rules(cooldown=timedelta(0))), 0, 7, 7.001)
    assert off.quiet_until is None


def test_what_comes_and_goes_all_the_time_is_told_once_in_each_cooldown():
    made = flap(World(Rules(cooldown=timedelta(days=3))), *range(20))
    told = [(alert.at - START).days for alert in made if alert.change == "opened" and alert.quiet_until is None]
    assert told == [0, 4, 8, 12, 16]


def test_what_is_more_severe_than_last_time_is_not_kept_quiet():
    world = World(Rules(cooldown=timedelta(days=3)))
    flap(world, 0, 7)
    (again,) = world.turn(8, finding(inputs.QUESTION, "a", day=8, impact=0.4))
    assert (again.severity, again.quiet_until) == ("critical", None)
    mild = World(Rules(cooldown=timedelta(days=3)))
    flap(mild, 0, 7, 8)
    (worse,) = mild.turn(9, finding(inputs.QUESTION, "b", day=9, impact=0.4))
    assert (worse.change, worse.quiet_until) == ("worse", None)


def test_the_same_turn_makes_the_same_records_and_each_key_has_an_id_of_its_own():
    found = [finding(inputs.QUESTION), finding(performance.QUESTION)]
    first, second = World().turn(0, *found), World().turn(0, *found)
    assert first == second
    assert len({alert.id for alert in first}) == 2
    assert msgspec.json.decode(msgspec.json.encode(first), type=list[Alert]) == first


def test_the_labels_and_links_of_the_project_come_along():
    section = AlertsSection(labels={"team": "pricing"}, links={"runbook": "https://example.org"}, cooldown="2d")
    (alert,) = World(rules_of(section)).turn(0, finding(inputs.QUESTION))
    assert alert.labels == {"team": "pricing", "endpoint": "flights", "question": "drift", "severity": "warning"}
    assert alert.links == {"runbook": "https://example.org"}
    assert rules_of(section).cooldown == timedelta(days=2)


def decision(action, reason="asked for by drift (wind)"):
    return Decision(id=f"d-{action}", project="p", at=START, by="loop", action=action, endpoint="p", reason=reason)


def test_the_first_line_says_what_is_wrong_since_when_what_is_at_stake_and_what_was_done():
    columns = [finding(inputs.QUESTION, f"c{n}", impact=0.06 if n == 0 else None) for n in range(30)]
    (alert,) = World().turn(0, *columns, decisions=(decision("retrain"),))
    assert alert.title == (
        "[critical] flights: drift in c0, c1, c2 and 27 more since 2026-02-22; "
        "log_loss about 12% worse; decided: retrain"
    )
    lines = alert.body.splitlines()
    assert lines[0] == f"Look further: kaizen monitor status; kaizen loop explain {alert.id}"
    assert lines[1] == "- c0 says page."
    assert "- and 20 more" in lines
    assert "Decided: retrain (d-retrain): asked for by drift (wind)." in lines
    assert lines[-1] == "Alert flights/drift"
    assert "d-retrain" in alert.parents


def test_what_is_not_known_is_said_to_be_and_an_end_says_from_when_to_when():
    world = World(stake=None)
    (opened,) = world.turn(0, finding(performance.QUESTION, "log_loss", began=START - timedelta(hours=5)))
    assert opened.title == "[critical] flights: worse log_loss since 2026-02-28 19:00; impact unknown"
    (over,) = world.turn(7, finding(performance.QUESTION, "log_loss", "resolved", day=7))
    assert over.title == "[resolved] flights: worse log_loss is over, 2026-02-28 19:00 to 2026-03-08"


def test_words_of_the_data_do_not_break_the_lines_and_a_segment_is_named():
    name = "a\r\nBcc: x@y.org \x1b[31m" + "z" * 500
    (alert,) = World().turn(0, finding(inputs.QUESTION, name, segment="origin=JFK", says="one\ntwo"))
    assert len(alert.title.splitlines()) == 1
    assert alert.title.isprintable()
    assert len(alert.title) < 250
    assert "- one two" in alert.body.splitlines()
    (short,) = World().turn(0, finding(inputs.QUESTION, "wind", segment="origin=JFK"))
    assert "drift in wind (origin=JFK) since" in short.title


def test_a_question_that_is_new_to_alerts_is_told_under_its_own_name():
    (alert,) = World().turn(0, finding("latency {}", "p99 {0}"))
    assert (alert.key, alert.severity) == ("flights/latency {}", "warning")
    assert "latency {}: p99 {0} since" in alert.title


def test_worse_names_what_was_open_before():
    world = World()
    world.turn(0, finding(inputs.QUESTION, "a"))
    (worse,) = world.turn(7, finding(inputs.QUESTION, "b", day=7))
    assert "Open since before: a." in worse.body.splitlines()


def test_thousands_of_columns_are_one_alert_still():
    found = [finding(inputs.QUESTION, f"c{n}") for n in range(5_000)]
    world = World()
    began = time.process_time()
    (alert,) = world.turn(0, *found)
    assert len(alert.parts) == 5_000
    assert len(alert.body) < 2_000
    (over,) = world.turn(7, *(msgspec.structs.replace(f, id=f"{f.id}r", verdict="resolved") for f in found))
    assert over.state == "resolved"
    split = World(Rules(split_by=("subject",)))
    assert len(split.turn(0, *found)) == 5_000
    assert time.process_time() - began < 5  # it grows with the columns, not with their square


def test_every_quiet_question_is_one_of_the_monitors():
    assert set(alerts.QUIET) <= {quality.QUESTION, inputs.QUESTION, performance.QUESTION}
