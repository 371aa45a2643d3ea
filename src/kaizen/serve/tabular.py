"""Tables in the forms of other platforms, turned into rows in the wire form; the signature's reader then checks them.

| form     | example                                             | also known as                                     |
|----------|-----------------------------------------------------|---------------------------------------------------|
| records  | [{"a": 1, "b": "x"}, …]                             | MLflow dataframe_records, TF Serving's row format |
| matrix   | [[1, "x"], …], in the order of the signature        | MLflow inputs, SageMaker                          |
| columns  | {"a": [1, …], "b": ["x", …]}; one row: {"a": 1, …}  | TF Serving's columnar format                      |
| a column | [1, …], of a model that has one                     |                                                   |
| split    | {"columns": ["a", "b"], "data": [[1, "x"], …]}      | pandas' orient="split"                            |
| CSV      | with a line of names, or in the order of the signature |                                                |
| .npy     | an array of numbers, (rows, columns)                | application/x-npy                                 |
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import msgspec
import numpy as np

from kaizen.core.errors import RequestError, nearest
from kaizen.core.records import Column
from kaizen.serve.reader import Reader, explained

_ERRORS: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
_MISSING: Final = frozenset({"", "nan", "na", "n/a", "null", "none", "<na>", "nat"})  # not of text: "NA" may be one
_TRUTH: Final = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
_MICROSECONDS: Final = re.compile(r"-?[0-9]{9,18}")  # fewer digits are a date without hyphens


def read_object(body: bytes, known: Sequence[str]) -> dict[str, Any]:
    """Return a body that is an object; `known` are members that it may have.

    NaN, which Python's own `json` writes and JSON does not have, is a missing value.
    """
    try:
        value = msgspec.json.decode(body)
    except _ERRORS as err:
        if b"NaN" not in body:
            raise explained(err) from err
        value = _with_nan(body)
    if not isinstance(value, dict):
        kind = "a list" if isinstance(value, list) else "no object"
        raise RequestError(f"expected an object with {_listed(known)}, got {kind}", where="body")
    return value


def one_of(body: dict[str, Any], forms: Sequence[str]) -> str:
    """Return the one member of a body that has the rows; raise a 400 if there is none or several."""
    found = [form for form in forms if form in body]
    if len(found) != 1:
        got = f"got {' and '.join(found)}" if found else f"there is {_listed(list(body)[:8]) or 'nothing'}"
        raise RequestError(f"expected exactly one of {_listed(forms)}; {got}", where="body")
    return found[0]


def rows_of(value: Any, reader: Reader, where: str) -> list[Any]:
    """Return rows from records, a matrix, columns or a column."""
    if isinstance(value, dict):
        return _from_columns(value, where)
    if not isinstance(value, list):
        raise RequestError("expected a list of rows, or an object of columns", where=where)
    if not value:
        raise RequestError("expected at least one row", where=where)
    if isinstance(value[0], list):
        return _from_matrix(value, reader, where)
    if isinstance(value[0], dict):
        return value
    if len(reader.columns) == 1:
        return [{reader.columns[0].name: each} for each in value]
    raise RequestError("expected rows: objects, or lists of values", where=f"{where}[0]", fix=_order(reader))


def from_split(value: Any, reader: Reader, where: str) -> list[Any]:
    """Return rows from names and lists of values; without names they are in the signature's order."""
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise RequestError("expected an object with a list 'data' and a list 'columns'", where=where)
    if unknown := sorted(map(str, value.keys() - {"columns", "data", "index"})):
        raise RequestError(f"unknown member {unknown[0][:64]!r}", where=where, fix="known: columns, data, index")
    names = value.get("columns")
    if isinstance(names, list) and names == list(range(len(names))):  # as pandas numbers columns without a name
        names = None
    if names is None:
        return rows_of(value["data"], reader, f"{where}.data")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RequestError("expected a list of names", where=f"{where}.columns")
    _check_names(names, f"{where}.columns")
    if not value["data"]:
        raise RequestError("expected at least one row", where=f"{where}.data")
    for place, cells in enumerate(value["data"]):
        if not isinstance(cells, list) or len(cells) != len(names):
            raise RequestError(f"expected a list of {len(names)} values", where=f"{where}.data[{place}]")
    return [dict(zip(names, cells, strict=True)) for cells in value["data"]]


def from_csv(body: bytes, reader: Reader, *, header: bool | None) -> list[Any]:
    """Return rows from CSV.

    Parameters
    ----------
    header
        Whether its first line has the names; None: it does if any of its cells is the name of a column.
    """
    try:
        text = body.decode("utf-8-sig")
        lines = [cells for cells in csv.reader(io.StringIO(text, newline=""), strict=True) if cells]
    except (UnicodeDecodeError, csv.Error) as err:
        raise RequestError(f"not CSV in UTF-8: {err}", where="body") from err
    columns = {column.name: column for column in reader.columns}
    if lines and (not columns.keys().isdisjoint(lines[0]) if header is None else header):
        return _named(lines[0], lines[1:], columns)
    if not lines:
        raise RequestError("expected at least one row", where="body")
    width = _width(len(lines[0]), reader, "line 1")
    for place, cells in enumerate(lines):
        if len(cells) != width:
            raise RequestError(f"expected {width} values, got {len(cells)}", where=f"line {place + 1}")
    ordered = reader.columns[:width]
    return [{c.name: _cell(c, cell) for c, cell in zip(ordered, cells, strict=True)} for cells in lines]


def from_npy(body: bytes, reader: Reader) -> list[Any]:
    """Return rows from an array of numbers, (rows, columns), in numpy's own format."""
    stream = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(stream)
    except Exception as err:  # numpy evaluates the header as Python, which fails in many ways
        raise RequestError("not an array in numpy's format", where="body") from err
    if dtype.kind not in "fiub" or not 0 < len(shape) <= 2:
        raise RequestError(f"expected numbers, (rows, columns), got {dtype} of {len(shape)} dimensions", where="body")
    data = body[stream.tell() :]
    if math.prod(shape) * dtype.itemsize != len(data):  # before anything of that size is made
        raise RequestError("the array is not as long as its header says", where="body")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")
    values = array.reshape(len(array), -1) if len(array) else array
    wide = values.astype(object)
    if dtype.kind == "f":
        wide[np.isnan(values)] = None
    return rows_of(wide.tolist(), reader, "rows")


def to_npy(outputs: Sequence[float]) -> bytes:
    """Return answers as an array, (rows,), in numpy's own format."""
    stream = io.BytesIO()
    np.save(stream, np.asarray(outputs, np.float64), allow_pickle=False)
    return stream.getvalue()


def _with_nan(body: bytes) -> Any:
    try:
        # Written and read once more, for Python's parser lets through what is no text, such as half a surrogate.
        return msgspec.json.decode(msgspec.json.encode(json.loads(body, parse_constant=_constant)))
    except _ERRORS as err:
        raise RequestError("not JSON", where="body", fix="NaN is read as null; nothing else is added to JSON") from err


def _constant(name: str) -> None:
    if name != "NaN":
        raise ValueError(name)


def _from_columns(value: dict[str, Any], where: str) -> list[Any]:
    if not any(isinstance(column, list) for column in value.values()):
        return [value]
    lengths: dict[str, int] = {}
    for name, column in value.items():
        if not isinstance(column, list):
            raise RequestError("expected a list, one value a row", where=f"{where}.{name[:64]}")
        lengths[name] = len(column)
    rows = next(iter(lengths.values()))
    for name, length in lengths.items():
        if length != rows:
            raise RequestError(f"expected {rows} values, as in the first, got {length}", where=f"{where}.{name[:64]}")
    if not rows:
        raise RequestError("expected at least one row", where=where)
    columns = [_flat(column) for column in value.values()]
    return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _flat(column: list[Any]) -> list[Any]:
    """Return a column's values; one of shape (rows, 1) has each in a list of its own."""
    is_nested = all(isinstance(each, list) and len(each) == 1 for each in column)
    return [each[0] for each in column] if is_nested else column


def _from_matrix(value: list[Any], reader: Reader, where: str) -> list[Any]:
    width = _width(len(value[0]), reader, f"{where}[0]")
    names = [column.name for column in reader.columns[:width]]
    for place, cells in enumerate(value):
        if not isinstance(cells, list) or len(cells) != width:
            raise RequestError(f"expected a list of {width} values", where=f"{where}[{place}]", fix=_order(reader))
    return [dict(zip(names, cells, strict=True)) for cells in value]


def _width(got: int, reader: Reader, where: str) -> int:
    """Return how many values a row in the signature's order has: those that are required, or all."""
    if got not in (reader.required, len(reader.columns)):
        raise RequestError(f"expected {reader.required} values, got {got}", where=where, fix=_order(reader))
    return got


def _order(reader: Reader) -> str:
    names = [column.name for column in reader.columns[:16]]
    return f"in this order: {', '.join(names)}{', …' if len(reader.columns) > 16 else ''}"


def _named(names: list[str], lines: list[list[str]], columns: dict[str, Column]) -> list[Any]:
    start = 1 if names[0] == "" else 0  # the index, as pandas' to_csv() writes it
    names = names[start:]
    _check_names(names, "line 1")
    if unknown := [name for name in names if name not in columns]:
        raise RequestError(f"unknown column {unknown[0][:64]!r}", where="line 1", fix=nearest(unknown[0], columns))
    if not lines:
        raise RequestError("expected at least one row", where="body")
    rows = []
    for place, cells in enumerate(lines):
        if len(cells) != len(names) + start:
            _wrong_line(place + 2, len(names) + start, len(cells))
        rows.append({n: _cell(columns[n], cell) for n, cell in zip(names, cells[start:], strict=True)})
    return rows


def _wrong_line(line: int, expected: int, got: int) -> NoReturn:
    raise RequestError(f"expected {expected} values, got {got}", where=f"line {line}")


def _check_names(names: Sequence[str], where: str) -> None:
    if len(set(names)) != len(names):
        raise RequestError("a column occurs twice", where=where)


def _cell(column: Column, cell: str) -> Any:
    """Return a cell in the wire form; what is none is left as it is, for the reader to refuse."""
    if column.type in ("category", "text"):
        return cell
    text = cell.strip()
    if text.lower() in _MISSING:
        return None
    if column.type == "boolean":
        return _TRUTH.get(text.lower(), cell)
    if column.type == "time":
        return int(text) if _MICROSECONDS.fullmatch(text) else text
    try:
        return cell if "_" in text else float(text)
    except ValueError:
        return cell


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:32]) for name in names)
