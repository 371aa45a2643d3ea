"""Routes and silences: the first route that fits, and a silence that covers all that is open or nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from kaizen.core.alerting import AlertsSection, ChannelSection, RouteSection
from kaizen.core.records import Part, Silence
from kaizen.monitor.alerts.routing import channels, in_force, silenced_until
from kaizen.testing.records import alert as example

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CHANNELS = {name: ChannelSection(url="json://localhost") for name in ("team", "pager")}


def alert(*parts, severity="critical", question="drift", state="open"):
    """Return an alert with these (subject, segment) parts; one that begins with '-' is over."""
    made = tuple(Part(s.lstrip("-"), g, "f", "over" if s.startswith("-") else None) for s, g in parts or [("x", "")])
    labels = {"team": "pricing", "endpoint": "p", "question": question, "severity": severity}
    return msgspec.structs.replace(
        example("1"), parts=made, severity=severity, question=question, labels=labels, state=state
    )


def silence(identity="s", *, hours=2.0, since=NOW, parents=(), **match):
    told = {label: (patterns,) if isinstance(patterns, str) else patterns for label, patterns in match.items()}
    return Silence(
        id=identity, project="p", at=since, by="ada", parents=parents, match=told,
        until=since + timedelta(hours=hours), reason="r",
    )  # fmt: skip


def routed(told, *routes, declared=CHANNELS):
    found = [RouteSection(match=match, to=to) for match, to in routes]
    return channels(told, AlertsSection(channels=declared, routes=found))


def test_without_routes_what_may_wake_somebody_goes_to_every_channel_and_to_the_log_where_there_is_none():
    for severity in ("critical", "warning"):
        assert routed(alert(severity=severity)) == ("team", "pager")
        assert routed(alert(severity=severity), declared={}) == ("log",)
    assert routed(alert(severity="info")) == ()
    assert routed(alert(severity="info"), declared={}) == ()


def test_the_first_route_that_fits_decides_and_what_none_takes_is_not_lost():
    routes = [({"severity": "critical"}, ["pager"]), ({"question": "drift"}, ["team", "team"]), ({"team": "x"}, [])]
    assert routed(alert(), *routes) == ("pager",)
    assert routed(alert(severity="warning"), *routes) == ("team",)
    assert routed(alert(severity="warning", question="performance"), *routes) == ("team", "pager")
    assert routed(alert(severity="info", question="quality"), *routes) == ()
    assert routed(alert(severity="info", question="quality"), ({}, ["log"])) == ("log",)
    assert routed(alert(), ({}, [])) == ()


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({}, True),
        ({"subject": "wind_speed"}, True),
        ({"subject": "wind*"}, True),
        ({"subject": "wind"}, False),
        ({"subject": ["temp", "wind_[a-z]*"]}, True),
        ({"subject": "Wind_speed"}, False),
        ({"segment": "origin=JFK"}, True),
        ({"segment": "origin=*"}, True),
        ({"segment": ""}, False),
        ({"subject": "age", "segment": "band=[18, 30)"}, True),  # as it is written, brackets and all
        ({"subject": "age", "segment": "origin=JFK"}, False),  # of one part, not of two
        ({"team": "pricing", "severity": ["info", "crit*"]}, True),
        ({"team": "other"}, False),
    ],
)
def test_a_route_takes_an_alert_as_soon_as_one_part_fits_all_labels(match, fits):
    told = alert(("wind_speed", "origin=JFK"), ("age", "band=[18, 30)"))
    assert routed(told, (match, ["pager"])) == (("pager",) if fits else ("team", "pager"))


def test_a_part_that_is_over_leads_nowhere_unless_all_are():
    match = {"subject": "wind"}
    assert routed(alert(("-wind", ""), ("temp", "")), (match, ["pager"])) == ("team", "pager")
    assert routed(alert(("-wind", ""), state="resolved"), (match, ["pager"])) == ("pager",)


def test_a_silence_holds_until_its_end_and_not_at_it():
    made = [silence(subject="x")]
    assert silenced_until(alert(), made, NOW) == NOW + timedelta(hours=2)
    assert silenced_until(alert(), made, NOW + timedelta(hours=2)) is None
    assert silenced_until(alert(), made, NOW - timedelta(seconds=1)) is None
    assert silenced_until(alert(), [], NOW) is None


def test_a_known_fault_in_one_column_does_not_hide_a_new_one_in_another():
    made = [silence(subject="wind*")]
    assert silenced_until(alert(("wind_speed", "")), made, NOW) is not None
    assert silenced_until(alert(("wind_speed", ""), ("temp", "")), made, NOW) is None
    assert silenced_until(alert(("wind_speed", ""), ("-temp", "")), made, NOW) is not None
    two = [*made, silence("t", subject="temp", hours=1)]
    assert silenced_until(alert(("wind_speed", ""), ("temp", "")), two, NOW) == NOW + timedelta(hours=1)


def test_of_several_silences_the_longest_counts():
    made = [silence("a", subject="x", hours=5), silence("b", question="drift", hours=1)]
    assert silenced_until(alert(), made, NOW) == NOW + timedelta(hours=5)


def test_what_gets_worse_than_what_was_silenced_is_told():
    made = [silence(severity="warning", question="drift")]
    assert silenced_until(alert(severity="warning"), made, NOW) is not None
    assert silenced_until(alert(severity="critical"), made, NOW) is None


def test_a_silence_that_is_ended_early_holds_no_more():
    made = [silence("a", subject="x", hours=5), silence("b", hours=0, parents=("a",), subject="x")]
    assert in_force(made, NOW + timedelta(hours=1)) == ()
    assert in_force(made[:1], NOW + timedelta(hours=1)) == (made[0],)
