"""Parity: the graph that ships against the trained model, and against a converter that rounds to single precision.

Each model is certified as every bundle is: on all validation rows, on odd raw values, and on features at and around
every split threshold. The rival is the same trees with thresholds and features rounded to float32, leaves left
exact: the least that a converter to the single-precision operator loses. Both go through the same certificate.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import _orders
import numpy as np
from _report import arguments, goal, machine, table

from kaizen.bundle import certify
from kaizen.bundle.certify import Certificate, Trained
from kaizen.bundle.keys import create
from kaizen.core import plugins
from kaizen.core.ports import Fitted, Framework
from kaizen.core.project import Project
from kaizen.core.projectfile import DataSection, ProjectFile, ProjectSection
from kaizen.core.records import Task
from kaizen.features import fit as features
from kaizen.graph import trees
from kaizen.graph.build import Builder, tensor_type
from kaizen.graph.frame import take
from kaizen.graph.join import chain
from kaizen.graph.run import Session
from kaizen.graph.trees import Tree
from kaizen.learn.fit import Outcome, finish
from kaizen.learn.problem import Settings
from kaizen.loop import pipeline
from kaizen.loop.material import Material, material

ALGORITHMS = ("lightgbm", "hist_boosting", "linear")
REAL = Path(os.environ.get("KAIZEN_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
ADULT = (
    "age,workclass,fnlwgt,education,education_num,marital,occupation,relationship,race,sex,gain,loss,hours,country,"
    "income"
)


class Grown(Protocol):
    """A fitted model that is made of trees."""

    def trees(self) -> list[Tree]:
        """Return the trees in the neutral form."""
        ...


class Rounded:
    """A model whose graph has thresholds and features in single precision; it answers as the model itself does."""

    def __init__(self, model: Fitted) -> None:
        self._model = model
        self.rounds = model.rounds

    def predict(self, table: Any) -> Any:
        """Return what the exact model answers."""
        return self._model.predict(table)

    def importance(self) -> Sequence[float]:
        """Return the exact model's."""
        return self._model.importance()

    def thresholds(self) -> Mapping[int, Sequence[float]]:
        """Return the exact thresholds, around which the probes are made."""
        return self._model.thresholds()

    def graph(self) -> bytes:
        """Return the rounded graph."""
        exact = cast("Grown", self._model).trees()
        with np.errstate(over="ignore"):
            single = [replace(tree, threshold=tree.threshold.astype(np.float32).astype(np.float64)) for tree in exact]
        columns = 1 + max(int(tree.feature.max(initial=0)) for tree in exact)
        narrow = Builder("narrow")
        wide = narrow.input("features", np.float64, columns)
        cast_down = narrow.node("Cast", wide, to=tensor_type(np.float32))
        cast_up = narrow.node("Cast", cast_down, to=tensor_type(np.float64))
        narrow.output("rounded", cast_up, np.float64, columns)
        return _renamed(narrow.to_bytes(), trees.ensemble(single))


def _renamed(narrow: bytes, ensemble: bytes) -> bytes:
    """Return the ensemble reading what the rounding gives: graphs are joined by the names of their tensors."""
    import onnx

    model = onnx.load_from_string(ensemble)
    model.graph.input[0].name = "rounded"
    for node in model.graph.node:
        node.input[:] = ["rounded" if name == "features" else name for name in node.input]
    return chain(narrow, model.SerializeToString(deterministic=True))


@dataclass(frozen=True)
class Table:
    """A table to learn from: how it is put into a folder, and what is asked of it."""

    name: str
    task: Task
    target: str
    place: Callable[[Path], str]  # writes the table, or says where it lies
    outcome: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judged:
    """A graph's certificate, and its differences on the validation rows alone."""

    certificate: Certificate
    largest: float  # of the answers, in the target's own unit
    wrong: int  # rows over the certificate's tolerance


def main() -> None:
    """Measure and print."""
    quick = arguments(__doc__).quick
    shown: list[list[object]] = []
    mismatches = 0
    for given in _tables(quick=quick):
        with tempfile.TemporaryDirectory(prefix="kaizen-bench-") as name:
            ready = _ready(Path(name), given)
            for algorithm in ALGORITHMS:
                exact, rival = _judged(ready, algorithm)
                mismatches += exact.certificate.mismatches
                shown.append(_row(given.name, algorithm, exact, rival))
    header = ("table", "algorithm", "rows", "probes", "thresholds", "largest difference", "on probes", "mismatches")
    table((*header, "float32: largest", "wrong rows", "wrong probes"), shown)
    goal("split-routing mismatches of kaizen's graphs, all rows and probes", mismatches, 0)
    if not REAL.is_dir():
        print(f"  real tables left out: no folder {REAL}; KAIZEN_DATA names it")
    machine("onnxruntime", "onnx", "lightgbm", "scikit-learn")


def _row(name: str, algorithm: str, exact: Judged, rival: Judged | None) -> list[object]:
    found = exact.certificate
    probes = found.raw_probes + found.threshold_probes
    row: list[object] = [name, algorithm, f"{found.rows:,}", f"{probes:,}", f"{found.thresholds:,}"]
    row += [f"{exact.largest:.1e}", f"{found.max_probe_difference:.1e}", found.mismatches]
    if rival is None:
        return [*row, "", "", ""]
    return [*row, f"{rival.largest:.1e}", f"{rival.wrong:,}", f"{rival.certificate.mismatches - rival.wrong:,}"]


def _tables(*, quick: bool) -> list[Table]:
    made_up = Table(
        "made up", "classification", _orders.TARGET, lambda folder: _made_up(folder, 3000 if quick else 20_000)
    )
    if quick or not REAL.is_dir():
        return [made_up]
    adult = f"{REAL / 'adult/adult-train.csv.gz'}?names={ADULT}"
    housing = str(REAL / "california_housing/housing.csv.gz")
    return [
        made_up,
        Table("adult", "classification", "income", lambda _: adult),
        Table("california_housing", "regression", "median_house_value", lambda _: housing),
        Table("bike_sharing", "regression", "cnt", _bikes, outcome=("casual", "registered")),
    ]


def _made_up(folder: Path, count: int) -> str:
    _orders.write_csv(folder / "orders.csv", _orders.rows(count))
    return "orders.csv"


def _bikes(folder: Path) -> str:
    with zipfile.ZipFile(REAL / "bike_sharing/Bike-Sharing-Dataset.zip") as archive:
        archive.extract("hour.csv", folder)
    return "hour.csv"


def _ready(folder: Path, given: Table) -> Material:
    data = DataSection(source=given.place(folder), target=given.target, outcome=list(given.outcome))
    project = Project(folder, ProjectFile(project=ProjectSection(name="parity", task=given.task), data=data))
    create(project.keys)
    return material(project, pipeline.frozen(project))


def _judged(ready: Material, algorithm: str) -> tuple[Judged, Judged | None]:
    """Return what there is to say of the graph, and of its rounded rival where the model is made of trees."""
    framework: Framework = plugins.load("framework", algorithm)()
    settings = Settings(algorithm, dict(framework.defaults(ready.problem.task)))
    outcome = finish(ready.problem, settings, framework, ready.featurise, 0, look_back=False)
    session = Session(outcome.features.graph)
    trained = Trained(
        features=lambda frame: features.transform(session, ready.inputs, frame),
        columns=outcome.features.columns,
        encoding=framework.encoding,
        model=outcome.model,
        calibrate=outcome.calibrator.apply,
    )
    exact = _judge(ready, outcome, trained)
    if not hasattr(outcome.model, "trees"):
        return exact, None
    return exact, _judge(ready, outcome, replace(trained, model=Rounded(outcome.model)))


def _judge(ready: Material, outcome: Outcome, trained: Trained) -> Judged:
    frame = take({column.name: ready.frame[column.name] for column in ready.inputs}, ready.problem.split[1])
    graph = chain(outcome.features.graph, trained.model.graph(), outcome.calibrator.graph())
    certificate = certify.certify(graph, ready.inputs, frame, trained)
    own = trained.calibrate(np.asarray(trained.model.predict(trained.features(frame))))
    apart = np.abs(certify.answer(Session(graph), ready.inputs, frame) - own)
    allowed = certify.TOLERANCE * np.maximum(np.abs(own).max(), np.abs(own))
    return Judged(certificate, float(apart.max()), int(np.count_nonzero(apart > allowed)))


if __name__ == "__main__":
    main()
