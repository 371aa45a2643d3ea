"""A small table with every type of column, models of every framework on it, and a project's key and stores."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from kaizen.bundle import keys
from kaizen.bundle.certify import Certificate, Trained, certify
from kaizen.bundle.environment import environment
from kaizen.bundle.pack import Parts, examples_of, pack
from kaizen.core import plugins
from kaizen.core.errors import NotFoundError
from kaizen.core.ports import Fitted
from kaizen.core.records import Bundle, Column, FeatureColumn
from kaizen.core.rules import Check, Rule, Rules
from kaizen.graph.build import ML, Builder
from kaizen.graph.frame import MISSING_TIME, Frame, feeds
from kaizen.graph.join import chain
from kaizen.graph.run import Session

COLUMNS = (
    Column("amount", "number"),
    Column("member", "boolean"),
    Column("when", "time"),
    Column("colour", "category"),
)
COLOURS = ("blue", "green", "red")
FEATURES = (
    FeatureColumn("amount", "amount"),
    FeatureColumn("member", "member"),
    FeatureColumn("hour", "when"),
    FeatureColumn("colour", "colour", categories=3),
)
HOUR_US = 3_600_000_000
AT = datetime(2024, 1, 1, tzinfo=UTC)
RULES = Rules(
    rows=600,
    task="classification",
    target="late",
    columns=(Rule(column="amount", type="number", low=-3.0, high=3.0), Rule(column="colour", type="category")),
    checks=(Check("paid", "amount >= 0 or member"),),
)


class FolderBlobs:
    """Blobs in a folder: the port, as small as it can be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def put(self, data: bytes | Path) -> str:
        content = data if isinstance(data, bytes) else data.read_bytes()
        key = hashlib.sha256(content).hexdigest()
        (self.folder / key).write_bytes(content)
        return key

    def path(self, key: str) -> Path:
        if not (self.folder / key).exists():
            raise NotFoundError(f"there is no blob {key}")
        return self.folder / key


def rows(count: int, seed: int = 0) -> Frame:
    rng = np.random.default_rng(seed)
    amount = rng.normal(size=count)
    amount[rng.random(count) < 0.1] = np.nan
    when = rng.integers(0, 24 * 365, count) * HOUR_US + 1_700_000_000_000_000
    when[rng.random(count) < 0.05] = MISSING_TIME
    return {
        "amount": amount,
        "member": rng.integers(0, 2, count).astype(np.float64),
        "when": when,
        "colour": np.array([*COLOURS, ""], object)[rng.integers(0, 4, count)],
    }


def feature_graph(*, dense: bool = False) -> bytes:
    """numbers, times, strings -> features: the amount, the boolean, the hour of the day, the colour's code.

    Dense: a missing number is 0, as what cannot take a missing number wants it.
    """
    graph = Builder("features")
    numbers = graph.input("numbers", np.float64, 2)
    if dense:
        numbers = graph.node("Where", graph.node("IsNaN", numbers), graph.constant(np.array([0.0])), numbers)
    times = graph.input("times", np.int64, 1)
    strings = graph.input("strings", np.object_, 1)
    hours = graph.node("Div", times, graph.constant(np.array([HOUR_US])))
    hour = graph.node("Cast", graph.node("Mod", hours, graph.constant(np.array([24]))), to=11)
    code = graph.node(
        "LabelEncoder", strings, domain=ML, keys_strings=list(COLOURS), values_int64s=[0, 1, 2], default_int64=-1
    )
    together = graph.node("Concat", numbers, hour, graph.node("Cast", code, to=11), axis=1)
    graph.output("features", together, np.float64, 4)
    return graph.to_bytes()


def calibrator_graph() -> bytes:
    graph = Builder("calibrator")
    raw = graph.input("raw", np.float64, 1)
    # Softmax of (raw, 0), not Sigmoid: the runtime's Sigmoid gives other last bits at the end of a batch.
    zero = graph.node("Mul", raw, graph.constant(np.array([0.0])))
    both = graph.node("Softmax", graph.node("Concat", raw, zero, axis=1), axis=1)
    first = graph.node("Gather", both, graph.constant(np.array([0])), axis=1)
    graph.output("probability", first, np.float64, 1)
    return graph.to_bytes()


def sigmoid(raw: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(raw, -700.0, 700.0)))


def fitted(algorithm: str, frame: Frame, matrix: np.ndarray, *, rounds: int = 20) -> tuple[Fitted, str]:
    framework = plugins.load("framework", algorithm)()
    late = np.nan_to_num(frame["amount"]) + (frame["colour"] == "red") + 0.1 * matrix[:, 2] > 1.5
    params = framework.defaults("classification")
    model = framework.fit("classification", params, FEATURES, matrix, late.astype(np.float64), seed=0, rounds=rounds)
    return model, framework.encoding


def trained_on(frame: Frame, algorithm: str = "lightgbm") -> tuple[bytes, Trained]:
    features = feature_graph(dense=algorithm == "linear")
    session = Session(features)

    def featurise(raw: Frame) -> np.ndarray:
        return session.run(feeds(COLUMNS, raw))

    model, encoding = fitted(algorithm, frame, featurise(frame))
    return (
        chain(features, model.graph(), calibrator_graph()),
        Trained(features=featurise, columns=FEATURES, encoding=encoding, model=model, calibrate=sigmoid),
    )


class Shop:
    """A project's key and stores, and one model to pack."""

    def __init__(self, folder: Path, graph: bytes, certificate: Certificate) -> None:
        self.blobs = FolderBlobs(folder / "blobs")
        self.keys = folder / "keys"
        self.public = keys.create(self.keys)
        self.graph = graph
        self.certificate = certificate

    def parts(self, **changes: object) -> Parts:
        given = {
            "graph": self.graph,
            "task": "classification",
            "inputs": COLUMNS,
            "output": "probability",
            "certificate": self.certificate,
            "environment": environment(),
            "reference": b"{}\n",
            "rules": RULES,
            "examples": examples_of(COLUMNS, rows(3)),
        }
        return Parts(**{**given, **changes})  # type: ignore[arg-type]

    def pack(
        self, *, name: str = "shop", known: tuple[Bundle, ...] = (), at: datetime = AT, **changes: object
    ) -> Bundle:
        key = keys.load(self.keys)
        return pack(
            self.parts(**changes), name=name, project="shop", blobs=self.blobs, key=key, known=known, at=at, by="test"
        )


@pytest.fixture(scope="session")
def lightgbm_model() -> tuple[bytes, Trained]:
    return trained_on(rows(600))


@pytest.fixture(scope="session")
def certificate(lightgbm_model: tuple[bytes, Trained]) -> Certificate:
    graph, trained = lightgbm_model
    return certify(graph, COLUMNS, rows(400, seed=1), trained)


@pytest.fixture
def shop(tmp_path: Path, lightgbm_model: tuple[bytes, Trained], certificate: Certificate) -> Shop:
    return Shop(tmp_path, lightgbm_model[0], certificate)
