"""LightGBM behind the framework port: deterministic, early-stopped, exported with nothing rounded."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import lightgbm
import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import LearnError
from kaizen.core.ports import Choice, Fitted, Param
from kaizen.core.records import FeatureColumn, Task
from kaizen.graph import trees
from kaizen.graph.trees import Tree

MAX_ROUNDS = 400
PATIENCE = 30

# Threads that wait for each other spin. Beside a busy server, as many threads as cores cost twenty times the time.
_THREADS = max(1, (os.cpu_count() or 1) // 2)
_ZERO = float(np.float32(1e-35))  # LightGBM reads any |x| up to this as 0 (kZeroThreshold in its meta.h)
_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of decision_type; the two bits above them are the kind of missing value
_MISSING_NONE, _MISSING_ZERO = 0, 1


class LightGBM:
    """Gradient boosting with native categorical splits; one `TreeEnsemble` when exported."""

    encoding: ClassVar[Literal["codes", "dense"]] = "codes"

    def space(self, task: Task) -> Sequence[Choice]:  # noqa: ARG002 - the same space for both tasks
        """Return the search space, sized for tables of 10^3 to 10^6 rows and a budget of a minute."""
        return (
            Choice("learning_rate", 0.03, 0.2, log=True),
            Choice("num_leaves", 8, 64, log=True, integer=True),
            Choice("min_data_in_leaf", 5, 300, log=True, integer=True),
            Choice("feature_fraction", 0.4, 1.0),
            Choice("bagging_fraction", 0.6, 1.0),
            Choice("lambda_l2", 1e-2, 50.0, log=True),
            Choice("cat_smooth", 1.0, 200.0, log=True),
            Choice("extra_trees", options=(False, True)),
        )

    def defaults(self, task: Task) -> Mapping[str, Param]:  # noqa: ARG002
        """Return settings that are good on most tables."""
        return {
            "learning_rate": 0.08,
            "num_leaves": 24,
            "min_data_in_leaf": 40,
            "feature_fraction": 0.7,
            "bagging_fraction": 0.9,
            "lambda_l2": 2.0,
            "cat_smooth": 20.0,
            "extra_trees": False,
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
        categorical = [index for index, column in enumerate(columns) if column.categories]
        data = lightgbm.Dataset(
            _without_codes_of_missing(features, categorical), np.asarray(target), categorical_feature=categorical
        )
        stopping: dict[str, Any] = {}
        if validation is not None:
            held_out = _without_codes_of_missing(validation[0], categorical)
            stopping["valid_sets"] = [data.create_valid(held_out, np.asarray(validation[1]))]
            stopping["callbacks"] = [lightgbm.early_stopping(PATIENCE, verbose=False)]
        try:
            booster = lightgbm.train(
                {**_fixed(task, seed), **params}, data, num_boost_round=rounds or MAX_ROUNDS, **stopping
            )
        except (lightgbm.basic.LightGBMError, ValueError, TypeError) as err:
            raise LearnError(f"LightGBM could not fit: {err}") from err
        kept = booster.best_iteration if validation is not None else 0
        return FittedLightGBM(booster, max(kept, 0) or booster.current_iteration(), categorical)


class FittedLightGBM:
    """A booster cut to the rounds that it keeps."""

    def __init__(self, booster: lightgbm.Booster, rounds: int, categorical: list[int]) -> None:
        self.rounds = rounds
        self._booster = booster
        self._categorical = categorical

    def predict(self, features: Any) -> NDArray[np.float64]:
        """Return the sum of the leaves: log-odds, or the value."""
        matrix = _without_codes_of_missing(features, self._categorical)
        raw = self._booster.predict(matrix, raw_score=True, num_iteration=self.rounds)
        return np.asarray(raw, dtype=np.float64)

    def leaves(self, features: Any) -> NDArray[np.int64]:
        """Return the leaf (rows, trees) that each row ends in: what routing is checked by."""
        matrix = _without_codes_of_missing(features, self._categorical)
        found = self._booster.predict(matrix, pred_leaf=True, num_iteration=self.rounds)
        return np.asarray(found, dtype=np.int64).reshape(len(matrix), -1)

    def trees(self) -> list[Tree]:
        """Return the trees in the neutral form."""
        text = self._booster.model_to_string(num_iteration=self.rounds, start_iteration=0)
        _, *parts = text.partition("\nend of trees")[0].split("\nTree=")
        return [_tree(_fields(part)) for part in parts]

    def graph(self) -> bytes:
        """Return the trees as one graph."""
        return trees.ensemble(self.trees())

    def importance(self) -> Sequence[float]:
        """Return each feature's share of the gain of all splits."""
        gain = np.asarray(self._booster.feature_importance("gain", iteration=self.rounds), dtype=np.float64)
        total = float(gain.sum())
        return [float(share) for share in (gain / total if total > 0 else gain)]

    def thresholds(self) -> Mapping[int, Sequence[float]]:
        """Return the distinct thresholds of each feature."""
        return trees.thresholds(self.trees())


def _fixed(task: Task, seed: int) -> dict[str, Param]:
    return {
        "objective": "binary" if task == "classification" else "regression",
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "bagging_freq": 1,
        "num_threads": _THREADS,
        "verbosity": -1,
    }


def _without_codes_of_missing(features: Any, categorical: list[int]) -> NDArray[np.float64]:
    # LightGBM sends a negative category where it sends a NaN, and warns about it; so give it the NaN.
    matrix = np.asarray(features, dtype=np.float64)
    if not categorical:
        return matrix
    matrix = matrix.copy()
    codes = matrix[:, categorical]
    matrix[:, categorical] = np.where(codes < 0, np.nan, codes)
    return matrix


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _tree(fields: Mapping[str, str]) -> Tree:
    leaves = np.array(fields["leaf_value"].split(), dtype=np.float64)
    if int(fields["num_leaves"]) == 1:
        return trees.constant(float(leaves[0]))
    kind = np.array(fields["decision_type"].split(), dtype=np.int64)
    threshold = np.array(fields["threshold"].split(), dtype=np.float64)
    missing = (kind >> 2) & 3
    categorical = (kind & _CATEGORICAL) != 0
    if bool((missing[~categorical] == _MISSING_ZERO).any()):
        raise LearnError("LightGBM's zero_as_missing has no exact graph", fix="leave zero_as_missing unset")
    exact = _as_read(threshold)
    missing_left = np.where(missing == _MISSING_NONE, exact >= 0.0, (kind & _DEFAULT_LEFT) != 0)
    return Tree(
        feature=np.array(fields["split_feature"].split(), dtype=np.int64),
        threshold=np.where(categorical, 0.0, exact),
        missing_true=missing_left & ~categorical,
        true=np.array(fields["left_child"].split(), dtype=np.int64),
        false=np.array(fields["right_child"].split(), dtype=np.int64),
        leaves=leaves,
        members={int(node): _codes(fields, int(threshold[node])) for node in np.flatnonzero(categorical)},
    )


def _as_read(threshold: NDArray[np.float64]) -> NDArray[np.float64]:
    # The predictor turns |x| <= _ZERO into 0 before it compares, so a threshold inside that band stands at its edge.
    below, above = np.nextafter(-_ZERO, -np.inf), _ZERO
    near = np.where(threshold < 0.0, below, above)
    return np.where(np.abs(threshold) <= _ZERO, near, threshold)


def _codes(fields: Mapping[str, str], which: int) -> tuple[int, ...]:
    start, end = (int(bound) for bound in fields["cat_boundaries"].split()[which : which + 2])
    words = [int(word) for word in fields["cat_threshold"].split()[start:end]]
    return tuple(32 * index + bit for index, word in enumerate(words) for bit in range(32) if word >> bit & 1)
