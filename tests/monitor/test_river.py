"""A detector where River's users put theirs: in a model that starts anew when its errors rise, and in a forest."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import json
import numpy as np
from river import drift, forest, naive_bayes
import kaizen

rng = np.random.default_rng(0)
errors = rng.random(1000) < 0.02
detector = kaizen.Detector(errors, max_false_alarms="1/20000", watch="rise")
model = drift.DriftRetrainingClassifier(model=naive_bayes.GaussianNB(), drift_detector=detector)
right, alarms = [], []
for row in range(6000):
    x = {"a": float(rng.normal()), "b": float(rng.normal())}
    y = (x["a"] > 0) == (row < 3000)
    right.append(model.predict_one(x) == y)
    model.learn_one(x, y)
    alarms += [row] * model.drift_detector.drift_detected
trees = forest.ARFClassifier(n_models=3, seed=0, drift_detector=detector.clone(), warning_detector=detector.clone())
for row in range(1500):
    x = {"a": float(rng.normal()), "b": float(rng.normal())}
    trees.learn_one(x, x["a"] > 0)
told = {"before": sum(right[1000:3000]), "after": sum(right[4000:]), "alarms": alarms}
told["forest"] = sum(trees.predict_one({"a": a, "b": 0.0}) == (a > 0) for a in np.linspace(-2, 2, 100).tolist())
print(json.dumps(told))
"""


def test_a_river_model_learns_anew_at_its_alarm(tmp_path):
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "river"), "river"]
    subprocess.run(pip, check=True)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "river")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["before"] >= 0.97 * 2000
    assert told["after"] >= 0.97 * 2000
    assert told["forest"] >= 90  # each of its trees has a clone
    late = [row for row in told["alarms"] if row >= 3000]
    assert 3000 <= late[0] <= 3050
