"""Real tables for monitors: a simple model of each, and windows that are shifted so that the truth is known.

A window is drawn from rows that neither the model nor the reference has seen, without replacement, so its labels are
real. What is shifted is only how likely a row is drawn:

    none      every row alike
    inputs    by two columns: exp(effect of the value), effects drawn anew for each window
    prior     by the label: the odds of a positive times exp(-1.5 to 1.5)
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from kaizen.core import plugins
from kaizen.core.ports import Framework
from kaizen.core.records import FeatureColumn, Task

Float = NDArray[np.float64]
Index = NDArray[np.int64]

REAL = Path(os.environ.get("KAIZEN_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SHIFTS = ("none", "inputs", "prior")
BINS = 32


@dataclass(frozen=True, eq=False)
class Table:
    """Rows as numbers and codes, and what is to be predicted."""

    name: str
    task: Task
    columns: tuple[FeatureColumn, ...]
    matrix: Float  # (rows, columns); categories as codes
    target: Float


def _adult(sql: Any, _: Path) -> tuple[str, str]:
    files = [str(REAL / "adult" / f"adult-{part}.csv.gz") for part in ("train", "test")]
    sql.execute("CREATE TABLE rows AS SELECT * EXCLUDE (column02) FROM read_csv(?, header = false, "
                "all_varchar = false, ignore_errors = true)", [files])  # fmt: skip
    return "column14", "trim(column14) LIKE '>50K%'"


def _bank(sql: Any, folder: Path) -> tuple[str, str]:
    inside = "bank-additional/bank-additional-full.csv"
    zipfile.ZipFile(REAL / "bank_marketing" / "bank-additional.zip").extract(inside, folder)
    sql.execute(
        "CREATE TABLE rows AS SELECT * EXCLUDE (duration) FROM read_csv(?, delim = ';')", [str(folder / inside)]
    )
    return "y", "y::varchar IN ('yes', 'true')"


def _covertype(sql: Any, _: Path) -> tuple[str, str]:
    sql.execute("CREATE TABLE rows AS SELECT * FROM read_csv(?)", [str(REAL / "covertype_sample" / "test.csv.gz")])
    return "Cover_Type", "Cover_Type = 2"


def _houses(sql: Any, _: Path) -> tuple[str, str]:
    sql.execute("CREATE TABLE rows AS SELECT * FROM read_csv(?)", [str(REAL / "california_housing" / "housing.csv.gz")])
    return "median_house_value", "median_house_value > 179700"


def _prices(sql: Any, folder: Path) -> tuple[str, str]:
    return _houses(sql, folder)[0], "median_house_value / 1e5"


def _bikes(sql: Any, folder: Path) -> tuple[str, str]:
    zipfile.ZipFile(REAL / "bike_sharing" / "Bike-Sharing-Dataset.zip").extract("hour.csv", folder)
    sql.execute(
        "CREATE TABLE rows AS SELECT * EXCLUDE (casual, registered, instant, dteday) FROM read_csv(?)",
        [str(folder / "hour.csv")],
    )
    return "cnt", "cnt"


TABLES: dict[str, tuple[Task, Callable[[Any, Path], tuple[str, str]]]] = {
    "adult": ("classification", _adult),
    "bank_marketing": ("classification", _bank),
    "covertype": ("classification", _covertype),
    "california_housing": ("classification", _houses),
    "california_prices": ("regression", _prices),
    "bike_sharing": ("regression", _bikes),
}


def load(name: str) -> Table | None:
    """Return a table, or None where the data are not there."""
    task, view = TABLES[name]
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as sql:
        try:
            target, expression = view(sql, Path(folder))
        except (OSError, duckdb.IOException):
            return None
        sql.execute("SET threads = 1")
        values = sql.execute(f"SELECT * EXCLUDE ({target}), ({expression})::double AS target FROM rows").fetchnumpy()
    wanted = np.ma.filled(np.ma.asarray(values.pop("target"), np.float64), np.nan)
    coded = [_coded(column, each) for column, each in values.items()]
    matrix = np.stack([codes for _, codes in coded], axis=1)
    kept = np.isfinite(wanted)
    return Table(name, task, tuple(column for column, _ in coded), matrix[kept], wanted[kept])


def _coded(name: str, values: Any) -> tuple[FeatureColumn, Float]:
    filled = np.ma.filled(np.ma.asarray(values), None) if values.dtype == object else values
    if filled.dtype == object:
        labels, codes = np.unique([str(value) for value in filled], return_inverse=True)
        return FeatureColumn(name, name, len(labels)), codes.astype(np.float64)
    return FeatureColumn(name, name), np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)


@dataclass(frozen=True, eq=False)
class World:
    """A model of a table, the rows of its reference, and the rows that windows are drawn from."""

    table: Table
    answers: Float  # of the model, to all rows
    codes: Index  # (rows, columns) bins by the reference's quantiles
    sizes: tuple[int, ...]
    reference: Index
    pool: Index

    def window(self, rng: np.random.Generator, shift: str, size: int) -> Index:
        """Return the rows of one window."""
        weight = _WEIGHTS[shift](self, rng)[self.pool]
        weight = np.minimum(weight, np.quantile(weight, 0.999))
        # Exponential clocks: the first `size` to ring are drawn without replacement (Efraimidis & Spirakis 2006).
        return self.pool[np.argsort(rng.exponential(size=len(weight)) / weight)[:size]]


def world(table: Table, rng: np.random.Generator, reference: int, *, crude: bool) -> World:
    """Return a model, fitted on a third of the rows and at most 8,000, and the rest split up.

    A crude model leaves much of what the inputs tell unsaid, so that its score does not speak for them all.
    """
    order = rng.permutation(len(table.target))
    train, rest = np.split(order, [min(len(order) // 3, 8000)])
    framework: Framework = plugins.load("framework", "lightgbm")()
    params = {**framework.defaults(table.task), "num_leaves": 4 if crude else 15}
    inputs, target = table.matrix[train], table.target[train]
    model = framework.fit(table.task, params, table.columns, inputs, target, seed=0, rounds=12 if crude else 60)
    raw = model.predict(table.matrix)
    answers = raw if table.task == "regression" else 1 / (1 + np.exp(-raw))
    known, pool = np.split(rest, [reference])
    binned = [_binned(column, table.matrix[:, at], known) for at, column in enumerate(table.columns)]
    codes = np.stack([place for place, _ in binned], axis=1)
    return World(table, answers, codes, tuple(size for _, size in binned), known, pool)


def _binned(column: FeatureColumn, values: Float, known: Index) -> tuple[Index, int]:
    if column.categories:
        return values.astype(np.int64), column.categories
    numbers = values[known]
    edges = np.unique(np.quantile(numbers[np.isfinite(numbers)], np.arange(1, BINS) / BINS))
    place = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
    return place.astype(np.int64), len(edges) + 2


def _alike(world: World, _: np.random.Generator) -> Float:
    return np.ones(len(world.table.target))


def _by_inputs(world: World, rng: np.random.Generator) -> Float:
    effect = np.zeros(len(world.table.target))
    strength = rng.uniform(0.2, 1.5)
    for at in rng.choice(len(world.sizes), 2, replace=False):
        size = world.sizes[at]
        if world.table.columns[at].categories:
            effect += rng.normal(0, strength / 1.5, size)[world.codes[:, at]]
        else:
            effect += rng.choice((-1, 1)) * strength * (2 * world.codes[:, at] / max(1, size - 2) - 1)
    return np.exp(effect)


def _by_prior(world: World, rng: np.random.Generator) -> Float:
    return np.exp(rng.uniform(-1.5, 1.5) * world.table.target)


_WEIGHTS = {"none": _alike, "inputs": _by_inputs, "prior": _by_prior}
