"""What servers told of themselves, brought to the monitors: each event day in its turn, and what cannot wait for it.

.kaizen/operations ─┬─► watched   a day is over: every signal against the endpoint's own past
                    └─► look      now and then: declared limits that burn, traffic that stopped
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np

from kaizen.core.clock import from_us, to_us
from kaizen.core.operations import Figures, total
from kaizen.core.operations_file import FOLDER, OperationsFile, Told
from kaizen.core.project import Project
from kaizen.core.records import Bundle, Endpoint, Finding
from kaizen.monitor.paging import Incident, Stamp
from kaizen.monitor.serving import burn, standstill
from kaizen.monitor.serving.operations import QUESTION, Assessed, Deployment, OperationsState, assess
from kaizen.monitor.serving.signals import ServedDay, series, served_days
from kaizen.monitor.serving.usual import LEARNT, WARM_UP
from kaizen.monitor.settings import settings_of
from kaizen.monitor.stamp import Stamper
from kaizen.monitor.window import day_name
from kaizen.stats.blocks import day_blocks, day_start

_LATE: Final = timedelta(seconds=20)  # a process tells every 10 s: what is younger may not be told yet
_CAUGHT_UP: Final = timedelta(days=1)  # what is older when it is looked at is passed over


def file_of(project: Project) -> OperationsFile:
    """Return where the servers of a project tell of themselves."""
    return OperationsFile(project.state / FOLDER)


def served(project: Project, last: int, days: int = LEARNT + 1) -> list[ServedDay]:
    """Return the days up to this one, at most so many, from the first whole day that servers told of."""
    file, zone = file_of(project), project.file.data.time_zone
    began = file.first()
    if began is None:
        return []
    first = max(_day_of(began, zone) + 1, last - days + 1)
    told = file.read(day_start(first, zone), day_start(last + 1, zone)) if first <= last else None
    return [] if told is None else served_days(told.figures, range(first, last + 1), zone)


def watched(
    project: Project, day: int, state: OperationsState, incidents: Iterable[Incident], stamp: Stamp
) -> Assessed:
    """Return what a day of serving comes to; nothing where no server told of it."""
    days = served(project, day)
    if not days:
        return Assessed(state, (), tuple(incidents), ())
    section = project.file.monitor
    return assess(
        days,
        state,
        tuple(incidents),
        limit=settings_of(section).limit_of("operations"),
        stamp=stamp,
        also_open=[finding.subject for finding in still_open(project)],
        limits=section.limits,
        deployments=deployments(project),
        cpu_hour_price=section.cpu_hour_price,
    )


def look(project: Project, endpoint: Endpoint) -> list[Finding]:
    """Return what has happened to declared limits and to the traffic since the last Finding on them.

    Looked at again, the same moments give the same Findings; so what was lost by a crash is found again.
    """
    file, zone = file_of(project), project.file.data.time_zone
    known_from, end = file.first(), project.clock.now() - _LATE
    if known_from is None:
        return []
    stamp = Stamper(project.name, by="loop", at=project.clock.now(), key="look", parents=(endpoint.champion.bundle,))
    incidents, start = _standing(project, end)
    limits = burn.objectives(project.file.monitor.limits)
    back = burn.LOOKS_BACK if limits else timedelta(hours=2)
    figures = file.read(start - back, end).figures
    found, incidents = burn.look(figures, limits, incidents, start=start, end=end, stamp=stamp)
    if _may_stand_still(figures, incidents, start, end):
        figures = file.read(start - timedelta(weeks=standstill.WEEKS, days=8), end).figures
        more, _ = standstill.look(
            figures, incidents, known_from=known_from, start=start, end=end, time_zone=zone, stamp=stamp
        )
        found += more
    return found


class Burning(msgspec.Struct, frozen=True):
    """How a declared limit stands: the share of the last hour's requests that broke it, and the budget."""

    name: str
    share: float
    budget: float
    burn: float  # share / budget: from 14.4 on, if it still goes on, it pages
    requests: int
    says: str


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The serving by day, the newest last, which may not be over: what a table is printed and a chart drawn from."""

    days: list[str]  # ISO 8601
    signals: dict[str, list[float | None]]
    starts: list[int]  # processes that began
    killed: list[int]  # that began and did not end as they should; of the newest day, or run
    took_over: list[str]  # the bundle that became champion on that day
    learnt_days: int  # of at least `warm_up`
    warm_up: int
    limits: list[Burning]
    damaged: int  # lines that cannot be read, and are left out


def overview(project: Project, days: int) -> Overview:
    """Return so many days of serving up to now."""
    file, zone, now = file_of(project), project.file.data.time_zone, project.clock.now()
    began, today = file.first(), _day_of(now, zone)
    first = today + 1 if began is None else max(_day_of(began, zone), today - days + 1)
    told = file.read(day_start(first, zone), now) if first <= today else Told([], 0)
    shown = served_days(told.figures, range(first, today + 1), zone)
    signals, price = series(shown), project.file.monitor.cpu_hour_price
    if price is not None:
        signals["cost"] = [None if cpu is None else cpu / 3600 * price for cpu in signals["cpu"]]
    took_over = {_day_of(each.at, zone): f"bundle {each.version}" for each in deployments(project)}
    return Overview(
        days=[day_name(day.day) for day in shown],
        signals=signals,
        starts=[day.all.starts for day in shown],
        killed=[max(0, day.all.starts - day.all.stops) for day in shown],
        took_over=[took_over.get(day.day, "") for day in shown],
        learnt_days=0 if began is None else max(0, today - _day_of(began, zone) - 1),
        warm_up=WARM_UP,
        limits=_burning(project, told.figures, now),
        damaged=told.damaged,
    )


def _burning(project: Project, figures: list[Figures], now: datetime) -> list[Burning]:
    hour = total(each for each in figures if each.at > to_us(now - timedelta(hours=1)))
    found = []
    for limit in burn.objectives(project.file.monitor.limits):
        requests = limit.all(hour)
        share = limit.bad(hour) / requests if requests else 0.0
        found.append(Burning(limit.name, share, limit.budget, share / limit.budget, round(requests), limit.says))
    return found


def deployments(project: Project) -> list[Deployment]:
    """Return who became champion when, oldest first."""
    found: list[Deployment] = []
    for endpoint in project.records.find(Endpoint, where={"name": project.name}):
        bundle = endpoint.champion.bundle
        if not found or found[-1].bundle != bundle:
            version = project.records.get(Bundle, bundle).version
            found.append(Deployment(endpoint.at, endpoint.revision, bundle, version))
    return found


def still_open(project: Project) -> list[Finding]:
    """Return the Findings of `look` that opened what is still open."""
    return [finding for finding in _latest(project) if finding.verdict != "resolved"]


def _latest(project: Project) -> list[Finding]:
    """Return the newest Finding on each subject that `look` looks at."""
    found = project.records.find(Finding, where={"question": QUESTION})
    return list({f.subject: f for f in found if f.method in (burn.METHOD, standstill.METHOD)}.values())


def _standing(project: Project, end: datetime) -> tuple[tuple[Incident, ...], datetime]:
    """Return what `look` has left open, and up to when it has looked for certain."""
    latest = [(finding, finding.end) for finding in _latest(project) if finding.end is not None]
    standing = tuple(Incident(QUESTION, f.subject, at) for f, at in latest if f.verdict != "resolved")
    return standing, max([end - _CAUGHT_UP, *(at for _, at in latest)])


def _may_stand_still(figures: list[Figures], incidents: tuple[Incident, ...], start: datetime, end: datetime) -> bool:
    """Say whether eight weeks are worth reading: a standstill is open, or for an hour nobody asked."""
    if any(incident.subject == standstill.SUBJECT for incident in incidents):
        return True
    asked = [from_us(each.at) for each in figures if each.requests.get("predict")]
    moments = [start - timedelta(hours=1), *(at for at in asked if at > start - timedelta(hours=1)), end]
    return any(later - before > timedelta(minutes=55) for before, later in pairwise(moments))


def _day_of(moment: datetime, zone: str) -> int:
    return int(day_blocks(np.array([to_us(moment)]), zone)[0])
