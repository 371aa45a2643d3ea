"""Silences: what a person says is not to be told for a while, and when he takes it back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from kaizen.core.alerting import why_no_match
from kaizen.core.errors import NotFoundError, UsageError
from kaizen.core.ids import derived
from kaizen.core.project import Project
from kaizen.core.records import Silence
from kaizen.monitor.alerts import routing

LONGEST = timedelta(days=365)


def in_force(project: Project) -> tuple[Silence, ...]:
    """Return the silences that hold now."""
    return routing.in_force(project.records.find(Silence), project.clock.now())


def silence(
    project: Project, match: Mapping[str, tuple[str, ...]], *, lasts: timedelta, reason: str, by: str
) -> Silence:
    """Keep alerts that match from being told for a time; `UsageError` if none ever could match."""
    why = why_no_match(dict(match), project.file.alerts.labels) if match else "nothing says which alerts"
    if why or not timedelta(0) < lasts <= LONGEST:
        what = why or f"a silence lasts for some time, and for at most {LONGEST.days} days"
        raise UsageError(what, where="kaizen monitor silence")
    now = project.clock.now()
    spelled = [f"{label}={pattern}" for label, told in match.items() for pattern in told]
    made = Silence(
        id=derived(now, project.name, "silence", by, reason, str(lasts), *spelled),
        project=project.name,
        at=now,
        by=by,
        match=dict(match),
        until=now + lasts,
        reason=reason,
    )
    project.records.put([made])
    return made


def end(project: Project, which: str, *, by: str, reason: str = "") -> Silence:
    """End a silence now; `which` begins its id. `NotFoundError` if none in force fits."""
    now = project.clock.now()
    found = [each for each in in_force(project) if each.id.startswith(which)]
    if len(found) != 1:
        what = f"{which!r} fits {len(found)} silences that are in force"
        raise NotFoundError(what, where="kaizen monitor silences", fix="kaizen monitor silences lists them")
    ended = Silence(
        id=derived(now, project.name, "silence", found[0].id),
        project=project.name,
        at=now,
        by=by,
        parents=(found[0].id,),
        match=found[0].match,
        until=now,
        reason=reason or "ended by hand",
    )
    project.records.put([ended])
    return ended
