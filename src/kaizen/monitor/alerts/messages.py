"""What an alert says to people: the first line what is wrong, since when, what is at stake and what was done. Pure.

    [critical] flights: drift in wind_speed, temp, dewp and 27 more since 2013-03-04; log_loss about 12% worse; …

Words of the data (columns, segments) stay on their line, whatever is in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from kaizen.core.records import Alert, Decision, Finding

NAMED, LISTED = 3, 10
_WRONG = {"drift": "drift in ", "quality": "bad data: ", "performance": "worse ", "segments": "worse "}


class Words(NamedTuple):
    """What a message is made with, beside the alert."""

    time_zone: str
    metric: str
    decisions: tuple[Decision, ...]


def title(alert: Alert, words: Words) -> str:
    """Return the first line."""
    wrong = _WRONG.get(alert.question, f"{plain(alert.question, 60)}: ") + _names(alert)
    since = _moment(alert.since, words.time_zone)
    if alert.state == "resolved":
        return f"[resolved] {alert.endpoint}: {wrong} is over, {since} to {_moment(alert.at, words.time_zone)}"
    decided = ", ".join(dict.fromkeys(decision.action for decision in words.decisions))
    done = f"; decided: {decided}" if decided else ""
    return f"[{alert.severity}] {alert.endpoint}: {wrong} since {since}; {_at_stake(alert, words.metric)}{done}"


def body(alert: Alert, findings: Sequence[Finding], before: Alert | None, words: Words) -> str:
    """Return what stands below the first line; `before` is the alert as it was before this change."""
    return "\n".join(_lines(alert, findings, before, words))


def plain(text: str, length: int = 400) -> str:
    """Return a text on one line, without what does not print, and no longer than so many characters.

    >>> plain("a\\n b\\x00", 10), plain("abcdef", 4)
    ('a b', 'abc…')
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _lines(alert: Alert, findings: Sequence[Finding], before: Alert | None, words: Words) -> Iterator[str]:
    yield f"Look further: kaizen monitor status; kaizen loop explain {alert.id}"
    yield from (f"- {plain(finding.says)}" for finding in findings[:LISTED] if finding.says)
    if len(findings) > LISTED:
        yield f"- and {len(findings) - LISTED} more"
    new = {finding.id for finding in findings}
    still = [part.subject for part in alert.parts if part.closed is None and part.opened not in new]
    if before is not None and still:
        yield f"Open since before: {_listed(still, LISTED)}."
    for decision in words.decisions:
        yield f"Decided: {decision.action} ({decision.id}): {plain(decision.reason)}."
    yield from (f"{name}: {address}" for name, address in alert.links.items())
    own = [
        f"{label} {value}" for label, value in alert.labels.items() if label not in ("endpoint", "question", "severity")
    ]
    yield ", ".join([f"Alert {plain(alert.key)}", *own])


def _names(alert: Alert) -> str:
    named = [f"{part.subject} ({part.segment})" if part.segment else part.subject for part in alert.standing]
    return _listed(named, NAMED)


def _listed(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(plain(name, 60) for name in names[:most]) + more


def _at_stake(alert: Alert, metric: str) -> str:
    if alert.at_stake is None:
        return "impact unknown"
    return f"{metric} about {abs(alert.at_stake):.0%} {'worse' if alert.at_stake >= 0 else 'better'}"


def _moment(at: datetime, time_zone: str) -> str:
    """Return a moment as the project's people write it; a midnight as its date."""
    local = at.astimezone(ZoneInfo(time_zone))
    return f"{local:%Y-%m-%d}" if local.time().isoformat() == "00:00:00" else f"{local:%Y-%m-%d %H:%M}"
