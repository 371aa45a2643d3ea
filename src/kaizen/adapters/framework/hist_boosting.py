"""Scikit-learn's histogram gradient boosting behind the framework port."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from kaizen.core.errors import LearnError
from kaizen.core.ports import Choice, Fitted, Param
from kaizen.core.records import FeatureColumn, Task
from kaizen.graph import trees
from kaizen.graph.trees import Tree

MAX_ROUNDS = 300
PATIENCE = 20
# Threads that wait for each other spin, so half the cores are left to others; and sums over rows are split by
# thread: three parts can be added in another order from one run to the next, two cannot.
_THREADS = min(2, max(1, (os.cpu_count() or 1) // 2))


class HistBoosting:
    """Gradient boosting on binned columns, leaf by leaf; one `TreeEnsemble` when exported."""

    encoding: ClassVar[Literal["codes", "dense"]] = "codes"

    def space(self, task: Task) -> Sequence[Choice]:  # noqa: ARG002 - the same space for both tasks
        """Return the search space."""
        return (
            Choice("learning_rate", 0.04, 0.25, log=True),
            Choice("max_leaf_nodes", 6, 48, log=True, integer=True),
            Choice("min_samples_leaf", 5, 200, log=True, integer=True),
            Choice("l2_regularization", 1e-2, 50.0, log=True),
            Choice("max_features", 0.3, 1.0),
        )

    def defaults(self, task: Task) -> Mapping[str, Param]:  # noqa: ARG002
        """Return settings that are good on most tables."""
        return {
            "learning_rate": 0.1,
            "max_leaf_nodes": 20,
            "min_samples_leaf": 30,
            "l2_regularization": 1.0,
            "max_features": 0.7,
        }

    def fit(
        self,
        task: Task,
        params: Mapping[str, Param],
        columns: Sequence[FeatureColumn],
        features: Any,
        target: Any,
        *,
        seed: int,
        validation: tuple[Any, Any] | None = None,
        rounds: int | None = None,
    ) -> Fitted:
        """Fit; with `validation` stop `PATIENCE` rounds after the best one and keep the best."""
        layout = _Layout(columns, np.asarray(features, dtype=np.float64))
        settings: dict[str, Any] = {
            **params,
            "max_iter": rounds or MAX_ROUNDS,
            "random_state": seed,
            "early_stopping": validation is not None,
            "n_iter_no_change": PATIENCE,
            "tol": 0.0,
            "categorical_features": list(range(layout.categorical)) or None,
        }
        held_out: dict[str, Any] = {}
        if validation is not None:
            held_out = {"X_val": layout.matrix(validation[0]), "y_val": np.asarray(validation[1])}
        kind = HistGradientBoostingClassifier if task == "classification" else HistGradientBoostingRegressor
        try:
            with threadpool_limits(_THREADS, user_api="openmp"):
                model = kind(**settings).fit(layout.matrix(features), np.asarray(target), **held_out)
        except (ValueError, TypeError) as err:
            raise LearnError(f"scikit-learn could not boost: {err}") from err
        if validation is not None:
            # It stops some rounds late and keeps them; the first entry is the score before any round.
            best = int(np.argmax(model.validation_score_[1:])) + 1 if model.n_iter_ else 0
            model._predictors = model._predictors[:best]
        return FittedHistBoosting(model, layout)


class _Layout:
    """The columns as scikit-learn wants them: categories first, a missing one as NaN, and none without a value."""

    def __init__(self, columns: Sequence[FeatureColumn], features: NDArray[np.float64]) -> None:
        used = [
            index
            for index, column in enumerate(columns)
            if bool((features[:, index] >= 0).any() if column.categories else (~np.isnan(features[:, index])).any())
        ]
        if not used:
            raise LearnError("every feature is missing in every row", fix="declare features that have values")
        categorical = [index for index in used if columns[index].categories]
        self.order = categorical + [index for index in used if not columns[index].categories]
        self.categorical = len(categorical)
        self.columns = len(columns)

    def matrix(self, features: Any) -> NDArray[np.float64]:
        matrix = np.asarray(features, dtype=np.float64)[:, self.order]
        codes = matrix[:, : self.categorical]
        codes[codes < 0] = np.nan
        return matrix


class FittedHistBoosting:
    """Boosted trees, cut to the rounds that it keeps."""

    def __init__(self, model: Any, layout: _Layout) -> None:
        self.rounds = len(model._predictors)
        self._model = model
        self._layout = layout

    def predict(self, features: Any) -> NDArray[np.float64]:
        """Return the sum of the leaves: log-odds, or the value."""
        matrix = self._layout.matrix(features)
        answer = getattr(self._model, "decision_function", self._model.predict)
        return np.asarray(answer(matrix), dtype=np.float64)

    def trees(self) -> list[Tree]:
        """Return the baseline and the trees in the neutral form."""
        baseline = trees.constant(float(np.ravel(self._model._baseline_prediction)[0]))
        codes = self._codes()
        return [baseline, *(_tree(step[0], self._layout.order, codes) for step in self._model._predictors)]

    def _codes(self) -> list[NDArray[np.int64]]:
        # Inside, a category is its place among the codes seen in training.
        if not self._layout.categorical:
            return []
        encoder = self._model._preprocessor.named_transformers_["encoder"]
        return [seen[~np.isnan(seen)].astype(np.int64) for seen in encoder.categories_]

    def graph(self) -> bytes:
        """Return the trees as one graph."""
        return trees.ensemble(self.trees())

    def importance(self) -> Sequence[float]:
        """Return each feature's share of the gain of all splits."""
        gain = np.zeros(self._layout.columns)
        for step in self._model._predictors:
            splits = step[0].nodes[step[0].nodes["is_leaf"] == 0]
            np.add.at(gain, np.asarray(self._layout.order)[splits["feature_idx"]], splits["gain"])
        total = float(gain.sum())
        return [float(share) for share in (gain / total if total > 0 else gain)]

    def thresholds(self) -> Mapping[int, Sequence[float]]:
        """Return the distinct thresholds of each feature."""
        return trees.thresholds(self.trees())


def _tree(predictor: Any, order: list[int], codes: list[NDArray[np.int64]]) -> Tree:
    nodes = predictor.nodes
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    leaves = np.flatnonzero(nodes["is_leaf"] == 1)
    place = np.empty(len(nodes), dtype=np.int64)
    place[inner], place[leaves] = np.arange(len(inner)), ~np.arange(len(leaves))
    split = nodes[inner]
    left, right = place[split["left"]], place[split["right"]]
    missing_left = split["missing_go_to_left"].astype(np.bool_)
    categorical = split["is_categorical"].astype(np.bool_)
    # A code that training never saw goes where a missing one goes. So a category node asks for the codes of the
    # branch that missing ones do not take, and all else, seen or not, takes the other.
    flipped = categorical & missing_left
    members = {}
    for node in np.flatnonzero(categorical).tolist():
        bits = predictor.raw_left_cat_bitsets[split["bitset_idx"][node]]
        seen = codes[split["feature_idx"][node]]
        is_left = np.array([bool(bits[index >> 5] >> np.uint32(index & 31) & 1) for index in range(len(seen))])
        members[node] = tuple(seen[~is_left if flipped[node] else is_left].tolist())
    return Tree(
        feature=np.asarray(order)[split["feature_idx"]].astype(np.int64).reshape(-1),
        threshold=np.where(categorical, 0.0, split["num_threshold"]),
        missing_true=missing_left & ~categorical,
        true=np.where(flipped, right, left),
        false=np.where(flipped, left, right),
        leaves=nodes["value"][leaves].astype(np.float64),
        members=members,
    )
