"""The parity certificate: the graph that ships against the trained model itself, as its framework answers.

| compared                               | on                                               | fails when         |
|----------------------------------------|--------------------------------------------------|--------------------|
| whole graph and the model's own answer | every real row given; odd values in every column | over the tolerance |
| model graph and framework's `predict`  | features at and around every split threshold     | over the tolerance |
| whole graph and itself                 | batches of 1, 7, 64 and 1024 rows                | any bit differs *  |

* A graph from elsewhere has no model to be compared with, and may differ by 1e-5 between batches.

Routing is judged by its outcome: a row that takes another leaf in one tree changes the sum by the difference of
two leaves, far above the tolerance (1e-9 of the size of the model's raw answers, where the order of a sum costs
about 1e-15), so each difference over it is counted as a split that routes wrongly. What this cannot see is a
wrong turn between two leaves of equal value, which no answer can show either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.bundle import probes
from kaizen.bundle.environment import versions
from kaizen.core.errors import BundleError
from kaizen.core.ids import content_id
from kaizen.core.ports import Fitted
from kaizen.core.records import Column, FeatureColumn
from kaizen.graph.frame import Frame, concat, feeds, rows_of, take
from kaizen.graph.run import Session

Floats = NDArray[np.float64]

TOLERANCE = 1e-9
FOREIGN_BATCH_TOLERANCE = 1e-5  # single-precision matrix products of graphs from elsewhere round by batch
BATCHES = (1, 7, 64, 1024)
_BATCH_ROWS = 2048
_CHUNK = 1024


@dataclass(frozen=True)
class Trained:
    """What was trained, as the learner holds it: the three steps from raw rows to the answer, without the graph."""

    features: Callable[[Frame], Floats]  # rows -> (rows, columns): the feature graph
    columns: Sequence[FeatureColumn]
    encoding: Literal["codes", "dense"]
    model: Fitted
    calibrate: Callable[[Floats], Floats]  # raw (rows,) -> answer (rows,)


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared and what came out; the content of `certificate.json`."""

    method: str
    graph: str  # SHA-256 of the graph that ships
    data: str  # hash of the real rows it was compared on
    rows: int
    raw_probes: int
    threshold_probes: int
    thresholds: int
    tolerance: float
    max_abs_difference: float  # of the answers, on real rows
    max_relative_difference: float  # of the answers to raw probes, over their size where that is more than 1
    max_probe_difference: float  # of the raw answers, on threshold probes
    mismatches: int  # differences over the tolerance: splits that route wrongly
    not_finite: int  # real rows whose answer is no finite number
    batch_sizes: tuple[int, ...]
    batch_invariant: bool  # every bit the same
    max_batch_difference: float
    batch_tolerance: float  # 0: every bit must be the same
    versions: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether the graph may ship."""
        same = self.batch_invariant or self.max_batch_difference <= self.batch_tolerance
        return same and self.mismatches == 0 and self.not_finite == 0

    @property
    def says(self) -> str:
        """One sentence for people."""
        tried = f"{self.rows} rows and {self.raw_probes + self.threshold_probes} probes"
        if self.passed:
            return f"{self.method} on {tried}: 0 mismatches, largest difference {self.max_abs_difference:.3g}"
        largest = max(self.max_abs_difference, self.max_probe_difference)
        batches = "alike" if self.batch_invariant else f"up to {self.max_batch_difference:.3g} apart"
        return (
            f"{self.mismatches} answers on {tried} differ by more than {self.tolerance:g} of the model's own size "
            f"(largest difference {largest:.3g}), {self.not_finite} are not finite, and batches of different sizes "
            f"answer {batches}"
        )


def certify(graph: bytes, columns: Sequence[Column], frame: Frame, trained: Trained | None) -> Certificate:
    """Return the certificate of a graph.

    Parameters
    ----------
    graph
        The whole graph, ONNX: numbers, times, strings to the answer (n, 1).
    columns
        The raw columns it reads.
    frame
        Real rows: all that the model was validated on.
    trained
        The model it was made of; None for a graph from elsewhere, which has nothing to be compared with.

    Raises
    ------
    BundleError
        There are no rows.
    """
    if rows_of(frame) == 0:
        raise BundleError("a certificate needs rows to compare on", fix="give the rows the model was validated on")
    session = Session(graph)
    odd = probes.in_raw_space(columns, frame)
    rows = answer(session, columns, frame)
    tally = _Tally()
    if trained is not None:
        tally.compare_rows(rows, _own_answer(trained, frame))
        tally.compare_odd_rows(answer(session, columns, odd), _own_answer(trained, odd))
        tally.compare_probes(trained, trained.features(frame))
    same, apart = across_batches(session, columns, concat([_some(frame), odd]))
    return Certificate(
        method="compared with the trained model" if trained else "no trained model to compare with",
        graph=hashlib.sha256(graph).hexdigest(),
        data=_data_hash(columns, frame),
        rows=rows_of(frame),
        raw_probes=rows_of(odd),
        threshold_probes=tally.probes,
        thresholds=tally.thresholds,
        tolerance=TOLERANCE,
        max_abs_difference=tally.max_answer,
        max_relative_difference=tally.max_relative,
        max_probe_difference=tally.max_raw,
        mismatches=tally.mismatches,
        not_finite=int(np.count_nonzero(~np.isfinite(rows))),
        batch_sizes=BATCHES,
        batch_invariant=same,
        max_batch_difference=apart,
        batch_tolerance=0.0 if trained else FOREIGN_BATCH_TOLERANCE,
        versions=versions(),
    )


def answer(session: Session, columns: Sequence[Column], frame: Frame, *, batch: int = _CHUNK) -> Floats:
    """Return the graph's answers to rows, run in batches of this size."""  # (rows,)
    tensors = feeds(columns, frame)
    return _in_batches(session, tensors, rows_of(frame), batch)


def across_batches(session: Session, columns: Sequence[Column], frame: Frame) -> tuple[bool, float]:
    """Return whether answers have the same bits in every batch size, and the largest difference."""
    tensors, n = feeds(columns, frame), rows_of(frame)
    first, *others = (_in_batches(session, tensors, n, size) for size in BATCHES)
    same = all(np.array_equal(first.view(np.int64), other.view(np.int64)) for other in others)
    return same, max(_differences(other, first, scale=1.0)[0] for other in others)


class _Tally:
    """Counts differences as they are found."""

    def __init__(self) -> None:
        self.max_answer = 0.0
        self.max_relative = 0.0
        self.max_raw = 0.0
        self.mismatches = 0
        self.probes = 0
        self.thresholds = 0

    def compare_rows(self, graph: Floats, model: Floats) -> None:
        largest, wrong = _differences(graph, model, scale=_size(model))
        self.max_answer = max(self.max_answer, largest)
        self.mismatches += wrong

    def compare_odd_rows(self, graph: Floats, model: Floats) -> None:
        finite = np.maximum(np.where(np.isfinite(model), np.abs(model), 1.0), 1.0)
        self.max_relative = max(self.max_relative, _differences(graph / finite, model / finite, scale=1.0)[0])
        self.mismatches += _differences(graph, model, scale=_size(model))[1]

    def compare_probes(self, trained: Trained, features: Floats) -> None:
        thresholds = trained.model.thresholds()
        self.thresholds = sum(len(values) for values in thresholds.values())
        session = Session(trained.model.graph())
        scale = _size(np.asarray(trained.model.predict(features), np.float64))
        missing = trained.encoding == "codes"
        for matrix in probes.in_feature_space(features, trained.columns, thresholds, missing=missing):
            graph = _in_batches(session, {"features": matrix}, len(matrix), _CHUNK)
            largest, wrong = _differences(graph, trained.model.predict(matrix), scale=scale)
            self.max_raw = max(self.max_raw, largest)
            self.mismatches += wrong
            self.probes += len(matrix)


def _own_answer(trained: Trained, frame: Frame) -> Floats:
    return trained.calibrate(np.asarray(trained.model.predict(trained.features(frame)), np.float64))


def _differences(graph: Floats, model: Any, *, scale: float) -> tuple[float, int]:
    """Return the largest difference, and how many are over the tolerance; a NaN equals only a NaN."""
    model = np.asarray(model, np.float64)
    same = (graph == model) | (np.isnan(graph) & np.isnan(model))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(graph - model))
        allowed = TOLERANCE * np.maximum(scale, np.where(np.isfinite(model), np.abs(model), 0.0))
    difference = np.where(np.isnan(difference), np.inf, difference)
    return float(difference.max(initial=0.0)), int(np.count_nonzero(difference > allowed))


def _size(answers: Floats) -> float:
    """Return the size of a model's answers, which a tolerance is relative to."""
    finite = answers[np.isfinite(answers)]
    return float(np.abs(finite).max(initial=0.0)) or 1.0


def _in_batches(session: Session, tensors: Mapping[str, NDArray[Any]], n: int, size: int) -> Floats:
    parts = [
        session.run({name: tensor[start : start + size] for name, tensor in tensors.items()})[:, 0]
        for start in range(0, n, size)
    ]
    return np.ascontiguousarray(np.concatenate(parts), np.float64)


def _some(frame: Frame) -> Frame:
    n = rows_of(frame)
    return take(frame, np.unique(np.linspace(0, n - 1, min(n, _BATCH_ROWS)).astype(np.int64)))


def _data_hash(columns: Sequence[Column], frame: Frame) -> str:
    values = [frame[column.name] for column in columns]
    return content_id(tuple(columns), *(v.tolist() if v.dtype == object else v.tobytes() for v in values))
