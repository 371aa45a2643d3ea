"""Rows of requests, checked by compiled types and kept as flat lists until their batch is packed.

msgspec checks rows against a struct made from the signature, in C and at a fifth of the cost of doing it in
Python. What it refuses is read again by `RowReader`, which knows the rarer forms (0 for false, a bare date) and
explains what is wrong; so there is one authority on what is accepted, and the fast way only agrees with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import BundleError, RequestError, nearest
from kaizen.core.records import Column
from kaizen.graph.frame import MISSING_TIME, Feeds, RowReader, grouped
from kaizen.graph.rows import GROUP, parse_time

_TYPES: dict[str, Any] = {
    "number": float | None,
    "boolean": bool | None,
    "time": str | int | None,
    "category": str | None,
    "text": str | None,
}


_cells = msgspec.structs.astuple
_UNNAMEABLE = re.compile(r'["\\\x00-\x1f]')  # what msgspec does not take in a field's name


class Inputs:
    """Some rows, as flat row-major lists by type, or as the tensors themselves."""

    __slots__ = ("feeds", "numbers", "rows", "strings", "times")

    def __init__(self, rows: int, feeds: Feeds | None = None) -> None:
        self.rows = rows
        self.feeds = feeds
        self.numbers: list[Any] = []
        self.times: list[int] = []
        self.strings: list[str] = []


class Reader:
    """Reads and packs the rows of one signature.

    Parameters
    ----------
    columns
        The columns of a row.
    required
        How many of them, from the first, every row must have; another that is absent is missing.
    """

    def __init__(self, columns: Sequence[Column], required: int) -> None:
        self.columns = tuple(columns)
        self.required = required
        groups = grouped(self.columns)
        self.numbers = groups.get("numbers", ())
        self.times = groups.get("times", ())
        self.strings = groups.get("strings", ())
        self._ordered = (*self.numbers, *self.times, *self.strings)
        self._first_time = len(self.numbers)
        self._first_string = self._first_time + len(self.times)
        self._optional = {column.name: None for column in self.columns[required:]}
        self._careful = RowReader(self.columns)
        self.row_type = _row_type(self._ordered, self._optional)

    def read(self, rows: Sequence[Any]) -> Inputs:
        """Return the inputs of rows that have `row_type`; raise `ValueError` if a time is none."""
        inputs = Inputs(len(rows))
        first_time, first_string = self._first_time, self._first_string
        numbers, times, strings = inputs.numbers, inputs.times, inputs.strings
        for row in rows:
            values = _cells(row)
            numbers += values[:first_time]
            if first_time != first_string:
                times += map(parse_time, values[first_time:first_string])
            texts = values[first_string:]
            strings += texts if None not in texts else [text or "" for text in texts]
        return inputs

    def read_carefully(self, rows: Sequence[Any]) -> Inputs:
        """Return the inputs of rows as JSON gives them; raise `RequestError` that names what is wrong."""
        if self._optional:
            rows = [{**self._optional, **row} if isinstance(row, dict) else row for row in rows]
        return Inputs(len(rows), self._careful.feeds(rows))

    def pack(self, parts: Sequence[Inputs]) -> Feeds:
        """Return the tensors of several inputs, one after the other."""
        if len(parts) == 1 and parts[0].feeds is not None:
            return parts[0].feeds
        if any(part.feeds is not None for part in parts):
            packed = [part.feeds if part.feeds is not None else self.pack([part]) for part in parts]
            return {group: np.concatenate([feeds[group] for feeds in packed]) for group in packed[0]}
        numbers: list[Any] = []
        times: list[int] = []
        strings: list[str] = []
        for part in parts:
            numbers += part.numbers
            times += part.times
            strings += part.strings
        feeds: Feeds = {}
        if self.numbers:
            feeds["numbers"] = np.array(numbers, np.float64).reshape(-1, len(self.numbers))  # None becomes NaN
        if self.times:
            feeds["times"] = np.array(times, np.int64).reshape(-1, len(self.times))
        if self.strings:
            feeds["strings"] = np.array(strings, np.object_).reshape(-1, len(self.strings))
        return feeds

    def missing(self, rows: int) -> Feeds:
        """Return rows in which everything is missing: what a model is warmed up with."""
        nothing = Inputs(rows)
        nothing.numbers = [None] * (rows * len(self.numbers))
        nothing.times = [MISSING_TIME] * (rows * len(self.times))
        nothing.strings = [""] * (rows * len(self.strings))
        return self.pack([nothing])

    def filled(self, frame: Mapping[str, NDArray[Any]], rows: int) -> dict[str, NDArray[Any]]:
        """Return a frame with the optional columns it lacks, all missing."""
        empty: dict[str, Any] = {"numbers": np.nan, "times": MISSING_TIME, "strings": ""}
        lacking = [column for column in self.columns[self.required :] if column.name not in frame]
        kinds = {"numbers": np.float64, "times": np.int64, "strings": np.object_}
        return dict(frame) | {c.name: np.full(rows, empty[GROUP[c.type]], kinds[GROUP[c.type]]) for c in lacking}

    def selection(self, columns: Sequence[Column]) -> dict[str, list[int]] | None:
        """Return where these columns stand in the tensors, by group; None if they are the tensors."""
        if tuple(columns) == self.columns:
            return None
        own = {"numbers": self.numbers, "times": self.times, "strings": self.strings}
        return {g: [own[g].index(column) for column in members] for g, members in grouped(columns).items()}


def union(signatures: Sequence[Sequence[Column]]) -> tuple[Column, ...]:
    """Return the columns of all signatures, those of the first first; raise `BundleError` if types disagree."""
    columns: dict[str, Column] = {}
    for column in (column for signature in signatures for column in signature):
        known = columns.setdefault(column.name, column)
        if known.type != column.type:
            raise BundleError(
                f"one arm reads column {column.name!r} as {known.type}, another as {column.type}",
                fix="train the arms of an endpoint on the same types",
            )
    return tuple(columns.values())


def pick(parts: Inputs, rows: Sequence[int], reader: Reader) -> Inputs:
    """Return some of the rows."""
    if parts.feeds is not None:
        index = list(rows)
        return Inputs(len(index), {group: tensor[index] for group, tensor in parts.feeds.items()})
    picked = Inputs(len(rows))
    numbers, times, strings = len(reader.numbers), len(reader.times), len(reader.strings)
    for row in rows:
        picked.numbers += parts.numbers[row * numbers : (row + 1) * numbers]
        picked.times += parts.times[row * times : (row + 1) * times]
        picked.strings += parts.strings[row * strings : (row + 1) * strings]
    return picked


def explained(err: Exception, known: Sequence[str] = ()) -> RequestError:
    """Return what msgspec found wrong in a body, in our words; `known` are the members it may have."""
    if isinstance(err, RecursionError):
        return RequestError("it nests too deeply", where="body")
    malformed = _not_json(err)
    if malformed is not None:
        return RequestError(f"the body is not JSON: {malformed}")
    what, _, place = str(err).partition(" - at `")
    where = place.rstrip("`").lstrip("$").lstrip(".") or "body"
    what = what.replace("Object missing required field", "it lacks", 1).replace("Object", "it", 1).replace("`", "'")
    unknown = re.fullmatch(r"it contains unknown field '(.*)'", what, re.DOTALL)
    if unknown is None:
        return RequestError(f"{what[:1].lower()}{what[1:]}", where=where)
    return RequestError(f"unknown member {unknown[1][:64]!r}", where=where, fix=nearest(unknown[1], known))


def _not_json(err: Exception) -> str | None:
    """Return why a body is no JSON, None if it is."""
    if isinstance(err, UnicodeDecodeError):
        return "a text in it is not UTF-8"
    if isinstance(err, msgspec.ValidationError) or not isinstance(err, msgspec.DecodeError):
        return None
    return "it ends too early" if "truncated" in str(err) else str(err).removeprefix("JSON is malformed: ")


def _row_type(ordered: Sequence[Column], optional: dict[str, None]) -> type[msgspec.Struct] | None:
    # The fields are numbered, because a column may be called anything; keyword-only, so that order is free.
    if any(_UNNAMEABLE.search(column.name) for column in ordered):
        return None
    fields: list[Any] = []
    for index, column in enumerate(ordered):
        kind = _TYPES[column.type]
        fields.append((f"c{index}", kind, None) if column.name in optional else (f"c{index}", kind))
    names = {f"c{index}": column.name for index, column in enumerate(ordered)}
    return msgspec.defstruct("Row", fields, rename=names, kw_only=True, forbid_unknown_fields=True, gc=False)
