"""How a benchmark shows what it found: an aligned table, and one line about the machine."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

CALM = 0.7  # load average under which a figure can be trusted
_GOALS: list[str] = []
_LOAD = os.getloadavg()[0]  # before the benchmark adds its own


def arguments(doc: str | None) -> argparse.Namespace:
    """Return the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it runs; not to be quoted")
    return parser.parse_args()


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a header: words to the left, figures to the right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    is_word = [not any(row[column][:1].isdigit() for row in cells[1:]) or column == 0 for column in range(len(header))]
    for index, row in enumerate(cells):
        parts = [
            cell.ljust(width) if word else cell.rjust(width)
            for cell, width, word in zip(row, widths, is_word, strict=True)
        ]
        print("  " + "   ".join(parts).rstrip())
        if index == 0:
            print("  " + "   ".join("-" * width for width in widths))


def goal(name: str, reached: float, bound: float, *, least: bool = False, unit: str = "", sides: str = "") -> None:
    """Print a figure, its goal, and what it is the ratio of. A goal that is missed fails nothing: machines differ."""
    holds = reached >= bound if least else reached <= bound
    sign = ">=" if least else "<="
    of = f"  [{sides}]" if sides else ""
    line = f"  {'reached' if holds else 'MISSED '}  {name}: {reached:.3g}{unit} (goal {sign} {bound:g}{unit}){of}"
    _GOALS.append(line)
    print(line, flush=True)


def failed(name: str, why: str) -> None:
    """Print that there is no figure, and why."""
    line = f"  FAILED   {name}: {why}"
    _GOALS.append(line)
    print(line, flush=True)


def figure(name: str, text: str) -> None:
    """Print a figure that has no goal."""
    line = f"  figure   {name}: {text}"
    _GOALS.append(line)
    print(line, flush=True)


def summary() -> None:
    """Print every goal and figure of this process again."""
    print("\n".join(_GOALS))


def machine(*packages: str) -> None:
    """Print what the figures were measured on, and whether something else was running."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = ", ".join(f"{name} {_version(name)}" for name in ("numpy", *packages))
    print(f"  {date.today()}: {cores} cores ({_processor()}), Python {platform.python_version()}, {found}")
    state = "calm" if _LOAD < CALM else "something else was running, or just had: wall times suffer, ratios less so"
    print(f"  load when it began {_LOAD:.2f} ({state})\n")


def quantiles(seconds: Sequence[float]) -> tuple[float, float]:
    """Return median and 99th percentile in milliseconds."""
    middle, late = np.quantile(np.asarray(seconds) * 1e3, (0.5, 0.99))
    return float(middle), float(late)


def cannot_run(reason: str) -> None:
    """Say what is missing, and end with 1."""
    print(f"  cannot run: {reason}", file=sys.stderr)
    sys.exit(1)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.machine()
    lines = (line.partition(":") for line in info.read_text().splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == "model name"), platform.machine())
