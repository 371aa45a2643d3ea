"""Ranks among past days as evidence: bets of mean 1, a mean time to a false alarm that is kept, weekdays aside."""

import itertools

import numpy as np
import pytest

from kaizen.stats.ranks import POWERS, change_start, rank_bets, weekday_ranks


def ranks_of(values):
    """Return the rank of each value among those up to it, from the top."""
    return np.array([sum(other >= value for other in values[: at + 1]) for at, value in enumerate(values)])


def bets_of(values):
    return rank_bets(ranks_of(values), np.arange(1, len(values) + 1))


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_over_all_orders_of_the_days_a_bet_pays_exactly_its_stake(n):
    paid = [bets_of(order) for order in itertools.permutations(range(n))]
    assert np.mean(paid, axis=0) == pytest.approx(np.ones((n, len(POWERS))))
    # And whatever the ranks before it were: products of bets too have mean 1.
    assert np.mean(np.prod(paid, axis=1), axis=0) == pytest.approx(np.ones(len(POWERS)))


def test_ties_pay_less_and_never_more():
    by_kind = {}
    for order in itertools.product([0, 1], repeat=6):
        by_kind.setdefault(sum(order), []).append(bets_of(order))
    assert all((np.mean(paid, axis=0) <= 1 + 1e-12).all() for paid in by_kind.values())


def test_a_bet_pays_what_its_formula_says():
    expected = (3 / 8) ** (POWERS - 1) / np.mean([(k / 8) ** (POWERS - 1) for k in range(1, 9)], axis=0)
    assert rank_bets(np.array([3]), np.array([8]))[0] == pytest.approx(expected)
    assert rank_bets(np.array([1]), np.array([61]))[0].max() > 5
    assert rank_bets(np.zeros(0, int), np.zeros(0, int)).shape == (0, len(POWERS))


def test_the_start_of_a_change_is_found_within_days_and_a_lucky_day_is_forgotten():
    rng, off = np.random.default_rng(8), []
    for _ in range(100):
        values = rng.normal(size=56)
        values[50:] += 4
        values[35] += 9
        start = change_start(ranks_of(values)[14:], np.arange(15, 57))
        off.append(abs(start + 14 - 50))
    assert np.quantile(off, 0.9) <= 2
    assert change_start(np.array([9, 8]), np.array([10, 11])) is None
    assert change_start(np.zeros(0, int), np.zeros(0, int)) is None


def run_length(values, weekdays, limit, warm_up=14):
    ranks, levels = weekday_ranks(values, weekdays), np.zeros(len(POWERS))
    for t, paid in enumerate(rank_bets(ranks, np.arange(1, len(values) + 1))):
        levels = paid * (1 + levels) if t >= warm_up else levels
        if levels.mean() >= limit:
            return t - warm_up + 1
    return len(values) - warm_up


@pytest.mark.slow
@pytest.mark.parametrize("tails", ["normal", "heavy", "counts", "hours"])
def test_the_mean_time_to_a_false_alarm_is_kept_with_weekdays_unlike_each_other(tails):
    rng, runs = np.random.default_rng(5), []
    for _ in range(100):
        weekdays = (np.arange(120) + rng.integers(7)) % 7
        noise = {
            "normal": lambda: rng.normal(size=120),
            "heavy": lambda: rng.standard_t(2, size=120),
            "counts": lambda: rng.poisson(3, size=120).astype(float),
            "hours": lambda: rng.gamma(4, size=(120, 3)),
        }[tails]()
        usual = rng.normal(size=(7, *noise.shape[1:]))[weekdays] * 5
        runs.append(run_length(usual + noise, weekdays, limit=25))
    # Cut at 106 days and without the overshoot; the standard error is 2 to 3.
    assert np.mean(runs) > 25 + 3


def by_hand(values, weekdays, least=4):
    """Return the ranks by the definition, one day at a time."""
    found = []
    for n in range(1, len(values) + 1):
        kinds = [[i for i in range(n) if weekdays[i] == w] for w in set(weekdays[:n])]
        if min(map(len, kinds)) < least:
            kinds = [list(range(n))]
        scores = np.zeros(n)
        for kind in kinds:
            away = values[kind] - values[kind].mean(axis=0)
            size = away if values.ndim == 1 else np.abs(away).sum(axis=1)
            scores[kind] = size / np.sqrt(max(1 - 1 / len(kind), 1e-9))
        found.append(int(np.count_nonzero(scores >= scores[-1] - 1e-12)))
    return found


@pytest.mark.parametrize("shape", [(70,), (70, 24)])
def test_ranks_of_all_days_at_once_are_those_of_each_day_by_the_definition(shape):
    rng = np.random.default_rng(6)
    for weekdays in (np.arange(70) % 7, rng.integers(7, size=70), np.zeros(70, int)):
        values = rng.normal(size=shape)
        assert weekday_ranks(values, weekdays).tolist() == by_hand(values, weekdays)


def test_what_weekdays_are_usually_like_does_not_matter_once_there_are_four_of_each():
    rng = np.random.default_rng(7)
    values, weekdays = rng.normal(size=80), np.arange(80) % 7
    moved = weekday_ranks(values + weekdays * 10.0, weekdays)
    assert moved[28:].tolist() == weekday_ranks(values, weekdays)[28:].tolist()
    assert moved[:28].tolist() != weekday_ranks(values, weekdays)[:28].tolist()


def test_no_days_have_no_ranks():
    assert weekday_ranks(np.zeros(0), np.zeros(0, int)).tolist() == []
