"""Ranks that are uniform exactly, and bets whose mean is one."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaizen.stats.bets import Bets
from kaizen.stats.conformal import down, rank, ranks, up


def test_ranks_by_hand():
    # Two below, one tie and itself, of four: p lies between 2/4 and 4/4.
    assert rank(np.array([2, 1, 0]), 1, 0.0) == pytest.approx(2 / 4)
    assert rank(np.array([2, 1, 0]), 1, 0.999999) == pytest.approx(1.0, abs=1e-5)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=150), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_many_are_ranked_as_one_by_one(cells, seed):
    u = np.random.default_rng(seed).random(len(cells))
    together, apart = np.array([3, 0, 5, 1, 0]), np.array([3, 0, 5, 1, 0])
    p = ranks(together, np.array(cells), u)
    for place, cell in enumerate(cells):
        assert p[place] == pytest.approx(rank(apart, cell, u[place]), abs=1e-12)
        apart[cell] += 1
    assert together.tolist() == apart.tolist()


def test_over_all_orders_of_a_bag_the_joint_law_of_ranks_is_uniform():
    # Of values 0, 1, 2 in any order the ranks (1; 1 or 2; 1, 2 or 3) take each of their six combinations once.
    seen = set()
    for order in permutations(range(3)):
        bag, found = np.zeros(3, np.int64), []
        for value in order:
            found.append(rank(bag, value, 0.5) * (bag.sum() + 1))
            bag[value] += 1
        seen.add(tuple(np.round(found, 6)))
    assert seen == set(product((0.5,), (0.5, 1.5), (0.5, 1.5, 2.5)))


@pytest.mark.parametrize("size", [0.25, 1.0, 3.0])
def test_the_mean_of_a_shift_is_one(size):
    middle = (np.arange(2_000_000) + 0.5) / 2_000_000
    assert up(middle, size).mean() == pytest.approx(1.0, rel=2e-2)
    assert down(0.01, size) == pytest.approx(up(0.99, size))


@pytest.mark.parametrize(
    ("masses", "ordered", "heavy"), [([1 / 16] * 16, True, []), ([0.7, 0.2, 0.1], False, [0, 1, 2])]
)
def test_the_mean_of_every_bet_is_one(masses, ordered, heavy):
    middle = (np.arange(200_000) + 0.5) / 200_000
    bets = Bets(np.array(masses), ordered=ordered, heavy=heavy)
    factors = np.concatenate([np.exp(bets.log_factors(part)) for part in np.split(middle, 1000)])
    assert bets.weights.sum() == pytest.approx(1.0)
    assert factors.shape[1] == len(bets.weights)
    assert factors[:, :-1].mean(axis=0) == pytest.approx(np.ones(len(bets.weights) - 1), rel=2e-3)


def test_the_learner_bets_on_what_it_has_seen_and_on_nothing_later():
    bets = Bets(np.full(4, 0.25), ordered=False, heavy=[])
    assert bets.weights.tolist() == [1.0]
    p = np.array([0.1] * 30 + [0.9])
    factors = np.exp(bets.log_factors(p))[:, -1]
    assert factors[0] == pytest.approx(1.0)
    assert factors[29] > factors[10] > 1.5
    assert factors[30] < 0.6
    # By hand, the second: of 20 values guessed and one seen, (20 / 4 + 1) / 21 in place of 1/4.
    assert factors[1] == pytest.approx((5 + 1) / 21 * 4)


def test_what_is_taken_in_parts_is_what_is_taken_whole():
    p = np.random.default_rng(0).random(128)
    whole, parts = (Bets(np.full(8, 1 / 8), ordered=True, heavy=[2]) for _ in range(2))
    assert np.concatenate([parts.log_factors(part) for part in np.split(p, 4)]) == pytest.approx(whole.log_factors(p))
