"""The classifier that is to tell the rows of two tables apart: small trees, the same for everybody who asks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kaizen.core import plugins
from kaizen.core.ports import Framework
from kaizen.core.records import FeatureColumn
from kaizen.monitor.drift.joint import Fit

ROUNDS = 60  # of boosting; each tree sees every column, or two that go together would be missed


def classify(
    columns: Sequence[FeatureColumn],
    features: NDArray[np.float64],
    target: NDArray[np.float64],
    others: NDArray[np.float64],
) -> Fit:
    """Fit on features (rows, columns) and target (rows,), 0 or 1, and score other rows (`joint.Classify`)."""
    framework: Framework = plugins.load("framework", "lightgbm")()
    params = {**framework.defaults("classification"), "num_leaves": 8, "min_data_in_leaf": 20, "feature_fraction": 1.0}
    fitted = framework.fit("classification", params, columns, features, target, seed=0, rounds=ROUNDS)
    return Fit(fitted.predict(others), np.asarray(fitted.importance(), np.float64))
