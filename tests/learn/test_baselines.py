"""The rivals, by hand."""

from __future__ import annotations

import numpy as np

from kaizen.learn.baselines import constant, previous_block


def test_the_class_rate_stays_away_from_zero() -> None:
    """So that its log loss is finite."""
    assert constant("classification", np.zeros(9), 2).tolist() == [0.05, 0.05]
    assert constant("regression", np.array([1.0, 3.0]), 1).tolist() == [2.0]


def test_as_the_previous_day_takes_the_nearest_earlier_day_with_rows() -> None:
    """Days may be missing and rows need not be sorted."""
    days = np.array([20, 10, 10, 13, 20])
    values = np.array([7.0, 1.0, 3.0, 5.0, 9.0])
    assert previous_block("regression", values, days).tolist() == [5.0, 2.0, 2.0, 2.0, 5.0]
