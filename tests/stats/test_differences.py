"""Intervals of differences against the tables of the paper."""

import numpy as np
import pytest

from kaizen.stats.differences import difference_interval, newcombe, wilson


@pytest.mark.parametrize(
    ("case", "low", "high"),
    [  # Newcombe (1998), Table II, method 10
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((10, 10, 0, 20), 0.6791, 1.0),
        ((10, 10, 0, 10), 0.6075, 1.0),
    ],
)
def test_newcombe_as_tabled(case, low, high):
    assert newcombe(*case) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
)
def test_wilson_as_tabled(hits, n, low, high):
    # Newcombe (1998), Statistics in Medicine 17, 857, Table I, method 3
    found = wilson(hits, n)
    assert [float(x) for x in found] == pytest.approx([low, high], abs=6e-5)


def test_no_rows_say_nothing():
    assert [float(x) for x in wilson(0, 0)] == [0.0, 1.0]
    low, high = newcombe(0, 0, 5, 10)
    assert low <= -0.5
    assert high >= 0.5


def test_newcombe_covers_as_often_as_it_says():
    rng, covered = np.random.default_rng(5), 0
    for _ in range(3000):
        low, high = newcombe(rng.binomial(60, 0.1), 60, rng.binomial(90, 0.05), 90)
        covered += low <= 0.05 <= high
    assert 0.93 <= covered / 3000 <= 0.975


def test_the_difference_turns_with_its_sides():
    low, high = difference_interval((1.0, 0.8, 1.4), (0.5, 0.4, 0.7))
    assert difference_interval((0.5, 0.4, 0.7), (1.0, 0.8, 1.4)) == pytest.approx((-high, -low))
