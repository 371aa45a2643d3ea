"""How much speaks against "this signal is as it always was", day by day, and how large the change is.

| signal                | evidence                                                     | matters from           |
|-----------------------|--------------------------------------------------------------|------------------------|
| errors, refusals      | the daily share against an upper bound of that of past days  | +0.5 points            |
| latency p50, p99      | ranks of the day among past days, weekdays aside             | +25 % and 1 ms         |
| traffic               | the same, of how far its hours lie from those of its weekday | half or double         |
| saturation            | the same                                                     | +10 points, above 80 % |
| cpu                   | the same                                                     | +25 % and 10 min a day |
| memory                | the same                                                     | +25 % and 64 MiB       |

All of it is computed from the days anew each time, so there is nothing to remember but from when on to count. What is
normal is learnt from the last 91 days that were served; the first 14 of them are warm-up, and weekdays are told apart
from 28 on.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.monitor.serving.signals import NAMES, ServedDay, failed, refused
from kaizen.stats.detectors import EDetector, RiskDetector
from kaizen.stats.intervals import clopper_pearson, t_bounds
from kaizen.stats.ranks import change_start, rank_bets, weekday_ranks

Float = NDArray[np.float64]

WARM_UP: Final = 14  # days served before anything is said
LEARNT: Final = 91  # days that are remembered
_RECENT: Final = 3  # days of a change over which its size is taken
_SHARES: Final = {"errors": failed, "refusals": refused}
_LEAST_SHARE: Final = 0.001  # a bound of the usual share is never lower: a tenth of a point is nobody's concern


class SignalStream(msgspec.Struct, frozen=True, kw_only=True):
    """A signal on its last day: both keys, and what is told of it.

    Attributes
    ----------
    name, value
        The signal, and the day's value in its unit.
    usual
        The median of the days before the suspected change.
    evidence
        An e-detector, counted in days (`kaizen.stats.detectors`): a mean over streams is one too, however they depend
        on each other.
    run
        The mean of its CUSUMs, for who combines very many streams.
    effect, matters
        The size of the change (of traffic: the logarithm to the base 2), and from which size on it is worth a page.
    detectable
        The smallest effect that a single day would have had to show to stand out among the past ones.
    began
        The day at which the change probably began.
    """

    name: str
    value: float
    usual: float
    evidence: float
    run: float
    effect: float
    matters: float
    detectable: float
    began: int | None

    @property
    def is_large(self) -> bool:
        """Whether the effect is worth a page."""
        return self.effect >= self.matters


def signal_streams(days: Sequence[ServedDay], since: Mapping[str, int]) -> list[SignalStream]:
    """Return every signal that the last of these days has, held against the days before it.

    Parameters
    ----------
    days
        Served days in order of time, the newest last; at most `LEARNT` before it are looked at.
    since
        By signal, the first day whose bets count; none: all do.
    """
    days = days[-LEARNT - 1 :]
    found = []
    for name in NAMES:
        known = [day for day in days if np.isfinite(day.values[name])]
        if known and known[-1].day == days[-1].day and len(known) > WARM_UP:
            found.append(_stream(name, known, since.get(name, 0)))
    return found


def effect_of(name: str, days: Sequence[ServedDay], before: int) -> tuple[float, float, float]:
    """Return the size of the change of the newest days, from which size on it matters, and what was usual.

    Parameters
    ----------
    days
        In order of time; those from `before` on are held against those before it, of the same weekday where there are
        three of them in the last four weeks.
    """
    past = [day for day in days if day.day < before][-28:]
    recent = [day for day in days if day.day >= before][-_RECENT:]
    sizes, limits, usuals = [], [], []
    for day in recent:
        usual, value = _usual(name, past, day.day), day.values[name]
        sizes.append(_size(name, value, usual))
        limits.append(_matters(name, usual, day))
        usuals.append(usual)
    middle = int(np.argsort(sizes)[len(sizes) // 2])
    return sizes[middle], limits[middle], usuals[middle]


def _stream(name: str, days: Sequence[ServedDay], since: int) -> SignalStream:
    detector, began = _of_shares(name, days, since) if name in _SHARES else _of_ranks(name, days, since)
    before = days[-1].day if began is None else began
    effect, matters, usual = effect_of(name, days, before)
    past = [day for day in days if day.day < before]
    largest = max(_size(name, day.values[name], _usual(name, past, day.day)) for day in past)
    return SignalStream(
        name=name,
        value=days[-1].values[name],
        usual=usual,
        evidence=detector.evidence,
        run=detector.run,
        effect=effect,
        matters=matters,
        detectable=max(matters, largest),
        began=began,
    )


def _of_ranks(name: str, days: Sequence[ServedDay], since: int) -> tuple[EDetector, int | None]:
    judged = np.array([at for at in range(WARM_UP, len(days)) if days[at].day >= since], np.int64)
    if not len(judged):
        return EDetector(), None
    ranks = weekday_ranks(_table(name, days), np.array([day.day % 7 for day in days]))[judged]
    detector = EDetector()
    for at, paid in zip(judged.tolist(), rank_bets(ranks, judged + 1).tolist(), strict=True):
        detector = detector.after(paid, days[at].day)
    start = change_start(ranks, judged + 1)
    return detector, None if start is None else days[judged[start]].day


def _table(name: str, days: Sequence[ServedDay]) -> Float:
    """Return what is ranked: of the traffic its hours, of what grows by factors its logarithm."""
    if name == "traffic":
        table = np.zeros((len(days), 24))  # a day on which clocks change is cut or filled up
        for row, day in enumerate(days):
            hourly = day.hourly()[:24]
            table[row, : len(hourly)] = hourly
        return table
    values = np.array([day.values[name] for day in days])
    return values if name == "saturation" else np.log(np.maximum(values, 1e-9))


def _of_shares(name: str, days: Sequence[ServedDay], since: int) -> tuple[EDetector, int | None]:
    hits = np.array([_SHARES[name](day.all) for day in days], np.float64)
    asked = np.array([day.requests for day in days], np.float64)
    detector = RiskDetector()
    for at in range(WARM_UP, len(days)):
        if days[at].day >= since:
            detector = detector.update(float(hits[at] / asked[at]), _bound(hits[:at], asked[:at]), days[at].day)
    return detector, detector.start


def _bound(hits: Float, asked: Float) -> float:
    """Return the upper 95 % bound of the daily share: over days, and over requests where those are few."""
    over_days = t_bounds(hits / asked, alpha=0.1)[1]
    over_requests = float(clopper_pearson(hits.sum(), asked.sum(), alpha=0.1)[1])
    return min(1.0, max(over_days, over_requests, _LEAST_SHARE))


def _usual(name: str, past: Sequence[ServedDay], day: int) -> float:
    alike = [each for each in past if (each.day - day) % 7 == 0]
    chosen = alike if len(alike) >= 3 else past
    return float(statistics.median(each.values[name] for each in chosen)) if chosen else np.nan


def _size(name: str, value: float, usual: float) -> float:
    if name == "traffic":
        return abs(float(np.log2((value + 1) / (usual + 1))))
    return value - usual


def _matters(name: str, usual: float, day: ServedDay) -> float:
    match name:
        case "errors" | "refusals":
            return 0.005
        case "traffic":
            return 1.0
        case "saturation":
            return max(0.1, 0.8 - usual)
        case "cpu":
            return max(usual / 4, 600 * 1000 / max(1, day.all.rows))
        case "memory":
            return max(usual / 4, 64.0)
        case _:
            return max(usual / 4, 1.0)
