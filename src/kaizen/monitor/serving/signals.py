"""What a day of serving comes to: latency, errors, refusals, traffic, saturation, cost and memory.

| signal      | is                                                                              | unit               |
|-------------|---------------------------------------------------------------------------------|--------------------|
| latency p50 | half of the answered predictions took at most so long                           | ms                 |
| latency p99 | 99 % of them did                                                                | ms                 |
| errors      | predictions that failed by the server's fault: 5xx, but for refusals            | share of requests  |
| refusals    | predictions refused for overload, or whose time was over                        | share of requests  |
| traffic     | requests for predictions                                                        | requests a day     |
| saturation  | of the busiest hour: the event loop, or the scoring thread, ran or wanted to    | share of the time  |
| cpu         | all threads of all processes                                                    | s / 1,000 rows     |
| memory      | resident, of one process, on average                                            | MiB                |

What is the caller's fault (4xx) is counted in none of these but traffic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

import numpy as np

from kaizen.core.operations import Figures, total
from kaizen.stats.blocks import day_blocks, day_start
from kaizen.stats.histograms import Bounded, dense, quantile

NAMES: Final = ("latency p50", "latency p99", "errors", "refusals", "traffic", "saturation", "cpu", "memory")
_ENOUGH: Final = 100  # answered predictions, or rows: below, a quantile or a cost says little
_BUSY_S: Final = 60.0  # of an hour: below, a process that starts up would look saturated
_MIB: Final = float(1 << 20)
_HOUR_US: Final = 3_600_000_000


@dataclass(frozen=True, kw_only=True)
class ServedDay:
    """A local day of serving: what all processes together did in it, and in each of its hours."""

    day: int  # as `kaizen.stats.blocks.day_blocks` counts
    start: datetime
    end: datetime
    all: Figures
    hours: tuple[Figures, ...]  # from midnight on; 24, or 23 or 25 where clocks change

    @property
    def requests(self) -> int:
        """Requests for predictions."""
        return asked(self.all)

    def hourly(self) -> list[int]:
        """Return the requests for predictions of each hour."""
        return [asked(hour) for hour in self.hours]

    def latency(self, share: float) -> Bounded:
        """Return a quantile of the answered predictions' latency in milliseconds; NaN below 100 of them."""
        counts = dense(self.all.latency)
        if counts.sum() < _ENOUGH:
            return Bounded(np.nan, np.nan, np.nan)
        return Bounded(*(value / 1000 for value in quantile(counts, share)))

    @cached_property
    def values(self) -> dict[str, float]:
        """Each signal of the day; NaN where the day has too little for it."""
        figures, asked_for = self.all, self.requests
        return {
            "latency p50": self.latency(0.5).value,
            "latency p99": self.latency(0.99).value,
            "errors": failed(figures) / asked_for if asked_for else np.nan,
            "refusals": refused(figures) / asked_for if asked_for else np.nan,
            "traffic": float(asked_for),
            "saturation": max(filter(np.isfinite, map(_busy, self.hours)), default=np.nan),
            "cpu": figures.cpu_s / figures.rows * 1000 if figures.rows >= _ENOUGH else np.nan,
            "memory": figures.memory_byte_s / figures.seconds / _MIB if figures.seconds > 1 else np.nan,
        }


def served_days(figures: Iterable[Figures], days: range, time_zone: str) -> list[ServedDay]:
    """Return the days of a range, in order, those without figures too."""
    every = list(figures)
    blocks = day_blocks(np.array([each.at - 1 for each in every], np.int64), time_zone) if every else np.zeros(0)
    of_day: dict[int, list[Figures]] = {day: [] for day in days}
    for day, each in zip(blocks.tolist(), every, strict=True):
        if day in of_day:
            of_day[day].append(each)
    return [_served(day, parts, time_zone) for day, parts in of_day.items()]


def asked(figures: Figures) -> int:
    """Return how many requests for predictions were answered, in whatever way."""
    return sum(figures.requests.get("predict", {}).values())


def refused(figures: Figures) -> int:
    """Return how many of them were refused because too much was asked: for overload, or for their time was over."""
    return _statuses(figures).get(504, 0) + min(figures.overloaded, _statuses(figures).get(503, 0))


def failed(figures: Figures) -> int:
    """Return how many of them failed by the server's fault: every 5xx that is no refusal."""
    return sum(count for status, count in _statuses(figures).items() if status >= 500) - refused(figures)


def series(days: Sequence[ServedDay]) -> dict[str, list[float | None]]:
    """Return each signal by day, None where a day has too little for it: what a chart is drawn from."""
    values = [day.values for day in days]
    return {name: [None if np.isnan(each[name]) else each[name] for each in values] for name in NAMES}


def _statuses(figures: Figures) -> dict[int, int]:
    return figures.requests.get("predict", {})


def _busy(hour: Figures) -> float:
    """Return which share of the time the busier of the event loop and the scoring thread ran, or wanted to."""
    if hour.seconds < _BUSY_S:
        return np.nan
    return max(hour.busy_s + hour.starved_s, hour.scoring_s) / hour.seconds


def _served(day: int, parts: list[Figures], time_zone: str) -> ServedDay:
    start, end = day_start(day, time_zone), day_start(day + 1, time_zone)
    start_us = int(start.timestamp()) * 1_000_000
    hours: list[list[Figures]] = [[] for _ in range(max(1, round((end - start).total_seconds() / 3600)))]
    for each in parts:
        hours[min((each.at - 1 - start_us) // _HOUR_US, len(hours) - 1)].append(each)
    return ServedDay(day=day, start=start, end=end, all=total(parts), hours=tuple(total(each) for each in hours))
