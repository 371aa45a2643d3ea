"""A made-up table of orders, with everything real tables have, and a project that serves a model of it.

The target depends on columns of every kind; values are continuous doubles, so that splits stand close to rows.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from kaizen.bundle import certify, keys, pack
from kaizen.bundle.environment import environment
from kaizen.core import plugins
from kaizen.core.ports import Framework
from kaizen.core.project import Project
from kaizen.core.records import Bundle
from kaizen.features import fit as features
from kaizen.graph.frame import take
from kaizen.graph.join import chain
from kaizen.graph.run import Session
from kaizen.learn import calibrate
from kaizen.learn.problem import Settings
from kaizen.learn.search import fit_on
from kaizen.loop import act, pipeline
from kaizen.loop.material import Material, material

TARGET = "returned"
COUNTRIES = ("AT", "BE", "CH", "DE", "DK", "ES", "FR", "IT", "NL", "PL", "PT", "SE")
KINDS = ("book", "dress", "game", "lamp", "phone", "shoe", "tool")
_START = datetime(2025, 1, 1, tzinfo=UTC)


def rows(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return so many orders in the wire form, with the target."""
    rng = np.random.default_rng(seed)
    return [_order(rng) for _ in range(count)]


def _order(rng: np.random.Generator) -> dict[str, Any]:
    price, weight = float(rng.lognormal(3.0, 0.8)), float(rng.gamma(2.0, 1.5))
    kind, country = str(rng.choice(KINDS)), str(rng.choice(COUNTRIES))
    age, member = float(rng.normal(40, 12)), bool(rng.random() < 0.4)
    at = _START + timedelta(minutes=int(rng.integers(0, 400_000)))
    odds = 0.6 * np.log(price) - 2.6 + 0.9 * (kind in ("dress", "shoe")) - 0.5 * member + 0.3 * (at.hour > 20)
    odds += 0.02 * abs(age - 40) + 0.4 * (country in ("DE", "AT", "CH"))
    order = {
        "price": price,
        "weight": None if rng.random() < 0.1 else weight,
        "discount": round(float(rng.beta(1, 5)), 2),
        "items": float(rng.poisson(2) + 1),
        "age": None if rng.random() < 0.2 else age,
        "distance": float(rng.exponential(200.0)),
        "member": None if rng.random() < 0.05 else member,
        "kind": kind,
        "country": None if rng.random() < 0.03 else country,
        "payment": str(rng.choice(("card", "invoice", "wallet"))),
        "ordered_at": at.isoformat(),
    }
    return {**order, TARGET: bool(rng.random() < 1.0 / (1.0 + np.exp(-odds)))}


def wire_rows(count: int) -> list[dict[str, Any]]:
    """Return so many orders to be predicted, which are none of those that were trained on."""
    return [{name: value for name, value in row.items() if name != TARGET} for row in rows(count, seed=1)]


def write_csv(path: Path, orders: Sequence[dict[str, Any]]) -> None:
    """Write orders as a table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(orders[0]))
        writer.writeheader()
        writer.writerows(orders)


def serving_project(folder: Path, *, orders: int, rounds: int) -> Project:
    """Make a project by `kaizen init`, fit exactly so many trees, and promote their bundle: ready for `kaizen serve`.

    `kaizen learn` chooses the number of trees itself; so the stages that it walks are walked here one by one.
    """
    write_csv(folder / "orders.csv", rows(orders))
    command = [sys.executable, "-m", "kaizen.cli", "init", "orders.csv", "--target", TARGET]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    project = Project.open(folder)
    ready = material(project, pipeline.frozen(project))
    bundle = _packed(project, ready, rounds)
    project.records.put([bundle])
    act.promote(project, bundle.id, by="benchmark")
    return project


def _packed(project: Project, ready: Material, rounds: int) -> Bundle:
    problem = ready.problem
    framework: Framework = plugins.load("framework", "lightgbm")()
    settings = Settings("lightgbm", dict(framework.defaults(problem.task)))
    table = ready.featurise(framework.encoding, problem.train)
    model = fit_on(problem, problem.train, framework, settings, table, 0, rounds=rounds)
    calibrator = calibrate.fit(np.asarray(model.predict(table.matrix[problem.tune])), problem.target[problem.tune])
    graph = chain(table.graph, model.graph(), calibrator.graph())
    session = Session(table.graph)
    trained = certify.Trained(
        features=lambda frame: features.transform(session, ready.inputs, frame),
        columns=table.columns,
        encoding=framework.encoding,
        model=model,
        calibrate=calibrator.apply,
    )
    held_out = take({column.name: ready.frame[column.name] for column in ready.inputs}, problem.holdout)
    parts = pack.Parts(
        graph=graph,
        task=problem.task,
        inputs=ready.inputs,
        output="probability",
        certificate=certify.certify(graph, ready.inputs, held_out, trained),
        environment=environment(project.folder),
        examples=pack.examples_of(ready.inputs, held_out),
    )
    return pack.pack(
        parts,
        name=project.name,
        project=project.name,
        blobs=project.blobs,
        key=keys.load(project.keys),
        known=[],
        at=project.clock.now(),
        by="benchmark",
    )
