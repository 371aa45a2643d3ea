"""What servers told of themselves reaches the ledger: with the day's turn, and between turns what cannot wait."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from kaizen.core.clock import EventClock, to_us
from kaizen.core.operations import Figures
from kaizen.core.project import Project
from kaizen.core.records import Alert, Bundle, Decision, Delivery, Finding
from kaizen.loop import cycle, operations, tell
from kaizen.monitor.status import status
from kaizen.testing.records import endpoint, examples
from tests.loop.conftest import END, TOML
from tests.monitor.served import BEGIN, FIRST, World

LIMITS = "[monitor.limits]\nerror_rate = 0.01\n"


def minute(at: datetime, *, bad: int = 0, asked: int = 100) -> Figures:
    return Figures(at=to_us(at), seconds=60.0, requests={"predict": {200: asked - bad, 500: bad}} if asked else {})


def promoted(folder: Path, toml: str = TOML) -> Project:
    """Return a project with a champion that carries no reference: what is watched here is the serving."""
    (folder / "kaizen.toml").write_text(toml)
    project = Project.open(folder, clock=EventClock(END))
    name, bundle = project.name, next(record for record in examples() if isinstance(record, Bundle))
    decision = Decision(id="d", project=name, at=END, by="tests", action="promote", endpoint=name, reason="first")
    first = endpoint(name, 1, bundle=bundle.id)
    project.records.put([bundle, decision, msgspec.structs.replace(first, at=END, decision="d")])
    return project


def advance(project: Project, to: datetime) -> None:
    assert isinstance(project.clock, EventClock)
    project.clock.advance(to)


def told(project: Project, question: str = "operations") -> list[tuple[str, str]]:
    return [(f.subject, f.verdict) for f in project.records.find(Finding, where={"question": question})]


@pytest.mark.parametrize(("signal", "change"), [("latency p50", {"slower": 4.0}), ("errors", {"errors": 0.05})])
def test_days_of_serving_are_watched_with_their_turns(tmp_path: Path, signal: str, change: dict[str, float]) -> None:
    project = promoted(tmp_path)
    file, world = operations.file_of(project), World(3)
    shift = END - timedelta(days=40) - BEGIN
    for number in range(48):
        for each in world.day(FIRST + number, **(change if number >= 41 else {})):
            at = to_us(BEGIN + shift) + each.at - to_us(BEGIN)
            file.append(Figures(**{name: getattr(each, name) for name in each.__struct_fields__} | {"at": at}))
        if number >= 40:
            advance(project, END + timedelta(days=number - 39))
            for day in cycle.due(project):
                cycle.turn(project, day)
    assert (signal, "page") in told(project)
    page = next(f for f in project.records.find(Finding) if f.subject == signal)
    assert page.parents == (project.endpoint().champion.bundle,)  # type: ignore[union-attr]
    assert page.by == "loop"
    assert [verdict for _, verdict in told(project, "operations window")] == ["watch"]
    standing = status(project.records.find(Finding))
    assert signal in [finding.subject for finding in standing.open]
    assert "operations window" in [finding.question for finding in standing.latest]


def test_a_project_that_nobody_serves_says_nothing_of_serving(tmp_path: Path) -> None:
    project = promoted(tmp_path)
    advance(project, END + timedelta(days=2))
    for day in cycle.due(project):
        cycle.turn(project, day)
    assert cycle.glance(project) == []
    assert told(project) == []
    assert not (project.state / "operations").exists()


def test_a_limit_that_burns_pages_between_turns_once_and_is_told_when_it_is_over(tmp_path: Path) -> None:
    project = promoted(tmp_path, TOML + LIMITS)
    file = operations.file_of(project)
    for at in range(-400, 400):
        file.append(minute(END + timedelta(minutes=at), bad=60 if 30 <= at < 60 else 0))
    delivered: list[Delivery] = []
    for at in range(1, 400, 20):
        advance(project, END + timedelta(minutes=at))
        cycle.glance(project)
        delivered += tell.deliver(project)
    assert [verdict for subject, verdict in told(project) if subject == "errors limit"] == ["page", "resolved"]
    page = next(f for f in project.records.find(Finding) if f.verdict == "page")
    assert page.end == END + timedelta(minutes=45)  # 15 % of the hour, 14.4 times what may be
    alerts = project.records.find(Alert)
    assert [(alert.change, alert.question) for alert in alerts] == [
        ("opened", "operations"),
        ("resolved", "operations"),
    ]
    assert alerts[0].findings == (page.id,)
    assert [(delivery.alert, delivery.delivered) for delivery in delivered] == [(alert.id, True) for alert in alerts]
    assert cycle.glance(project) == []
    assert len(project.records.find(Alert)) == 2


def test_a_stop_of_the_traffic_is_said_within_the_hour(tmp_path: Path) -> None:
    project = promoted(tmp_path)
    file = operations.file_of(project)
    stop = END + timedelta(hours=10)
    for hour in range(-24 * 22, 10):
        file.append(minute(END + timedelta(hours=hour, minutes=30)))
    advance(project, stop)
    assert cycle.glance(project) == []
    advance(project, stop + timedelta(minutes=59))
    assert cycle.glance(project) == []
    advance(project, stop + timedelta(minutes=61))
    (found,) = cycle.glance(project)
    assert (found.subject, found.verdict, found.end) == ("no traffic", "page", stop + timedelta(hours=1))
    file.append(minute(stop + timedelta(minutes=90)))
    advance(project, stop + timedelta(minutes=121))
    assert [finding.verdict for finding in cycle.glance(project)] == ["resolved"]


@pytest.mark.parametrize("hours", [1, 30])
def test_what_is_older_than_a_day_when_it_is_looked_at_is_passed_over(tmp_path: Path, hours: int) -> None:
    project = promoted(tmp_path, TOML + LIMITS)
    file = operations.file_of(project)
    for at in range(-300, 60 * hours + 30):
        file.append(minute(END + timedelta(minutes=at), bad=60 if 0 <= at < 20 else 0))
    advance(project, END + timedelta(hours=hours, minutes=25))
    cycle.glance(project)
    assert (("errors limit", "page") in told(project)) == (hours == 1)
