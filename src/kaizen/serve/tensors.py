"""Tensors of the Open Inference Protocol, in JSON and in binary, from and to numpy arrays.

| column           | datatype told | also accepted                        | missing                       |
|------------------|---------------|--------------------------------------|-------------------------------|
| number           | FP64          | FP32, FP16, BF16 (binary), INT*, UINT*, BOOL | NaN; null in JSON     |
| boolean          | BOOL          | FP64, FP32, INT*, UINT* of 0 and 1   | NaN (FP64, FP32); null        |
| time             | INT64 (microseconds since 1970, UTC) | BYTES (ISO 8601) | smallest int64; ""; null |
| category, text   | BYTES         |                                      | ""; null                      |

Binary data is little-endian and row-major; BYTES is a little-endian uint32 length and the bytes, repeated
(Triton's binary tensor data extension). A column is (rows,) or (rows, 1); a model of one matrix also takes all of
its columns side by side, (rows, columns).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import RequestError
from kaizen.core.records import Column, ColumnType
from kaizen.graph.frame import MISSING_TIME
from kaizen.graph.rows import GROUP, parse_time

DATATYPES: Final[Mapping[ColumnType, str]] = {
    "number": "FP64",
    "boolean": "BOOL",
    "time": "INT64",
    "category": "BYTES",
    "text": "BYTES",
}
_SIZE: Final = struct.Struct("<I")
_NUMBERS: Final = frozenset({float, int, bool, type(None)})
_TEXTS: Final = frozenset({str, type(None)})
_DTYPES: Final[Mapping[str, str]] = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "BF16": "<u2",  # the upper half of an FP32
}
_BINARY_ONLY: Final = ("FP16", "BF16")


class Tensor(msgspec.Struct):
    """An input as it stands in a request."""

    name: str
    datatype: str
    shape: list[int]
    data: Any = None
    parameters: dict[str, Any] = {}


def column_of(tensor: Tensor, column: Column, rows: int, binary: memoryview | None) -> NDArray[Any]:
    """Return a column's values, (rows,), in the form of a frame; raise `RequestError` that names what is wrong."""
    where = f"inputs[{tensor.name}]"
    if tensor.shape not in ([rows], [rows, 1]):
        raise RequestError(f"expected shape [{rows}], got {tensor.shape}", where=where)
    _check_datatype(tensor, column, where)
    values = _from_json(tensor, rows, 1, where) if binary is None else _from_binary(tensor, rows, binary, where)
    if column.type == "boolean":
        return _truths(_numbers(values, where), where)
    return _converted(values, GROUP[column.type], where)


def matrix_of(tensor: Tensor, columns: Sequence[Column], rows: int, binary: memoryview | None) -> NDArray[Any]:
    """Return the values of columns of one group, (rows, columns), from one tensor; errors as of `column_of`."""
    where, width = f"inputs[{tensor.name}]", len(columns)
    if tensor.shape != [rows, width] and (width > 1 or tensor.shape != [rows]):
        raise RequestError(f"expected shape [{rows}, {width}], got {tensor.shape}", where=where)
    _check_datatype(tensor, columns[0], where)
    size = rows * width
    values = _from_json(tensor, rows, width, where) if binary is None else _from_binary(tensor, size, binary, where)
    matrix = _converted(values, GROUP[columns[0].type], where).reshape(rows, width)
    for place, column in enumerate(columns):
        if column.type == "boolean":
            _truths(matrix[:, place], f"{where}[{column.name}]")
    return matrix


def output(name: str, datatype: str, values: Sequence[Any], *, binary: bool) -> tuple[dict[str, Any], bytes]:
    """Return an output tensor for the JSON of a response, and its bytes if it is to be binary."""
    tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": [len(values)]}
    if not binary:
        return tensor | {"data": list(values)}, b""
    if datatype == "BYTES":
        data = _joined([value.encode() for value in values])
    else:
        data = np.asarray(values, _DTYPES[datatype]).tobytes()
    return tensor | {"parameters": {"binary_data_size": len(data)}}, data


def _joined(values: Sequence[bytes]) -> bytes:
    """Return values as BYTES, each behind its length; at once where they all have the same, as ids do."""
    sizes = set(map(len, values))
    if len(sizes) == 1:
        prefix = _SIZE.pack(sizes.pop())
        return prefix + prefix.join(values)
    return b"".join([_SIZE.pack(len(value)) + value for value in values])


def _check_datatype(tensor: Tensor, column: Column, where: str) -> None:
    told = DATATYPES[column.type]
    if GROUP[column.type] == "numbers":
        fits = tensor.datatype in _DTYPES
    else:
        fits = tensor.datatype == told or (column.type == "time" and tensor.datatype == "BYTES")
    if not fits:
        raise RequestError(f"expected datatype {told}, got {tensor.datatype[:16]!r}", where=where)


def _from_binary(tensor: Tensor, rows: int, data: memoryview, where: str) -> list[Any] | NDArray[Any]:
    if tensor.datatype == "BYTES":
        return _split(data, rows, where)
    dtype = np.dtype(_DTYPES[tensor.datatype])
    if len(data) != rows * dtype.itemsize:
        what = f"expected {rows * dtype.itemsize} bytes of {tensor.datatype}, got {len(data)}"
        raise RequestError(what, where=where)
    values = np.frombuffer(data, dtype)
    return (values.astype(np.uint32) << 16).view(np.float32) if tensor.datatype == "BF16" else values


def _split(data: memoryview, rows: int, where: str) -> list[str]:
    values: list[str] = []
    whole = bytes(data)
    # ASCII is decoded once for all values; other text one by one, for there a byte is not a character.
    text = whole.decode("ascii") if whole.isascii() else None
    place, end, size_at = 0, len(whole), _SIZE.unpack_from
    try:
        while place < end:
            start = place + 4
            place = start + size_at(whole, place)[0]
            values.append(whole[start:place].decode() if text is None else text[start:place])
    except (struct.error, UnicodeDecodeError) as err:
        raise RequestError("the binary data is not BYTES of UTF-8", where=where) from err
    if place > end:
        raise RequestError("a value runs past the end of its binary data", where=where)
    if len(values) != rows:
        raise RequestError(f"expected {rows} values, got {len(values)}", where=where)
    return values


def _from_json(tensor: Tensor, rows: int, width: int, where: str) -> list[Any]:
    data = tensor.data
    if tensor.datatype in _BINARY_ONLY:
        raise RequestError(f"{tensor.datatype} has no form in JSON", where=where, fix="send it as binary data")
    if not isinstance(data, list):
        raise RequestError("expected a list of data", where=f"{where}.data")
    if data and isinstance(data[0], list):  # nested: (rows, width)
        if not all(isinstance(row, list) and len(row) == width for row in data):
            what = "one value a row" if width == 1 else f"{width} values a row"
            raise RequestError(f"expected {what}", where=f"{where}.data")
        data = [value for row in data for value in row]
    if len(data) != rows * width:
        raise RequestError(f"expected {rows * width} values, got {len(data)}", where=f"{where}.data")
    return data


def _converted(values: list[Any] | NDArray[Any], group: str, where: str) -> NDArray[Any]:
    if group == "numbers":
        return _numbers(values, where)
    return _times(values, where) if group == "times" else _strings(values, where)


def _numbers(values: list[Any] | NDArray[Any], where: str) -> NDArray[np.float64]:
    if isinstance(values, list) and not _NUMBERS.issuperset(map(type, values)):
        row = next(row for row, value in enumerate(values) if type(value) not in _NUMBERS)
        raise RequestError("expected a number or null", where=f"{where}.data[{row}]")
    try:
        numbers = np.asarray(values, np.float64)
    except (ValueError, TypeError, OverflowError) as err:
        raise RequestError("expected finite numbers", where=where) from err
    if np.isinf(numbers).any():
        row = int(np.isinf(numbers).argmax())
        raise RequestError("expected a finite number or NaN", where=f"{where}.data[{row}]")
    return numbers


def _truths(numbers: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    wrong = ~(np.isnan(numbers) | (numbers == 0) | (numbers == 1))
    if wrong.any():
        raise RequestError("expected true or false", where=f"{where}.data[{int(wrong.argmax())}]")
    return numbers


def _times(values: list[Any] | NDArray[Any], where: str) -> NDArray[np.int64]:
    if not isinstance(values, list):
        return values.astype(np.int64)
    moments = np.empty(len(values), np.int64)
    for row, value in enumerate(values):
        try:
            moments[row] = MISSING_TIME if value in (None, "", MISSING_TIME) else parse_time(value)
        except (ValueError, OverflowError, TypeError) as err:
            what = "expected microseconds since 1970 or an ISO 8601 time"
            raise RequestError(what, where=f"{where}.data[{row}]") from err
    return moments


def _strings(values: list[Any] | NDArray[Any], where: str) -> NDArray[np.object_]:
    if not _TEXTS.issuperset(map(type, values)):
        row = next(row for row, value in enumerate(values) if type(value) not in _TEXTS)
        raise RequestError("expected text or null", where=f"{where}.data[{row}]")
    strings = np.empty(len(values), np.object_)
    strings[:] = values if None not in values else [value or "" for value in values]
    return strings
