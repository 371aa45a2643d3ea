"""Real houses, from another place than those of the reference: the estimate falls where the truth does."""

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from kaizen.monitor.columns.binning import bins_of, place
from kaizen.monitor.estimates.estimate import estimate, fit, keep, outside
from kaizen.stats import metrics

FOLDER = Path(os.environ.get("KAIZEN_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
FOLDER = FOLDER / "nannyml_california"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no {FOLDER}: set KAIZEN_DATA to the folder of data sets")

INPUTS = ("MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude")
CHUNK = 1176
NANNYML_ERROR = 0.0361  # mean absolute error of the ROC AUC by NannyML 0.13.1's CBPE on these chunks


def columns(name):
    with gzip.open(FOLDER / f"california_housing_{name}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([float(row[key]) for row in rows]) for key in rows[0] if key != "timestamp"}


@pytest.fixture(scope="module")
def chunks():
    """Return the reference's AUC, and for each chunk the true AUC and the estimate, by the rows' own days."""
    reference, analysis, truth = (columns(name) for name in ("reference", "analysis", "analysis_gt"))
    score, label = reference["y_pred_proba"], reference["clf_target"]
    made, groups = fit("classification", "auc", score, label, np.arange(len(score)) // 24)  # a row an hour
    bins = {name: bins_of("number", reference[name]) for name in INPUTS}
    placed = {name: (place(bins[name], reference[name]), bins[name].size) for name in INPUTS}
    kept = keep(made, groups, score, label, placed)
    found = []
    for start in range(0, len(analysis["y_pred_proba"]), CHUNK):
        rows = slice(start, start + CHUNK)
        now = {name: np.bincount(place(bins[name], analysis[name][rows]), minlength=bins[name].size) for name in INPUTS}
        strange = outside({name: np.bincount(*placed[name][:1], minlength=placed[name][1]) for name in INPUTS}, now)
        shown = analysis["y_pred_proba"][rows]
        found.append(
            (
                metrics.auc(truth["clf_target"][rows], shown),
                estimate(made, made.outcomes.count(shown), columns=now, rows=kept, outside=strange),
            )
        )
    return made, found


def test_the_estimate_falls_where_the_truth_does(chunks):
    made, found = chunks
    true, told = (np.array(v) for v in zip(*((auc, each.figure("auc").value) for auc, each in found), strict=True))
    assert true == pytest.approx([0.828, 0.618, 0.774, 0.854, 0.906, 0.852, 0.940], abs=5e-4)
    assert np.argmin(true) == np.argmin(told) == 1
    order = np.argsort(true)
    assert set(order[:3]) == set(np.argsort(told)[:3])  # the three worst chunks
    assert found[1][1].figure("auc").drop > made.matters


def test_the_error_is_no_larger_than_that_of_nannyml(chunks):
    errors = [abs(auc - each.figure("auc").value) for auc, each in chunks[1]]
    assert np.mean(errors) <= NANNYML_ERROR


def test_all_seven_intervals_hold_the_truth_for_the_reference_showed_how_far_off_one_can_be(chunks):
    made, found = chunks
    assert made.excess["auc"] == pytest.approx(0.05, abs=0.02)
    assert all(each.figure("auc").low <= auc <= each.figure("auc").high for auc, each in found)


def test_rows_from_elsewhere_are_not_reweighted_and_their_share_is_said(chunks):
    for _, each in chunks[1]:
        assert each.method == "calibrated"
        assert "too far from the reference" in each.warnings[0]
    assert chunks[1][1][1].outside > 0.5
    assert "In 64% of the rows" in chunks[1][1][1].warnings[1]
