"""The curve of chances: what it keeps exactly, where it is straight, and where it bends."""

from __future__ import annotations

import numpy as np
import pytest

from kaizen.stats.calibration import STIFFNESS, basis, fitted, stiffness_of

SCORE = np.linspace(0.01, 0.99, 99)
ODDS = np.log(SCORE / (1 - SCORE))


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("stiffness", [STIFFNESS[0], 30.0, STIFFNESS[-1]])
def test_positives_and_log_loss_are_those_that_were_seen(stiffness: float) -> None:
    """However stiff: a line is not penalised, so the fit owes nothing along it (half a row of each class apart)."""
    rng = np.random.default_rng(0)
    count = rng.integers(50, 500, 99).astype(float)
    hits = rng.binomial(count.astype(int), logistic(ODDS + np.sin(3 * ODDS))).astype(float)
    gap = hits - count * fitted(basis(SCORE), count, hits, stiffness)
    assert abs(gap.sum()) < 0.5
    assert abs(gap @ ODDS) < 1.0


def test_a_stiff_curve_is_a_line_in_log_odds() -> None:
    count = np.full(99, 1e4)
    chance = fitted(basis(SCORE), count, count * logistic(0.5 * ODDS - 1), STIFFNESS[-1])
    assert chance == pytest.approx(logistic(0.5 * ODDS - 1), abs=1e-3)


def test_held_out_groups_choose_how_much_it_bends() -> None:
    """Stiff for honest scores, supple where the truth bends and the rows are many."""
    rng = np.random.default_rng(1)
    count = np.full((20, 99), 20.0)
    straight = rng.binomial(20, np.broadcast_to(SCORE, (20, 99))).astype(float)
    bent = rng.binomial(20, np.broadcast_to(logistic(ODDS + 1.5 * np.sin(2 * ODDS)), (20, 99))).astype(float)
    assert stiffness_of(basis(SCORE), count, straight) >= 100
    assert stiffness_of(basis(SCORE), count, bent) <= 10


def test_several_at_a_time_are_as_one_by_one() -> None:
    rng = np.random.default_rng(2)
    count = rng.integers(1, 50, (3, 99)).astype(float)
    hits = rng.binomial(count.astype(int), SCORE).astype(float)
    together = fitted(basis(SCORE), count, hits, 10.0)
    for row in range(3):
        assert together[row] == pytest.approx(fitted(basis(SCORE), count[row], hits[row], 10.0), abs=1e-6)


@pytest.mark.parametrize("hits", [0.0, 1.0])
def test_one_class_and_parted_classes_have_a_fit_inside_of_0_and_1(hits: float) -> None:
    count = np.full(99, 10.0)
    for positives in (hits * count, count * (SCORE > 0.5)):
        chance = fitted(basis(SCORE), count, positives, 1.0)
        assert bool(((chance > 0) & (chance < 1)).all())


def test_one_score_is_a_share() -> None:
    assert fitted(basis(np.array([0.3])), np.array([100.0]), np.array([20.0]), 1.0) == pytest.approx(0.2, abs=0.01)
