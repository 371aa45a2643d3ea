"""Estimates without labels: what they keep exactly, which is chosen when, and how often their intervals are right."""

import msgspec
import numpy as np
import pytest

from kaizen.monitor.estimates.basis import ReferenceRows
from kaizen.monitor.estimates.estimate import METRICS, EstimateReference, estimate, fit, keep, outside
from kaizen.monitor.estimates.outcomes import table
from kaizen.stats import metrics
from kaizen.stats.expected import figure
from tests.monitor.unlabelled_world import Rows, estimated, reference

REFERENCE, KEPT = reference(np.random.default_rng(0))


def truth(name, window):
    place = np.unique(window.s, return_inverse=True)[1]
    return figure(name, np.unique(window.s), np.bincount(place).astype(float), np.bincount(place, window.y)).value


def test_on_its_own_rows_the_expected_log_loss_is_the_one_that_was_seen():
    """A property of the fit: no more is expected of the reference than it had."""
    rows = np.asarray(REFERENCE.outcomes.rows).sum(axis=0)
    found = estimate(REFERENCE, rows, method="calibrated").figure("log_loss")
    assert found.value == pytest.approx(found.reference, abs=2e-3)
    assert found.drop == pytest.approx(0.0, abs=2e-3)
    assert found.low < found.value < found.high


def test_counts_of_days_add_up_and_their_order_does_not_matter():
    window = Rows(np.random.default_rng(1), 900)
    count = REFERENCE.outcomes.count
    halves = count(window.s[:400]) + count(window.s[:399:-1])
    assert (count(window.s) == halves).all()
    assert count(np.array([np.nan, 0.5])).sum() == 1


def test_a_row_of_the_table_is_by_hand():
    """Two days to a group at most; a group's bins hold its rows and its positives."""
    score, label = np.tile([0.2, 0.8], 50), np.tile([0.0, 1.0], 50)
    outcomes, groups = table("classification", score, label, np.arange(100) // 10)
    assert len(outcomes.rows) == 10
    assert groups.tolist() == (np.arange(100) // 10).tolist()
    low, high = outcomes.place(np.array([0.2, 0.8]))
    assert (outcomes.rows[3][low], outcomes.rows[3][high], outcomes.sums["positive"][3][high]) == (5, 5, 5.0)
    assert 0.5 in outcomes.edges


def test_all_metrics_come_with_an_interval_around_them():
    window = Rows(np.random.default_rng(2), 1000)
    made = estimated(REFERENCE, KEPT, window)
    assert tuple(f.name for f in made.figures) == METRICS["classification"]
    assert all(f.low < f.value < f.high for f in made.figures)
    assert made.rows == 1000
    assert made.warnings == ()


def test_the_interval_is_wider_with_few_rows_and_with_rows_out_of_support():
    few, many = (estimated(REFERENCE, KEPT, Rows(np.random.default_rng(3), n)).figure("auc") for n in (100, 3000))
    assert few.error > 2 * many.error
    strange = estimated(REFERENCE, KEPT, Rows(np.random.default_rng(3), 3000), outside=0.3)
    assert strange.figure("auc").error > 2 * many.error
    assert strange.warnings[-1] == "In 30% of the rows a column has values that the reference hardly has."


def test_the_same_inputs_are_reweighted_to_next_to_nothing():
    window = Rows(np.random.default_rng(4), 3000)
    one, other = (estimated(REFERENCE, KEPT, window, method=m) for m in ("calibrated", "reweighted"))
    assert other.effective > 0.9
    for name in ("auc", "accuracy", "log_loss"):
        assert other.figure(name).value == pytest.approx(one.figure(name).value, abs=0.01)


def test_moved_inputs_are_reweighted_a_prior_shift_is_one_and_far_away_neither_is_claimed():
    rng = np.random.default_rng(5)
    assert estimated(REFERENCE, KEPT, Rows(rng, 2000, moved=np.array([0.0, 0.7]))).method == "reweighted"
    shifted = estimated(REFERENCE, KEPT, Rows(rng, 2000, share=0.65))
    assert shifted.method == "prior shift"
    assert shifted.prior == pytest.approx(0.65, abs=0.08)
    assert "had the inputs moved" in shifted.warnings[0]
    far = estimated(REFERENCE, KEPT, Rows(rng, 2000, moved=np.array([2.5, -2.5])))
    assert far.method == "calibrated"
    assert "too far from the reference" in far.warnings[0]
    assert estimated(REFERENCE, None, Rows(rng, 2000, share=0.65)).method == "calibrated"


def test_reweighting_halves_the_error_of_inputs_that_the_score_does_not_show():
    """10 windows whose second column moves by 0.8: it bears on the outcome, and the model does not read it. They are
    large, so that their truth is not chance.
    """
    misses = {"calibrated": [], "reweighted": []}
    for seed in range(10):
        window = Rows(np.random.default_rng(100 + seed), 50_000, moved=np.array([0.0, 0.8]))
        for method in misses:
            found = estimated(REFERENCE, KEPT, window, method=method).figure("log_loss")
            misses[method].append(abs(found.value - truth("log_loss", window)))
    assert np.mean(misses["reweighted"]) < 0.5 * np.mean(misses["calibrated"])


def test_concept_drift_is_not_seen():
    """By construction: with the same inputs the estimate is the same, whatever they have come to mean."""
    window = Rows(np.random.default_rng(6), 2000, concept=0.0)
    found = estimated(REFERENCE, KEPT, window).figure("auc")
    assert found.value > 0.75
    assert truth("auc", window) < 0.55


def test_runs_of_days_that_differ_widen_the_interval():
    """The share of positives given the score moves from day to day; the rows are as many."""
    rng = np.random.default_rng(7)
    rows, days = Rows(rng, 6000), np.arange(6000) * 30 // 6000
    flips = rng.random(6000) < (days % 5 == 0) * 0.4
    calm, _ = fit("classification", "auc", rows.s, rows.y, days)
    uneven, _ = fit("classification", "auc", rows.s, np.where(flips, 1 - rows.y, rows.y), days)
    assert calm.excess.get("auc", 0.0) < 0.02
    assert uneven.excess["auc"] > 0.03
    window = calm.outcomes.count(Rows(rng, 1000).s)
    assert estimate(uneven, window).figure("auc").error > 1.5 * estimate(calm, window).figure("auc").error


def test_losses_of_a_regression_have_their_means_and_roots():
    """The expected loss is off by a factor; what came of it sets it right."""
    rng = np.random.default_rng(8)
    expected = rng.gamma(3.0, 1.0, 4000)
    error = np.abs(rng.normal(size=4000)) * expected * 0.5
    made, groups = fit("regression", "mae", expected, error, None)
    kept = keep(made, groups, expected, error, {"column:a": ((expected > 3).astype(np.int64), 2)})
    now = rng.gamma(4.0, 1.0, 3000)
    shown = np.abs(rng.normal(size=3000)) * now * 0.5
    counts = {"column:a": np.bincount((now > 3).astype(int), minlength=2)}
    for rows in (None, kept):
        found = estimate(made, made.outcomes.count(now), columns=counts, rows=rows)
        assert [f.name for f in found.figures] == ["mae", "mse", "rmse"]
        assert found.figure("mae").low < shown.mean() < found.figure("mae").high
        assert found.figure("rmse").low < np.sqrt((shown**2).mean()) < found.figure("rmse").high
        assert found.figure("mae").drop > 0.2


def test_too_few_rows_one_class_and_an_empty_window_have_no_estimate():
    assert fit("classification", "auc", np.full(300, 0.5), np.ones(300), None) is None
    assert fit("classification", "auc", np.linspace(0, 1, 50), np.tile([0.0, 1.0], 25), None) is None
    assert estimate(REFERENCE, np.zeros(REFERENCE.outcomes.size, np.int64)) is None


def test_missing_scores_are_left_out():
    rows = Rows(np.random.default_rng(9), 1000)
    score = np.where(np.arange(1000) % 3 == 0, np.nan, rows.s)
    made, groups = fit("classification", "auc", score, rows.y, None)
    assert np.asarray(made.outcomes.rows).sum() == np.count_nonzero(groups >= 0) == 666
    kept = keep(made, groups, score, rows.y, rows.columns())
    assert len(kept.of("scores")) == 666


def test_the_share_outside_is_that_of_the_worst_column():
    reference = {"a": [100, 4, 0], "b": [50, 54, 0]}
    assert outside(reference, {"a": [5, 3, 2], "b": [9, 0, 1], "c": [1]}) == 0.5
    assert outside({}, {"a": [1]}) == 0.0


def test_it_travels_through_bytes():
    for value in (REFERENCE, KEPT):
        for codec in (msgspec.json, msgspec.msgpack):
            assert codec.decode(codec.encode(value), type=type(value)) == value
    assert isinstance(REFERENCE, EstimateReference)
    assert isinstance(KEPT, ReferenceRows)
    assert len(msgspec.json.encode(REFERENCE)) < 50_000


def coverage(windows, **shift):
    """Return for some metrics how often the interval holds the truth, over references and windows of their own."""
    names, inside = ("auc", "accuracy", "log_loss", "average_precision"), []
    for seed in range(windows):
        rng = np.random.default_rng(1000 + seed)
        made, kept = reference(rng, 3000, None)
        window = Rows(rng, 1000, **shift)
        found = estimated(made, kept, window)
        inside.append([found.figure(n).low <= truth(n, window) <= found.figure(n).high for n in names])
    return dict(zip(names, np.mean(inside, axis=0), strict=True))


def test_intervals_cover_without_a_shift():
    """40 references and windows: 95 %, within 3 standard errors (10 points)."""
    found = coverage(40)
    assert all(share >= 0.85 for share in found.values()), found


@pytest.mark.slow
@pytest.mark.parametrize(
    "shift",
    [{}, {"moved": np.array([0.4, -0.4])}, {"wider": 0.8}, {"share": 0.6}],
    ids=["none", "inputs moved", "inputs narrower", "prior"],
)
def test_intervals_cover_93_to_97_percent(shift):
    """600 references and windows a shift: the goal, give or take two standard errors (1.8 points)."""
    found = coverage(600, **shift)
    assert all(0.93 - 0.018 <= share <= 0.97 + 0.018 for share in found.values()), found


def test_metrics_are_those_that_runs_report():
    """Whatever a run is measured by has an estimate, but for two that need the labels' own spread."""
    assert set(metrics.BY_TASK["classification"]) - set(METRICS["classification"]) == {"ece"}
    assert set(metrics.BY_TASK["regression"]) - set(METRICS["regression"]) == {"r2"}
