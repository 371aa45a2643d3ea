"""Monitoring: a day of rows counted against a reference and judged; beside what is usually done, and the floor.

The rival keeps the rows of reference and window and runs the two-sample Kolmogorov-Smirnov test on every number and
a table of counts on every category, by scipy and numpy. The floor reads the numbers once and sums them.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import numpy as np
from _report import arguments, machine, table
from scipy.stats import ks_2samp

from kaizen.core.ids import derived
from kaizen.core.records import Column, Finding
from kaizen.graph.frame import Frame
from kaizen.monitor import reference, watch
from kaizen.monitor.settings import MonitorSettings

COLUMNS = (
    *(Column(f"n{index}", "number") for index in range(8)),
    *(Column(f"c{index}", "category") for index in range(2)),
)
FIRST_DAY = 20_000


def main() -> None:
    """Measure and print."""
    rows, times = (20_000, 3) if arguments(__doc__).quick else (200_000, 9)
    rng = np.random.default_rng(0)
    base, days = _frame(rng, rows), np.repeat(np.arange(FIRST_DAY - 20, FIRST_DAY), rows // 20)
    known = reference.fit(COLUMNS, base, rng.random(rows), blocks=days)
    frame, outputs = _frame(rng, rows), rng.random(rows)
    works: dict[str, Callable[[], object]] = {
        "kaizen: count, window, findings": lambda: _week(known, frame, outputs),
        "scipy KS and counts (rival)": lambda: _rival(base, frame),
        "sum of the numbers (floor)": lambda: [frame[column.name].sum() for column in COLUMNS[:8]],
    }
    found: dict[str, list[float]] = {name: [] for name in works}
    for number in range(times + 1):
        for name, work in works.items():
            start = time.process_time()
            work()
            if number:
                found[name].append(time.process_time() - start)
    values = rows * len(COLUMNS)
    shown = [
        [name, f"{median(spent) * 1e3:.1f}", f"{rows / median(spent) / 1e6:.2f}", f"{values / median(spent) / 1e6:.0f}"]
        for name, spent in found.items()
    ]
    print(f"  {rows:,} rows of 8 numbers and 2 categories, one core")
    table(("what", "CPU ms", "million rows/s", "million values/s"), shown)
    small, large = (_peak_kib(known, frame, outputs, count) for count in (rows // 2, rows))
    print(f"  state kept between days: {small} KiB after half the rows, {large} KiB after all")
    machine("scipy")


def _frame(rng: np.random.Generator, rows: int) -> Frame:
    frame: Frame = {column.name: rng.lognormal(0, 1, rows) for column in COLUMNS[:8]}
    for column in COLUMNS[8:]:
        frame[column.name] = rng.choice(np.array([f"label {i}" for i in range(12)], object), rows)
    for column in COLUMNS[:4]:
        frame[column.name][rng.random(rows) < 0.05] = np.nan
    return frame


def _week(known: reference.Reference, frame: Frame, outputs: Any) -> watch.WatchState:
    """Watch the rows as seven days, and the day after, which has the window judged."""
    state = watch.WatchState.fresh()
    for day, rows in enumerate([*np.array_split(np.arange(len(outputs)), 7), np.arange(10)]):
        start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=FIRST_DAY + day)
        part = slice(rows[0], rows[-1] + 1)
        block = watch.Block(
            day=FIRST_DAY + day,
            start=start,
            end=start + timedelta(days=1),
            frame={name: values[part] for name, values in frame.items()},
            outputs=outputs[part],
        )
        state, _ = watch.observe(known, state, block, MonitorSettings(), stamp=_stamp)
    return state


def _rival(base: Frame, frame: Frame) -> list[float]:
    numbers = [column.name for column in COLUMNS[:8]]
    found = [float(ks_2samp(_known(base[name]), _known(frame[name]), method="asymp").pvalue) for name in numbers]
    for column in COLUMNS[8:]:
        (_, was), (_, now) = (np.unique(values[column.name], return_counts=True) for values in (base, frame))
        found.append(float(np.abs(was / was.sum() - now / now.sum()).sum()))
    return found


def _known(values: Any) -> Any:
    return values[~np.isnan(values)]


def _peak_kib(known: reference.Reference, frame: Frame, outputs: Any, rows: int) -> int:
    tracemalloc.start()
    state = _week(known, {name: values[:rows] for name, values in frame.items()}, outputs[:rows])
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del state
    return kept // 1024


def _stamp(**evidence: Any) -> Finding:
    identity = derived(evidence["end"], evidence["question"], evidence["subject"])
    return Finding(id=identity, project="bench", at=evidence["end"], by="monitor", **evidence)


if __name__ == "__main__":
    main()
