"""Splits that share nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen.core.errors import DataError
from kaizen.data.split import group_split, split, stratified_split, time_split
from kaizen.graph.frame import MISSING_TIME

DAY = 86_400_000_000


def _days(sizes):
    blocks = np.repeat(np.arange(len(sizes)), sizes)
    return blocks * DAY + np.arange(len(blocks)), blocks


@given(st.lists(st.integers(20, 60), min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_by_time_whole_days_stay_together_and_the_newest_validate(sizes, random):
    times, blocks = _days(sizes)
    order = np.array(random.sample(range(len(times)), len(times)))
    found = time_split(times[order], blocks[order])
    assert np.array_equal(np.sort(np.concatenate((found.train, found.valid))), np.arange(len(times)))
    assert blocks[order][found.train].max() < blocks[order][found.valid].min()
    assert abs(len(found.valid) - 0.25 * len(times)) <= max(sizes)


def test_by_time_a_declared_group_is_on_one_side():
    times, blocks = _days([50] * 8)
    groups = np.array([f"g{n % 350}" for n in range(400)], object)
    found = time_split(times, blocks, groups=groups)
    assert not set(groups[found.train]) & set(groups[found.valid])


def test_one_day_and_rows_without_a_time_are_refused():
    with pytest.raises(DataError, match="one block"):
        time_split(*_days([100]))
    times, blocks = _days([50, 50])
    times[3] = MISSING_TIME
    with pytest.raises(DataError, match="1 rows have no time"):
        time_split(times, blocks)


def test_a_group_is_on_one_side_and_rows_without_one_stand_alone():
    groups = np.array(["", *(f"g{n % 30}" for n in range(600)), ""], object)
    found = group_split(groups, seed=3)
    sides = [set(groups[side]) - {""} for side in (found.train, found.valid)]
    assert not sides[0] & sides[1]
    assert len(found.train) + len(found.valid) == 602
    assert abs(len(found.valid) / 602 - 0.25) < 0.05
    with pytest.raises(DataError, match="one group"):
        group_split(np.array(["a"] * 100, object))


def test_stratified_keeps_the_share_of_a_rare_class():
    target = np.zeros(1000)
    target[:12] = 1
    found = stratified_split(target, seed=1)
    assert target[found.valid].sum() == 3
    assert target[found.train].sum() == 9


def test_stratified_keeps_the_range_of_a_number():
    target = np.random.default_rng(0).lognormal(size=1000)
    found = stratified_split(target)
    assert abs(np.median(target[found.valid]) - np.median(target[found.train])) < 0.1


def test_the_seed_decides_and_time_comes_first():
    target = np.tile([0.0, 1.0], 100)
    assert np.array_equal(split(target, seed=1).valid, split(target, seed=1).valid)
    assert not np.array_equal(split(target, seed=1).valid, split(target, seed=2).valid)
    times, blocks = _days([100, 100])
    found = split(target, times=times, blocks=blocks, groups=np.arange(200.0), seed=1)
    assert found.valid.tolist() == list(range(100, 200))
    by_group = split(target, groups=np.arange(200.0) // 10, seed=1)
    assert {row // 10 for row in by_group.train}.isdisjoint({row // 10 for row in by_group.valid})


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="20 are needed"):
        stratified_split(np.tile([0.0, 1.0], 10))
    with pytest.raises(DataError, match="a class of the target has one row"):
        stratified_split(np.array([1.0] + [0.0] * 99))
    with pytest.raises(DataError, match="no target"):
        stratified_split(np.array([np.nan] * 100))
