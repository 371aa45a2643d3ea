"""What a batch is expected to cost: learnt from batches whose cost is known here, and not to be poisoned."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from kaizen.serve.cost import Cost


def learnt(count: int, rows: Callable[[], int], took: Callable[[int], float], start: Cost | None = None) -> Cost:
    cost = start or Cost()
    for _ in range(count):
        size = rows()
        cost.observe(size, took(size))
    return cost


def begun(fixed: float, row: float) -> Cost:
    cost = Cost()
    cost.begin([(rows, fixed + row * rows) for rows in (1, 2, 4, 8, 16, 32, 64)])
    return cost


def test_it_begins_with_what_was_measured() -> None:
    cost = begun(200e3, 5e3)
    assert (cost.fixed_ns, cost.row_ns) == pytest.approx((200e3, 5e3))
    assert cost.of(100) == pytest.approx(700e3)


def test_it_finds_the_line_in_noise_of_known_size_and_the_95th_percentile_above_it() -> None:
    rng = random.Random(3)
    above = 0
    cost = learnt(
        2000, lambda: rng.randint(1, 200), lambda n: 300e3 + 8e3 * n + rng.uniform(-50e3, 50e3), begun(1e6, 1e3)
    )
    for _ in range(4000):
        rows = rng.randint(1, 200)
        took = 300e3 + 8e3 * rows + rng.uniform(-50e3, 50e3)
        above += took > cost.of(rows) + cost.slack_ns
        cost.observe(rows, took)
        assert cost.of(100) == pytest.approx(1100e3, abs=60e3)
    assert 0.03 < above / 4000 < 0.08


def test_batches_of_one_size_move_the_fixed_part_and_leave_the_slope() -> None:
    rng = random.Random(4)
    cost = learnt(500, lambda: 64, lambda _: 1.48e6 * rng.uniform(0.9, 1.1), begun(200e3, 20e3))
    assert cost.row_ns == pytest.approx(20e3, rel=0.05)
    assert cost.of(64) == pytest.approx(1.48e6, rel=0.05)


def test_a_pause_of_the_process_is_not_taken_for_a_slow_model() -> None:
    rng = random.Random(5)
    cost = learnt(200, lambda: rng.randint(1, 64), lambda n: 100e3 + 5e3 * n, begun(100e3, 5e3))
    before = cost.of(32) + cost.slack_ns
    cost.observe(32, 1e9)
    assert cost.of(32) + cost.slack_ns < 1.2 * before
    cost = learnt(30, lambda: rng.randint(1, 64), lambda n: 100e3 + 5e3 * n, cost)
    assert cost.of(32) == pytest.approx(260e3, rel=0.02)


@pytest.mark.parametrize("factor", [0.1, 10.0, 100.0])
def test_a_model_that_has_really_changed_is_believed_within_some_hundred_batches(factor: float) -> None:
    rng = random.Random(6)
    changed = learnt(400, lambda: rng.randint(1, 64), lambda n: factor * (100e3 + 5e3 * n), begun(100e3, 5e3))
    assert changed.of(32) == pytest.approx(factor * 260e3, rel=0.05)


@pytest.mark.parametrize("seen", [[(1, 5e3)], [(1, 0.0)], [(1, 9e3), (64, 2e3)], [(4, 7e3), (4, 8e3)]])
def test_no_part_is_ever_below_zero(seen: list[tuple[int, float]]) -> None:
    rng = random.Random(7)
    cost = Cost()
    cost.begin(seen)
    for _ in range(300):
        assert min(cost.fixed_ns, cost.row_ns, cost.slack_ns) >= 0
        cost.observe(rng.randint(1, 64), rng.uniform(0, 1e6))
