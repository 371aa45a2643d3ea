"""How the project's endpoint stands, gathered from its records: what the status shows, and the page draws."""

from __future__ import annotations

from typing import Final, NamedTuple

from kaizen.core.project import Project
from kaizen.core.records import Bundle, Decision, Finding
from kaizen.loop import tell
from kaizen.loop.cycle import Turn, last_turn
from kaizen.loop.observe import reference_of
from kaizen.monitor import standing as standings
from kaizen.monitor.drift.change import Change, change
from kaizen.monitor.reference import Reference
from kaizen.monitor.settings import settings_of
from kaizen.monitor.standing import EndpointStanding
from kaizen.monitor.status import status
from kaizen.monitor.window import newest, window_of
from kaizen.stats.blocks import day_start

_OVER: Final = 5


class Gathered(NamedTuple):
    """How an endpoint stands, the findings behind it in order of time, and the newest days of each column."""

    standing: EndpointStanding
    findings: tuple[Finding, ...]
    changes: tuple[Change, ...]


def standing(project: Project) -> tuple[EndpointStanding, ...]:
    """Return how each endpoint stands; nothing before the first bundle is promoted."""
    return tuple(each.standing for each in gathered(project, draw=False))


def gathered(project: Project, *, draw: bool = True) -> tuple[Gathered, ...]:
    """Return what `standing` does, with what a page draws."""
    endpoint = project.endpoint()
    if endpoint is None:
        return ()
    champion = project.records.get(Bundle, endpoint.champion.bundle)
    reference = reference_of(project, champion.id)
    findings = tuple(project.records.find(Finding))
    decisions = tuple(project.records.find(Decision, where={"endpoint": endpoint.name}))
    last = last_turn(project)
    found = EndpointStanding(
        endpoint=endpoint.name,
        revision=endpoint.revision,
        champion=champion.id,
        version=champion.version,
        max_false_pages=project.file.monitor.max_false_pages,
        watched_to=None if last is None else day_start(last.day + 1, project.file.data.time_zone),
        watched=standings.watched(findings, reference),
        fired=standings.fired(findings, decisions, tell.standing(project)),
        over=status(findings).over[-_OVER:][::-1],
        decisions=decisions[::-1],
    )
    is_watched = last is not None and last.state.watched == champion.id
    changes = _changes(project, reference, last) if draw and reference and last and is_watched else ()
    return (Gathered(found, findings, changes),)


def _changes(project: Project, reference: Reference, last: Turn) -> tuple[Change, ...]:
    """Return each column's newest window beside the reference."""
    settings = settings_of(project.file.monitor)
    days = last.state.watch.inputs.days
    if not days:
        return ()
    since = days[-1].number - settings.window_days + 1
    window = window_of(newest(days, since=since, rows=settings.min_rows))
    limit = settings.limit_of("drift") * max(1, len(reference.profiles))
    return tuple(change(p, window.counts[p.key], limit) for p in reference.profiles if p.key in window.counts)
