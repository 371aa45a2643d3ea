"""Tables become rows in the wire form, whatever they were written as."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen.core.errors import RequestError
from kaizen.core.records import Column
from kaizen.serve.reader import Reader
from kaizen.serve.tabular import from_csv, from_npy, from_split, read_object, rows_of, to_npy

NUMBERS = Reader(
    [Column("a", "number"), Column("b", "number"), Column("late", "number")], 2
)  # only an arm reads `late`
ONE = Reader([Column("a", "number")], 1)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<i8", "u1"])
def test_an_array_of_numbers_is_read_in_the_order_of_the_signature(dtype: str, order: Any) -> None:
    array = np.asarray([[1, 2], [3, 4]], dtype, order=order)
    assert from_npy(npy(array), NUMBERS) == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


def test_an_array_says_nan_for_missing_and_may_be_flat_for_one_column() -> None:
    assert from_npy(npy(np.array([[np.nan, 2.0]])), NUMBERS) == [{"a": None, "b": 2.0}]
    assert from_npy(npy(np.array([1.0, 2.0])), ONE) == [{"a": 1.0}, {"a": 2.0}]
    assert np.load(io.BytesIO(to_npy([0.5, 1.5]))).tolist() == [0.5, 1.5]
    with pytest.raises(RequestError, match="at least one row"):
        from_npy(npy(np.zeros((0, 2))), NUMBERS)


def test_a_row_has_the_required_columns_or_all() -> None:
    assert rows_of([[1, 2]], NUMBERS, "x") == [{"a": 1, "b": 2}]
    assert rows_of([[1, 2, 3]], NUMBERS, "x") == [{"a": 1, "b": 2, "late": 3}]
    assert rows_of([1, 2], ONE, "x") == [{"a": 1}, {"a": 2}]
    with pytest.raises(RequestError, match="expected 2 values, got 1") as refused:
        rows_of([[1]], NUMBERS, "x")
    assert refused.value.fix == "in this order: a, b, late"


def test_csv_may_begin_with_a_mark_and_quote_lines() -> None:
    text = Reader([Column("note", "text"), Column("a", "number")], 2)
    rows = from_csv('\ufeffa,note\r\n1,"x\r\ny"\r\n\r\n,"say ""no"""\r\n'.encode(), text, header=None)
    assert rows == [{"a": 1.0, "note": "x\r\ny"}, {"a": None, "note": 'say "no"'}]
    assert from_csv(b"note,2\n", text, header=False) == [{"note": "note", "a": 2.0}]


def test_a_split_without_names_is_in_the_order_of_the_signature() -> None:
    assert from_split({"data": [[1, 2]], "columns": [0, 1]}, NUMBERS, "x") == [{"a": 1, "b": 2}]


def test_only_nan_is_added_to_json() -> None:
    assert read_object(b'{"inputs": [NaN, 1]}', ["inputs"]) == {"inputs": [None, 1]}
    for body in (b'{"a": Infinity}', b'{"a": -Infinity, "b": NaN}', b"{'a': NaN}", b'{"a": NaN, "b": "\\udc00"}'):
        with pytest.raises(RequestError):
            read_object(body, ["inputs"])


MIXED = Reader([Column("a", "number"), Column("at", "time"), Column("yes", "boolean"), Column("note", "text")], 4)
NAMES = [column.name for column in MIXED.columns]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from([*NAMES, "x"]), inner),
    max_leaves=12,
)


def taken(read: Callable[[], list[Any]]) -> None:
    """Read something: it is refused in our words, or its rows reach the reader, which does the same."""
    with suppress(RequestError):
        MIXED.read_carefully(read())


@given(VALUES, st.sampled_from(["rows", "split"]))
def test_whatever_json_holds_is_read_or_refused(value: Any, form: str) -> None:
    taken(lambda: rows_of(value, MIXED, "x") if form == "rows" else from_split(value, MIXED, "x"))


@given(VALUES, VALUES)
def test_whatever_a_split_holds_is_read_or_refused(columns: Any, data: Any) -> None:
    taken(lambda: from_split({"columns": columns, "data": data}, MIXED, "x"))


@given(
    st.binary(max_size=60) | st.text("a,ty\n\"'0179-.eN\r", max_size=60).map(str.encode), st.sampled_from([None, True])
)
def test_whatever_bytes_csv_has_is_read_or_refused(body: bytes, header: bool | None) -> None:
    taken(lambda: from_csv(body, MIXED, header=header))


@given(st.data())
def test_an_array_that_was_tampered_with_is_read_or_refused(data: st.DataObject) -> None:
    body = bytearray(npy(np.arange(8.0).reshape(2, 4)))
    for _ in range(data.draw(st.integers(1, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    taken(lambda: from_npy(bytes(body[: data.draw(st.integers(0, len(body)))]), MIXED))


@given(st.binary(max_size=60) | st.text('{}[]":,NaInfity0123\\ud8', max_size=60).map(str.encode))
def test_whatever_bytes_json_has_is_read_or_refused(body: bytes) -> None:
    taken(lambda: [read_object(body, ["inputs"])])
