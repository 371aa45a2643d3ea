"""Calibration: monotone, exact as a graph, and only as complicated as the data ask for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaizen.graph.run import Session
from kaizen.learn import calibrate
from kaizen.learn.calibrate import MAX_KNOTS, Calibrator, Method, fit, fit_method
from kaizen.stats.metrics import log_loss

RNG = np.random.default_rng(0)
RAW = RNG.normal(size=6000) * 2


def _outcomes(chance: np.ndarray) -> np.ndarray:
    return (np.random.default_rng(1).random(len(chance)) < chance).astype(np.float64)


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


@pytest.mark.parametrize("method", ["none", "sigmoid", "isotonic", "identity"])
def test_the_graph_gives_the_same_bits_for_every_batch(method: Method) -> None:
    """At and around knots, at the ends of the scale, alone or among others."""
    calibrator = fit_method(method, RAW, _outcomes(_logistic(0.6 * RAW - 1 + np.sin(RAW))))
    assert calibrator.method == method
    knots = np.array(calibrator.knots)
    ends = [0.0, -0.0, 709.5, -709.5, 746.0, -746.0, 1e300, -1e300]
    x = np.concatenate([RAW, knots, np.nextafter(knots, np.inf), np.nextafter(knots, -np.inf), ends])
    session = Session(calibrator.graph())
    expected = calibrator.apply(x).tobytes()
    assert session.run({"raw": x[:, None]}).tobytes() == expected
    for size in (1, 7, 64, 1024):
        parts = [session.run({"raw": x[start : start + size, None]}) for start in range(0, len(x), size)]
        assert np.concatenate(parts).tobytes() == expected


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(5, 400))
def test_isotonic_is_monotone_bounded_and_small(seed: int, rows: int) -> None:
    """For any scores, ties included."""
    rng = np.random.default_rng(seed)
    raw = np.round(rng.normal(size=rows), int(rng.integers(0, 6)))
    calibrator = fit_method("isotonic", raw, (rng.random(rows) < 0.5).astype(np.float64))
    assert len(calibrator.knots) <= MAX_KNOTS
    answers = calibrator.apply(np.sort(np.concatenate([raw, rng.normal(size=500) * 3])))
    assert bool((np.diff(answers) >= -1e-15).all())
    assert 0.0 < float(answers.min()) <= float(answers.max()) < 1.0


def test_the_simplest_method_that_does_is_chosen() -> None:
    """None for honest scores, sigmoid for stretched ones, isotonic for bent ones."""
    days = np.arange(6000) // 600
    assert fit(RAW, _outcomes(_logistic(RAW)), days).method == "none"
    stretched = fit(RAW, _outcomes(_logistic(0.5 * RAW - 1)), days)
    assert stretched.method == "sigmoid"
    assert (stretched.slope, stretched.offset) == pytest.approx((0.5, -1.0), abs=0.1)
    bent = fit(RAW, _outcomes(np.where(RAW > 0, 0.9, 0.2)), days)
    assert bent.method == "isotonic"
    assert log_loss(_outcomes(np.where(RAW > 0, 0.9, 0.2)), bent.apply(RAW)) < 0.45


def test_what_cannot_be_calibrated_is_left_as_it_is() -> None:
    """One class, constant scores, scores that point the wrong way, a handful of rows."""
    target = _outcomes(_logistic(RAW))
    assert fit(RAW, np.ones(6000)).method == "none"
    assert fit(np.zeros(6000), target).method == "none"
    assert fit_method("sigmoid", -RAW, target).method == "none"
    assert fit(RAW[:20], target[:20]).method == "none"


def test_cross_fitting_keeps_blocks_whole() -> None:
    """A day is never on both sides."""
    days = np.array([3, 3, 5, 5, 7, 9, 9, 11, 12, 15])
    folds = calibrate.folds_of(10, days)
    assert all(len(set(folds[days == day])) == 1 for day in days)
    assert Calibrator("identity").apply(np.array([3.0])).tolist() == [3.0]
