"""Small made-up tables for the tests of learning."""

from __future__ import annotations

import numpy as np

from kaizen.core.records import FeatureColumn, Task
from kaizen.learn.problem import Encoding, Features, Featurise, Problem, Rows


def world(
    task: Task = "classification", *, days: int | None = 24, rows: int = 1200, seed: int = 0
) -> tuple[Problem, Featurise]:
    """Return a problem with a number, a category and noise; the last third of the days validates."""
    rng = np.random.default_rng(seed)
    x, noise, code = rng.normal(size=rows), rng.normal(size=rows), rng.integers(-1, 4, rows).astype(float)
    blocks = None if days is None else np.sort(rng.integers(15_000, 15_000 + days, rows))
    signal = 1.5 * x + np.array([1.0, -1.0, 0.5, 0.0, 0.0])[code.astype(int)] - 0.7 + rng.logistic(size=rows)
    target = (signal > 0).astype(np.float64) if task == "classification" else signal
    cut = rows * 2 // 3 if blocks is None else int(np.searchsorted(blocks, 15_000 + days * 2 // 3))  # type: ignore[operator]
    split = (np.arange(cut), np.arange(cut, rows))
    calls: list[tuple[Encoding, int]] = []

    def featurise(encoding: Encoding, fitted_on: Rows) -> Features:
        calls.append((encoding, len(fitted_on)))
        if encoding == "codes":
            matrix = np.column_stack([x, noise, code])
            return Features(
                matrix, (FeatureColumn("x", "x"), FeatureColumn("noise", "noise"), FeatureColumn("c", "c", 4)), b""
            )
        dense = np.column_stack([x, noise, code[:, None] == np.arange(-1.0, 4.0)]).astype(np.float64)
        return Features(dense, tuple(FeatureColumn(f"d{index}", "") for index in range(dense.shape[1])), b"")

    featurise.calls = calls  # type: ignore[attr-defined]
    metric = "log_loss" if task == "classification" else "rmse"
    return Problem(task, metric, target, split, blocks), featurise
