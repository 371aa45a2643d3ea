"""Histogram boosting keeps the port's contract."""

from __future__ import annotations

import numpy as np
import pytest

from kaizen.adapters.framework.hist_boosting import HistBoosting
from kaizen.core.errors import LearnError
from kaizen.core.records import FeatureColumn
from kaizen.testing.framework import FrameworkConformance, answers, table


class TestHistBoosting(FrameworkConformance):
    """The port's suite."""

    def framework(self) -> HistBoosting:
        """Return the adapter."""
        return HistBoosting()


def test_codes_that_training_never_saw_go_where_missing_ones_go() -> None:
    """Both directions of a missing category, with gaps among the codes seen."""
    rng = np.random.default_rng(5)
    columns = [FeatureColumn("x", "x"), FeatureColumn("c", "c", 40)]
    for missing_effect in (-3.0, 3.0):
        codes = rng.choice([-1, 2, 3, 11, 31, 32, 33, 39], 2000)
        target = np.where(codes < 0, missing_effect, codes % 3) + rng.normal(size=2000)
        features = np.column_stack([rng.normal(size=2000), codes.astype(float)])
        framework = HistBoosting()
        fitted = framework.fit(
            "regression", framework.defaults("regression"), columns, features, target, seed=0, rounds=20
        )
        rows = np.column_stack([np.zeros(45), np.arange(-1.0, 44.0)])
        assert fitted.predict(rows).tolist() == answers(fitted, rows).tolist()


def test_what_scikit_learn_refuses_is_a_learn_error() -> None:
    """The vendor's error is wrapped at its adapter."""
    columns, features, target = table(HistBoosting(), "regression", rows=100)
    with pytest.raises(LearnError, match="could not boost"):
        HistBoosting().fit("regression", {"learning_rate": -1.0}, columns, features, target, seed=0, rounds=2)
    with pytest.raises(LearnError, match="every feature is missing"):
        HistBoosting().fit("regression", {}, columns[:1], np.full((100, 1), np.nan), target, seed=0, rounds=2)
