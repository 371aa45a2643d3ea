"""Tables become rows in the wire form, whatever they were written as."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

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
