"""What is still to be told to whom, from the records alone: nothing twice, nothing never. Pure.

    the alerts of a key, the last news of them ──► its channels ──► told? quiet? silenced? waiting to try again? ──► due

| what                              | who is told, and when                                                      |
|-----------------------------------|----------------------------------------------------------------------------|
| opened                            | every channel of its route, once                                           |
| worse                             | the same; one more part, without more severity, once in a cool-down        |
| still open after ``repeat_after`` | the channels that were told, as a reminder                                 |
| resolved                          | the channels that were told that it is open; nobody else                   |
| a try failed                      | again after 1 min, 2, 4, … at most 6 h, each less up to a half by chance   |
| tries failed for 3 days           | given up, which stays on show; the next news begins anew                   |

What is resolved before anybody was told of it is told to nobody. A silence or a cool-down that ends lets through what
is open then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Final, NamedTuple

import msgspec

from kaizen.core.alerting import LOG, AlertsSection
from kaizen.core.durations import duration
from kaizen.core.records import Alert, Delivery, Silence
from kaizen.monitor.alerts import routing
from kaizen.monitor.alerts.alerts import RANKS

FIRST_WAIT: Final = timedelta(minutes=1)
LONGEST_WAIT: Final = timedelta(hours=6)
GIVE_UP_AFTER: Final = timedelta(days=3)


class Known(NamedTuple):
    """All that was recorded by a moment, in order of arrival, and what the project declares."""

    alerts: Sequence[Alert]
    deliveries: Sequence[Delivery]
    silences: Sequence[Silence]
    section: AlertsSection
    now: datetime


class Due(NamedTuple):
    """What is to be sent now: an alert to a channel, as its news (0) or a later reminder, and which try it is."""

    alert: Alert
    channel: str
    reminder: int
    attempt: int
    first_try: datetime | None  # when the first of these tries failed


class Trouble(msgspec.Struct, frozen=True):
    """A channel that could not be told: the last error, the tries so far, and when the next is; None: given up."""

    channel: str
    says: str
    attempts: int
    retry_at: datetime | None


class Standing(msgspec.Struct, frozen=True):
    """How an alert stands: its newest record, who knows of it since when, and what keeps the news from others."""

    alert: Alert
    told: dict[str, datetime]  # channel: the last time in this episode
    waiting: tuple[str, ...]  # channels that the last news has not reached
    trouble: tuple[Trouble, ...]
    silenced_until: datetime | None
    quiet_until: datetime | None


def due(known: Known) -> list[Due]:
    """Return what is to be sent now."""
    found: list[Due] = []
    for line in _lines(known):
        if not _is_quiet(line, known) and routing.silenced_until(line.latest, known.silences, known.now) is None:
            for channel in _recipients(line, known):
                found += _due_to(channel, line, known)
    return found


def retry_at(failed_at: datetime, attempt: int, first_try: datetime, seed: str) -> datetime | None:
    """Return when a failed try is repeated, or None once it was tried for `GIVE_UP_AFTER`.

    The wait doubles, and chance takes up to a half of it, so that many who failed together do not come back together.
    The same `seed`, the id of the failed delivery, gives the same wait.
    """
    longest = min(FIRST_WAIT * 2 ** min(attempt - 1, 16), LONGEST_WAIT)
    again = failed_at + longest * (1 - Random(seed).random() / 2)
    return again if again - first_try <= GIVE_UP_AFTER else None


def standing(known: Known) -> tuple[Standing, ...]:
    """Return how each alert stands: the open ones first, the most severe and then the newest first."""
    found = sorted((_standing(line, known) for line in _lines(known)), key=lambda each: each.alert.at, reverse=True)
    return tuple(sorted(found, key=lambda each: (each.alert.state != "open", -RANKS[each.alert.severity])))


@dataclass
class _Line:
    """All records of one key, and all tries to tell of them, in order of arrival."""

    alerts: list[Alert] = field(default_factory=list)
    tries: list[Delivery] = field(default_factory=list)

    @property
    def latest(self) -> Alert:
        return self.alerts[-1]

    @property
    def news(self) -> Alert:
        """The last record that people are to be told of."""
        return next(alert for alert in reversed(self.alerts) if alert.change != "better")

    def of(self, alert: Alert, channel: str, reminder: int) -> list[Delivery]:
        """Return the tries to tell a channel of this."""
        wanted = (alert.id, channel, reminder)
        return [each for each in self.tries if (each.alert, each.channel, each.reminder) == wanted]

    def last_told(self) -> dict[str, Delivery]:
        """Return the last delivery to each channel that arrived."""
        return {each.channel: each for each in self.tries if each.delivered}


def _lines(known: Known) -> list[_Line]:
    lines: dict[str, _Line] = {}
    keys: dict[str, str] = {}
    for alert in known.alerts:
        lines.setdefault(alert.key, _Line()).alerts.append(alert)
        keys[alert.id] = alert.key
    for each in known.deliveries:
        if each.alert in keys:
            lines[keys[each.alert]].tries.append(each)
    return list(lines.values())


def _is_quiet(line: _Line, known: Known) -> bool:
    until = line.latest.quiet_until
    return line.latest.state == "open" and until is not None and known.now < until


def _recipients(line: _Line, known: Known) -> list[str]:
    """Return the channels that are to know: those of the route, or those that believe that it is open still."""
    if line.latest.state == "open":
        wanted: Iterable[str] = routing.channels(line.news, known.section)
    else:
        still_open = {alert.id for alert in line.alerts if alert.state == "open"}
        wanted = [channel for channel, last in line.last_told().items() if last.alert in still_open]
    return [channel for channel in wanted if channel == LOG or channel in known.section.channels]


def _due_to(channel: str, line: _Line, known: Known) -> list[Due]:
    news, latest, last = line.news, line.latest, line.last_told().get(channel)
    if not any(each.delivered for each in line.of(news, channel, 0)):
        return [] if _waits(news, last, line, known) else _next_try(line, news, channel, 0, known.now)
    again = known.section.repeat_after
    if again is None or last is None or latest.state == "resolved" or known.now - last.at < duration(again):
        return []
    before = [each for each in line.tries if each.delivered and (each.alert, each.channel) == (latest.id, channel)]
    return _next_try(line, latest, channel, 1 + max((each.reminder for each in before), default=0), known.now)


def _waits(news: Alert, last: Delivery | None, line: _Line, known: Known) -> bool:
    """Say whether a channel that was told shortly before can wait: the alert has grown, and is no more severe."""
    told = next((alert for alert in line.alerts if last is not None and alert.id == last.alert), None)
    if last is None or told is None or told.episode != news.episode or news.change != "worse":
        return False
    return RANKS[news.severity] <= RANKS[told.severity] and known.now - last.at < duration(known.section.cooldown)


def _next_try(line: _Line, alert: Alert, channel: str, reminder: int, now: datetime) -> list[Due]:
    tries = line.of(alert, channel, reminder)
    if not tries:
        return [Due(alert, channel, reminder, 1, None)]
    again = tries[-1].retry_at
    return [] if again is None or now < again else [Due(alert, channel, reminder, len(tries) + 1, tries[0].at)]


def _standing(line: _Line, known: Known) -> Standing:
    episode = {alert.id for alert in line.alerts if alert.episode == line.latest.episode}
    reached = {each.channel for each in line.tries if each.delivered and each.alert == line.news.id}
    return Standing(
        alert=line.latest,
        told={channel: last.at for channel, last in line.last_told().items() if last.alert in episode},
        waiting=tuple(channel for channel in _recipients(line, known) if channel not in reached),
        trouble=tuple(_troubles(each for each in line.tries if each.alert in episode)),
        silenced_until=routing.silenced_until(line.latest, known.silences, known.now),
        quiet_until=line.latest.quiet_until if _is_quiet(line, known) else None,
    )


def _troubles(tries: Iterable[Delivery]) -> Iterator[Trouble]:
    """Yield the last failure of each channel that nothing has reached since."""
    for last in {each.channel: each for each in tries}.values():
        if not last.delivered:
            yield Trouble(last.channel, last.says, last.attempt, last.retry_at)
