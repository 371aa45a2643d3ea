"""Has the traffic stopped? Hours without any request, where the same hours of every week before had them.

    … 130 │ 142 │  0  │  0  │            hours ending now, silent
    … 121 │ 139 │ 150 │ 133 │ a week ago
    … 128 │ 133 │ 161 │ 140 │ two weeks ago      ─► at least 30 in every one of them: it is said

Two weeks have to be known, and up to eight are looked at. Where few ask it takes more hours until it is said. Where
requests come in bursts standstills are usual: one is said only if it is half as strange again as every one of the weeks
before, each measured in the same way against the other weeks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from kaizen.core.clock import from_us, to_us
from kaizen.core.operations import Figures
from kaizen.core.records import Finding
from kaizen.monitor.paging import Incident, Stamp, settle
from kaizen.monitor.serving.operations import QUESTION
from kaizen.monitor.serving.signals import asked

SUBJECT: Final = "no traffic"
METHOD: Final = "hours without a request, against the same hours of past weeks"
WEEKS: Final = 8
_FEWEST_WEEKS: Final = 2
_LEAST: Final = 30  # requests in those hours of every week before
_LONGEST: Final = 168  # hours: longer is no stranger
_QUARTER_US: Final = 900_000_000
_STRANGER: Final = 1.5  # than every standstill before


def look(
    figures: Iterable[Figures],
    incidents: Sequence[Incident],
    *,
    known_from: datetime,
    start: datetime,
    end: datetime,
    time_zone: str,
    stamp: Stamp,
) -> tuple[list[Finding], tuple[Incident, ...]]:
    """Return what opens and closes with the hours that end in (start, end], and what is open then.

    Parameters
    ----------
    figures
        Of the last eight weeks and a day.
    known_from
        Since when processes tell of themselves: before, no request means nothing.
    """
    zone = ZoneInfo(time_zone)
    requests, seconds = _by_hour(figures, zone)
    known = _hour_of(to_us(known_from), zone) + 1
    findings, opened = [], tuple(incidents)
    for hour, ended in _hours_that_end(start, end, zone):
        silent = _silent_hours(requests, hour, known)
        usual = _usual(requests, hour, silent, known)
        is_strange = usual >= _LEAST and not any(i.subject == SUBJECT for i in opened)
        fires = is_strange and usual > _STRANGER * _strangest(requests, hour - silent, known)
        happened, opened = settle(opened, QUESTION, SUBJECT, fires=fires, clean=silent == 0, at=ended)
        if happened in ("opened", "closed"):
            findings.append(
                _finding(
                    ended,
                    silent,
                    usual,
                    requests.get(hour, 0),
                    is_alive=any(seconds.get(each, 0.0) for each in range(hour - silent + 1, hour + 1)),
                    is_over=happened == "closed",
                    stamp=stamp,
                )
            )
    return findings, opened


def _silent_hours(requests: Mapping[int, int], hour: int, known: int) -> int:
    """Return how many hours up to this one had no request."""
    silent = 0
    while silent < _LONGEST and hour - silent >= known and not requests.get(hour - silent):
        silent += 1
    return silent


def _usual(requests: Mapping[int, int], hour: int, silent: int, known: int) -> int:
    """Return the fewest requests that the same hours had in a past week, 0 if too few weeks are known."""
    weeks = min(WEEKS, (hour - silent + 1 - known) // 168)
    if not silent or weeks < _FEWEST_WEEKS:
        return 0
    return min(
        sum(requests.get(each - 168 * week, 0) for each in range(hour - silent + 1, hour + 1))
        for week in range(1, weeks + 1)
    )


def _strangest(requests: Mapping[int, int], last: int, known: int) -> int:
    """Return the most requests that the same hours had in every other week, of all standstills up to an hour."""
    strangest = 0
    for hour in range(max(known, last - 168 * WEEKS + 1), last + 1):
        silent = _silent_hours(requests, hour, known)
        others = [
            hour + 168 * week
            for week in range(-WEEKS, WEEKS + 1)
            if week and hour + 168 * week <= last and hour - silent + 1 + 168 * week >= known
        ]
        if silent and others:
            spans = (range(other - silent + 1, other + 1) for other in others)
            strangest = max(strangest, min(sum(requests.get(each, 0) for each in span) for span in spans))
    return strangest


def _by_hour(figures: Iterable[Figures], zone: ZoneInfo) -> tuple[dict[int, int], dict[int, float]]:
    requests: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for each in figures:
        hour = _hour_of(each.at - 1, zone)
        requests[hour] = requests.get(hour, 0) + asked(each)
        seconds[hour] = seconds.get(hour, 0.0) + each.seconds
    return requests, seconds


def _hour_of(at_us: int, zone: ZoneInfo) -> int:
    """Return the hour on the wall's clock: 24 a day, so that a week back is the same hour, whatever clocks do."""
    local = datetime.fromtimestamp(at_us // 1_000_000, zone)
    return local.toordinal() * 24 + local.hour


def _hours_that_end(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[tuple[int, datetime]]:
    """Yield each local hour that ends in (start, end], and when: at a quarter of an hour, as offsets are."""
    quarter = to_us(start) // _QUARTER_US + 1
    while quarter * _QUARTER_US <= to_us(end):
        ended = quarter * _QUARTER_US
        hour = _hour_of(ended - 1, zone)
        if _hour_of(ended, zone) != hour:
            yield hour, from_us(ended)
        quarter += 1


def _finding(
    end: datetime, silent: int, usual: int, requests: int, *, is_alive: bool, is_over: bool, stamp: Stamp
) -> Finding:
    start = end - timedelta(hours=max(1, silent))
    if is_over:
        says = f"Requests for predictions come again: {requests:,} in the hour to {end:%Y-%m-%d %H:%M} UTC."
    else:
        who = "servers ran, and nobody asked" if is_alive else "and no server told of itself: it may be down"
        hours = "hour" if silent == 1 else f"{silent} hours"
        says = (
            f"No request for a prediction came in the {hours} to {end:%Y-%m-%d %H:%M} UTC; in the same hours of every "
            f"week before there were {usual:,} or more; {who}."
        )
    return stamp(
        question=QUESTION,
        subject=SUBJECT,
        method=METHOD,
        estimate=float(requests if is_over else usual),
        low=None,
        high=None,
        evidence=None,
        limit=None,
        verdict="resolved" if is_over else "page",
        n=requests,
        start=start,
        end=end,
        says=says,
        matters=float(_LEAST),
        began=None if is_over else start,
    )
