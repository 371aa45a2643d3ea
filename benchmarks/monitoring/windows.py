"""False pages of one comparison: 50 columns without a change, windows of any size, beside Evidently's defaults.

Evidently is installed and asked, with its default drift preset, on a few windows, to see that its formulas are what is
counted here: for numbers from 1,000 reference rows on the normed Wasserstein distance, for labels the Jensen-Shannon
distance, both from 0.1; it calls a data set drifted from half of the columns on. A page is any column: whoever watches
fifty columns looks at each that is said to have drifted.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from _report import arguments, failed, goal, machine, table
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

import kaizen
from kaizen.page.charts import Line, lines
from kaizen.page.page import Html
from monitoring.rival import EVIDENTLY

COLUMNS, REFERENCE = 50, 5000
SIZES = (50, 100, 200, 500, 1000, 5000)
LABELS = 10
Columns: TypeAlias = "dict[str, NDArray[Any]]"


def main() -> None:
    """Measure and print."""
    measure(quick=arguments(__doc__).quick)
    machine("scipy")


def measure(*, quick: bool) -> Html:
    """Print how many windows of each size page without a change; return the picture."""
    windows = 5 if quick else 50
    found = {size: _pages(size, windows) for size in SIZES}
    rows = [[f"{size:,}", f"{mine:.1%}", f"{theirs:.1%}"] for size, (mine, theirs) in found.items()]
    table(("rows", "kaizen pages", "Evidently's defaults: some column drifts"), rows)
    for size, (mine, _) in found.items():
        goal(f"P(page) without a change, 50 columns, {size} rows", mine, 0.01)
    _checked()
    sizes = [f"{size:,}" for size in SIZES]
    series = [
        Line(name, sizes, [pages[at] for pages in found.values()]) for at, name in enumerate(("kaizen", "Evidently"))
    ]
    return lines(series, title="Windows without a change that page", x="rows", y="share of windows", wide=False)


def _tables(rng: np.random.Generator, rows: int) -> Columns:
    """Return 40 numbers that share a part, and 10 labels."""
    common = rng.standard_normal((rows, 1))
    numbers = 0.6 * common + 0.8 * rng.standard_normal((rows, COLUMNS - 10))
    labels = np.array([f"label {place}" for place in range(LABELS)], object)
    table_ = {f"n{place}": numbers[:, place] for place in range(COLUMNS - 10)}
    return table_ | {f"c{place}": rng.choice(labels, rows) for place in range(10)}


def _pages(size: int, windows: int) -> tuple[float, float]:
    mine, theirs = 0, 0
    for number in range(windows):
        rng = np.random.default_rng((size, number))
        usual, now = _tables(rng, REFERENCE), _tables(rng, size)
        mine += kaizen.compare(usual, now).page
        theirs += any(score >= 0.1 for score in _evidently(usual, now).values())
    return mine / windows, theirs / windows


def _evidently(usual: Columns, now: Columns) -> dict[str, float]:
    """Return Evidently's default distances, column by column, by its formulas."""
    found = {}
    for name, before in usual.items():
        if name.startswith("n"):
            found[name] = wasserstein_distance(before, now[name]) / max(float(np.std(before)), 0.001)
        else:
            names = np.unique(np.concatenate((before, now[name])))
            p, q = (np.array([np.mean(values == each) for each in names]) for values in (before, now[name]))
            middle = (p + q) / 2
            parts = [np.sum(x[x > 0] * np.log(x[x > 0] / middle[x > 0])) for x in (p, q)]
            found[name] = float(np.sqrt(sum(parts) / 2))
    return found


def _checked() -> None:
    """Hold our formulas against what Evidently itself says of one window."""
    problem = EVIDENTLY.problem()
    if problem:
        failed("Evidently's own figures", f"cannot be installed: {problem}")
        return
    rng = np.random.default_rng(3)
    usual, now = _tables(rng, REFERENCE), _tables(rng, 200)
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.npz"
        both = {f"r_{name}": values.astype(str) for name, values in usual.items()}
        both |= {f"c_{name}": values.astype(str) for name, values in now.items()}
        np.savez(job, allow_pickle=False, **both)
        told = json.loads(EVIDENTLY.run("evidently_window.py", str(job)).strip().splitlines()[-1])
    ours = _evidently(usual, now)
    furthest = max(abs(told[name] - ours[name]) for name in told)
    goal(f"{EVIDENTLY.version()}'s own distances beside the formulas, the largest difference", furthest, 1e-3)


if __name__ == "__main__":
    main()
