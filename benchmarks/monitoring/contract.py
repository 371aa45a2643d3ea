"""Whole projects without a change: every monitor at once, as `kaizen loop run` runs them, for months.

A model is trained and shipped; then days of predictions, of labels a day late and of what servers tell are logged,
and the loop takes its turns: drift, performance by labels, segments, fairness, estimates without labels, serving. What
wakes somebody is counted. The defaults allow a page in 30 days, all monitors together. That the same count finds a
change, where there is one, is seen on projects whose columns move by half a deviation half-way.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
from _report import arguments, goal, machine, table
from numpy.typing import NDArray

from kaizen.bundle import keys, load
from kaizen.core.clock import EventClock
from kaizen.core.ids import derived
from kaizen.core.project import Project
from kaizen.core.records import Alert, Bundle, Endpoint, Finding, LabelBatch, PredictionBatch
from kaizen.graph.frame import Frame, feeds, to_log
from kaizen.loop import cycle, operations, pipeline
from kaizen.page.charts import Bar, bars
from kaizen.page.page import Html

Float = NDArray[np.float64]
ROOT = Path(__file__).parents[2]
FIRST_DAY = 20_094  # a Monday, as the made-up months of serving know weekdays
START = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=FIRST_DAY)
ROWS = 200  # a day
DAY_US = 86_400_000_000
PROMISED = 30.0  # days
CHANGE = 0.5  # deviations of a row
TOML = """
[project]
name = "p"
[data]
source = "rows.parquet"
target = "y"
time = "at"
label_delay = "1d"
[learn]
budget = "1 trials"
algorithms = ["linear"]
[loop]
retrain_on = ["rows 9999999"]
[monitor]
segments = ["kind"]
fairness = ["kind"]
"""


class Family(NamedTuple):
    """How days differ where nothing changes."""

    columns: int = 8
    alike: float = 0.0  # correlation of the columns of a row
    spread: float = 0.0  # of the days' means, in deviations of a row
    storm: bool = False  # all columns of a day move together
    weekends: float = 0.0


FAMILIES = {
    "days alike": Family(),
    "days differ": Family(spread=0.3),
    "one storm in all": Family(spread=0.3, storm=True),
    "weekends": Family(weekends=1.0),
    "50 correlated columns": Family(columns=50, alike=0.6),
}
WEEKEND = {(FIRST_DAY + 5) % 7, (FIRST_DAY + 6) % 7}


def main() -> None:
    """Measure and print."""
    measure(quick=arguments(__doc__).quick)
    machine("scipy", "lightgbm")


def measure(*, quick: bool) -> Html:
    """Print how many pages projects without a change had; return the picture."""
    projects, known, live = (1, 40, 30) if quick else (8, 90, 270)
    rows, shown = [], []
    for name, family in FAMILIES.items():
        many = max(1, projects // 2) if family.columns > 20 else projects
        found = [_lived(family, seed, known, live) for seed in range(many)]
        days, times = many * live, [_times(pages) for pages in found]
        pages = sum(len(each) for each in times)
        asked = Counter(page.question for each in found for page in each)
        by = ", ".join(f"{question} {count}" for question, count in asked.most_common())
        rows.append([name, f"{days:,}", str(pages), f"{days / max(1, pages):.0f}", f"{days / PROMISED:.0f}", by])
        shown.append(Bar(name, pages * 365 / days))
        goal(f"days to a page without a change, {name}", days / max(1, pages), PROMISED, least=True)
    changed = START + timedelta(days=known + 10)
    told = [_lived(FAMILIES["days differ"], seed, known, 30, changes=10) for seed in range(projects)]
    found_it = sum(any(at > changed for at in _times(pages)) for pages in told)
    goal("share of projects woken by a change, days differ", found_it / projects, 1.0, least=True)
    table(("no change", "days", "times woken", "days between, at least", "times allowed", "findings that paged"), rows)
    return bars(shown, title="Pages a year without a change, all monitors", x="a year", reference=365 / PROMISED)


def _times(pages: list[Finding]) -> set[datetime]:
    """Return when somebody was woken: what pages on one day comes in one message, or in messages of one moment."""
    return {page.at for page in pages}


class World:
    """Rows of one project, day by day; what comes of a row depends on the first number and the kind alone."""

    def __init__(self, family: Family, seed: int, changes: int | None) -> None:
        self.names = [f"x{place}" for place in range(family.columns)]
        self._family = family
        self._rng = np.random.default_rng(seed)
        self._changes = changes  # the day from which on all columns are higher

    def day(self, day: int) -> tuple[Frame, Float]:
        """Return a day's rows, with their times, and what came of each."""
        family, rng = self._family, self._rng
        drawn = rng.standard_normal(1 if family.storm else family.columns)
        is_changed = self._changes is not None and day >= self._changes
        level = family.spread * drawn + family.weekends * (day % 7 in WEEKEND) + CHANGE * is_changed
        common, own = np.sqrt(family.alike), np.sqrt(1 - family.alike)
        x = level + common * rng.standard_normal((ROWS, 1)) + own * rng.standard_normal((ROWS, family.columns))
        kind = rng.choice(np.array(["a", "b", "c"], object), ROWS)
        at = day * DAY_US + np.arange(ROWS, dtype=np.int64) * DAY_US // ROWS
        truth = rng.random(ROWS) < 1 / (1 + np.exp(-(1.5 * x[:, 0] + (kind == "a"))))
        return {"at": at, **dict(zip(self.names, x.T, strict=True)), "kind": kind}, truth.astype(np.float64)


def _lived(family: Family, seed: int, known: int, live: int, changes: int | None = None) -> list[Finding]:
    """Return the pages of one project that learned of so many days, and lived so many; a change comes after some."""
    sys.path.insert(0, str(ROOT))
    from tests.monitor.served import World as Serving  # the made-up months of the tests

    with tempfile.TemporaryDirectory(prefix="kaizen-bench-") as name:
        world, serving = World(family, seed, None if changes is None else FIRST_DAY + known + changes), Serving(seed)
        project = _learned(Path(name), world, known)
        endpoint = project.endpoint()
        assert endpoint is not None
        model = load.load(
            project.records.get(Bundle, endpoint.champion.bundle), project.blobs, keys.trusted(project.keys)
        )
        told = operations.file_of(project)
        for day in range(FIRST_DAY + known, FIRST_DAY + known + live):
            _log(project, endpoint, model, *world.day(day))
            for figures in serving.day(day):
                told.append(figures)
            assert isinstance(project.clock, EventClock)
            project.clock.advance(START + timedelta(days=day + 1 - FIRST_DAY))
            for due in cycle.due(project):
                cycle.turn(project, due)
        told_of = {finding for each in project.records.find(Alert) for finding in each.findings}
        project.log.close()
        return [f for f in project.records.find(Finding) if f.verdict == "page" and f.id in told_of]


def _learned(folder: Path, world: World, known: int) -> Project:
    days = [world.day(day) for day in range(FIRST_DAY, FIRST_DAY + known)]
    frame = {name: np.concatenate([rows[name] for rows, _ in days]) for name in days[0][0]}
    sql = duckdb.connect()
    sql.register("given", frame | {"y": np.concatenate([truth for _, truth in days])})
    picked = 'SELECT * REPLACE (make_timestamptz("at") AS "at", y::INT AS y) FROM given'
    sql.execute(f"COPY ({picked}) TO '{folder / 'rows.parquet'}' (FORMAT parquet)")
    (folder / "kaizen.toml").write_text(TOML)
    project = Project.open(folder, clock=EventClock(START + timedelta(days=known)))
    keys.create(project.keys)
    pipeline.learn(project)
    return project


def _log(project: Project, endpoint: Endpoint, model: load.Model, frame: Frame, truth: Float) -> None:
    """Log a day of predictions, and their labels, which come within a day."""
    inputs = project.records.get(Bundle, endpoint.champion.bundle).inputs
    tensors = feeds(inputs, {column.name: frame[column.name] for column in inputs})
    numbers, times, strings = to_log(inputs, tensors)
    at = frame["at"].tolist()
    ids = [derived(START, "contract", str(moment)) for moment in at]
    project.log.append(
        PredictionBatch(
            endpoint=endpoint.name, revision=endpoint.revision, bundle=endpoint.champion.bundle, role="champion",
            ids=ids, at=at, units=[None] * ROWS, outputs=model.run(tensors).tolist(), propensity=[1.0] * ROWS,
            latency_us=[1] * ROWS, requests=[None] * ROWS, columns=inputs, numbers=numbers, times=times,
            strings=strings,
        )
    )  # fmt: skip
    late = np.linspace(0, 0.9 * DAY_US, ROWS).astype(np.int64)
    project.log.append(LabelBatch(ids=ids, values=truth.tolist(), at=(frame["at"] + late).tolist()))


if __name__ == "__main__":
    main()
