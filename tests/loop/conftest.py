"""A small project with made-up rows that have a time, a drift half-way, and labels that come a day later."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from kaizen.bundle import keys
from kaizen.core.clock import EventClock
from kaizen.core.project import Project

TOML = """
[project]
name = "made-up"
[data]
source = "rows.csv"
target = "y"
time = "at"
label_delay = "1d"
[learn]
budget = "2 trials"
algorithms = ["lightgbm", "linear"]
[loop]
retrain_on = ["drift", "schedule 10d"]
"""
START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2026, 1, 31, tzinfo=UTC)


def made_up_rows(days: int = 30, per_day: int = 60, seed: int = 0) -> str:
    """Return a CSV of rows: one every so many minutes, a number, a category and a yes-or-no target."""
    random = np.random.default_rng(seed)
    lines = ["at,x,kind,y"]
    for row in range(days * per_day):
        at = np.datetime64("2026-01-01") + np.timedelta64(row * 24 * 3600 // per_day, "s")
        x, kind = random.normal(), random.choice(["a", "b", "c"])
        chance = 1 / (1 + np.exp(-(1.5 * x + (kind == "a"))))
        lines.append(f"{at}Z,{x:.6f},{kind},{int(random.random() < chance)}")
    return "\n".join(lines) + "\n"


def made_up_project(folder: Path) -> Project:
    """Return a project whose clock stands at the end of its rows."""
    (folder / "kaizen.toml").write_text(TOML)
    (folder / "rows.csv").write_text(made_up_rows())
    made = Project.open(folder, clock=EventClock(END))
    keys.create(made.keys)
    return made


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project whose clock stands at the end of its rows."""
    return made_up_project(tmp_path)
