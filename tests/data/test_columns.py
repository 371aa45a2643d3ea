"""Types of columns, and rows as arrays."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from kaizen.core.errors import DataError
from kaizen.core.records import Column
from kaizen.data.columns import columns_of, inputs_of, load
from kaizen.graph.frame import MISSING_TIME


def test_many_words_that_differ_are_text_and_names_stay_categories(declare):
    sql = duckdb.connect()
    sql.execute(
        "CREATE TABLE rows AS SELECT 'row number ' || i || ' says something new' AS note,"
        " 'New York City' AS place, uuid() AS id, CAST(i AS DECIMAL(9, 2)) AS price FROM range(200) t(i)"
    )
    types = {column.name: column.type for column in columns_of(sql, file=declare())}
    assert types == {"note": "text", "place": "category", "id": "category", "price": "number"}


def test_a_nested_column_is_refused_unless_ignored(declare):
    sql = duckdb.connect()
    sql.execute("CREATE TABLE rows AS SELECT [1, 2] AS list, 1 AS y")
    with pytest.raises(DataError, match=r"'list' has the type INTEGER\[\]") as caught:
        columns_of(sql, file=declare())
    assert 'ignore = ["list"]' in caught.value.fix
    assert [column.name for column in columns_of(sql, file=declare(ignore=["list"]))] == ["y"]


def test_inputs_leave_out_target_outcomes_and_ignored(declare):
    columns = [Column(name, "number") for name in "abcy"]
    assert [c.name for c in inputs_of(columns, declare(outcome=["a"], ignore=["b"]))] == ["c"]


def test_missing_values_have_one_form():
    sql = duckdb.connect()
    sql.execute(
        "CREATE TABLE rows AS SELECT * FROM (VALUES (1.5::DOUBLE, true, TIMESTAMP '1970-01-01 00:00:01', 'a'),"
        " (NULL, NULL, NULL, NULL), ('nan', false, 'infinity', ''), ('inf', true, '1969-12-31', 'b')) t(n, b, t, s)"
    )
    frame = load(sql, "rows", [Column("n", "number"), Column("b", "boolean"), Column("t", "time"), Column("s", "text")])
    np.testing.assert_array_equal(frame["n"], [1.5, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(frame["b"], [1, np.nan, 0, 1])
    assert frame["t"].tolist() == [1_000_000, MISSING_TIME, MISSING_TIME, -86_400_000_000]
    assert frame["s"].tolist() == ["a", "", "", "b"]
    assert [frame[name].dtype for name in "nbts"] == [np.float64, np.float64, np.int64, np.object_]


def test_a_query_keeps_its_order_and_names_what_it_lacks():
    sql = duckdb.connect()
    frame = load(sql, "SELECT i FROM range(50000) t(i) ORDER BY i DESC", [Column("i", "number")])
    assert frame["i"].tolist() == list(range(49_999, -1, -1))
    with pytest.raises(DataError, match="no column 'distnace'") as caught:
        load(sql, "SELECT 1 AS distance", [Column("distnace", "number")])
    assert "'distance'" in caught.value.fix
    with pytest.raises(DataError, match="stored as VARCHAR and cannot be read as number"):
        load(sql, "SELECT 'x' AS a", [Column("a", "number")])


def test_names_with_quotes_and_spaces_are_names():
    sql = duckdb.connect()
    name = 'a "b"; DROP TABLE rows'
    sql.execute('CREATE TABLE rows AS SELECT 1 AS "a ""b""; DROP TABLE rows"')
    assert load(sql, "rows", [Column(name, "number")])[name].tolist() == [1.0]
