"""Who is told: the alerts that a turn's findings make, and their way out.

    findings of a turn ─► alerts, stored with the turn
                             │
    every look ─► what is due now ─► one thread a channel ─► a Delivery, stored as soon as its answer is there

A Delivery is a durable step: one that arrived is never sent again, one that failed is tried again later. A process that
is killed between sending and storing sends that one message again, under the same id. A channel that hangs holds up
neither the others nor, beyond `Limits`, the loop.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Final, NamedTuple, TypeAlias

from kaizen.core.errors import DeliveryError, KaizenError, StoreError
from kaizen.core.ids import derived
from kaizen.core.ports import Notice, Notifier
from kaizen.core.project import Project
from kaizen.core.records import Alert, Decision, Delivery, Endpoint, Finding, Silence
from kaizen.loop.observe import reference_of
from kaizen.monitor.alerts import alerts, deliveries
from kaizen.monitor.alerts.alerts import Moment, Stake
from kaizen.monitor.alerts.deliveries import Due, Known, Standing
from kaizen.stats.blocks import day_start

Note: TypeAlias = Callable[[str], None]
Answer: TypeAlias = Delivery | StoreError | str  # of a channel: a try, what kept it from being stored, or its end


class Limits(NamedTuple):
    """How long a look may take: no message is started after `start_s`, and none is waited for after `wait_s`."""

    start_s: float
    wait_s: float


LIMITS: Final = Limits(start_s=10.0, wait_s=30.0)


def changed(
    project: Project, endpoint: Endpoint, day: int, findings: Sequence[Finding], decisions: Sequence[Decision]
) -> list[Alert]:
    """Return the alerts that change by the findings of an event day, to be stored with them."""
    at = day_start(day + 1, project.file.data.time_zone)
    return _changed(project, endpoint, at, f"turn {day}", findings, decisions)


def between(project: Project, endpoint: Endpoint, findings: Sequence[Finding]) -> list[Alert]:
    """Return the alerts that change by findings that did not wait for a turn, to be stored with them."""
    now = project.clock.now()
    return _changed(project, endpoint, now, f"look {now.isoformat()}", findings, ())


def _changed(
    project: Project,
    endpoint: Endpoint,
    at: datetime,
    step: str,
    findings: Sequence[Finding],
    decisions: Sequence[Decision],
) -> list[Alert]:
    moment = Moment(
        project=project.name,
        endpoint=endpoint.name,
        at=at,
        step=step,
        time_zone=project.file.data.time_zone,
        stake=_stake(project, endpoint, findings),
        decisions=tuple(decisions),
    )
    return alerts.update(project.records.find(Alert), findings, moment, alerts.rules_of(project.file.alerts))


def deliver(project: Project, *, note: Note = lambda _: None, limits: Limits = LIMITS) -> list[Delivery]:
    """Tell everybody what they are to be told by now, and return the tries; those that failed are due again later."""
    due = deliveries.due(known(project))
    titles = {each.alert.id: each.alert.title for each in due}
    made = []
    for delivery in _carried(project, due, limits):
        made.append(delivery)
        if not delivery.delivered:
            _log_failure(delivery)
            note(f"{delivery.channel} was not told of {titles[delivery.alert]}: {delivery.says}")
    return made


def known(project: Project) -> Known:
    """Return all that is recorded of alerts, and now."""
    records = project.records
    return Known(
        alerts=records.find(Alert),
        deliveries=records.find(Delivery),
        silences=records.find(Silence),
        section=project.file.alerts,
        now=project.clock.now(),
    )


def standing(project: Project) -> tuple[Standing, ...]:
    """Return how each alert stands now: open ones first, the most severe and then the newest first."""
    return deliveries.standing(known(project))


def trial(project: Project, channel: str) -> None:
    """Send a message to a channel that says that it is a test, and store nothing; raises what a delivery would."""
    now = project.clock.now()
    identity = derived(now, project.name, "test", channel)
    alert = Alert(
        id=identity,
        project=project.name,
        at=now,
        by="loop",
        key=f"{project.name}/test",
        episode=identity,
        endpoint=project.name,
        question="test",
        state="open",
        change="opened",
        severity="info",
        parts=(),
        since=now,
        title=f"[test] {project.name}: this channel works",
        body="Nothing is wrong: this is a test by kaizen monitor alerts --test.",
        findings=(),
        labels={**project.file.alerts.labels, "endpoint": project.name, "question": "test", "severity": "info"},
        links=project.file.alerts.links,
    )
    project.notifier(channel).notify(Notice(identity, alert, (), "test"))


def _stake(project: Project, endpoint: Endpoint, findings: Sequence[Finding]) -> Stake | None:
    """Return the champion's usual loss, if a finding has an impact to hold against it."""
    if all(finding.impact is None for finding in findings):
        return None
    reference = reference_of(project, endpoint.champion.bundle)
    loss = reference.loss if reference else None
    return Stake(loss.metric, loss.daily.mean) if loss else None


def _carried(project: Project, due: Sequence[Due], limits: Limits) -> Iterator[Delivery]:
    """Send messages, the channels side by side, and yield each try once it is stored.

    What was not started in time is due at the next look. Of a channel that is not waited for any more the message
    under way counts as failed; should it arrive yet, that is stored too, and it is not sent again.
    """
    start_by, wait_for = time.monotonic() + limits.start_s, time.monotonic() + limits.wait_s
    answers: SimpleQueue[Answer] = SimpleQueue()
    left: dict[str, tuple[list[Due], Event]] = {}
    for channel in dict.fromkeys(each.channel for each in due):
        left[channel] = [each for each in due if each.channel == channel], Event()
        Thread(target=_work, args=(project, *left[channel], start_by, answers), daemon=True).start()
    while left:
        try:
            answer = answers.get(timeout=max(0.0, wait_for - time.monotonic()))
        except Empty:
            break
        if isinstance(answer, str):
            del left[answer]
        elif isinstance(answer, Delivery):
            left[answer.channel][0].pop(0)
            yield answer
        else:
            raise answer
    for waiting, is_given_up in left.values():
        is_given_up.set()
        for due_now in waiting[:1]:
            yield _stored(project, due_now, f"no answer within {limits.wait_s:g} s")


def _work(
    project: Project, waiting: Sequence[Due], is_given_up: Event, start_by: float, answers: SimpleQueue[Answer]
) -> None:
    """Send the messages of one channel in order, and store what became of each before the next is sent.

    It stops where nobody answers and when time is up, and says in the end that it is done.
    """
    todo, notifier = list(waiting), functools.cache(project.notifier)
    try:
        for due in todo:
            if due is not todo[0] and (is_given_up.is_set() or time.monotonic() > start_by):
                break
            error, is_there = _sent(project, due, notifier)
            if error is None or not is_given_up.is_set():
                answers.put(_stored(project, due, error))
            if not is_there:
                break
    except StoreError as err:
        answers.put(err)
    finally:
        answers.put(todo[0].channel)


def _sent(project: Project, due: Due, notifier: Callable[[str], Notifier]) -> tuple[str | None, bool]:
    """Send a message, and return the error (None: it arrived) and whether the channel is worth another one now."""
    notice = _notice(project, due)
    try:
        notifier(due.channel).notify(notice)
    except KaizenError as err:
        return f"{err.what}; {err.fix}" if err.fix else err.what, isinstance(err, DeliveryError)
    except Exception as err:  # whatever an adapter raises; its words may hold the address
        return f"the notifier failed with {type(err).__name__}", False
    return None, True


def _notice(project: Project, due: Due) -> Notice:
    alert = due.alert
    findings = tuple(project.records.get(Finding, identity) for identity in alert.findings)
    if due.reminder or alert.change == "better":
        return Notice(f"{alert.id}-{due.reminder}", alert, findings, "reminder")
    return Notice(alert.id, alert, findings, alert.change)


def _stored(project: Project, due: Due, error: str | None) -> Delivery:
    """Store what became of a try and return it; `error` is None where it arrived."""
    now = project.clock.now()
    key = (due.alert.id, due.channel, str(due.reminder), str(due.attempt), str(error is None))
    identity = derived(now, project.name, "delivery", *key)
    again = None
    if error is not None:
        again = deliveries.retry_at(now, due.attempt, due.first_try or now, identity)
    delivery = Delivery(
        id=identity,
        project=project.name,
        at=now,
        by="loop",
        parents=(due.alert.id,),
        alert=due.alert.id,
        channel=due.channel,
        reminder=due.reminder,
        attempt=due.attempt,
        delivered=error is None,
        says=error or "",
        retry_at=again,
    )
    project.records.put([delivery])
    return delivery


def _log_failure(delivery: Delivery) -> None:
    import structlog  # for what happens when something else has failed

    structlog.get_logger("kaizen.alert").warning(
        "delivery failed",
        alert=delivery.alert,
        channel=delivery.channel,
        attempt=delivery.attempt,
        says=delivery.says,
        retry_at=delivery.retry_at.isoformat() if delivery.retry_at else None,
    )
