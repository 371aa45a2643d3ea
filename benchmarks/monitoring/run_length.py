"""How long until a false alarm: at least what was promised, for 95 of 100 references, on streams of every kind.

A reference is drawn, many streams go on from it, and the mean time to the first alarm is that reference's run length.
It differs between references, because what is usual is estimated from each: the promise is for 95 of 100 of them. The
means of few streams differ by chance as well; how much of that there is follows from how the streams of one reference
differ, and is taken out (Louis, *Journal of the American Statistical Association* 79 (1984)).

| detector                  | counted in | promised | families                                                     |
|---------------------------|------------|----------|--------------------------------------------------------------|
| `kaizen.Detector`         | values     | 300      | independent values of all kinds, up to 500 columns           |
| `kaizen.Detector`, blocks | values     | 960      | a daily cycle, neighbours that resemble each other           |
| a project's monitors      | days       | 30       | the same with days that differ, weather, weekends, seasons   |

A project's monitors page when the evidence is there and the effect matters; the table has both: days to evidence, and
pages in a year.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
from _report import arguments, figure, goal, machine, table
from numpy.typing import NDArray

import kaizen
from kaizen.core.records import Column
from kaizen.graph.frame import Frame
from kaizen.monitor import reference
from kaizen.monitor.drift import inputs
from kaizen.monitor.settings import MonitorSettings
from kaizen.monitor.stamp import Stamper
from kaizen.monitor.watch import Block, WatchState, observe
from kaizen.page.charts import Bar, bars
from kaizen.page.page import Html

Float = NDArray[np.float64]
SHARE = 0.95  # of the references


class Kept(NamedTuple):
    """The run lengths of a family, one a reference, and what was promised."""

    promised: float
    streams: Float  # (references, streams)

    @property
    def lengths(self) -> Float:
        """The mean of each reference's streams, less what the chance of its few streams adds to how they differ."""
        means = self.streams.mean(axis=1)
        chance = float(np.mean(self.streams.var(axis=1, ddof=1))) / self.streams.shape[1]
        differ = max(float(means.var(ddof=1)), 1e-12)
        return means.mean() + (means - means.mean()) * np.sqrt(max(0.0, 1 - chance / differ))

    @property
    def share(self) -> float:
        """The share of references that keep the promise."""
        return float(np.mean(self.lengths >= self.promised))


def main() -> None:
    """Measure and print."""
    measure(quick=arguments(__doc__).quick)
    machine("scipy")


def measure(*, quick: bool) -> Html:
    """Print the run lengths of every family; return their picture."""
    found = {**_values(quick=quick), **_blocks(quick=quick)}
    rows = [
        [
            name,
            f"{kept.promised:.0f}",
            f"{kept.lengths.mean():.0f}",
            f"{np.quantile(kept.lengths, 0.05):.0f}",
            f"{kept.share:.2f}",
        ]
        for name, kept in found.items()
    ]
    table(("no change", "promised", "mean run length", "of the 5th reference in 100", "references that keep it"), rows)
    for name, kept in found.items():
        goal(f"references that keep the promise, {name}", kept.share, SHARE, least=True)
    _projects(quick=quick)
    shown = [
        Bar(name, *(np.array([kept.lengths.mean(), *np.quantile(kept.lengths, (0.05, 0.95))]) / kept.promised).tolist())
        for name, kept in found.items()
    ]
    title = "Mean run length over what was promised; the line spans 90 of 100 references"
    return bars(shown, title=title, reference=1.0, from_zero=False)


def _values(*, quick: bool) -> dict[str, Kept]:
    references, streams = (4, 5) if quick else (40, 40)
    found = {}
    for name, draw in SINGLE.items():
        wide = "columns" in name
        count = (2, 2) if quick and wide else (20, 12) if wide else (references, streams)
        found[name] = _kept(draw, 300, *count, known=1000)
    return found


def _blocks(*, quick: bool) -> dict[str, Kept]:
    references, streams = (3, 3) if quick else (20, 20)
    return {name: _kept(draw, 960, references, streams, known=24 * 60) for name, draw in CYCLES.items()}


Draw = Callable[[np.random.Generator, int, int], NDArray[np.float64]]  # chance, values, the first one's number


def _kept(draw: Draw, promised: int, references: int, streams: int, known: int) -> Kept:
    lengths = np.zeros((references, streams))
    for number in range(references):
        rng = np.random.default_rng((number, known))
        usual = draw(rng, known, 0)
        for stream in range(streams):
            detector = kaizen.Detector(usual, max_false_alarms=f"1/{promised}", seed=stream, rebase=False)
            lengths[number, stream] = _until_alarm(detector, draw, rng, known, 12 * promised)
    return Kept(promised, lengths)


def _until_alarm(detector: kaizen.Detector, draw: Draw, rng: np.random.Generator, known: int, most: int) -> int:
    while detector.n < most:
        found = detector.observe(draw(rng, 480, known + detector.n))
        if found is not None:
            return found.n
    return most


SINGLE: Mapping[str, Draw] = {
    "normal": lambda rng, n, _: rng.standard_normal(n),
    "heavy tails (t, 1.5)": lambda rng, n, _: rng.standard_t(1.5, n),
    "atoms": lambda rng, n, _: np.where(rng.random(n) < 0.6, 0.0, rng.poisson(4, n)),
    "a tenth missing": lambda rng, n, _: np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(0, 1, n)),
    "a rate of 2 %": lambda rng, n, _: (rng.random(n) < 0.02).astype(float),
    "50 correlated columns": lambda rng, n, _: 0.8 * rng.standard_normal((n, 1)) + 0.6 * rng.standard_normal((n, 50)),
    "500 correlated columns": lambda rng, n, _: 0.8 * rng.standard_normal((n, 1)) + 0.6 * rng.standard_normal((n, 500)),
}


def _cycle(rng: np.random.Generator, n: int, first: int) -> Float:
    return 2 * np.sin(2 * np.pi * (first + np.arange(n)) / 24) + rng.standard_normal(n)


def _neighbours(rng: np.random.Generator, n: int, _: int) -> Float:
    x, noise = np.zeros(n + 100), rng.standard_normal(n + 100)
    for at in range(1, len(x)):
        x[at] = 0.8 * x[at - 1] + noise[at]
    return x[100:]


CYCLES: Mapping[str, Draw] = {"a daily cycle, in blocks": _cycle, "neighbours alike, in blocks": _neighbours}


class Days(NamedTuple):
    """A family of days: the mean of each column on each day, shape (days, columns)."""

    levels: Callable[[np.random.Generator, int, int], Float]
    columns: int


def _weather(rng: np.random.Generator, days: int, columns: int) -> Float:
    x, noise = np.zeros((days + 50, columns)), rng.standard_normal((days + 50, columns))
    for day in range(1, len(x)):
        x[day] = 0.7 * x[day - 1] + 0.7 * noise[day]
    return x[50:]


PROJECTS: Mapping[str, Days] = {
    "days alike, 20 columns": Days(lambda _, n, c: np.zeros((n, c)), 20),
    "days differ, 20 columns": Days(lambda rng, n, c: 0.5 * rng.standard_normal((n, c)), 20),
    "one storm in all, 20 columns": Days(lambda rng, n, c: np.repeat(0.5 * rng.standard_normal((n, 1)), c, axis=1), 20),
    "weather, 20 columns": Days(_weather, 20),
    "weekends, 20 columns": Days(lambda _, n, c: np.where(np.arange(n)[:, None] % 7 >= 5, 1.0, 0.0) + np.zeros(c), 20),
    "seasons of 30 days, 20 columns": Days(
        lambda rng, n, c: np.sin(2 * np.pi * np.arange(n)[:, None] / 30 + 6 * rng.random(c)), 20
    ),
    "days differ, 200 columns": Days(lambda rng, n, c: 0.5 * rng.standard_normal((n, c)), 200),
}


def _projects(*, quick: bool) -> None:
    rows = []
    for name, family in PROJECTS.items():
        references, known, later = (1, 60, 40) if quick else (2 if family.columns > 50 else 10, 90, 365)
        evidence, pages = [], 0
        for number in range(references):
            told = _year(family, np.random.default_rng((number, family.columns)), known, later)
            evidence.append(told[0])
            pages += told[1]
        year = pages / references * 365 / later
        rows.append([name, "30", f"{np.mean(evidence):.0f}", f"{year:.2f}"])
        figure(f"pages a year without change, {name}", f"{year:.2f} (promised: at most 12.2)")
    table(("a project's columns, no change", "promised days", "mean days to evidence", "pages a year"), rows)


def _year(family: Days, rng: np.random.Generator, known: int, later: int) -> tuple[int, int]:
    """Return after how many days the evidence was there for the first time, and how many pages there were."""
    levels = family.levels(rng, known + later, family.columns)
    columns = [Column(f"x{place}", "number") for place in range(family.columns)]
    days = np.repeat(np.arange(known), 100)
    usual = reference.fit(columns, _rows(rng, levels[:known], columns), None, blocks=days + 4)  # day 4 was a Monday
    state, first, pages = WatchState.fresh(), later, 0
    settings = MonitorSettings()
    for day in range(known, known + later):
        start = datetime(1970, 1, 5, tzinfo=UTC) + timedelta(days=day)
        frame = _rows(rng, levels[day : day + 1], columns)
        block = Block(day=day + 4, start=start, end=start + timedelta(days=1), frame=frame, outputs=None)
        stamp = Stamper("bench", by="bench", at=block.end, key=str(day))
        state, findings = observe(usual, state, block, settings, stamp=stamp)
        pages += sum(f.verdict == "page" and f.question == inputs.SUMMARY for f in findings)
        summary = [f for f in findings if f.question == inputs.SUMMARY]
        if first == later and any((f.evidence or 0.0) >= settings.limit for f in summary):
            first = day - known + 1
    return first, pages


def _rows(rng: np.random.Generator, levels: Float, columns: list[Column]) -> Frame:
    values = np.repeat(levels, 100, axis=0) + 0.5 * rng.standard_normal((100 * len(levels), len(columns)))
    return {column.name: values[:, place] for place, column in enumerate(columns)}


if __name__ == "__main__":
    main()
