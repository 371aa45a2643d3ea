"""What servers tell: what it costs them, how soon a change is paged and how seldom none is; a million rows for skew.

Four parts, each in figures of one process: counting an answer beside how it was counted before; a line every 10 s;
made-up months of serving (weekdays, hours, heavy tails) through the monitors; a log of predictions beside its source.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import numpy as np
from _report import arguments, figure, goal, machine, table

from kaizen.core.clock import EventClock, SystemClock, to_us
from kaizen.core.operations import since
from kaizen.core.operations_file import OperationsFile
from kaizen.core.project import Project
from kaizen.core.records import Arm, Bundle, Column, Decision, Endpoint, PredictionBatch
from kaizen.graph.frame import Frame, feeds, to_log
from kaizen.loop import skew
from kaizen.monitor.serving.operations import QUESTION, OperationsState, assess
from kaizen.page.charts import Bar, bars
from kaizen.page.page import Html
from kaizen.serve.aside import Aside
from kaizen.serve.commit import Commit
from kaizen.serve.feedback import Feedback
from kaizen.serve.message import Counts, Route
from kaizen.serve.models import Models
from kaizen.serve.nolog import NoLog
from kaizen.serve.operations import Counters
from kaizen.serve.scoring import Scoring

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
FAMILY_LIMIT = 300.0  # a tenth of "1/30d"
CHANGES: dict[str, dict[str, float]] = {
    "latency +50 %": {"slower": 1.5},
    "latency x3": {"slower": 3.0},
    "errors +2 points": {"errors": 0.02},
    "refusals +2 points": {"refusals": 0.02},
    "traffic -60 %": {"traffic": 0.4},
    "cost +60 %": {"dearer": 1.6},
    "memory +60 %": {"held": 1.6},
}


def main() -> None:
    """Measure and print."""
    measure(quick=arguments(__doc__).quick)
    machine("duckdb", "msgspec")


def measure(*, quick: bool) -> Html:
    """Print the figures; return the picture of the delays."""
    counting()
    telling()
    picture = months(quick=quick)
    rows(20_000 if quick else 1_000_000)
    return picture


# An answer is counted


class Before:
    """As it was: a count for each status, and one histogram for all of them."""

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.buckets = [0] * 32
        self.spent_us = 0


def count_before(counts: Before, status: int, spent_us: int) -> None:
    """Count an answer."""
    counts.statuses[status] = counts.statuses.get(status, 0) + 1
    counts.buckets[min(spent_us.bit_length(), 31)] += 1
    counts.spent_us += spent_us


def count_now(counts: Counts, status: int, spent_us: int) -> None:
    """Count an answer as `kaizen.serve.message.Request.reply` does."""
    latencies = counts.latencies.get(status) or counts.first(status)
    latencies[min(spent_us.bit_length(), 31)] += 1
    counts.spent_us += spent_us


def counting() -> None:
    """Measure what counting an answer takes, in turn with how it was."""
    before, now = Before(), Counts()
    sides: dict[str, Callable[[], None]] = {
        "before": lambda: count_before(before, 200, 431),
        "now": lambda: count_now(now, 200, 431),
    }
    took = {name: [] for name in sides}
    for _ in range(15):
        for name, count in sides.items():
            took[name].append(timeit.timeit(count, number=100_000) * 1e4)
    best = {name: min(each) for name, each in took.items()}
    goal("counting an answer, beside before", best["now"] - best["before"], 0.0, unit=" ns", sides=_sides(best))


# A line is told


def telling() -> None:
    """Measure what a line costs the loop's thread, and the other one."""
    log, clock, routes = NoLog(), SystemClock(), [Route(name, lambda _: None) for name in ("predict", "infer") * 22]
    for route in routes:
        for status in (200, 400, 503):
            for spent_us in (90, 300, 4000):
                count_now(route.counts, status, spent_us)
    with ThreadPoolExecutor(1) as thread, tempfile.TemporaryDirectory(prefix="kaizen-bench-") as folder:
        commit = Commit(log, "os", nothing, nothing)
        scoring = Scoring(log, commit, clock, nothing, nothing, nothing, thread)
        feedback = Feedback(log, commit, clock, Aside(thread, nothing))
        counters = Counters(Models(clock), routes, scoring, feedback, commit)
        first = counters.total()
        on_loop = _each(counters.total, 200)
        file, figures = OperationsFile(Path(folder) / "operations"), since(counters.total(), first)
        in_thread = _each(lambda: file.append(since(counters.total(), first)), 200)
        goal("a line, on the loop's thread, every 10 s", on_loop * 1e3, 1.0, unit=" ms")
        figure("a line, in its own thread", f"{in_thread * 1e3:.2f} ms, {len(repr(figures))} characters of figures")


def nothing(*_: object) -> None:
    """Do nothing: where the server would call back."""


def _each(do: Callable[[], object], times: int) -> float:
    return min(timeit.repeat(do, number=times, repeat=5)) / times


# Months of serving


def months(*, quick: bool) -> Html:
    """Count false pages and the days until true ones, under a tenth of one page in 30 days."""
    worlds = 2 if quick else 12
    kinds: dict[str, dict[str, float]] = {
        "20,000 a day": {},
        "300 a day": {"daily": 300},
        "days differ by a third": {"spread": 0.3, "tails": 2.5},
    }
    found = []
    for name, options in kinds.items():
        days = 60 if quick else 200
        pages = sum(len(_pages(seed, days, **options)) for seed in range(worlds))
        watched = worlds * (days - 14)
        found.append((name, watched, pages))
        if not quick:
            goal(f"days to a false page, {name}", watched / max(1, pages), FAMILY_LIMIT, least=True)
    table(("no change", "days", "false pages"), found)
    found, shown = [], []
    for name, change in CHANGES.items():
        row: list[Any] = [name]
        for known in (30, 60):
            delays = [_delay(seed, known, change) for seed in range(2 if quick else 10)]
            row += [f"{median(delays):g}", f"{max(delays):g}"]
        found.append(row)
        shown.append(Bar(name, median(delays), min(delays), max(delays)))
    table(("change", "30 days known: median", "most", "60 days known: median", "most"), found)
    return bars(shown, title="Days until a change of the serving is paged, 60 days known", x="days")


def _pages(
    seed: int, count: int, change: Callable[[int], dict[str, float]] | None = None, **options: float
) -> list[int]:
    """Return the days on which something pages; an incident that goes on counts once."""
    sys.path.insert(0, str(ROOT))
    from tests.monitor.days import stamp  # the made-up months of the tests
    from tests.monitor.served import World

    days = World(seed, **options).days(count, change)
    state, incidents, found = OperationsState(), (), []
    for known in range(15, count + 1):
        seen = assess(days[:known], state, incidents, limit=FAMILY_LIMIT, stamp=stamp)
        state, incidents = seen.state, seen.incidents
        found += [known - 1 for f in seen.findings if f.question == QUESTION and f.verdict == "page"]
    return sorted(set(found))


def _delay(seed: int, known: int, change: dict[str, float]) -> float:
    """Return on which day after a change it is paged, counted from 1."""
    pages = _pages(seed, known + 14, lambda day: change if day >= known else {})
    return next((day - known + 1 for day in pages if day >= known), np.inf)


# A log beside its source

NUMBERS, KINDS = 12, 6
COLUMNS = (
    *(Column(f"x{i}", "number") for i in range(NUMBERS)),
    *(Column(f"k{i}", "category") for i in range(KINDS)),
    Column("born", "time"),
)


def rows(count: int) -> None:
    """Compare so many logged predictions with the table that has the same rows."""
    with tempfile.TemporaryDirectory(prefix="kaizen-bench-") as name:
        project = _project(Path(name), count)
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, cpu = time.perf_counter(), time.process_time()
        report = skew.compare(project)
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = {column.name: column.cause for column in report.columns if column.verdict == "watch"}
    assert report.match.pairs == count, report.joined
    assert set(found) == {"x3", "k2"}, found
    goal(f"skew of {count:,} predictions, {len(COLUMNS)} columns", wall, 60.0, unit=" s", sides=f"CPU {cpu:.1f} s")
    figure("most memory", f"{most / 1024:.0f} MiB, {(most - held) / 1024:.0f} MiB above what it was before")


def _project(folder: Path, count: int) -> Project:
    toml = '[project]\nname = "p"\n[data]\nsource = "t.parquet"\ntarget = "y"\ntime = "asked"\nunit = "shop"\n'
    (folder / "kaizen.toml").write_text(toml)
    project = Project.open(folder, clock=EventClock(NOW + timedelta(days=365)))
    bundle = Bundle(
        id="b", project="p", at=NOW, by="bench", name="p", version=1, task="classification", run=None, inputs=COLUMNS,
        output="probability", files=(), public_key="", signature="",
    )  # fmt: skip
    decision = Decision(id="d", project="p", at=NOW, by="bench", action="promote", endpoint="p", reason="first")
    arms = (Arm("b", "champion", 1.0),)
    endpoint = Endpoint(id="p@1", project="p", at=NOW, by="bench", name="p", revision=1, arms=arms, decision="d")
    project.records.put([bundle, decision, endpoint])
    sql = duckdb.connect()
    sql.execute("SET TimeZone = 'UTC'")
    numbers = ", ".join(f"(hash(i * {k} + {k}) % 100000) / 97.0 AS x{k}" for k in range(NUMBERS))
    kinds = ", ".join(f"'v' || (hash(i + {k}) % 50) AS k{k}" for k in range(KINDS))
    start = to_us(NOW)
    sql.execute(
        f"""CREATE TABLE t AS SELECT 's' || (i % 50000) AS shop, i % 2 AS y, {numbers}, {kinds},
        make_timestamptz(CAST({start} + i * 1000000 AS BIGINT)) AS asked,
        make_timestamptz(CAST({start} + (hash(i) % 1000000) * 1000 AS BIGINT)) AS born FROM range({count}) r(i)"""
    )
    sql.execute(f"COPY t TO '{folder / 't.parquet'}'")
    for offset in range(0, count, 50_000):
        _log(project, sql, offset)
    project.log.compact()
    return project


def _log(project: Project, sql: duckdb.DuckDBPyConnection, offset: int) -> None:
    """Log some rows of the table, ten a batch, as the server would; x3 in another unit, k2 in upper case."""
    read = "epoch_us(asked) AS asked_us, epoch_us(born) AS born_us"
    found = sql.execute(f"SELECT *, {read} FROM t LIMIT 50000 OFFSET {offset}").fetchnumpy()
    frame: Frame = {column.name: np.asarray(found.get(f"{column.name}_us", found[column.name])) for column in COLUMNS}
    frame["x3"] = frame["x3"] * 1000
    frame["k2"] = np.array([text.upper() for text in frame["k2"]], dtype=object)
    packed, units, at = feeds(COLUMNS, frame), found["shop"].tolist(), found["asked_us"].tolist()
    for first in range(0, len(at), 10):
        part = slice(first, first + 10)
        numbers, times, strings = to_log(COLUMNS, {name: tensor[part] for name, tensor in packed.items()})
        n = len(at[part])
        project.log.append(
            PredictionBatch(
                endpoint="p", revision=1, bundle="b", role="champion", ids=[f"p{offset + first + i}" for i in range(n)],
                at=at[part], units=units[part], outputs=[0.5] * n, propensity=[1.0] * n, latency_us=[1] * n,
                requests=[None] * n, columns=COLUMNS, numbers=numbers, times=times, strings=strings,
            )
        )  # fmt: skip


def _sides(best: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.0f} ns" for name, value in best.items())


if __name__ == "__main__":
    main()
