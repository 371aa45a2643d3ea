"""Scikit-learn's linear models behind the framework port: logistic regression and ridge."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge

from kaizen.core.errors import LearnError
from kaizen.core.ports import Choice, Fitted, Param
from kaizen.core.records import FeatureColumn, Task
from kaizen.graph.build import PACKET, Builder

_NEWTON_LIMIT = 300  # columns up to which forming the Hessian is cheaper than many gradient steps


class Linear:
    """A weighted sum of standardised features, with a penalty on the squares of the weights (1 / C)."""

    encoding: ClassVar[Literal["codes", "dense"]] = "dense"

    def space(self, task: Task) -> Sequence[Choice]:  # noqa: ARG002 - the same space for both tasks
        """Return the search space."""
        return (Choice("C", 1e-4, 1e2, log=True),)

    def defaults(self, task: Task) -> Mapping[str, Param]:  # noqa: ARG002
        """Return scikit-learn's own default."""
        return {"C": 1.0}

    def fit(
        self,
        task: Task,
        params: Mapping[str, Param],
        columns: Sequence[FeatureColumn],  # noqa: ARG002 - dense columns are all numbers
        features: Any,
        target: Any,
        *,
        seed: int,  # noqa: ARG002 - nothing is drawn
        validation: tuple[Any, Any] | None = None,  # noqa: ARG002 - nothing to stop early
        rounds: int | None = None,  # noqa: ARG002
    ) -> Fitted:
        """Fit to convergence."""
        matrix = np.asarray(features, dtype=np.float64)
        strength = float(params.get("C") or 1.0)
        model = _logistic(strength, matrix.shape[1]) if task == "classification" else Ridge(alpha=1.0 / strength)
        with warnings.catch_warnings():
            # Separable classes never converge; the penalty keeps the weights finite and the metrics judge them.
            warnings.simplefilter("ignore")
            try:
                model.fit(matrix, np.asarray(target))
            except (ValueError, ArithmeticError) as err:
                raise LearnError(f"scikit-learn could not fit a linear model: {err}") from err
        return FittedLinear(np.ravel(model.coef_), float(np.ravel(model.intercept_)[0]), matrix.std(axis=0))


def _logistic(strength: float, columns: int) -> Any:
    solver = "newton-cholesky" if columns <= _NEWTON_LIMIT else "lbfgs"
    return LogisticRegression(C=strength, solver=solver, max_iter=500, tol=1e-6)


class FittedLinear:
    """Weights and an intercept."""

    rounds = 1

    def __init__(self, weights: NDArray[np.float64], intercept: float, spread: NDArray[np.float64]) -> None:
        self._weights = np.asarray(weights, dtype=np.float64)  # (columns,)
        self._intercept = intercept
        self._spread = spread  # (columns,), standard deviations

    def predict(self, features: Any) -> NDArray[np.float64]:
        """Return log-odds, or the value."""
        return np.asarray(np.asarray(features, dtype=np.float64) @ self._weights + self._intercept)

    def importance(self) -> Sequence[float]:
        """Return each feature's share of |weight| times standard deviation."""
        effect = np.abs(self._weights) * self._spread
        total = float(effect.sum())
        return [float(share) for share in (effect / total if total > 0 else effect)]

    def thresholds(self) -> Mapping[int, Sequence[float]]:
        """Return nothing: there are no splits."""
        return {}

    def graph(self) -> bytes:
        """Return the sum as products and one reduction.

        Rows are padded with zeros to whole vector registers. ONNX Runtime adds up a row in an order that depends on
        its alignment in memory: without the padding a row's answer would depend on its place in the batch.
        """
        columns = len(self._weights)
        graph = Builder("linear")
        features = graph.input("features", np.float64, columns)
        summands = graph.node("Mul", features, graph.constant(self._weights))
        if columns % PACKET:
            padding = np.array([0, 0, 0, -columns % PACKET])
            summands = graph.node("Pad", summands, graph.constant(padding))
        total = graph.node("ReduceSum", summands, graph.constant(np.array([1])), keepdims=1)
        graph.output("raw", graph.node("Add", total, graph.constant(np.array([self._intercept]))), np.float64, 1)
        return graph.to_bytes()
