"""Frozen rows: a Parquet blob and a Dataset whose id is the hash of what the rows say.

The id covers names, types and values in order, in the form of a `Frame`. It does not depend on the Parquet writer,
on threads, or on whether the rows came from SQL or from arrays.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from kaizen.core.clock import from_us
from kaizen.core.errors import DataError, StoreError
from kaizen.core.ids import content_id
from kaizen.core.ports import Blobs
from kaizen.core.projectfile import ProjectFile
from kaizen.core.records import Column, Dataset
from kaizen.data.columns import literal, load, quoted
from kaizen.data.target import target_of
from kaizen.graph.frame import MISSING_TIME, Frame, rows_of

_STORED = {
    "number": "CASE WHEN NOT isnan({0}) THEN {0} END",
    "boolean": "CASE WHEN NOT isnan({0}) THEN {0} <> 0 END",
    "time": f"make_timestamptz(nullif({{0}}, CAST('{MISSING_TIME}' AS BIGINT)))",
    "category": "nullif({0}, '')",
    "text": "nullif({0}, '')",
}


def freeze(
    sql: duckdb.DuckDBPyConnection,
    query: str = "rows",
    *,
    columns: Sequence[Column],
    file: ProjectFile,
    blobs: Blobs,
    at: datetime,
    by: str,
    parents: Sequence[str] = (),
) -> Dataset:
    """Freeze these columns of a query (or a view, by name), in its order, and return the record.

    The target is stored as a number, read by the rows of this query alone (see `target_of`). Freezing the same rows
    again gives the same id and blob; the caller looks the id up before storing the record.

    Raises
    ------
    DataError
        There are no rows, a column is missing, or the target cannot be read.
    """
    target = target_of(sql, query, file=file)
    source = query if query.lstrip().upper().startswith("SELECT") else f"SELECT * FROM {quoted(query)}"
    read = f"SELECT * REPLACE ({target.sql} AS {quoted(target.name)}) FROM ({source})"
    typed = [target.column if column.name == target.name else column for column in columns]
    frame = load(sql, read, typed)
    return freeze_frame(frame, typed, file=file, blobs=blobs, at=at, by=by, parents=parents)


def freeze_frame(
    frame: Frame,
    columns: Sequence[Column],
    *,
    file: ProjectFile,
    blobs: Blobs,
    at: datetime,
    by: str,
    parents: Sequence[str] = (),
) -> Dataset:
    """Freeze a frame and return the record; the same values give the same id as `freeze`."""
    if not columns or rows_of(frame) == 0:
        raise DataError("there are no rows to freeze", where=file.data.source)
    frame = {column.name: _canonical(frame[column.name], column) for column in columns}
    start, end = _range(frame, file.data.time)
    names = {column.name for column in columns}
    return Dataset(
        id=dataset_id(frame, columns),
        project=file.project.name,
        at=at,
        by=by,
        parents=tuple(parents),
        columns=tuple(columns),
        rows=rows_of(frame),
        blob=_put(frame, columns, blobs),
        target=file.data.target,
        time=file.data.time if file.data.time in names else None,
        unit=file.data.unit if file.data.unit in names else None,
        start=start,
        end=end,
    )


def load_dataset(dataset: Dataset, blobs: Blobs) -> Frame:
    """Return the rows of a dataset, as they were frozen."""
    with opened(dataset, blobs) as sql:
        return load(sql, "rows", dataset.columns)


@contextmanager
def opened(dataset: Dataset, blobs: Blobs) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection on which `rows` are those of a dataset; `DataError` if they cannot be read."""
    sql = duckdb.connect(":memory:")
    sql.execute("SET TimeZone = 'UTC'")
    try:
        sql.execute(f"CREATE VIEW rows AS SELECT * FROM read_parquet({literal(str(blobs.path(dataset.blob)))})")
        yield sql
    except duckdb.Error as err:
        raise DataError(f"the rows of dataset {dataset.id} cannot be read: {err}", where=dataset.blob) from err
    finally:
        sql.close()


def dataset_id(frame: Frame, columns: Sequence[Column]) -> str:
    """Return the content id of a frame: names, types, values and order."""
    return content_id(
        *(part for column in columns for part in (column, _digest(_canonical(frame[column.name], column))))
    )


def _canonical(values: NDArray[Any], column: Column) -> NDArray[Any]:
    """Return the values in the one form that stands for them: one NaN, and yes or no as 1 or 0."""
    if column.type in ("category", "text"):
        return np.asarray(values, np.object_)
    if column.type == "time":
        return np.ascontiguousarray(values, np.int64)
    numbers = np.ascontiguousarray(values, np.float64)
    finite = np.isfinite(numbers)
    if not finite.all():
        numbers = np.where(finite, numbers, np.nan)
    return np.where(np.isnan(numbers), np.nan, (numbers != 0)) if column.type == "boolean" else numbers


def _digest(values: NDArray[Any]) -> bytes:
    digest = hashlib.blake2b(digest_size=20)
    if values.dtype == np.object_:
        texts = values.tolist()
        digest.update(np.fromiter(map(len, texts), "<i8", len(texts)).data)  # "ab", "c" is not "a", "bc"
        digest.update("".join(texts).encode("utf-8", "surrogatepass"))
    else:
        digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
    return digest.digest()


def _put(frame: Frame, columns: Sequence[Column], blobs: Blobs) -> str:
    sql = duckdb.connect(":memory:")
    sql.execute("SET TimeZone = 'UTC'")
    picked = ", ".join(f"{_STORED[c.type].format(quoted(f'c{i}'))} AS {quoted(c.name)}" for i, c in enumerate(columns))
    with tempfile.TemporaryDirectory(prefix="kaizen-") as folder:
        path = Path(folder) / "rows.parquet"
        try:
            sql.register("frame", {f"c{i}": frame[column.name] for i, column in enumerate(columns)})
            sql.execute(f"COPY (SELECT {picked} FROM frame) TO {literal(str(path))} (FORMAT parquet, COMPRESSION zstd)")
        except duckdb.IOException as err:
            what = f"the rows were not frozen: {str(err).splitlines()[0]}"
            raise StoreError(what, where=folder, fix="make room on the disk of temporary files") from err
        finally:
            sql.close()
        return blobs.put(path)


def _range(frame: Frame, time: str | None) -> tuple[datetime | None, datetime | None]:
    if time is None or time not in frame:
        return None, None
    known = frame[time][frame[time] != MISSING_TIME]
    if not len(known):
        return None, None
    return from_us(int(known.min())), from_us(int(known.max()))
