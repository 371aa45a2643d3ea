"""From raw scores to probabilities that mean what they say.

raw double [n, 1] ──► none: 1 / (1 + e^-raw)
                      sigmoid: 1 / (1 + e^-(slope raw + offset))
                      isotonic: y0 + (raw - x0) slope, between knots
                      identity: raw                                  ──► probability | value double [n, 1]
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from scipy.optimize import minimize

from kaizen.graph.build import Builder
from kaizen.stats.isotonic import steps
from kaizen.stats.metrics import log_loss

Method: TypeAlias = Literal["none", "sigmoid", "isotonic", "identity"]
Array: TypeAlias = NDArray[np.float64]

MAX_KNOTS = 64
_FOLDS = 5
_MIN_ROWS = 50  # fewer cannot tell a calibration from chance
_MIN_ROWS_ISOTONIC = 1000  # Niculescu-Mizil & Caruana (2005), section 5: with fewer, isotonic regression overfits
_GAIN = 1e-4  # nats a row by which the less simple method must win


class Calibrator(msgspec.Struct, frozen=True):
    """A monotone map from raw scores to the answer; the same in numpy and as a graph."""

    method: Method
    slope: float = 1.0
    offset: float = 0.0
    knots: tuple[float, ...] = ()  # raw scores, ascending
    values: tuple[float, ...] = ()  # probabilities at the knots, never falling

    def apply(self, raw: Array) -> Array:
        """Return the answers (rows,) of raw scores (rows,), with the bits that the graph gives."""
        raw = np.asarray(raw, dtype=np.float64)
        if self.method == "identity":
            return raw
        if self.method == "isotonic":
            return self._interpolate(raw)
        scaled = raw * self.slope + self.offset if self.method == "sigmoid" else raw
        return 1.0 / (1.0 + _powers(-scaled))

    def graph(self) -> bytes:
        """Return the ONNX graph: ``raw`` double [n, 1] to ``probability`` (or ``value``) double [n, 1]."""
        graph = Builder("calibration")
        raw = graph.input("raw", np.float64, 1)
        if self.method == "identity":
            graph.output("value", raw, np.float64, 1)
            return graph.to_bytes()
        answer = self._piecewise(graph, raw) if self.method == "isotonic" else self._logistic(graph, raw)
        graph.output("probability", answer, np.float64, 1)
        return graph.to_bytes()

    def _logistic(self, graph: Builder, raw: str) -> str:
        # Sigmoid and Exp of ONNX Runtime round differently in the vectorised part of a batch and in its tail;
        # Pow does not, so that an answer does not depend on who else is in the batch.
        if self.method == "sigmoid":
            stretched = graph.node("Mul", raw, graph.constant(np.array(self.slope)))
            raw = graph.node("Add", stretched, graph.constant(np.array(self.offset)))
        one = graph.constant(np.array(1.0))
        odds_against = graph.node("Pow", graph.constant(np.array(math.e)), graph.node("Neg", raw))
        return graph.node("Div", one, graph.node("Add", one, odds_against))

    def _piecewise(self, graph: Builder, raw: str) -> str:
        start, value, rise = self._segments()
        ends = [graph.constant(np.array(knot)) for knot in (self.knots[0], self.knots[-1])]
        x = graph.node("Clip", raw, *ends)
        passed = graph.node("GreaterOrEqual", x, graph.constant(start[None, 1:]))  # (n, segments - 1)
        steps = graph.node("Cast", passed, to=TensorProto.INT64)
        segment = graph.node("ReduceSum", steps, graph.constant(np.array([1])), keepdims=1)
        x0, y0, slope = (graph.node("Gather", graph.constant(table), segment) for table in (start, value, rise))
        climb = graph.node("Mul", graph.node("Sub", x, x0), slope)
        return graph.node("Add", y0, climb)

    def _segments(self) -> tuple[Array, Array, Array]:
        knots, values = np.array(self.knots), np.array(self.values)
        return knots[:-1], values[:-1], np.diff(values) / np.diff(knots)

    def _interpolate(self, raw: Array) -> Array:
        start, value, rise = self._segments()
        x = np.clip(raw, self.knots[0], self.knots[-1])
        segment = np.searchsorted(start[1:], x, side="right")
        return np.asarray(value[segment] + (x - start[segment]) * rise[segment])


NONE = Calibrator("none")
IDENTITY = Calibrator("identity")


def fit(raw: Array, target: Array, blocks: NDArray[np.int64] | None = None) -> Calibrator:
    """Return the calibrator whose cross-fitted log loss is least, the simpler one where it makes no difference.

    Parameters
    ----------
    raw
        Log-odds (rows,) of rows that the model was not fitted on.
    target
        Outcomes (rows,), 0 or 1.
    blocks
        The block (rows,) of each row; a block is never cut by a fold.
    """
    folds = folds_of(len(raw), blocks)
    if len(raw) < _MIN_ROWS or len(np.unique(folds)) < 2 or len(np.unique(target)) < 2:
        return NONE
    methods: tuple[Method, ...] = ("none", "sigmoid", "isotonic")
    best, least = NONE, math.inf
    for method in methods[: 3 if len(raw) >= _MIN_ROWS_ISOTONIC else 2]:
        loss = log_loss(target, cross_fitted(method, raw, target, folds))
        if loss < least - (_GAIN if method != "none" else 0.0):
            best, least = fit_method(method, raw, target), loss
    return best


def cross_fitted(method: Method, raw: Array, target: Array, folds: NDArray[np.int64]) -> Array:
    """Return each row's probability (rows,) by a calibrator fitted on the other folds."""
    answers = np.empty(len(raw))
    for fold in np.unique(folds):
        held = folds == fold
        answers[held] = fit_method(method, raw[~held], target[~held]).apply(raw[held])
    return answers


def folds_of(rows: int, blocks: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return the fold (rows,) of each row: whole blocks in turn, or rows in turn."""
    if blocks is None:
        return np.arange(rows, dtype=np.int64) % _FOLDS
    distinct, place = np.unique(blocks, return_inverse=True)
    return (place % min(_FOLDS, len(distinct))).astype(np.int64)


def fit_method(method: Method, raw: Array, target: Array) -> Calibrator:
    """Return the calibrator of one method, fitted on raw scores (rows,) and outcomes (rows,)."""
    if len(np.unique(target)) < 2 or float(np.ptp(raw)) == 0.0:
        return NONE
    if method == "sigmoid":
        return _sigmoid(raw, target)
    if method == "isotonic":
        return _isotonic(raw, target)
    return Calibrator(method)


def _sigmoid(raw: Array, target: Array) -> Calibrator:
    """Platt (1999): a logistic regression on the score, towards targets a little inside 0 and 1."""
    positives = float(target.sum())
    negatives = len(target) - positives
    inside = np.where(target > 0.5, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))

    def loss(weights: Array) -> tuple[float, Array]:
        scaled = weights[0] * raw + weights[1]
        value = float(np.mean(np.logaddexp(0.0, scaled) - inside * scaled))
        gap = 1.0 / (1.0 + np.exp(-np.clip(scaled, -700.0, 700.0))) - inside
        return value, np.array([np.mean(gap * raw), np.mean(gap)])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS", options={"gtol": 1e-9})
    slope, offset = (float(weight) for weight in found.x)
    return Calibrator("sigmoid", slope, offset) if slope > 0.0 and math.isfinite(offset) else NONE


def _isotonic(raw: Array, target: Array) -> Calibrator:
    """Zadrozny & Elkan (2002), with the middles of the steps joined by lines, so that ranks are kept."""
    x, y, size = steps(raw, target)
    kept = _distinct(x)
    x, y, size = x[kept], y[kept], size[kept]
    if len(x) < 2:
        return NONE
    inside = 0.5 / (len(raw) + 1.0)
    x, y = _thinned(x, np.clip(y, inside, 1.0 - inside), size)
    return Calibrator("isotonic", knots=tuple(x.tolist()), values=tuple(y.tolist()))


def _distinct(x: Array) -> NDArray[np.bool_]:
    return np.concatenate(([True], np.diff(x) > 1e-9))


def _thinned(x: Array, y: Array, size: Array) -> tuple[Array, Array]:
    # Neighbouring steps are joined until each knot stands for an equal share of the rows.
    if len(x) <= MAX_KNOTS:
        return x, y
    share = (np.cumsum(size) - size / 2) / size.sum()
    group = np.unique((share * MAX_KNOTS).astype(np.int64), return_inverse=True)[1]
    mass = np.bincount(group, size)
    return np.bincount(group, size * x) / mass, np.bincount(group, size * y) / mass


def _powers(exponents: Array) -> Array:
    # One call of libm a row, as ONNX Runtime makes: numpy's own vectorised power differs in the last bit.
    return np.array([_power(value) for value in exponents.tolist()], dtype=np.float64)


def _power(exponent: float) -> float:
    try:
        return math.pow(math.e, exponent)
    except OverflowError:
        return math.inf
