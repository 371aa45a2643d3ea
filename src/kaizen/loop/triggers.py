"""What asks for a retraining: pages of the monitors, the calendar, and how many labelled rows are new.

A request is remembered until a retraining answers it or its cause goes away; it does not ask twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec

from kaizen.core.projectfile import LoopSection, Trigger, trigger
from kaizen.core.records import Finding
from kaizen.loop.bad_data import explains, said
from kaizen.loop.policy import Fired, Held
from kaizen.monitor.quality.spells import Spell


class Request(msgspec.Struct, frozen=True):
    """A standing request: the trigger's kind, and the finding that raised it (none for calendar and rows)."""

    trigger: str
    subject: str = ""
    finding: str | None = None


def standing(requests: Sequence[Request], findings: Sequence[Finding], section: LoopSection) -> tuple[Request, ...]:
    """Return the requests after today's findings: pages add one, their resolution takes it back."""
    wanted = {trigger(text).kind for text in section.retrain_on}
    after = {(request.trigger, request.subject): request for request in requests}
    for finding in findings:
        kind = finding.question
        if kind not in wanted:
            continue
        if finding.verdict == "page":
            after[kind, finding.subject] = Request(kind, finding.subject, finding.id)
        elif finding.verdict == "resolved":
            after.pop((kind, finding.subject), None)
    return tuple(after.values())


def fired(
    requests: Sequence[Request],
    section: LoopSection,
    *,
    now: datetime,
    last_training: datetime,
    new_rows: int,
    held: Collection[Request] = (),
) -> tuple[Fired, ...]:
    """Return what asks now: the standing requests by kind, less those that are held, then calendar and rows."""
    found = []
    for wanted in map(trigger, section.retrain_on):
        asking = [request for request in requests if request.trigger == wanted.kind and request not in held]
        if asking:
            findings = tuple(request.finding for request in asking if request.finding)
            found.append(Fired(wanted.kind, _named(wanted.kind, asking), findings))
        elif _is_due(wanted, now=now, last_training=last_training, new_rows=new_rows):
            found.append(Fired(wanted.kind, _said(wanted)))
    return tuple(found)


def hold(requests: Sequence[Request], spells: Sequence[Spell], *, day: int, window_days: int) -> dict[Request, Spell]:
    """Return the requests that bad data explains, with the days on which it was bad."""
    near = ((r, explains(spells, r.trigger, r.subject, day=day, window_days=window_days)) for r in requests)
    return {request: spell for request, spell in near if spell is not None}


def held(requests: Mapping[Request, Spell]) -> tuple[Held, ...]:
    """Return what would ask if its data were good, by kind."""
    found = []
    for kind in dict.fromkeys(request.trigger for request in requests):
        asking = [request for request in requests if request.trigger == kind]
        findings = tuple(request.finding for request in asking if request.finding)
        why = ", ".join(dict.fromkeys(said(requests[request]) for request in asking))
        found.append(Held(Fired(kind, _named(kind, asking), findings), why))
    return tuple(found)


def _is_due(wanted: Trigger, *, now: datetime, last_training: datetime, new_rows: int) -> bool:
    if wanted.kind == "schedule":
        return (now - last_training).total_seconds() >= wanted.every_s
    return wanted.kind == "rows" and new_rows >= wanted.rows


def _named(kind: str, asking: Sequence[Request]) -> str:
    subjects = sorted(request.subject for request in asking)
    more = f" and {len(subjects) - 3} more" if len(subjects) > 3 else ""
    return f"{kind} ({', '.join(subjects[:3])}{more})"


def _said(wanted: Trigger) -> str:
    if wanted.kind == "schedule":
        return f"schedule ({wanted.every_s / 86400:g} days since the last training)"
    return f"rows ({wanted.rows:,} new ones with labels)"
