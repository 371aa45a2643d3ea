"""What is in each column."""

from __future__ import annotations

import duckdb
import msgspec
import numpy as np
import pytest

from kaizen.core.errors import DataError
from kaizen.core.records import Column
from kaizen.data.columns import columns_of
from kaizen.data.profile import QUANTILES, Profile, profile


@pytest.fixture
def table(declare):
    sql = duckdb.connect()
    sql.execute(
        "CREATE TABLE rows AS SELECT i AS id, CASE WHEN i % 4 > 0 THEN i / 2 END AS n, 7 AS same,"
        " 'c' || (i % 3) AS c, i % 2 = 0 AS flag, TIMESTAMP '1970-01-01' + to_seconds(i) AS t,"
        " CAST(NULL AS VARCHAR) AS nothing, CASE WHEN i = 0 THEN '' ELSE 'k' || i END AS key FROM range(1000) r(i)"
    )
    return sql, columns_of(sql, file=declare())


def test_figures_are_those_of_the_values(table):
    found = profile(table[0], "rows", table[1])
    n = found.column("n")
    values = np.array([i / 2 for i in range(1000) if i % 4])
    assert (found.rows, n.count, n.missing, n.min, n.max) == (1000, 750, 250, 0.5, 499.5)
    assert n.mean == pytest.approx(values.mean(), rel=1e-11)
    assert n.std == pytest.approx(values.std(ddof=1), rel=1e-11)
    np.testing.assert_array_equal(n.quantiles, np.quantile(values, QUANTILES, method="inverted_cdf"))


def test_categories_are_counted_exactly_and_the_empty_string_is_missing(table):
    found = profile(table[0], "rows", table[1])
    c, key = found.column("c"), found.column("key")
    assert (c.top, c.values, c.distinct, c.singles) == (
        (("c0", 334), ("c1", 333), ("c2", 333)),
        ("c0", "c1", "c2"),
        3,
        0,
    )
    assert (key.missing, key.distinct, key.singles) == (1, 999, 999)
    assert found.column("flag").top == (("0.0", 500), ("1.0", 500))


def test_odd_columns_are_flagged(table):
    found = profile(table[0], "rows", table[1])
    flags = {column.name: column.flags for column in found.columns if column.flags}
    assert flags == {"id": ("unique",), "same": ("constant",), "nothing": ("missing",), "key": ("unique",)}


def test_times_are_microseconds(table):
    t = profile(table[0], "rows", table[1]).column("t")
    assert (t.min, t.max, t.mean) == (0.0, 999e6, None)


def test_a_profile_goes_through_json(table):
    found = profile(table[0], "rows", table[1])
    assert msgspec.json.decode(msgspec.json.encode(found), type=Profile) == found


def test_absurd_numbers_do_not_stop_it():
    sql = duckdb.connect()
    sql.execute("CREATE TABLE rows AS SELECT unnest([1e308, -1e308, 'inf', 'nan', 3.0]) AS n")
    n = profile(sql, "rows", [Column("n", "number")]).column("n")
    assert (n.count, n.missing, n.min, n.max) == (3, 2, -1e308, 1e308)


def test_a_column_that_is_not_there_names_the_nearest(table):
    with pytest.raises(DataError, match="no column 'idd'"):
        profile(table[0], "rows", [Column("idd", "number")])
