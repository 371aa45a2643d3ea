"""LightGBM keeps the port's contract, and its routing is exported without one mismatch."""

from __future__ import annotations

import numpy as np
import pytest

from kaizen.adapters.framework.lightgbm import LightGBM
from kaizen.core.errors import LearnError
from kaizen.core.records import FeatureColumn
from kaizen.graph.trees import leaf_of
from kaizen.testing.framework import FrameworkConformance, probes, table


class TestLightGBM(FrameworkConformance):
    """The port's suite."""

    def framework(self) -> LightGBM:
        """Return the adapter."""
        return LightGBM()


def test_every_probe_ends_in_the_leaf_that_lightgbm_names() -> None:
    """Compared leaf by leaf, so that equal sums cannot hide a wrong turn."""
    framework = LightGBM()
    columns, features, target = table(framework, "classification", rows=3000)
    fitted = framework.fit(
        "classification", framework.defaults("classification"), columns, features, target, seed=2, rounds=60
    )
    rows = probes(framework, fitted, features)
    ours = np.stack([leaf_of(tree, rows) for tree in fitted.trees()], axis=1)
    assert int((ours != fitted.leaves(rows)).sum()) == 0


def test_a_column_without_missing_values_reads_a_missing_one_as_zero() -> None:
    """What LightGBM does when training saw none (its missing type None), also for thresholds around zero."""
    rng = np.random.default_rng(0)
    features = np.concatenate([np.zeros(300), rng.normal(size=700) * 1e-3])[:, None]
    target = (features[:, 0] > 0).astype(float) + (features[:, 0] < 0) * 2.0
    framework = LightGBM()
    params = {**framework.defaults("regression"), "min_data_in_leaf": 5}
    fitted = framework.fit("regression", params, [FeatureColumn("x", "x")], features, target, seed=1, rounds=10)
    edge = float(np.float32(1e-35))
    around = [f(edge, direction) for f in (np.nextafter,) for direction in (np.inf, -np.inf)]
    rows = np.array([np.nan, 0.0, -0.0, edge, -edge, 1e-36, -1e-36, *around, *(-np.array(around))])[:, None]
    ours = np.stack([leaf_of(tree, rows) for tree in fitted.trees()], axis=1)
    assert ours.tolist() == fitted.leaves(rows).tolist()


def test_a_setting_that_lightgbm_refuses_is_a_learn_error() -> None:
    """The vendor's error is wrapped at its adapter."""
    columns, features, target = table(LightGBM(), "regression", rows=100)
    with pytest.raises(LearnError, match="LightGBM could not fit"):
        LightGBM().fit("regression", {"num_leaves": -3}, columns, features, target, seed=1, rounds=2)
