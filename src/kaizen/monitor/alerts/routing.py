"""Who is told of an alert, and who is not for now: routes and silences, matched by label. Pure.

A route takes an alert as soon as one of its parts fits; a silence holds only while every part that is not over is
silenced, so that a known fault in one column does not hide a new one in another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TypeAlias

from kaizen.core.alerting import LOG, AlertsSection, patterns
from kaizen.core.records import Alert, Part, Silence

Match: TypeAlias = Mapping[str, Sequence[str]]


def channels(alert: Alert, section: AlertsSection) -> tuple[str, ...]:
    """Return the channels that an alert goes to, by the first route that fits.

    Without one it goes to every channel if it may wake somebody (it is ``warning`` or ``critical``), else to none.
    """
    for route in section.routes:
        if any(_fits(patterns(route.match), alert, part) for part in alert.standing):
            return tuple(dict.fromkeys(route.to))
    if alert.severity == "info":
        return ()
    return tuple(section.channels) or (LOG,)


def in_force(silences: Iterable[Silence], now: datetime) -> tuple[Silence, ...]:
    """Return the silences that hold now: not over yet, and not ended by a later one that names them as parent."""
    given = list(silences)
    ended = {parent for silence in given for parent in silence.parents}
    return tuple(silence for silence in given if silence.id not in ended and silence.at <= now < silence.until)


def silenced_until(alert: Alert, silences: Iterable[Silence], now: datetime) -> datetime | None:
    """Return until when these silences keep an alert quiet as it stands, or None where they do not."""
    holding = in_force(silences, now)
    ends = []
    for part in alert.standing:
        over = [silence.until for silence in holding if _fits(silence.match, alert, part)]
        if not over:
            return None
        ends.append(max(over))
    return min(ends)


def _fits(match: Match, alert: Alert, part: Part) -> bool:
    """Say whether all labels of a match fit, each by one of its patterns: as it is written, or as a glob."""
    labels = {**alert.labels, "subject": part.subject, "segment": part.segment}
    return all(
        any(labels.get(label, "") == pattern or fnmatchcase(labels.get(label, ""), pattern) for pattern in told)
        for label, told in match.items()
    )
