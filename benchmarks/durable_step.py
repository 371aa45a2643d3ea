"""A durable step: one that does nothing, journalled; beside a bare SQLite commit and an fsync, which are its floor.

All four take turns in one folder, because a disk is as fast as it is at that moment.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _report import arguments, goal, machine, quantiles, table

from kaizen.core.project import Project
from kaizen.core.projectfile import DataSection, ProjectFile, ProjectSection
from kaizen.loop.journal import Journal

PAYLOAD = b"x" * 200  # bytes, about what a step writes


def main() -> None:
    """Measure and print."""
    count = 100 if arguments(__doc__).quick else 2000
    with tempfile.TemporaryDirectory(prefix="kaizen-bench-") as name:
        found = _measure(Path(name), count)
    figures = {name: quantiles(seconds) for name, seconds in found.items()}
    table(("what", "times", "p50 ms", "p99 ms"), [[n, count, f"{a:.3f}", f"{b:.3f}"] for n, (a, b) in figures.items()])
    goal("a durable step, p50", figures["durable step"][0], 2.0, unit=" ms")
    over = figures["durable step"][0] - figures["SQLite commit"][0]
    print(f"  over its floor, a bare commit: {over:.3f} ms")
    machine("msgspec")


def _measure(folder: Path, count: int) -> dict[str, list[float]]:
    project = _project(folder)
    journal = Journal(project)
    sql = sqlite3.connect(folder / "floor.db", isolation_level=None)
    sql.execute("PRAGMA journal_mode = WAL")
    sql.execute("PRAGMA synchronous = FULL")
    sql.execute("CREATE TABLE steps (id INTEGER PRIMARY KEY, body BLOB)")
    with (folder / "floor.bin").open("wb", buffering=0) as file:

        def synced() -> None:
            file.write(PAYLOAD)
            os.fsync(file.fileno())

        steps: dict[str, Callable[[int], object]] = {
            "durable step": lambda number: journal.step("nothing", (number,), lambda _: number, int),
            "the same, known": lambda number: journal.step("nothing", (number,), lambda _: -1, int),
            "SQLite commit": lambda _: sql.execute("INSERT INTO steps (body) VALUES (?)", (PAYLOAD,)),
            "write and fsync": lambda _: synced(),
        }
        found: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(-10, count):  # the first ten open files and fill caches
            for name, step in steps.items():
                start = time.perf_counter()
                answer = step(number)
                if number >= 0:
                    found[name].append(time.perf_counter() - start)
                assert name != "the same, known" or answer == number
    sql.close()
    project.records.close()
    return found


def _project(folder: Path) -> Project:
    data = DataSection(source="none.csv", target="y")
    return Project(folder, ProjectFile(project=ProjectSection(name="bench"), data=data))


if __name__ == "__main__":
    main()
