"""The linear models keep the port's contract."""

from __future__ import annotations

import numpy as np
import pytest

from kaizen.adapters.framework.linear import Linear
from kaizen.core.records import FeatureColumn
from kaizen.graph.run import Session
from kaizen.testing.framework import FrameworkConformance


class TestLinear(FrameworkConformance):
    """The port's suite."""

    def framework(self) -> Linear:
        """Return the adapter."""
        return Linear()


@pytest.mark.parametrize("columns", [1, 3, 8, 13, 151])
def test_sums_do_not_depend_on_a_rows_place_in_memory(columns: int) -> None:
    """Rows of any width; an unpadded sum fails this for 3, 13 and 151 columns."""
    features = np.random.default_rng(columns).normal(size=(400, columns))
    target = features.sum(axis=1)
    named = [FeatureColumn(f"f{index}", "") for index in range(columns)]
    session = Session(Linear().fit("regression", {"C": 1.0}, named, features, target, seed=0).graph())
    whole = session.run({"features": features})
    alone = np.concatenate([session.run({"features": row[None]}) for row in features])
    assert whole.tobytes() == alone.tobytes()


def test_separable_classes_give_finite_weights() -> None:
    """The penalty holds them, and no warning escapes."""
    features = np.linspace(-1, 1, 60)[:, None]
    fitted = Linear().fit(
        "classification", {"C": 100.0}, [FeatureColumn("x", "x")], features, (features[:, 0] > 0).astype(float), seed=0
    )
    assert bool(np.isfinite(fitted.predict(features)).all())
