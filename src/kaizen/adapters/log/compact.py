"""Sealed segments as Parquet: smaller, typed, and readable by everybody.

    00000001.predictions.parquet   origin · id · at · unit · output · propensity · latency_us · request
                                   · endpoint · revision · bundle · role · input.<column> …
    00000001.labels.parquet        id · value · at

Rows stay in the order in which they were appended. The raw segment is what counts for as long as it is there:
the Parquet files are written beside it, brought to the disk, and then the segment is unlinked. A crash before
that leaves files that are written again; after it, there is nothing left to do. `compacted` reads them back.
A log that is encrypted is packed instead (`pack.py`), in the same order of events.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.adapters.log import frames
from kaizen.adapters.log.compacted import FACTS, Footer, Input, connect, escaped, groups_of, quoted
from kaizen.adapters.log.frames import Batch, Origin
from kaizen.adapters.log.pack import pack
from kaizen.adapters.log.scan import EVER, RawSegment, Reader
from kaizen.core.errors import StoreError
from kaizen.core.plugins import missing
from kaizen.core.records import Column, LabelBatch, PredictionBatch

if TYPE_CHECKING:
    from kaizen.adapters.log.cipher import Keyring

try:
    import duckdb
except ModuleNotFoundError as err:
    raise missing(err) from err

_GROUP_ROWS = 8192  # what a scan of a short range has to decode at least
_LOCK = "compact.lock"


def compact(folder: Path, reader: Reader, keys: Keyring | None = None) -> int:
    """Turn the sealed segments of a log into Parquet and return how many; one process at a time, others wait.

    With keys they are packed and encrypted, whether they were encrypted before or not, and so is what was packed
    with an older key.
    """
    if frames.newest_segment(folder) < 2:
        return 0
    try:
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            sealed = reader.sealed()
            for number, raw in sealed:
                _compact_segment(folder, number, raw, keys)
            outdated = reader.outdated()
            for _, raw in outdated:
                _seal_anew(raw, keys)
    except (OSError, duckdb.Error) as err:
        raise StoreError(
            f"a segment could not be compacted: {err}",
            where=str(folder),
            fix="nothing is lost; free space on this disk or check the folder's permissions, and do it again",
        ) from err
    return len(sealed) + len(outdated)


def _compact_segment(folder: Path, number: int, raw: RawSegment, keys: Keyring | None) -> None:
    if keys is None:
        _to_parquet(folder, number, raw)
    else:
        pack(frames.packed_path(folder, number), raw, keys)
    _sync_folder(folder)
    raw.path.unlink()
    _sync_folder(folder)


def _seal_anew(raw: RawSegment, keys: Keyring | None) -> None:
    if keys is not None:
        pack(raw.path, raw, keys)
        _sync_folder(raw.path.parent)


def _to_parquet(folder: Path, number: int, raw: RawSegment) -> None:
    predictions = [b for b in _all(raw, frames.PREDICTIONS) if isinstance(b, PredictionBatch)]
    labels = [b for b in _all(raw, frames.LABELS) if isinstance(b, LabelBatch)]
    if predictions:
        _write(frames.parquet_path(folder, number, frames.PREDICTIONS), *_prediction_table(predictions))
    if labels:
        _write(frames.parquet_path(folder, number, frames.LABELS), *_label_table(labels))


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
    for fact in FACTS:  # for people who read the file; the metadata has them too
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
    for (dtype, absent, group), values in zip(groups_of(columns), _matrices(batches, len(rows)), strict=True):
        for position, column in enumerate(group):
            target = table.setdefault(names[column], np.full(count, absent, dtype=dtype))
            target[rows] = values[:, position]


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
    with connect() as sql:
        # Every row is looked at for the type of a column; a sample of nothing but None would be no text.
        sql.execute(f"SET pandas_analyze_sample = {len(table['id'])}")
        sql.register("segment", dict(table))
        select = ", ".join(f"{quoted(n)}::VARCHAR AS {quoted(n)}" if n in texts else quoted(n) for n in table)
        facts = msgspec.json.encode(footer).decode().replace("'", "''")
        sql.execute(
            f"COPY (SELECT {select} FROM segment) TO '{escaped(draft)}' "
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
