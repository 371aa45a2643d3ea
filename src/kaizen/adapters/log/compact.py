"""Sealed segments as Parquet: smaller, typed, and readable by everybody.

    00000001.predictions.parquet   origin · id · at · unit · output · propensity · latency_us · request
                                   · endpoint · revision · bundle · role · input.<column> …
    00000001.labels.parquet        id · value · at

Rows stay in the order in which they were appended. The raw segment is what counts for as long as it is there:
the Parquet files are written beside it, brought to the disk, and then the segment is unlinked. A crash before
that leaves files that are written again; after it, there is nothing left to do.

DuckDB turns a NaN into NULL and a missing time (NaT) too; reading turns them back. What the columns cannot say
(which columns an arm has, and in which order) is in the file's metadata under "kaizen".
"""

from __future__ import annotations

import fcntl
import functools
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.adapters.log import frames
from kaizen.adapters.log.frames import Batch, Origin
from kaizen.adapters.log.scan import EVER, RawSegment, Reader
from kaizen.core.clock import from_us
from kaizen.core.errors import StoreError
from kaizen.core.plugins import missing
from kaizen.core.records import Column, LabelBatch, PredictionBatch

try:
    import duckdb
except ModuleNotFoundError as err:
    raise missing(err) from err

_BATCH_ROWS = 4096
_GROUP_ROWS = 8192  # what a scan of a short range has to decode at least
_MISSING_TIME = np.iinfo(np.int64).min
_LOCK = "compact.lock"
_FACTS = ("endpoint", "revision", "bundle", "role")


class Input(msgspec.Struct, frozen=True):
    """A column of inputs, and what it is called in the file (names there ignore upper and lower case)."""

    column: Column
    name: str


class Footer(msgspec.Struct, frozen=True):
    """What the metadata of a file says: its range of event times, its arms, and its columns of inputs."""

    low: int
    high: int
    origins: tuple[Origin, ...] = ()
    inputs: tuple[Input, ...] = ()


def compact(folder: Path, reader: Reader) -> int:
    """Turn the sealed segments of a log into Parquet and return how many; one process at a time, others wait."""
    if frames.newest_segment(folder) < 2:
        return 0
    try:
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            sealed = reader.sealed()
            for number, raw in sealed:
                _compact_segment(folder, number, raw)
    except (OSError, duckdb.Error) as err:
        raise StoreError(
            f"a segment could not be compacted: {err}",
            where=str(folder),
            fix="nothing is lost; free space on this disk or check the folder's permissions, and do it again",
        ) from err
    return len(sealed)


def scan(folder: Path, number: int, kind: int, low: int, high: int) -> Iterator[Batch]:
    """Yield the rows of a compacted segment with low <= event time < high, as batches."""
    path = frames.parquet_path(folder, number, kind)
    if not path.exists():
        return
    try:
        footer = _footer(path)
        if footer.low >= high or footer.high < low:
            return
        columns = _read(path, footer, low, high)
    except (duckdb.Error, OSError, msgspec.DecodeError, KeyError) as err:
        raise StoreError(f"cannot be read: {err}", where=str(path), fix="restore it from a backup") from err
    if kind == frames.LABELS:
        yield from _label_batches(columns)
    else:
        yield from _prediction_batches(columns, footer)


# Writing


def _compact_segment(folder: Path, number: int, raw: RawSegment) -> None:
    predictions = [b for b in _all(raw, frames.PREDICTIONS) if isinstance(b, PredictionBatch)]
    labels = [b for b in _all(raw, frames.LABELS) if isinstance(b, LabelBatch)]
    if predictions:
        _write(frames.parquet_path(folder, number, frames.PREDICTIONS), *_prediction_table(predictions))
    if labels:
        _write(frames.parquet_path(folder, number, frames.LABELS), *_label_table(labels))
    _sync_folder(folder)
    raw.path.unlink()
    _sync_folder(folder)


def _all(raw: RawSegment, kind: int) -> Iterator[Batch]:
    return raw.scan(raw.snapshot(kind, *EVER), kind, *EVER)


def _label_table(batches: Sequence[LabelBatch]) -> tuple[dict[str, NDArray[Any]], Footer]:
    at = _flat(batches, "at", np.int64)
    table = {"id": _flat(batches, "ids", object), "value": _flat(batches, "values", np.float64), "at": _times(at)}
    return table, Footer(int(at.min()), int(at.max()))


def _prediction_table(batches: Sequence[PredictionBatch]) -> tuple[dict[str, NDArray[Any]], Footer]:
    found: dict[tuple[Any, ...], int] = {}
    keys = [(b.endpoint, b.revision, b.bundle, b.role, b.columns) for b in batches]
    numbers = [found.setdefault(key, len(found)) for key in keys]
    origins = tuple(Origin(*key) for key in found)
    origin = np.repeat(np.array(numbers, dtype=np.int64), [len(b.ids) for b in batches])  # (rows,)
    at = _flat(batches, "at", np.int64)
    table = {
        "origin": origin,
        "id": _flat(batches, "ids", object),
        "at": _times(at),
        "unit": _flat(batches, "units", object),
        "output": _flat(batches, "outputs", np.float64),
        "propensity": _flat(batches, "propensity", np.float64),
        "latency_us": _flat(batches, "latency_us", np.int64),
        "request": _flat(batches, "requests", object),
    }
    for fact in _FACTS:  # for people who read the file; the metadata has them too
        values = [getattr(o, fact) for o in origins]
        table[fact] = np.array(values, dtype=np.int64 if fact == "revision" else object)[origin]
    inputs = _inputs(origins)
    for number, one in enumerate(origins):
        mine = [batch for batch, of in zip(batches, numbers, strict=True) if of == number]
        _fill_inputs(table, inputs, one.columns, mine, np.flatnonzero(origin == number))
    return table, Footer(int(at.min()), int(at.max()), origins, inputs)


def _inputs(origins: Sequence[Origin]) -> tuple[Input, ...]:
    """Return every column of any arm, each with a name that no other has."""
    names: dict[Column, str] = {}
    for column in (column for origin in origins for column in origin.columns if column not in names):
        taken = {name.lower() for name in names.values()}
        name = f"input.{column.name}"
        names[column] = name if name.lower() not in taken else f"{name}.{len(names)}"
    return tuple(Input(column, name) for column, name in names.items())


def _fill_inputs(
    table: dict[str, NDArray[Any]],
    inputs: Sequence[Input],
    columns: Sequence[Column],
    batches: Sequence[PredictionBatch],
    rows: NDArray[np.int64],
) -> None:
    """Put the inputs of one arm's rows into the table; in rows of other arms a column stays missing."""
    names = {each.column: each.name for each in inputs}
    count = len(table["origin"])
    for (dtype, absent, group), values in zip(_groups(columns), _matrices(batches, len(rows)), strict=True):
        for position, column in enumerate(group):
            target = table.setdefault(names[column], np.full(count, absent, dtype=dtype))
            target[rows] = values[:, position]


def _groups(columns: Sequence[Column]) -> list[tuple[Any, Any, list[Column]]]:
    """Return the columns that travel together: dtype, the value of a missing one, and which they are."""
    return [
        (np.float64, np.nan, [c for c in columns if c.type in ("number", "boolean")]),
        ("M8[us]", np.datetime64("NaT"), [c for c in columns if c.type == "time"]),
        (object, None, [c for c in columns if c.type in ("category", "text")]),
    ]


def _matrices(batches: Sequence[PredictionBatch], rows: int) -> list[NDArray[Any]]:
    numbers = np.frombuffer(b"".join([b.numbers for b in batches]), dtype="<f8")
    times = np.frombuffer(b"".join([b.times for b in batches]), dtype="<i8")
    strings = _flat(batches, "strings", object)
    return [part.reshape(rows, len(part) // rows) for part in (numbers, _times(times), strings)]


def _flat(batches: Sequence[Any], name: str, dtype: Any) -> NDArray[Any]:
    values = [value for batch in batches for value in getattr(batch, name)]
    array = np.empty(len(values), dtype=dtype)
    array[:] = values
    return array


def _times(values: NDArray[Any]) -> NDArray[Any]:
    return values.view("M8[us]")  # the smallest int64 is numpy's NaT and kaizen's missing time


def _write(path: Path, table: Mapping[str, NDArray[Any]], footer: Footer) -> None:
    """Write a table to a file that is there whole or not at all."""
    draft = path.with_suffix(".draft")
    texts = {name for name, column in table.items() if column.dtype == object}
    with _connect() as sql:
        # Every row is looked at for the type of a column; a sample of nothing but None would be no text.
        sql.execute(f"SET pandas_analyze_sample = {len(table['id'])}")
        sql.register("segment", dict(table))
        select = ", ".join(f"{_quoted(n)}::VARCHAR AS {_quoted(n)}" if n in texts else _quoted(n) for n in table)
        facts = msgspec.json.encode(footer).decode().replace("'", "''")
        sql.execute(
            f"COPY (SELECT {select} FROM segment) TO '{_escaped(draft)}' "
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_GROUP_ROWS}, KV_METADATA {{kaizen: '{facts}'}})"
        )
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# Reading


def _connect() -> Any:
    return duckdb.connect(config={"threads": 1, "preserve_insertion_order": True})


_database = functools.cache(_connect)  # to read with: 12 ms to make, and a scan of a day takes 4 ms


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _escaped(path: Path) -> str:
    return str(path).replace("'", "''")


@functools.lru_cache(maxsize=4096)  # a compacted file never changes
def _footer(path: Path) -> Footer:
    with _database().cursor() as sql:
        found = sql.execute("SELECT value FROM parquet_kv_metadata(?) WHERE key = 'kaizen'", [str(path)]).fetchone()
    if found is None:
        raise OSError("it has no kaizen metadata")
    return msgspec.json.decode(found[0], type=Footer)


def _read(path: Path, footer: Footer, low: int, high: int) -> dict[str, NDArray[Any]]:
    bounds = [('"at" >= ?', low)] if footer.low < low else []
    bounds += [('"at" < ?', high)] if footer.high >= high else []
    where = f"WHERE {' AND '.join(condition for condition, _ in bounds)}" if bounds else ""
    values = [from_us(at_us).replace(tzinfo=None) for _, at_us in bounds]  # in DuckDB, too, these times have no zone
    with _database().cursor() as sql:
        query = f"SELECT * EXCLUDE ({', '.join(_FACTS)})" if footer.origins else "SELECT *"
        masked = sql.execute(f"{query} FROM read_parquet(?) {where}", [str(path), *values]).fetchnumpy()
    return {name: _filled(column) for name, column in masked.items()}


def _filled(column: Any) -> NDArray[Any]:
    """Return a column with kaizen's own missing values in place of the mask; times as int64."""
    values: NDArray[Any] = np.ma.getdata(column)
    mask = np.ma.getmaskarray(column)
    if values.dtype.kind == "M":
        return np.where(mask, _MISSING_TIME, values.view(np.int64))
    if mask.any():
        values = values.copy()
        values[mask] = np.nan if values.dtype.kind == "f" else None
    return values


def _label_batches(columns: Mapping[str, NDArray[Any]]) -> Iterator[LabelBatch]:
    ids, values, at = (columns[name].tolist() for name in ("id", "value", "at"))
    for start in range(0, len(ids), _BATCH_ROWS):
        part = slice(start, start + _BATCH_ROWS)
        yield LabelBatch(ids=ids[part], values=values[part], at=at[part])


def _prediction_batches(columns: Mapping[str, NDArray[Any]], footer: Footer) -> Iterator[PredictionBatch]:
    names = ("id", "at", "unit", "output", "propensity", "latency_us", "request")
    ids, at, units, outputs, propensity, latency, requests = (columns[name].tolist() for name in names)
    inputs = [_Inputs(columns, footer, number) for number in range(len(footer.origins))]
    for number, start, end in _runs(columns["origin"]):
        origin, part = footer.origins[number], slice(start, end)
        numbers, times, strings = inputs[number].take(end - start)
        yield PredictionBatch(
            endpoint=origin.endpoint,
            revision=origin.revision,
            bundle=origin.bundle,
            role=origin.role,
            ids=ids[part],
            at=at[part],
            units=units[part],
            outputs=outputs[part],
            propensity=propensity[part],
            latency_us=latency[part],
            requests=requests[part],
            columns=origin.columns,
            numbers=numbers,
            times=times,
            strings=strings,
        )


def _runs(origin: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Yield (origin, start, end) of rows in a row of one arm, no longer than a batch."""
    borders = np.flatnonzero(np.diff(origin, prepend=-1, append=-1)).tolist()
    for start, end in itertools.pairwise(borders):
        for first in range(start, end, _BATCH_ROWS):
            yield int(origin[start]), first, min(first + _BATCH_ROWS, end)


class _Inputs:
    """The inputs of one arm's rows, handed out in order."""

    def __init__(self, columns: Mapping[str, NDArray[Any]], footer: Footer, number: int) -> None:
        rows = np.flatnonzero(columns["origin"] == number)
        names = {each.column: each.name for each in footer.inputs}
        matrices: list[NDArray[Any]] = []
        for _, _, group in _groups(footer.origins[number].columns):
            picked = [columns[names[column]][rows] for column in group]
            matrices.append(np.column_stack(picked) if picked else np.empty((len(rows), 0)))
        self._numbers, self._times, self._strings = matrices
        self._next = 0

    def take(self, rows: int) -> tuple[bytes, bytes, list[str]]:
        """Return the inputs of so many rows more."""
        part = slice(self._next, self._next + rows)
        self._next += rows
        strings: list[str] = self._strings[part].ravel().tolist()
        return self._numbers[part].tobytes(), self._times[part].tobytes(), strings
