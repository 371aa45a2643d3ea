"""Does the serving itself do what it did? Learnt from the endpoint's own past days; a bundle's reference knows nothing.

    days served ─► streams: evidence and size of each signal ─► page when both keys turn, once an incident

While an incident is open its evidence rests, and begins anew when it is over: when three days in a row are back, or
after four weeks, as the new normal. `burn.py` has the limits that a project declares, `standstill.py` the traffic that
stops.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from kaizen.core.durations import duration
from kaizen.core.monitoring import LimitsSection
from kaizen.core.records import Finding, Verdict
from kaizen.monitor.paging import Incident, Stamp, settle
from kaizen.monitor.serving.signals import NAMES, ServedDay
from kaizen.monitor.serving.usual import WARM_UP, SignalStream, effect_of, signal_streams
from kaizen.monitor.window import day_name

QUESTION: Final = "operations"
SUMMARY: Final = "operations window"
METHOD: Final = "e-SR on ranks among past days (of shares, on their bound), and the size of the change"
_CALM_DAYS: Final = 3
_NEW_NORMAL: Final = timedelta(days=28)
_CALM_BELOW: Final = 0.8  # of the size that matters
_NO_LIMITS: Final = LimitsSection()


class Deployment(msgspec.Struct, frozen=True):
    """A bundle that became champion: when, at which revision, and what it is called."""

    at: datetime
    revision: int
    bundle: str
    version: int


class OperationsState(msgspec.Struct, frozen=True):
    """From which day on each signal's evidence counts, and how many days have passed since the last summary."""

    since: dict[str, int] = {}
    since_summary: int = 0


class Assessed(msgspec.Struct, frozen=True):
    """What a day comes to: the state for the next one, what there is to say, what is open, and every stream."""

    state: OperationsState
    findings: tuple[Finding, ...]
    incidents: tuple[Incident, ...]
    streams: tuple[SignalStream, ...]


def assess(
    days: Sequence[ServedDay],
    state: OperationsState,
    incidents: Sequence[Incident],
    *,
    limit: float,
    stamp: Stamp,
    also_open: Sequence[str] = (),
    limits: LimitsSection = _NO_LIMITS,
    deployments: Sequence[Deployment] = (),
    cpu_hour_price: float | None = None,
) -> Assessed:
    """Return what the last of these days comes to; a day that was not served says nothing and changes nothing.

    Parameters
    ----------
    days
        Whole days in order of time, the newest last; those without figures are passed over.
    limit
        1/alpha: at least so many days lie between two false pages of all signals together, on average. Which signals
        are named, e-BH says: of k at once each needs less evidence.
    also_open
        What else of this question is open (`burn.py`, `standstill.py`), so that the summary does not call it over.
    limits
        Of saturation and of CPU time, which a day keeps or breaks; the others burn (`burn.py`).
    deployments
        Who became champion when: a change that begins with one names it.
    """
    today = days[-1]
    served = [day for day in days if day.all.seconds > 0]
    if not served or served[-1].day != today.day:
        return Assessed(state, (), tuple(incidents), ())
    since, found, opened = dict(state.since), [], tuple(incidents)
    every = signal_streams(served, since)
    least = _least_evidence(every, limit)
    for stream in every:
        told = _Told(stream, today, deployments, cpu_hour_price)
        happened, opened = _settle(stream, served, opened, least, today.end)
        if happened == "opened":
            found.append(told.finding("page", least, stamp))
        elif happened == "closed":
            found.append(told.finding("resolved", least, stamp))
        if happened != "none":
            since[stream.name] = today.day + 1
    broken, opened = _bounds(today, limits, opened, stamp)
    found += broken
    passed = state.since_summary + 1
    if passed % 7 == 0 or len(served) == 1:
        still = [*(i.subject for i in opened if i.question == QUESTION), *also_open]
        found.append(_summary(served, every, still, least, stamp))
    after = OperationsState({name: day for name, day in since.items() if day > today.day - 365}, passed)
    return Assessed(after, tuple(found), opened, tuple(every))


def _least_evidence(every: Sequence[SignalStream], limit: float) -> float:
    """Return the evidence from which on a signal is named: D / k times the limit, k the most that reach it together."""
    ranked = sorted((stream.evidence for stream in every), reverse=True)
    named = [k for k, evidence in enumerate(ranked, start=1) if evidence * k >= len(NAMES) * limit]
    return len(NAMES) * limit / max(named, default=1)


def _settle(
    stream: SignalStream, served: Sequence[ServedDay], incidents: tuple[Incident, ...], limit: float, at: datetime
) -> tuple[str, tuple[Incident, ...]]:
    is_open = next((i for i in incidents if (i.question, i.subject) == (QUESTION, stream.name)), None)
    return settle(
        incidents,
        QUESTION,
        stream.name,
        fires=stream.evidence >= limit and stream.is_large,
        clean=is_open is not None and _is_over(stream.name, served, is_open.since),
        at=at,
    )


def _is_over(name: str, served: Sequence[ServedDay], opened: datetime) -> bool:
    """Say whether three days in a row lie where it was before the incident, or it has lasted for four weeks."""
    if served[-1].end - opened >= _NEW_NORMAL:
        return True
    known = [day for day in served if math.isfinite(day.values[name])]
    before = [day for day in known if day.end < opened]
    after = [day for day in known if day.end > opened][-_CALM_DAYS:]
    if len(after) < _CALM_DAYS or not before:
        return False
    sizes = [effect_of(name, [*before, day], day.day) for day in after]
    return all(size < _CALM_BELOW * matters for size, matters, _ in sizes)


def _bounds(
    today: ServedDay, limits: LimitsSection, incidents: tuple[Incident, ...], stamp: Stamp
) -> tuple[list[Finding], tuple[Incident, ...]]:
    """Return what the declared limits of a whole day say of it."""
    found = []
    cpu = None if limits.cpu_per_1000 is None else duration(limits.cpu_per_1000).total_seconds()
    for name, limit in (("saturation", limits.saturation), ("cpu", cpu)):
        value = today.values[name]
        if limit is None or not math.isfinite(value):
            continue
        subject = f"{name} limit"
        happened, incidents = settle(
            incidents, QUESTION, subject, fires=value > limit, clean=value <= limit, at=today.end
        )
        if happened in ("opened", "closed"):
            found.append(
                stamp(
                    question=QUESTION,
                    subject=subject,
                    method="a declared limit, by day",
                    estimate=value,
                    low=None,
                    high=None,
                    evidence=None,
                    limit=None,
                    verdict="page" if happened == "opened" else "resolved",
                    n=today.requests,
                    start=today.start,
                    end=today.end,
                    says=f"{name} is {shown(name, value)} on {day_name(today.day)}; {shown(name, limit)} may be.",
                    matters=limit,
                )
            )
    return found, incidents


class _Told:
    """A stream in words."""

    def __init__(
        self, stream: SignalStream, day: ServedDay, deployments: Sequence[Deployment], cpu_hour_price: float | None
    ) -> None:
        self._stream = stream
        self._day = day
        self._price = cpu_hour_price
        self._swap = _near(deployments, day, stream.began)

    def finding(self, verdict: Verdict, limit: float, stamp: Stamp) -> Finding:
        stream, day = self._stream, self._day
        began = None if stream.began is None else day.start + timedelta(days=stream.began - day.day)
        return stamp(
            question=QUESTION,
            subject=stream.name,
            method=METHOD,
            estimate=stream.effect,
            low=None,
            high=None,
            evidence=stream.evidence,
            limit=limit,
            verdict=verdict,
            n=day.requests,
            start=began or day.start,
            end=day.end,
            says=self._says(verdict),
            matters=stream.matters,
            detectable=stream.detectable,
            began=began,
            blames=() if self._swap is None else (f"bundle {self._swap.version}",),
        )

    def _says(self, verdict: Verdict) -> str:
        stream, day = self._stream, self._day
        value, usual = shown(stream.name, stream.value), shown(stream.name, stream.usual)
        where = f"{stream.name} is {value} on {day_name(day.day)}, usually {usual}"
        if stream.name.startswith("latency"):
            bounds = day.latency(0.5 if stream.name == "latency p50" else 0.99)
            where += f" (of the day, between {bounds.low:.3g} and {bounds.high:.3g} ms for certain)"
        if stream.name == "cpu" and self._price is not None:
            where += f"; that is {stream.value / 3600 * self._price:.3g} in money, usually {self._usual_price():.3g}"
        if verdict == "resolved":
            return f"{where}: it is back, or has stayed there for so long that it is normal now."
        says = where if stream.began is None else f"{where}, since about {day_name(stream.began)}"
        if self._swap is not None:
            swap = self._swap
            says += f"; revision {swap.revision} with bundle {swap.version} took over at {swap.at:%Y-%m-%d %H:%M} UTC"
        return f"{says}."

    def _usual_price(self) -> float:
        assert self._price is not None
        return self._stream.usual / 3600 * self._price


def shown(name: str, value: float) -> str:
    """Return a signal's value with its unit, for people."""
    match name:
        case "latency p50" | "latency p99":
            return f"{value:.3g} ms"
        case "errors" | "refusals":
            return f"{value:.2%}"
        case "traffic":
            return f"{value:,.0f} requests"
        case "saturation":
            return f"{value:.0%} of the busiest hour"
        case "cpu":
            return f"{value:.3g} CPU s per 1,000 predictions"
        case _:
            return f"{value:,.0f} MiB"


def _near(deployments: Sequence[Deployment], day: ServedDay, began: int | None) -> Deployment | None:
    """Return the last deployment on the day at which a change began, or on the day before."""
    if began is None:
        return None
    start = day.start + timedelta(days=began - day.day)
    near = [each for each in deployments if start - timedelta(days=1) <= each.at < start + timedelta(days=1)]
    return near[-1] if near else None


def _summary(
    served: Sequence[ServedDay], every: Sequence[SignalStream], still: Sequence[str], least: float, stamp: Stamp
) -> Finding:
    today = served[-1]
    values = ", ".join(f"{name} {shown(name, value)}" for name, value in today.values.items() if math.isfinite(value))
    if len(served) <= WARM_UP:
        says = f"Warm-up, day {len(served)} of {WARM_UP}: what is usual is being learnt. Now: {values}."
    else:
        standing = f"Open: {', '.join(still)}" if still else "Serving as usual"
        says = f"{standing}. On {day_name(today.day)}: {values}."
    worst = max(every, key=lambda stream: stream.evidence, default=None)
    return stamp(
        question=SUMMARY,
        subject="serving" if worst is None else worst.name,
        method=METHOD,
        estimate=None if worst is None else worst.effect / worst.matters,  # signals have no unit in common
        low=None,
        high=None,
        evidence=None if worst is None else worst.evidence,
        limit=None if worst is None else least,
        verdict="watch" if still else "ok",
        n=today.requests,
        start=today.start,
        end=today.end,
        says=says,
        matters=None if worst is None else 1.0,
        detectable=None if worst is None else worst.detectable / worst.matters,
    )
