"""`[alerts]`: what it may say, and errors that name the place and never a channel's value."""

from __future__ import annotations

import pytest

from kaizen.core.alerting import patterns
from kaizen.core.errors import ProjectError
from kaizen.core.projectfile import parse

SMALL = {"project": {"name": "p"}, "data": {"source": "a.csv", "target": "y"}}
SECRET = "t0pSecretToken"


def said(alerts):
    with pytest.raises(ProjectError) as caught:
        parse({**SMALL, "alerts": alerts})
    return caught.value


def test_a_whole_section_is_read():
    alerts = parse(
        {
            **SMALL,
            "alerts": {
                "repeat_after": "7d",
                "labels": {"team": "pricing"},
                "channels": {
                    "team": {"url": "env:TEAM"},
                    "hook": {"url": "https://example.org", "secret": "file:keys/hook"},
                },
                "routes": [{"match": {"severity": ["critical", "warn*"], "team": "pricing"}, "to": ["hook", "log"]}],
            },
        }
    ).alerts
    assert alerts.channels["hook"].secret == "file:keys/hook"
    assert patterns(alerts.routes[0].match) == {"severity": ("critical", "warn*"), "team": ("pricing",)}
    assert parse(SMALL).alerts.routes == []


@pytest.mark.parametrize(
    ("alerts", "where", "says"),
    [
        ({"cooldown": "soon"}, "cooldown", "is no duration"),
        ({"repeat_after": "0s"}, "repeat_after", "at every look"),
        ({"critical_from": 0}, "critical_from", "a share above 0"),
        ({"critical_from": float("nan")}, "critical_from", "a share above 0"),
        ({"split_by": ["segmnt"]}, "split_by[0]", "none of the known values"),
        ({"labels": {"severity": "x"}}, "labels.severity", "a label of yours"),
        ({"labels": {"a b": "x"}}, "labels.a b", "a label of yours"),
        ({"labels": {"a": 1}}, "labels.a", "expected 'str', got 'int' (value 1)"),
        ({"channels": {"log": {"url": "a://b"}}}, "channels.log", "not 'log', which is always there"),
        ({"channels": {"My Team": {"url": "a://b"}}}, "channels.My Team", "lower-case letters"),
        ({"channels": {"t": {}}}, "channels.t", "the key 'url' is missing"),
        ({"routes": [{"match": {"sevrity": "x"}, "to": []}]}, "routes[0].match", "did you mean 'severity'?"),
        ({"routes": [{"match": {"severity": "bad"}, "to": []}]}, "routes[0].match", "no severity fits 'bad'"),
        ({"routes": [{"match": {"subject": []}, "to": []}]}, "routes[0].match", "subject has no pattern"),
        ({"routes": [{"match": {"subject": 1}, "to": []}]}, "routes[0].match.subject", "expected 'str | array'"),
        ({"routes": [{"to": ["log"]}, {"to": ["tem"]}]}, "routes[1].to", "there is no channel 'tem'"),
    ],
)
def test_what_cannot_be_is_an_error_with_its_place(alerts, where, says):
    error = said(alerts)
    assert error.where == f"kaizen.toml: alerts.{where}"
    assert says in error.what


@pytest.mark.parametrize(
    ("channel", "where"),
    [
        ({"url": SECRET}, "channels.hook.url"),
        ({"url": "https://example.org", "secret": SECRET}, "channels.hook.secret"),
        ({"url": "https://example.org", "secrt": SECRET}, "channels.hook.secrt"),
        ({"url": [SECRET]}, "channels.hook.url"),
        (SECRET, "channels.hook"),
    ],
)
def test_the_value_of_a_channel_is_never_quoted(channel, where):
    error = said({"channels": {"hook": channel}})
    assert error.where == f"kaizen.toml: alerts.{where}"
    assert SECRET not in str(error)
