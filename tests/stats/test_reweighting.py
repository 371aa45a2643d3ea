"""Reweighting: shares are met, weights are the density ratio, and a prior shift is told from other changes."""

from __future__ import annotations

import numpy as np
import pytest

from kaizen.stats.reweighting import balance, effective_share, prior_shift

EDGES = np.linspace(-2, 2, 15)


def binned(values: np.ndarray) -> np.ndarray:
    return np.searchsorted(EDGES, values)


def counts(values: np.ndarray) -> np.ndarray:
    return np.bincount(binned(values), minlength=16).astype(float)


def test_by_hand() -> None:
    """Half of the rows are in either bin; the window has three quarters in the second."""
    weights = balance(np.array([[0], [1]] * 50), [np.array([2500.0, 7500.0])], ridge=0.0)
    assert weights[:2] == pytest.approx([0.5, 1.5], abs=1e-3)
    assert effective_share(weights) == pytest.approx(1 / (1 + 0.25), abs=1e-3)


def test_the_weights_are_the_density_ratio() -> None:
    """Two normal columns that move by 0.5 and -0.3: the ratio is an exponential of both."""
    rng = np.random.default_rng(0)
    reference, window = rng.normal(size=(20_000, 2)), rng.normal([0.5, -0.3], 1.0, (20_000, 2))
    weights = balance(
        np.stack([binned(reference[:, 0]), binned(reference[:, 1])], axis=1),
        [counts(window[:, 0]), counts(window[:, 1])],
    )
    ratio = np.exp(reference @ [0.5, -0.3] - (0.25 + 0.09) / 2)
    assert weights.mean() == pytest.approx(1.0)
    assert np.corrcoef(np.log(weights), np.log(ratio))[0, 1] > 0.97
    for column in range(2):
        reached = np.bincount(binned(reference[:, column]), weights, 16) / 20_000
        assert reached == pytest.approx(counts(window[:, column]) / 20_000, abs=0.005)


def test_the_order_of_rows_and_columns_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    codes, wanted = rng.integers(0, 4, (300, 3)), [rng.integers(1, 90, 4).astype(float) for _ in range(3)]
    order = rng.permutation(300)
    whole = balance(codes, wanted)
    assert balance(codes[order], wanted) == pytest.approx(whole[order], rel=1e-3)
    assert balance(codes[:, ::-1], wanted[::-1]) == pytest.approx(whole, rel=1e-3)


def classes(rng: np.random.Generator, rows: int, share: float, moved: float = 0.0) -> list[np.ndarray]:
    """Return a score and two columns of one class each, mixed; `moved` shifts the second column for all."""
    one = rng.random(rows) < share
    return [
        rng.normal(np.where(one, 1.0, -0.5)),
        rng.normal(np.where(one, 0.4, 0.0)),
        rng.normal(np.where(one, 0.0, 0.3)) + moved,
        one,
    ]


def shift_of(rng: np.random.Generator, share: float, moved: float = 0.0):
    *columns, one = classes(rng, 4000, 0.3)
    *now, _ = classes(rng, 2000, share, moved)
    none_tables, one_tables = ([counts(c[which]) for c in columns] for which in (~one, one))
    return prior_shift(none_tables, one_tables, [counts(c) for c in now])


def test_a_prior_shift_is_found_with_the_error_it_states() -> None:
    """200 windows: the misses over their standard errors have a deviation of 1, give or take 0.15."""
    found = [shift_of(np.random.default_rng(seed), 0.55) for seed in range(200)]
    misses = np.array([(f.share - 0.55) / f.error for f in found])
    assert abs(misses.mean()) < 0.25
    assert misses.std() == pytest.approx(1.0, abs=0.15)
    assert np.mean([f.explains for f in found]) > 0.9


def test_no_shift_and_a_moved_column_are_no_prior_shift() -> None:
    assert not any(shift_of(np.random.default_rng(seed), 0.3).explains for seed in range(50))
    assert not any(shift_of(np.random.default_rng(seed), 0.5, 0.6).explains for seed in range(50))


def test_it_is_refused_where_scores_do_not_tell_the_classes_apart() -> None:
    flat = [np.full(16, 50.0)]
    with pytest.raises(ValueError, match="too alike"):
        prior_shift(flat, flat, flat)
    with pytest.raises(ValueError, match="one class"):
        prior_shift(flat, [np.zeros(16)], flat)
