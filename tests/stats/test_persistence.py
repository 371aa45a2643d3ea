"""The forecast without a model: only what was known, and the newest of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaizen.stats.persistence import newest_known, persistence_rates

outcomes = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 9)), max_size=12, unique_by=lambda o: (o[0], o[1])
)


def by_looking(asked, rows):
    known = [(at, known_at, value) for at, known_at, value in rows if known_at <= asked]
    return max(known)[2] if known else None


@settings(deadline=None)
@given(outcomes, st.lists(st.integers(-2, 22), min_size=1, max_size=8))
def test_it_is_the_newest_of_what_was_known(rows, asked):
    at, known_at, values = (np.array([row[i] for row in rows], dtype) for i, dtype in enumerate((int, int, float)))
    found = newest_known(np.array(asked), at, known_at, values)
    for moment, value in zip(asked, found.tolist(), strict=True):
        truth = by_looking(moment, rows)
        assert np.isnan(value) if truth is None else value == truth


def test_the_rates_have_half_a_row_of_each_kind_more():
    assert persistence_rates(np.array([[3.0, 1.0], [0.0, 0.0]])) == pytest.approx([1.5 / 5, 0.5])
