"""NannyML's estimates of windows without labels; run by the interpreter of its own environment.

    nannyml_estimates.py JOB.npz     prints JSON: for each metric, (value, low, high) of each window

A job has `reference` (rows, columns), `windows` (windows x rows, columns) and `size`; the columns are truth, score
and, for the losses of a regression (`features` above 0), the features that its loss model may read.
"""

import json
import sys
import warnings

import nannyml
import numpy as np
import pandas as pd

CLASSIFICATION = {"roc_auc": "auc", "accuracy": "accuracy", "f1": "f1"}
REGRESSION = {"mae": "mae", "rmse": "rmse"}


def frame(values, features):
    """Return rows as NannyML reads them."""
    names = ["y_true", "score", *(f"f{index}" for index in range(features))]
    found = pd.DataFrame(values, columns=names)
    if not features:
        found["y_pred"] = (found["score"] >= 0.5).astype(int)
        found["y_true"] = found["y_true"].astype(int)
    return found


def main():
    """Estimate, and print."""
    warnings.filterwarnings("ignore")
    job = np.load(sys.argv[1])
    features, size = int(job["features"]), int(job["size"])
    reference, windows = frame(job["reference"], features), frame(job["windows"], features)
    if features:
        names = REGRESSION
        estimator = nannyml.DLE(
            feature_column_names=[f"f{index}" for index in range(features)],
            y_pred="score", y_true="y_true", metrics=list(names), chunk_size=size,
        )  # fmt: skip
    else:
        names = CLASSIFICATION
        estimator = nannyml.CBPE(
            y_pred_proba="score", y_pred="y_pred", y_true="y_true", problem_type="classification_binary",
            metrics=list(names), chunk_size=size,
        )  # fmt: skip
    estimator.fit(reference)
    found = estimator.estimate(windows.drop(columns="y_true")).filter(period="analysis").to_df()
    told = {}
    for theirs, ours in names.items():
        parts = (found[theirs][name] for name in ("value", "lower_confidence_boundary", "upper_confidence_boundary"))
        told[ours] = [list(map(float, each)) for each in zip(*parts, strict=True)]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
