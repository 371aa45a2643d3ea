"""Values counted a second against a fixed reference; a day watched; a report on 3 million rows of 100 columns.

Counting is held against numpy's histogram with the same edges, and against the floor: reading the values once and
summing them. A day of a project is held against what is usually done: the rows of reference and window kept, scipy's
two-sample Kolmogorov-Smirnov test on every number and a table of counts on every label. The report is held against
Evidently's on the same rows, as many as that can take.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
from _report import arguments, failed, figure, goal, machine, table
from scipy.stats import ks_2samp

from kaizen.core.records import Column
from kaizen.graph.frame import Frame
from kaizen.monitor import reference, watch
from kaizen.monitor.columns import binning
from kaizen.monitor.settings import MonitorSettings
from kaizen.monitor.stamp import Stamper
from kaizen.page.charts import Bar, bars
from kaizen.page.page import Html
from monitoring.rival import EVIDENTLY

COLUMNS = (
    *(Column(f"n{index}", "number") for index in range(8)),
    *(Column(f"c{index}", "category") for index in range(2)),
)
FIRST_DAY = 20_000
LEAST_VALUES, MOST_SECONDS = 200.0, 30.0


def main() -> None:
    """Measure and print."""
    measure(quick=arguments(__doc__).quick)
    machine("scipy", "duckdb")


def measure(*, quick: bool) -> Html:
    """Print the figures; return their picture."""
    picture = _counting(2_000_000 if quick else 20_000_000, 3 if quick else 9)
    _days(20_000 if quick else 200_000, 3 if quick else 9)
    _reports(quick=quick)
    return picture


def _counting(values: int, times: int) -> Html:
    rng = np.random.default_rng(0)
    bins = binning.bins_of("number", rng.lognormal(0, 1, 100_000))
    edges = np.asarray((-np.inf, *(bins.edges or ()), np.inf))
    wide = rng.lognormal(0, 1, values)
    narrow = wide.astype(np.float32)
    spent = _cpu(
        {
            "kaizen, 64-bit values": lambda: binning.tally(bins, wide),
            "kaizen, 32-bit values": lambda: binning.tally(bins, narrow),
            "numpy.histogram (rival)": lambda: np.histogram(wide, edges),
            "sum of 64-bit values (floor)": lambda: wide.sum(),
        },
        times,
    )
    assert np.array_equal(binning.tally(bins, narrow)[:-1], np.histogram(narrow, edges)[0])
    rates = {name: values / seconds / 1e6 for name, seconds in spent.items()}
    print(f"  {values:,} values, {len(bins.edges or ())} edges, one core, best of {times}")
    table(("counting", "million values/s"), [[name, f"{rate:,.0f}"] for name, rate in rates.items()])
    goal("values a second and core, 64 bits", rates["kaizen, 64-bit values"], LEAST_VALUES, least=True, unit=" million")
    shown = [Bar(name, rate, quiet="kaizen" not in name) for name, rate in rates.items() if "floor" not in name]
    return bars(shown, title="Values counted a second and core", x="million", reference=LEAST_VALUES)


def _cpu(works: dict[str, Callable[[], object]], times: int) -> dict[str, float]:
    """Return the least CPU time of each, taken in turns after one turn unmeasured."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for number in range(times + 1):
        for name, work in works.items():
            start = time.process_time()
            work()
            if number:
                found[name].append(time.process_time() - start)
    return {name: min(spent) for name, spent in found.items()}


def _days(rows: int, times: int) -> None:
    rng = np.random.default_rng(0)
    base, days = _frame(rng, rows), np.repeat(np.arange(FIRST_DAY - 20, FIRST_DAY), rows // 20)
    known = reference.fit(COLUMNS, base, rng.random(rows), blocks=days)
    frame, outputs = _frame(rng, rows), rng.random(rows)
    spent = _cpu(
        {
            "kaizen: eight days watched": lambda: _week(known, frame, outputs),
            "scipy KS and counts (rival)": lambda: _tested(base, frame),
        },
        times,
    )
    shown = [[name, f"{s * 1e3:.0f}", f"{rows * len(COLUMNS) / s / 1e6:.0f}"] for name, s in spent.items()]
    print(f"  {rows:,} rows of 8 numbers and 2 labels, as the loop watches them, one core")
    table(("what", "CPU ms", "million values/s"), shown)
    small, large = (_kept_kib(known, frame, outputs, count) for count in (rows // 10, rows))
    figure("state kept between days", f"{small} KiB after {rows // 10:,} rows, {large} KiB after {rows:,}")


def _frame(rng: np.random.Generator, rows: int) -> Frame:
    frame: Frame = {column.name: rng.lognormal(0, 1, rows) for column in COLUMNS[:8]}
    for column in COLUMNS[8:]:
        frame[column.name] = rng.choice(np.array([f"label {i}" for i in range(12)], object), rows)
    for column in COLUMNS[:4]:
        frame[column.name][rng.random(rows) < 0.05] = np.nan
    return frame


def _week(known: reference.Reference, frame: Frame, outputs: Any) -> watch.WatchState:
    """Watch the rows as seven days, and a few on the day after, which has the week summed up."""
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
        stamp = Stamper("bench", by="bench", at=block.end, key=str(day))
        state, _ = watch.observe(known, state, block, MonitorSettings(), stamp=stamp)
    return state


def _tested(base: Frame, frame: Frame) -> list[float]:
    numbers = [column.name for column in COLUMNS[:8]]
    found = [float(ks_2samp(_known(base[name]), _known(frame[name]), method="asymp").pvalue) for name in numbers]
    for column in COLUMNS[8:]:
        (_, was), (_, now) = (np.unique(values[column.name], return_counts=True) for values in (base, frame))
        found.append(float(np.abs(was / was.sum() - now / now.sum()).sum()))
    return found


def _known(values: Any) -> Any:
    return values[~np.isnan(values)]


def _kept_kib(known: reference.Reference, frame: Frame, outputs: Any, rows: int) -> int:
    tracemalloc.start()
    state = _week(known, {name: values[:rows] for name, values in frame.items()}, outputs[:rows])
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del state
    return kept // 1024


class Ran(NamedTuple):
    """What a program took."""

    seconds: float
    peak_mib: float


def _reports(*, quick: bool) -> None:
    sizes = (20_000, 60_000) if quick else (300_000, 3_000_000)
    with tempfile.TemporaryDirectory() as folder:
        tables = {rows: (_written(Path(folder), rows, 1), _written(Path(folder), rows, 2)) for rows in sizes}
        report = (str(Path(sys.executable).with_name("kaizen")), "monitor", "report", "--out", f"{folder}/ours.html")
        mine = {rows: _ran(*report, *pair) for rows, pair in tables.items()}
        shown = [["kaizen", f"{rows:,}", f"{ran.seconds:.1f}", f"{ran.peak_mib:,.0f}"] for rows, ran in mine.items()]
        problem = EVIDENTLY.problem()
        if problem:
            failed("Evidently's report", f"cannot be installed: {problem}")
        else:
            script = str(Path(__file__).with_name("rivals") / "evidently_report.py")
            theirs = _ran(str(EVIDENTLY.python), script, *tables[sizes[0]], f"{folder}/theirs.html")
            name = EVIDENTLY.version()
            shown.append([name, f"{sizes[0]:,}", f"{theirs.seconds:.1f}", f"{theirs.peak_mib:,.0f}"])
    print("  a report on 100 columns: 80 numbers, 20 labels, both tables of as many rows, as Parquet, start included")
    table(("report", "rows", "seconds", "peak MiB"), shown)
    goal(f"a report on {sizes[1]:,} rows of 100 columns", mine[sizes[1]].seconds, MOST_SECONDS, unit=" s")


def _written(folder: Path, rows: int, seed: int) -> str:
    path = folder / f"{rows}-{seed}.parquet"
    numbers = ", ".join(f"(random() + random() * {place % 7})::FLOAT n{place}" for place in range(80))
    labels = ", ".join(f"'label ' || floor(random() * random() * {5 + place})::INT c{place}" for place in range(20))
    with duckdb.connect() as sql:
        sql.execute("SET threads = 1")
        sql.execute(f"SELECT setseed({seed / 10})")
        sql.execute(f"COPY (SELECT {numbers}, {labels} FROM range({rows})) TO '{path}' (FORMAT parquet)")
    return str(path)


def _ran(*command: str) -> Ran:
    start = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ, file_actions=_SILENT)
    _, status, used = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return Ran(time.perf_counter() - start, used.ru_maxrss / 1024)


_SILENT = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]


if __name__ == "__main__":
    main()
