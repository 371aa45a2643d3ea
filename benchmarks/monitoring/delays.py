"""Delay until a change is found, at one measured rate of false alarms: `kaizen.Detector` beside River's detectors.

Every detector sees the same 2,000 values first, then streams without a change, on which its false alarms are counted,
and streams that change after 500 values. River's settings are tried over a grid, and its delay is read off at the rate
of false alarms that kaizen was measured to have, between the two settings around it. The floor is a CUSUM that knows
both distributions, at the same rate: nothing can be faster on average (Moustakides, *Annals of Statistics* 14 (1986)).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _report import arguments, cannot_run, goal, machine, table
from numpy.typing import NDArray

import kaizen
from kaizen.page.charts import Bar, bars
from kaizen.page.page import Html
from monitoring.rival import RIVER

Float = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Float]
LogRatio = Callable[[Float], Float]

WARM, BEFORE = 2000, 500
PROMISE = "1/10000"
SMALL_SHARE = 0.8


class Change(NamedTuple):
    """A distribution, what it becomes, and the logarithm of the ratio of their densities."""

    before: Draw
    after: Draw
    ratio: LogRatio
    binary: bool = False
    labels: bool = False


def _normal(rng: np.random.Generator, shape: tuple[int, int]) -> Float:
    return rng.standard_normal(shape)


def _shifted(by: float) -> Change:
    return Change(_normal, lambda rng, shape: rng.standard_normal(shape) + by, lambda x: by * x - by * by / 2)


def _spread(by: float) -> Change:
    return Change(
        _normal,
        lambda rng, shape: rng.standard_normal(shape) * by,
        lambda x: -0.5 * x * x * (1 / by**2 - 1) - np.log(by),
    )


def _coin(p: float, q: float) -> Change:
    return Change(
        lambda rng, shape: (rng.random(shape) < p).astype(float),
        lambda rng, shape: (rng.random(shape) < q).astype(float),
        lambda x: np.where(x > 0.5, np.log(q / p), np.log((1 - q) / (1 - p))),
        binary=True,
    )


def _labels(before: tuple[float, ...], after: tuple[float, ...]) -> Change:
    ends = [np.cumsum(before)[:-1], np.cumsum(after)[:-1]]
    ratio = np.log(np.array(after) / np.array(before))
    return Change(
        lambda rng, shape: np.searchsorted(ends[0], rng.random(shape)).astype(float),
        lambda rng, shape: np.searchsorted(ends[1], rng.random(shape)).astype(float),
        lambda x: ratio[x.astype(int)],
        labels=True,
    )


def _skewed() -> Change:
    # An exponential of mean 0 and variance 1 beside a normal.
    return Change(
        _normal,
        lambda rng, shape: rng.exponential(1.0, shape) - 1.0,
        lambda x: np.where(x >= -1, -(x + 1) + x * x / 2 + np.log(np.sqrt(2 * np.pi)), -50.0),
    )


def _two_humps() -> Change:
    width = np.sqrt(1 - 0.9**2)

    def ratio(x: Float) -> Float:
        humps = [-0.5 * ((x - c) / width) ** 2 - np.log(width) for c in (-0.9, 0.9)]
        return np.asarray(np.logaddexp(*humps) - np.log(2) + x * x / 2)

    return Change(
        _normal,
        lambda rng, shape: np.where(rng.random(shape) < 0.5, 0.9, -0.9) + width * rng.standard_normal(shape),
        ratio,
    )


CHANGES: Mapping[str, Change] = {
    "mean +0.25 sd": _shifted(0.25),
    "mean +0.5 sd": _shifted(0.5),
    "mean +1 sd": _shifted(1.0),
    "variance: sd x 1.5": _spread(1.5),
    "variance: sd x 0.6": _spread(0.6),
    "shape: skewed": _skewed(),
    "shape: two humps": _two_humps(),
    "rate 5 % to 10 %": _coin(0.05, 0.10),
    "rate 10 % to 20 %": _coin(0.10, 0.20),
    "labels: a tenth moves": _labels((0.4, 0.3, 0.2, 0.1), (0.3, 0.3, 0.2, 0.2)),
    "labels: two change places": _labels((0.5, 0.25, 0.15, 0.07, 0.03), (0.5, 0.25, 0.15, 0.03, 0.07)),
}


class Told(NamedTuple):
    """What was measured of one change: rate of false alarms, and delays (never: infinite)."""

    rate: float
    kaizen: float
    river: dict[str, float]
    floor: float

    @property
    def best(self) -> float:
        """The least delay of River's detectors."""
        return min(self.river.values())

    @property
    def adwin(self) -> float:
        """The delay of ADWIN with its defaults but for delta."""
        return self.river["ADWIN clock=32"]


def main() -> None:
    """Measure and print."""
    measure(quick=arguments(__doc__).quick)
    machine("scipy")


def measure(*, quick: bool) -> Html:
    """Print the delays; return their picture."""
    problem = RIVER.problem()
    if problem:
        cannot_run(f"River cannot be installed: {problem}")
    streams, rows = (6, 3000) if quick else (24, 20_000)
    found = {name: _change(change, streams, rows) for name, change in CHANGES.items()}
    print(f"  {RIVER.version()}; delays in values, the mean of {streams} streams; never: in most streams not at all")
    header = ("change", "false alarms", "floor", "kaizen", "River's best", "which", "ratio", "ADWIN")
    table(header, [_row(name, told) for name, told in found.items()])
    for name, told in found.items():
        floor = f"kaizen / River's best; the floor itself is {told.floor / told.best:.2f}"
        goal(f"delay, {name}", told.kaizen / told.best, SMALL_SHARE, sides=floor)
    return _picture(found)


def _row(name: str, told: Told) -> list[str]:
    best = min(told.river, key=lambda detector: told.river[detector])
    ratio = f"{told.kaizen / told.best:.2f}"
    delays = [f"{told.floor:.0f}", f"{told.kaizen:.0f}", _shown(told.best), best, ratio, _shown(told.adwin)]
    return [name, f"1/{1 / told.rate:,.0f}", *delays]


def _picture(found: Mapping[str, Told]) -> Html:
    longest = 1.5 * max(told.kaizen for told in found.values())
    shown = []
    for name, told in found.items():
        shown.append(Bar(name, told.kaizen))
        shown.append(Bar("ADWIN" if np.isfinite(told.adwin) else "ADWIN: never", min(told.adwin, longest), quiet=True))
        shown.append(Bar("floor", told.floor, quiet=True))
    return bars(shown, title="Values until a change is found, at one rate of false alarms", x="values")


def _shown(delay: float) -> str:
    return "never" if np.isinf(delay) else f"{delay:.0f}"


def _change(change: Change, streams: int, rows: int) -> Told:
    rng = np.random.default_rng(11)
    calm = change.before(rng, (streams, WARM + rows))
    moved = np.concatenate((change.before(rng, (streams, WARM + BEFORE)), change.after(rng, (streams, rows))), axis=1)
    alarms = sum(len(_alarms(stream, change)) for stream in calm)
    rate = max(alarms, 1) / (streams * rows)
    mine = float(np.mean([_first(_alarms(stream, change, first_after=BEFORE), rows) for stream in moved]))
    return Told(rate, mine, _river(change, calm, moved, rate), _floor(change, rate))


def _alarms(stream: Float, change: Change, first_after: int | None = None) -> list[int]:
    """Return the values, counted after the warm-up, at which kaizen raises an alarm."""
    values = stream.astype(int).astype(str).astype(object) if change.labels else stream
    detector = kaizen.Detector(values[:WARM], max_false_alarms=PROMISE, rebase=False, block=1)
    for part in np.array_split(values[WARM:], max(1, (len(values) - WARM) // 1000)):
        detector.observe(part)
        if first_after is not None and any(found.n > first_after for found in detector.findings):
            break
    return [found.n for found in detector.findings]


def _first(alarms: list[int], most: int) -> float:
    """Return the delay of the first alarm after the change."""
    later = [row - BEFORE for row in alarms if row > BEFORE]
    return float(later[0]) if later else float(most)


def _river(change: Change, calm: Float, moved: Float, rate: float) -> dict[str, float]:
    """Return the delay of each of River's detectors at a rate of false alarms."""
    false = _asked(change, calm, slow=(1, calm.shape[1]))
    delays = _asked(change, moved, slow=(min(6, len(moved) // 2), WARM + BEFORE + 3000))
    most = moved.shape[1] - WARM - BEFORE
    found = {}
    for name, settings in false.items():
        length = calm.shape[1] - WARM  # KSWIN's too, of one stream
        rates = [sum(map(len, each["alarms"])) / (len(each["alarms"]) * length) for each in settings]
        means = [np.mean([_first(rows, most) for rows in each["alarms"]]) for each in delays[name]]
        found[name] = _at(rate, np.array(rates), np.array(means), most)
    return found


def _at(rate: float, rates: Float, delays: Float, most: int) -> float:
    """Return the delay at a rate, between the settings around it; infinite where hardly any stream was alarmed."""
    order = np.argsort(rates, kind="stable")
    rates, delays = np.maximum(rates[order], 1e-9), delays[order]
    allowed = np.flatnonzero(rates <= rate)
    if len(allowed) == 0:
        return np.inf  # none of its settings alarms so rarely
    low = int(allowed[np.argmin(delays[allowed])])
    above = np.flatnonzero(rates > rate)
    delay = float(delays[low])
    if len(above) and delays[above[0]] < delay and rates[above[0]] < 50 * rate:
        high = int(above[0])
        share = np.log(rate / rates[low]) / np.log(rates[high] / rates[low])
        delay = float(delays[low] + min(1.0, share) * (delays[high] - delays[low]))
    return np.inf if delay > 0.5 * most else delay


def _asked(change: Change, streams: Float, slow: tuple[int, int]) -> dict[str, list[dict[str, list[list[int]]]]]:
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.npz"
        np.savez(job, streams=streams, warm=WARM, binary=change.binary, slow=slow)
        return dict(json.loads(RIVER.run("river_streams.py", str(job)).strip().splitlines()[-1]))


def _floor(change: Change, rate: float) -> float:
    """Return the delay of the CUSUM that knows both distributions, at a rate of false alarms."""
    rng = np.random.default_rng(12)
    calm = change.ratio(change.before(rng, (200, 40_000)))
    moved = change.ratio(np.concatenate((change.before(rng, (2000, 300)), change.after(rng, (2000, 2500))), axis=1))
    low, high = 0.5, 16.0
    for _ in range(10):
        middle = (low + high) / 2
        low, high = (middle, high) if _cusum_alarms(calm, middle) / calm.size > rate else (low, middle)
    return _cusum_delay(moved, high, 300)


def _cusum_alarms(ratios: Float, limit: float) -> int:
    level, alarms = np.zeros(len(ratios)), 0
    for row in ratios.T:
        level = np.maximum(level, 0.0) + row
        over = level >= limit
        alarms += int(over.sum())
        level[over] = 0.0
    return alarms


def _cusum_delay(ratios: Float, limit: float, before: int) -> float:
    level, delay = np.zeros(len(ratios)), np.full(len(ratios), float(ratios.shape[1] - before))
    waiting = np.ones(len(ratios), bool)
    for row, values in enumerate(ratios.T):
        level = np.maximum(level, 0.0) + values
        over = level >= limit
        if row < before:
            level[over] = 0.0
            continue
        delay[over & waiting] = row - before + 1
        waiting &= ~over
    return float(delay.mean())


if __name__ == "__main__":
    main()
