"""From the first day on, or not: what tells a skew from a drift."""

import numpy as np
import pytest

from kaizen.monitor.onset import is_skew, skew_says
from kaizen.stats.distances import Spread

USUAL = np.array([0.4, 0.3, 0.2, 0.08, 0.02])
OTHER = np.array([0.1, 0.2, 0.3, 0.38, 0.02])
REFERENCE = USUAL * 20_000
MATTERS = 0.112


def week(rng, shapes, rows=500):
    days = np.array([rng.multinomial(rows, shape) for shape in shapes])
    return days[0], days.sum(axis=0)


def share_named(shapes, rows=500, **options):
    rng = np.random.default_rng(0)
    return np.mean([is_skew(REFERENCE, *week(rng, shapes, rows), matters=MATTERS, **options) for _ in range(200)])


def test_another_column_from_the_first_day_on_is_skew():
    assert share_named([OTHER] * 7) == 1.0
    assert share_named([OTHER] * 7, rows=60) > 0.95


@pytest.mark.parametrize("first", [1, 3, 6])
def test_a_change_on_a_later_day_is_drift(first):
    assert share_named([USUAL] * first + [OTHER] * (7 - first)) == 0.0


def test_one_odd_first_day_is_no_skew():
    assert share_named([OTHER] + [USUAL] * 6) == 0.0


def test_a_column_that_goes_on_moving_is_no_skew():
    shapes = [USUAL + (OTHER - USUAL) * share for share in np.linspace(0.6, 1.6, 7)]
    assert share_named([np.clip(shape, 0.001, None) / np.clip(shape, 0.001, None).sum() for shape in shapes]) < 0.1


def test_after_a_long_gap_nobody_can_tell():
    assert share_named([OTHER] * 7, gap_days=10) == 1.0
    assert share_named([OTHER] * 7, gap_days=30) == 0.0


def test_a_column_whose_days_differ_anyway_needs_more_than_a_day():
    assert share_named([OTHER] * 7, spread=Spread(400.0, 0.5, 60)) == 0.0


def test_a_window_without_rows_or_of_one_day_says_nothing():
    day = np.array([5, 5, 5, 5, 5])
    assert not is_skew(REFERENCE, day * 0, day, matters=MATTERS)
    assert not is_skew(REFERENCE, day, day, matters=MATTERS)
    assert skew_says("price", "2026-03-05", 4).startswith(
        "price has differed from the training rows since the first day on which bundle 4 answered (2026-03-05), and"
    )
