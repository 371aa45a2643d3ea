"""Rows on the wire: what is accepted, what is refused, and how the refusal reads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen.core.errors import RequestError
from kaizen.core.records import Column, PredictionBatch
from kaizen.graph import frame as frames
from kaizen.graph.rows import MISSING_TIME, RowReader, parse_time

COLUMNS = (
    Column("size", "number"),
    Column("when", "time"),
    Column("open", "boolean"),
    Column("kind", "category"),
    Column("weight", "number"),
    Column("note", "text"),
)
ROW = {"size": 3, "when": "2013-05-04T10:00:00", "open": True, "kind": "a", "weight": 0.5, "note": "one two"}


def test_a_row_becomes_tensors_grouped_by_type() -> None:
    feeds = RowReader(COLUMNS).feeds([ROW])
    assert feeds["numbers"].tolist() == [[3.0, 1.0, 0.5]]  # booleans stand among the numbers, in order
    assert feeds["times"].tolist() == [[1_367_661_600_000_000]]
    assert feeds["strings"].tolist() == [["a", "one two"]]
    assert [feeds[group].dtype for group in feeds] == [np.float64, np.int64, np.object_]


def test_null_is_missing_in_every_type() -> None:
    frame = frames.from_rows(COLUMNS, [dict.fromkeys(ROW)])
    assert math.isnan(frame["size"][0])
    assert math.isnan(frame["open"][0])
    assert frame["when"][0] == MISSING_TIME
    assert frame["kind"][0] == ""
    assert all(frames.is_missing(frame[c.name], c.type).all() for c in COLUMNS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": "abc"}, r'rows\[1\]\.size: expected a finite number or null, got "abc"'),
        ({"size": math.inf}, r"rows\[1\]\.size: .*got Infinity"),
        ({"size": 10**400}, r"rows\[1\]\.size"),
        ({"size": True}, r"rows\[1\]\.size: .*got true"),
        ({"open": 2}, r"rows\[1\]\.open: expected true, false or null, got 2"),
        ({"open": "yes"}, r"rows\[1\]\.open"),
        ({"when": "yesterday"}, r'rows\[1\]\.when: expected an ISO 8601 time.*got "yesterday"'),
        ({"when": 1.5}, r"rows\[1\]\.when"),
        ({"when": 2**62}, r"rows\[1\]\.when"),
        ({"kind": 3}, r"rows\[1\]\.kind: expected text or null, got 3"),
        ({"note": ["a"]}, r"rows\[1\]\.note"),
        ({"sise": 3}, r"rows\[1\]: unknown column 'sise'\n.*did you mean 'size'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(change: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        RowReader(COLUMNS).feeds([ROW, ROW | change])
    assert caught.value.status == 400


def test_an_absent_column_is_not_a_missing_value() -> None:
    with pytest.raises(RequestError, match=r"rows\[0\]: column 'when', 'note' is not there\n.*send null"):
        RowReader(COLUMNS).feeds([{k: v for k, v in ROW.items() if k not in ("when", "note")}])


def test_a_row_that_is_no_object_is_refused() -> None:
    with pytest.raises(RequestError, match=r"rows\[0\]: expected an object of columns, got 7"):
        RowReader(COLUMNS).feeds([7])  # type: ignore[list-item]


def test_one_column_and_no_rows_are_read() -> None:
    assert RowReader([Column("a", "category")]).feeds([{"a": "x"}, {"a": None}])["strings"].tolist() == [["x"], [""]]
    assert frames.rows_of(frames.from_rows([Column("a", "number")], [])) == 0


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:59:59.999999", -1),
        ("2013-05-04 10:00", 1_367_661_600_000_000),
    ],
)
def test_times_are_iso_8601_and_utc_without_offset(text: str, us: int) -> None:
    assert parse_time(text) == us


@given(st.datetimes())
def test_every_datetime_is_read_to_the_microsecond(at: object) -> None:
    epoch = np.datetime64("1970-01-01T00:00:00", "us")
    assert parse_time(at.isoformat()) == (np.datetime64(at, "us") - epoch).astype(int)  # type: ignore[attr-defined,call-overload]


def test_the_log_gives_back_the_frame() -> None:
    rows = [ROW, dict.fromkeys(ROW), ROW | {"when": "2001-01-01", "kind": "ü\x1f"}]
    feeds = RowReader(COLUMNS).feeds(rows)
    numbers, times, strings = frames.to_log(COLUMNS, feeds)
    batch = PredictionBatch(
        endpoint="e",
        revision=1,
        bundle="b",
        role="champion",
        ids=["1", "2", "3"],
        at=[0, 0, 0],
        units=[None] * 3,
        outputs=[0.0] * 3,
        propensity=[1.0] * 3,
        latency_us=[1] * 3,
        requests=[None] * 3,
        columns=COLUMNS,
        numbers=numbers,
        times=times,
        strings=strings,
    )
    frame = frames.from_batch(batch)
    for name, values in frames.from_rows(COLUMNS, rows).items():
        np.testing.assert_array_equal(frame[name], values)
        np.testing.assert_array_equal(frames.feeds(COLUMNS, frame).keys(), feeds.keys())
