"""The fit that never falls: by hand, against its definition, and with weights that are counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaizen.stats.isotonic import steps


def test_by_hand() -> None:
    """3 and 1 are out of order, and so share their mean."""
    fit = steps(np.array([3.0, 0.0, 1.0, 2.0]), np.array([5.0, 0.0, 3.0, 1.0]))
    assert fit.height.tolist() == [0.0, 2.0, 5.0]
    assert fit.centre.tolist() == [0.0, 1.5, 3.0]
    assert fit.weight.tolist() == [1.0, 2.0, 1.0]
    assert fit.at(np.array([-9.0, 0.75, 1.5, 9.0])).tolist() == [0.0, 1.0, 2.0, 5.0]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 30))
def test_a_weight_is_so_many_rows_and_zero_is_none(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    x, y, weight = np.sort(rng.random(rows)), rng.random(rows), rng.integers(0, 4, rows).astype(float)
    weight[0] = 1.0
    many = steps(np.repeat(x, weight.astype(int)), np.repeat(y, weight.astype(int)))
    few = steps(x, y, weight)
    assert few.at(x[weight > 0]) == pytest.approx(many.at(x[weight > 0]))
    assert bool((np.diff(few.height) > 0).all())
    assert few.height @ few.weight == pytest.approx(y @ weight)


def test_no_rows_have_no_steps() -> None:
    assert steps(np.zeros(2), np.zeros(2), np.zeros(2)).height.size == 0
