"""Rows as people send them, checked and packed into the arrays that a graph reads.

The wire form of a row is an object with one member a column; every column is there and no other:

| column   | accepted                                                                        | missing        |
|----------|---------------------------------------------------------------------------------|----------------|
| number   | a finite number (not true, not "3")                                             | null           |
| boolean  | true, false, 0, 1                                                               | null           |
| time     | ISO 8601 text (no offset: UTC; a date: its midnight) or microseconds since 1970 | null           |
| category | text                                                                            | null or ""     |
| text     | text                                                                            | null or ""     |

A graph reads columns grouped by type into at most three tensors, because one tensor costs less than fifteen:
``numbers`` float64 (number and boolean; missing NaN), ``times`` int64 microseconds UTC (missing: the smallest
int64), ``strings`` (category and text; missing ""). Within a group columns keep the order of the signature.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import RequestError, nearest
from kaizen.core.records import Column, ColumnType

Row: TypeAlias = Mapping[str, object]
Feeds: TypeAlias = dict[str, NDArray[Any]]

MISSING_TIME: Final[int] = -(2**63)
GROUP: Final[Mapping[ColumnType, str]] = {
    "number": "numbers",
    "boolean": "numbers",
    "time": "times",
    "category": "strings",
    "text": "strings",
}
EXPECTED: Final[Mapping[ColumnType, str]] = {
    "number": "a finite number or null",
    "boolean": "true, false or null",
    "time": "an ISO 8601 time, microseconds since 1970, or null",
    "category": "text or null",
    "text": "text or null",
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_US = -62_135_596_800_000_000  # the years 1 to 9999, as datetime has them
_LATEST_US = 253_402_300_799_999_999
_NUMBERS = frozenset({float, int, type(None)})
_STRINGS = frozenset({str, type(None)})
_INF = math.inf


def grouped(columns: Iterable[Column]) -> dict[str, tuple[Column, ...]]:
    """Return the columns of each group that occurs, in the order numbers, times, strings."""
    columns = tuple(columns)
    groups = {group: tuple(c for c in columns if GROUP[c.type] == group) for group in ("numbers", "times", "strings")}
    return {group: members for group, members in groups.items() if members}


def parse_time(value: object) -> int:
    """Return microseconds since 1970, UTC; raise `ValueError` if the value is no time.

    >>> parse_time("1970-01-01T01:00:00+01:00"), parse_time("1970-01-02"), parse_time(None) == MISSING_TIME
    (0, 86400000000, True)
    """
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        span: timedelta = (value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH
        return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
    if value is None:
        return MISSING_TIME
    if type(value) is float and value.is_integer():  # to JSON, 1.0 is a whole number
        value = int(value)
    if type(value) is int and _EARLIEST_US <= value <= _LATEST_US:
        return value
    raise ValueError(value)


class RowReader:
    """Reads rows of one signature; made once, used for every request.

    Parameters
    ----------
    columns
        The signature: every row has exactly these columns.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        groups = grouped(self.columns)
        self._width = len({column.name for column in self.columns})
        self._widths = {group: len(members) for group, members in groups.items()}
        self._numbers = _getter(groups.get("numbers", ()))
        self._times = _getter(groups.get("times", ()))
        self._strings = _getter(groups.get("strings", ()))
        self._plain = _getter([c for c in self.columns if c.type == "number"])
        self._boolean = _getter([c for c in self.columns if c.type == "boolean"])

    def feeds(self, rows: Sequence[Row]) -> Feeds:
        """Return the tensors of these rows; raise `RequestError` naming the row, the column and the value."""
        numbers: list[Any] = []
        times: list[int] = []
        strings: list[Any] = []
        try:
            for row in rows:
                if len(row) != self._width:
                    raise ValueError(row)  # noqa: TRY301 (explained below, off the hot path)
                self._read(row, numbers, times, strings)
            return self._pack(len(rows), numbers, times, strings)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as err:
            raise self._explained(rows) or err from err

    def _read(self, row: Row, numbers: list[Any], times: list[int], strings: list[Any]) -> None:
        # One C call fetches a group, and one set says what types are in it.
        if self._plain is not None:
            values = self._plain(row)
            if not _NUMBERS.issuperset(map(type, values)) or _INF in values or -_INF in values:
                raise ValueError(values)
        if self._boolean is not None:
            for value in self._boolean(row):
                if value not in (0, 1, None):
                    raise ValueError(value)
        if self._numbers is not None:
            numbers += values if self._boolean is None else self._numbers(row)
        if self._times is not None:
            times += map(parse_time, self._times(row))
        if self._strings is not None:
            values = self._strings(row)
            if not _STRINGS.issuperset(map(type, values)):
                raise ValueError(values)
            strings += values if None not in values else [value or "" for value in values]

    def _pack(self, n: int, numbers: list[Any], times: list[int], strings: list[Any]) -> Feeds:
        feeds: Feeds = {}
        if self._numbers is not None:
            feeds["numbers"] = np.array(numbers, np.float64).reshape(n, self._widths["numbers"])  # None becomes NaN
        if self._times is not None:
            feeds["times"] = np.array(times, np.int64).reshape(n, self._widths["times"])
        if self._strings is not None:
            feeds["strings"] = np.array(strings, np.object_).reshape(n, self._widths["strings"])
        return feeds

    def _explained(self, rows: Sequence[Row]) -> RequestError | None:
        for index, row in enumerate(rows):
            where = f"rows[{index}]"
            if not isinstance(row, Mapping):
                return RequestError(f"expected an object of columns, got {shown(row)}", where=where)
            error = self._wrong_columns(row, where) or self._wrong_value(row, where)
            if error is not None:
                return error
        return None

    def _wrong_columns(self, row: Row, where: str) -> RequestError | None:
        names = [column.name for column in self.columns]
        extra = [name for name in row if name not in names]
        absent = [name for name in names if name not in row]
        if extra:
            return RequestError(f"unknown column {extra[0]!r}", where=where, fix=nearest(str(extra[0]), names))
        if absent:
            listed = ", ".join(repr(name) for name in absent)
            return RequestError(f"column {listed} is not there", where=where, fix="send null for a missing value")
        return None

    def _wrong_value(self, row: Row, where: str) -> RequestError | None:
        for column in self.columns:
            value = row[column.name]
            if not accepts(column.type, value):
                what = f"expected {EXPECTED[column.type]}, got {shown(value)}"
                return RequestError(what, where=f"{where}.{column.name}")
        return None


def accepts(type_: ColumnType, value: object) -> bool:
    """Say whether a value on the wire can stand in a column of this type."""
    if value is None:
        return True
    if type_ == "number":
        return type(value) in (int, float) and _is_finite_or_nan(value)
    if type_ == "boolean":
        return isinstance(value, bool | int | float) and value in (0, 1)
    if type_ == "time":
        return _is_time(value)
    return type(value) is str


def shown(value: object) -> str:
    """Return a value as JSON, cut to what fits on a line."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_finite_or_nan(value: Any) -> bool:
    try:
        return abs(float(value)) != _INF
    except OverflowError:
        return False


def _is_time(value: object) -> bool:
    try:
        parse_time(value)
    except (ValueError, OverflowError):
        return False
    return True


def _getter(columns: Sequence[Column]) -> Callable[[Row], tuple[Any, ...]] | None:
    names = [column.name for column in columns]
    if not names:
        return None
    if len(names) == 1:  # itemgetter of one name would return the bare value
        name = names[0]
        return lambda row: (row[name],)
    return itemgetter(*names)
