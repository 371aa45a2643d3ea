"""The learning side on one screen: one turn of the loop for one event day that is over.

    the day's predictions, the labels known by now
        │
        ├─► watch    monitors raise Findings
        ├─► compare  each shadow against the champion, on days whose labels are mature
        ├─► decide   the policy: roll back, promote, stop, retrain, hold
        └─► act      Decisions and the endpoint's next revision, with the alerts, in one transaction
                │
                ├─ tell    what people are to know goes out
                └─ retrain ─► learn ─► gates ─► the challenger goes to shadow, or the candidate is dropped

Each turn is one durable step, and what it starts are steps of their own: a process killed anywhere goes on where
it stood, and two that run the same days end in the same ledger.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta

import msgspec
import numpy as np

from kaizen.core.clock import to_us
from kaizen.core.errors import DecisionError
from kaizen.core.project import Project
from kaizen.core.records import Decision, Endpoint, Record, Step
from kaizen.loop import candidate, policy, tell, triggers
from kaizen.loop.act import act
from kaizen.loop.journal import Journal
from kaizen.loop.observe import Observed, State, observe
from kaizen.monitor.settings import settings_of
from kaizen.stats.blocks import day_blocks


class Turn(msgspec.Struct, frozen=True):
    """What a turn came to."""

    day: int  # the event day, days since 1970 in the project's time zone
    state: State
    findings: tuple[str, ...]
    decisions: tuple[str, ...]
    alerts: tuple[str, ...] = ()


def turn(project: Project, day: int, *, note: Callable[[str], None] = lambda _: None) -> Turn:
    """Return what the loop does about an event day that is over; done once, however often it is called.

    Parameters
    ----------
    project
        Its clock stands at or after the end of the day.
    day
        The event day.
    note
        Told what is going on, for progress.
    """
    journal = Journal(project)
    done = journal.step("turn", (project.name, day), lambda made: _turn(project, day, made), Turn)
    if day == day_of(project.clock.now(), project.file.data.time_zone) - 1:  # of older days, what is open still is told
        tell.deliver(project, note=note)
    asked = candidate.unfinished(project)
    if asked is not None:
        candidate.make(project, journal, asked, note=note)
    return done


def _turn(project: Project, day: int, made: list[Record]) -> Turn:
    endpoint = project.endpoint()
    assert endpoint is not None, "a turn needs an endpoint; the caller looks"
    before = last_turn(project)
    observed = observe(project, endpoint, day, before.state if before else State())
    situation, state = _situation(project, endpoint, observed, day)
    made.extend(observed.findings)
    decisions: list[Decision] = []
    current = endpoint
    for proposal in policy.decide(situation, project.file):
        records = act(project, proposal, current, by="loop", key=f"turn {day}")
        made.extend(records)
        decisions += [record for record in records if isinstance(record, Decision)]
        current = next((record for record in records if isinstance(record, Endpoint)), current)
    if any(decision.action == "retrain" for decision in decisions):
        state = msgspec.structs.replace(state, requests=(), new_rows=0)
    told = tell.changed(project, endpoint, day, observed.findings, decisions)
    made.extend(told)
    return Turn(
        day=day,
        state=state,
        findings=tuple(finding.id for finding in observed.findings),
        decisions=tuple(decision.id for decision in decisions),
        alerts=tuple(alert.id for alert in told),
    )


def _situation(project: Project, endpoint: Endpoint, observed: Observed, day: int) -> tuple[policy.Situation, State]:
    section, state = project.file.loop, observed.state
    requests = triggers.standing(state.requests, observed.findings, section)
    window_days = settings_of(project.file.monitor).window_days
    held = triggers.hold(requests, state.watch.quality.spells, day=day, window_days=window_days)
    decisions = tuple(project.records.find(Decision, where={"endpoint": endpoint.name}))
    trained = [decision.at for decision in decisions if decision.action == "retrain"]
    fired = triggers.fired(
        requests,
        section,
        now=project.clock.now(),
        last_training=trained[-1] if trained else decisions[0].at,
        new_rows=state.new_rows,
        held=held,
    )
    kinds = tuple(each.kind for each in fired)
    kinds_held = tuple(f"held {kind}" for kind in dict.fromkeys(request.trigger for request in held))
    situation = policy.Situation(
        now=project.clock.now(),
        endpoint=endpoint,
        compared=observed.compared,
        fired=fired,
        newly_fired=not set(kinds) <= set(state.asked),
        decisions=decisions,
        held=triggers.held(held),
        newly_held=not set(kinds_held) <= set(state.asked),
    )
    return situation, msgspec.structs.replace(state, requests=requests, asked=(*kinds, *kinds_held))


def last_turn(project: Project) -> Turn | None:
    """Return the newest turn, or None before the first."""
    steps = project.records.find(Step, where={"name": "turn"}, newest_first=True, limit=1)
    return Journal(project).result(steps[0], Turn) if steps else None


@contextmanager
def alone(project: Project) -> Iterator[None]:
    """Hold the right to turn this project's loop; `DecisionError` if another process has it."""
    project.state.mkdir(parents=True, exist_ok=True)
    with (project.state / "loop.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            raise DecisionError(
                "another process turns this project's loop",
                where=str(project.folder),
                fix="one is enough; stop it first",
            ) from err
        yield


def due(project: Project) -> range:
    """Return the event days that are over and had no turn yet, or one whose retraining was cut off."""
    endpoints = project.records.find(Endpoint, where={"name": project.name}, limit=1)
    if not endpoints:
        return range(0)
    zone = project.file.data.time_zone
    before = last_turn(project)
    start = before.day + 1 if before else day_of(endpoints[0].at, zone)
    if before and candidate.unfinished(project):
        start = before.day
    return range(start, max(start, day_of(project.clock.now(), zone)))


def day_of(moment: datetime, time_zone: str) -> int:
    """Return the event day of a moment: days since 1970, local."""
    return int(day_blocks(np.asarray([to_us(moment)]), time_zone)[0])


def date_of(day: int) -> date:
    """Return an event day as a date."""
    return date(1970, 1, 1) + timedelta(days=day)
