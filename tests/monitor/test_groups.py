"""Groups of rows: named as people would, and the same for rows that come later."""

import numpy as np
import pytest

from kaizen.monitor.columns.groups import groups_of


def labels(*values):
    return np.array(values, dtype=object)


def test_the_commonest_categories_are_groups_and_rare_ones_are_none():
    made = groups_of("origin", "category", labels(*["JFK"] * 5, *["EWR"] * 3, "LGA", ""), least_rows=2)
    assert made.names == ("origin=JFK", "origin=EWR")
    assert made.shares == (0.5, 0.3)
    assert made.codes(labels("EWR", "LGA", "", "new", "JFK ")).tolist() == [1, -1, -1, -1, 0]


def test_numbers_make_ranges_of_as_many_rows():
    made = groups_of("age", "number", np.append(np.arange(100.0), np.nan), least_rows=20)
    assert made.names == ("age<25", "25<=age<50", "50<=age<75", "age>=75")
    assert made.codes(np.array([-5, 24.9, 25, 1e9, np.nan])).tolist() == [0, 0, 1, 3, -1]
    assert sum(made.shares) == pytest.approx(100 / 101)


def test_few_rows_make_fewer_ranges_or_none():
    assert len(groups_of("age", "number", np.arange(100.0), least_rows=50)) == 2
    assert groups_of("age", "number", np.arange(100.0), least_rows=101) is None
    assert groups_of("kind", "category", labels("a", "b"), least_rows=2) is None


def test_grades_and_flags_have_a_group_for_each_value():
    made = groups_of("member", "boolean", np.array([0.0, 1, 1, np.nan]), least_rows=1)
    assert made.names == ("member=1", "member=0")
    assert made.codes(np.array([np.nan, 0, 1])).tolist() == [-1, 1, 0]
    assert groups_of("stars", "number", np.repeat([1.0, 2, 2.5], 3), least_rows=3).names == (
        "stars=1",
        "stars=2",
        "stars=2.5",
    )


def test_a_number_that_is_nearly_always_the_same_makes_the_ranges_that_it_can():
    made = groups_of("tip", "number", np.append(np.zeros(900), np.arange(1.0, 101)), least_rows=50)
    assert made is None or all(share >= 0 for share in made.shares)


def test_at_most_so_many():
    assert len(groups_of("k", "category", labels(*"abcdefghijklmnop" * 3), least_rows=1, most=4)) == 4
