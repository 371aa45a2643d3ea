"""A table, column by column, as what a monitor counts: numbers in pieces, labels by block, moments, texts.

No more than one column of `PIECE` rows is in memory at a time: a table may be larger than it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import duckdb
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Column, ColumnType
from kaizen.data.columns import kind_of, quoted, stored_types, texts_of, value_of
from kaizen.graph.frame import MISSING_TIME, Frame

PIECE = 1 << 24  # rows of a column that are in memory at once
SAMPLE = 1 << 21  # rows that bins are chosen on, of a table with more than a piece
TEXTS = 20_000  # rows of a text that are read
LABELS = 20_000  # labels that are told apart in a column; those beyond are rare
STRETCHES = 30  # blocks of a table without a time: so many stretches of rows
DAY_US = 86_400_000_000
_DTYPES: Final = {"number": np.float64, "boolean": np.float64}
_OTHER = "\x1a"  # stands for all labels beyond `LABELS`
_FIRST = 2048  # rows that show that numbers are not whole, where they are not
_ROWS_OF_A_COUNTER = 100  # fewer may all differ by chance
_OFTEN_NEW = 0.1  # share of the rows of a counter that have a number of their own
_GROWS = 0.95  # correlation with the order of rows, or with their time


class Table:
    """The view `rows` of a connection, and its columns as arrays.

    Parameters
    ----------
    sql, view
        See `kaizen.data.tables.read`.
    address
        What it is called.
    """

    def __init__(self, sql: duckdb.DuckDBPyConnection, address: str, view: str = "rows") -> None:
        self.sql = sql
        self._from = f"FROM {quoted(view)}"
        self.view = view
        self.address = address
        self.stored = stored_types(sql, f"SELECT * {self._from}")
        counts = "".join(f", count({quoted(name)})" for name in self.stored)
        rows, *filled = self._one(f"SELECT count(*){counts} {self._from}")
        self.rows = int(rows)
        self.filled = {name: int(count) for name, count in zip(self.stored, filled, strict=True)}
        self.time: str | None = None
        """The column by whose days rows come, once somebody has said so; else blocks are stretches of rows."""

    def kinds(self) -> dict[str, ColumnType | None]:
        """Return the type that each column is compared as; None: it has none."""
        kinds = {name: kind_of(stored) for name, stored in self.stored.items()}
        texts = texts_of(self.sql, self.view, [name for name, kind in kinds.items() if kind == "category"])
        return {name: "text" if name in texts else kind for name, kind in kinds.items()}

    def blocks(self) -> NDArray[np.int64]:
        """Return the block of each row, shape (rows,): its day, or the stretch of the table that it is in."""
        if self.time is None:
            return np.arange(self.rows, dtype=np.int64) * STRETCHES // max(self.rows, 1)
        days = self.moments(self.time) // DAY_US
        missing = days == MISSING_TIME // DAY_US
        if missing.any() and not missing.all():
            days[missing] = int(np.median(days[~missing]))
        return days

    def moments(self, name: str, step: int = 1) -> NDArray[np.int64]:
        """Return a column of times, of every `step`-th row, as microseconds since 1970."""
        value = f"coalesce({self._value(name, 'time')}, CAST('{MISSING_TIME}' AS BIGINT))"
        return np.asarray(self._array(value, step), np.int64)

    def span(self, name: str) -> tuple[int, int] | None:
        """Return the first and the last moment of a column, microseconds since 1970; None if it has none."""
        value = self._value(name, "time")
        low, high = self._one(f"SELECT min({value}), max({value}) {self._from}")
        return None if low is None else (int(low), int(high))

    def days_of(self, name: str) -> int:
        """Return on how many days the moments of a column fall."""
        return int(self._one(f"SELECT count(DISTINCT {self._value(name, 'time')} // {DAY_US}) {self._from}")[0])

    def numbers(self, name: str) -> Iterator[NDArray[np.float32]]:
        """Yield a column as 32-bit floats, NaN where missing or no number, in pieces of at most `PIECE` rows."""
        asked = f"SELECT {self._number(name)} AS v {self._from}"
        if self.rows <= PIECE:
            yield self._fetched(asked)
            return
        for start in range(0, self.rows, PIECE):
            yield self._fetched(f"{asked} LIMIT {PIECE} OFFSET {start}")

    def sample(self, name: str) -> NDArray[np.float32]:
        """Return some of a column's numbers, the same each time: what the bins of a large table are chosen on."""
        asked = f"SELECT {self._number(name)} AS v {self._from}"
        return self._fetched(f"SELECT * FROM ({asked}) USING SAMPLE reservoir({SAMPLE} ROWS) REPEATABLE (0)")

    def labels(self, name: str, *, by_block: bool = True) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
        """Return the labels of a column by block: label ("": missing), block, and how often, one entry each.

        Without `by_block` all rows are of block 0.
        """
        block = self._block() if by_block else "0"
        source = f"SELECT coalesce({self._value(name, 'category')}, '') AS v, {block} AS b {self._from}"
        if int(self._one(f"SELECT approx_count_distinct(v) FROM ({source})")[0]) > LABELS:
            kept = f"SELECT v FROM ({source}) GROUP BY v ORDER BY count(*) DESC, v LIMIT {LABELS}"
            source = f"SELECT CASE WHEN v = '' OR v IN ({kept}) THEN v ELSE '{_OTHER}' END AS v, b FROM ({source})"
        found = self.sql.execute(f"SELECT v, b, count(*) AS n FROM ({source}) GROUP BY v, b ORDER BY v, b")
        arrays = {name: np.ma.getdata(values) for name, values in found.fetchnumpy().items()}
        return arrays["v"].tolist(), arrays["b"].astype(np.int64), arrays["n"].astype(np.int64)

    def column(self, name: str, type_: ColumnType, step: int = 1) -> NDArray[Any]:
        """Return a column of every `step`-th row, as a `Frame` has it."""
        if type_ == "time":
            return self.moments(name, step)
        return np.asarray(self._array(self._held(name, type_), step), _DTYPES.get(type_, np.object_))

    def frame(self, columns: Sequence[Column], step: int = 1) -> Frame:
        """Return columns of every `step`-th row, numbers and labels, in one pass."""
        if not columns:
            return {}
        picked = ", ".join(f"{self._held(c.name, c.type)} AS c{place}" for place, c in enumerate(columns))
        numbered = f"SELECT {picked}, row_number() OVER () - 1 AS r {self._from}"
        found = self.sql.execute(f"SELECT * FROM ({numbered}) WHERE r % {step} = 0 ORDER BY r").fetchnumpy()
        return {
            c.name: np.asarray(np.ma.getdata(found[f"c{place}"]), _DTYPES.get(c.type, np.object_))
            for place, c in enumerate(columns)
        }

    def extremes(self, name: str) -> tuple[float, float]:
        """Return the smallest and the largest number of a column; NaN where it has none."""
        value = self._value(name, "number")
        low, high = self._one(f"SELECT min({value}), max({value}) {self._from}")
        return (np.nan, np.nan) if low is None else (float(low), float(high))

    def is_counter(self, name: str) -> bool:
        """Say whether a column counts the rows, or what they belong to: whole numbers that hardly repeat and only grow.

        They grow with the rows or with their time, or, where each is there once, have no gaps.
        """
        if kind_of(self.stored[name]) != "number" or self.filled[name] < max(0.99 * self.rows, _ROWS_OF_A_COUNTER):
            return False
        x = quoted(name)
        if not self._one(f"SELECT bool_and(x = floor(x)) FROM (SELECT {x} AS x {self._from} LIMIT {_FIRST})")[0]:
            return False
        about, whole, low, high = self._one(
            f"SELECT approx_count_distinct({x}), bool_and({x} = floor({x})), min({x}), max({x}) {self._from}"
        )
        if not whole or about < _OFTEN_NEW * self.rows:
            return False
        if about > 0.85 * self.rows and float(high) - float(low) < 2 * self.rows:
            distinct = self._one(f"SELECT count(DISTINCT {x}) {self._from}")[0]
            if distinct == self.rows:
                return True
        orders = ["row_number() OVER ()"] + ([self._value(self.time, "time")] if self.time is not None else [])
        growth = ", ".join(f"corr(CAST(x AS DOUBLE), CAST(o{i} AS DOUBLE))" for i in range(len(orders)))
        picked = ", ".join(f"{order} AS o{i}" for i, order in enumerate(orders))
        found = self._one(f"SELECT {growth} FROM (SELECT {x} AS x, {picked} {self._from})")
        return any(each is not None and each > _GROWS for each in found)

    def _held(self, name: str, type_: ColumnType) -> str:
        nothing = "''" if type_ in ("category", "text") else "'nan'::DOUBLE"
        return f"coalesce({self._value(name, type_)}, {nothing})"

    def _block(self) -> str:
        if self.time is not None:
            return f"coalesce({self._value(self.time, 'time')} // {DAY_US}, 0)"
        return f"(row_number() OVER () - 1) * {STRETCHES} // {max(self.rows, 1)}"

    def _number(self, name: str) -> str:
        x, stored = quoted(name), self.stored[name]
        if stored in ("FLOAT", "DOUBLE"):
            held = x if stored == "FLOAT" else f"CAST(greatest(least({x}, 1e38), -1e38) AS FLOAT)"
            return f"CASE WHEN isfinite({x}) THEN {held} ELSE 'nan'::FLOAT END"
        value = self._value(name, "number")
        held = f"CAST(greatest(least({value}, 1e38), -1e38) AS FLOAT)"  # of NULL and a number they give the number
        return f"CASE WHEN {value} IS NULL THEN 'nan'::FLOAT ELSE {held} END"

    def _value(self, name: str, type_: ColumnType) -> str:
        """Return the SQL of a value read as a type, NULL where it cannot be."""
        stored = self.stored[name]
        tried = f"TRY_CAST(CAST({quoted(name)} AS VARCHAR) AS "
        if type_ in ("number", "boolean") and kind_of(stored) not in ("number", "boolean"):
            return f"CASE WHEN isfinite({tried}DOUBLE)) THEN {tried}DOUBLE) END"
        if type_ == "time" and kind_of(stored) != "time":
            return f"epoch_us({tried}TIMESTAMPTZ))"
        return value_of(Column(name, type_), stored)

    def _array(self, value: str, step: int) -> NDArray[Any]:
        if step == 1:
            return self._fetched(f"SELECT {value} AS v {self._from}")
        numbered = f"SELECT {value} AS v, row_number() OVER () - 1 AS r {self._from}"
        return self._fetched(f"SELECT v FROM ({numbered}) WHERE r % {step} = 0")

    def _fetched(self, query: str) -> NDArray[Any]:
        return np.asarray(np.ma.getdata(self.sql.execute(query).fetchnumpy()["v"]))

    def _one(self, query: str) -> tuple[Any, ...]:
        found: Any = self.sql.execute(query).fetchone()
        return tuple(found)
