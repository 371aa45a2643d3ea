"""Frozen rows: the id is of what the rows say."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen.core.errors import DataError
from kaizen.core.records import Column
from kaizen.data.columns import columns_of
from kaizen.data.snapshot import dataset_id, freeze, freeze_frame, load_dataset
from kaizen.data.target import target_of
from kaizen.graph.frame import MISSING_TIME

AT = datetime(2013, 3, 1, tzinfo=UTC)
TABLE = (
    "SELECT i % 3 = 0 AS y, CASE WHEN i % 5 > 0 THEN i / 7 END AS n, 'v' || (i % 11) AS c,"
    " TIMESTAMP '2013-01-01' + to_seconds(i) AS t FROM range(5000) r(i)"
)


def _sql(threads: int = 1):
    sql = duckdb.connect(config={"threads": threads})
    sql.execute(f"CREATE TABLE rows AS {TABLE}")
    return sql


def _freeze(sql, file, blobs, query="rows", **words):
    return freeze(sql, query, columns=columns_of(sql, file=file), file=file, blobs=blobs, at=AT, by="test", **words)


def test_what_was_frozen_comes_back(declare, blobs):
    file = declare(time="t", unit="c")
    dataset = _freeze(_sql(), file, blobs, parents=("p",))
    assert (dataset.rows, dataset.target, dataset.time, dataset.unit, dataset.parents) == (5000, "y", "t", "c", ("p",))
    assert dataset.start == datetime(2013, 1, 1, tzinfo=UTC)
    assert dataset.end == datetime(2013, 1, 1, 1, 23, 19, tzinfo=UTC)
    frame = load_dataset(dataset, blobs)
    assert frame["y"][:4].tolist() == [1, 0, 0, 1]
    assert np.isnan(frame["n"][0])
    assert frame["c"][12] == "v1"
    assert dataset_id(frame, dataset.columns) == dataset.id


def test_the_id_does_not_depend_on_threads_or_on_the_way_in(declare, blobs):
    file = declare(time="t")
    one, two = (_freeze(_sql(threads), file, blobs) for threads in (1, 2))
    again = freeze_frame(load_dataset(one, blobs), one.columns, file=file, blobs=blobs, at=AT, by="test")
    assert one == two == again


def test_order_values_names_and_types_change_the_id(declare, blobs):
    sql, file = _sql(), declare(time="t")
    ids = {
        _freeze(sql, file, blobs, query).id
        for query in (
            "rows",
            "SELECT * FROM rows ORDER BY t DESC",
            "SELECT * REPLACE (CASE WHEN c = 'v3' THEN 'v33' ELSE c END AS c) FROM rows",
            "SELECT * FROM rows LIMIT 4999",
        )
    }
    assert len(ids) == 4
    frame = {"a": np.array(["1", "2"], object)}
    assert dataset_id(frame, [Column("a", "text")]) != dataset_id(frame, [Column("a", "category")])


@given(st.lists(st.text(max_size=3), min_size=2, max_size=4), st.lists(st.text(max_size=3), min_size=2, max_size=4))
def test_different_strings_have_different_ids(one, other):
    columns = [Column("a", "category")]
    ids = [dataset_id({"a": np.array(values, object)}, columns) for values in (one, other)]
    assert (ids[0] == ids[1]) == (one == other)


def test_a_label_becomes_a_number_by_the_rows_of_the_query_alone(declare, blobs):
    sql = duckdb.connect()
    sql.execute(
        "CREATE TABLE rows AS SELECT i, CASE WHEN i % 4 = 0 THEN 'late' ELSE 'on time' END AS y FROM range(8) t(i)"
    )
    past = _freeze(sql, declare(), blobs, "SELECT * FROM rows WHERE i < 8")
    sql.execute("INSERT INTO rows SELECT 100 + i, 'late' FROM range(50) t(i)")  # now 'late' is the more frequent label
    assert target_of(sql, file=declare()).positive == "on time"
    assert _freeze(sql, declare(), blobs, "SELECT * FROM rows WHERE i < 8") == past
    assert load_dataset(past, blobs)["y"].tolist() == [1, 0, 0, 0, 1, 0, 0, 0]


def test_odd_numbers_are_frozen_as_missing(declare, blobs):
    columns = [Column("y", "boolean"), Column("n", "number"), Column("t", "time"), Column("s", "text")]
    frame = {
        "y": np.array([1.0, 0.0, np.nan]),
        "n": np.array([np.inf, -0.0, 1e300]),
        "t": np.array([MISSING_TIME, 0, -1]),
        "s": np.array(["", "é\n'", "z"], object),
    }
    dataset = freeze_frame(frame, columns, file=declare(), blobs=blobs, at=AT, by="test")
    back = load_dataset(dataset, blobs)
    np.testing.assert_array_equal(back["n"], [np.nan, -0.0, 1e300])
    assert np.signbit(back["n"][1])
    np.testing.assert_array_equal(back["y"], frame["y"])
    assert back["t"].tolist() == frame["t"].tolist()
    assert back["s"].tolist() == frame["s"].tolist()


def test_no_rows_cannot_be_frozen(declare, blobs):
    with pytest.raises(DataError, match="no rows"):
        freeze_frame({"y": np.array([])}, [Column("y", "boolean")], file=declare(), blobs=blobs, at=AT, by="test")


def test_the_parquet_file_reads_as_plain_types_elsewhere(declare, blobs):
    dataset = _freeze(_sql(), declare(time="t"), blobs)
    described = duckdb.execute(f"DESCRIBE SELECT * FROM read_parquet('{blobs.path(dataset.blob)}')").fetchall()
    assert [row[1] for row in described] == ["BOOLEAN", "DOUBLE", "VARCHAR", "TIMESTAMP WITH TIME ZONE"]
