"""The rows that were served beside the rows of a table, value by value: what a join of the two says.

    served, in chunks ─► a table on disk ─┐
                                          ├─ by prediction id, or unit and time, or time ─► pairs ─► counts, samples
    the source's rows, joined as ever ────┘

Everything but a few thousand pairs stays in DuckDB, which spills: memory does not grow with the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import duckdb
import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import DataError, nearest
from kaizen.core.records import Column
from kaizen.data.columns import kind_of, literal, quoted, stored_types, value_of
from kaizen.graph.frame import MISSING_TIME, Frame, rows_of

Key: TypeAlias = Literal["prediction id", "unit and time", "time"]

SAMPLE: Final = 2000  # pairs that differ, of a column
_EXPECTED_IDS: Final = ("prediction_id", "kaizen_id")  # what a column of prediction ids is called
_MEMORY: Final = "512MB"  # of DuckDB: what is more is spilled
_ENOUGH: Final = 0.5  # of the served rows: fewer, and it is asked whether all times are off by the same
_OFTEN: Final = 0.2  # of the values
_SHIFT_SAMPLE: Final = 2000
_FARTHEST_S, _STEP_S = 14 * 3600, 900  # of time zones
_MISSING: Final = f"CAST('{MISSING_TIME}' AS BIGINT)"
_TYPES: Final = {"number": "DOUBLE", "boolean": "DOUBLE", "time": "BIGINT", "category": "VARCHAR", "text": "VARCHAR"}
# Beyond what float32, and text with seven digits, round; of times a millisecond.
_DIFFERS: Final = {
    "DOUBLE": "abs({s} - {t}) > greatest(1e-6 * greatest(abs({s}), abs({t})), 1e-12)",
    "BIGINT": "abs({s} - {t}) >= 1000",
    "VARCHAR": "{s} <> {t}",
}


class ServedRows(NamedTuple):
    """Some rows as they were served: ids, units, event times (rows,) in microseconds, and the inputs that are known."""

    ids: list[str]
    units: list[str | None]
    at: NDArray[np.int64]
    frame: Frame


class ColumnPairs(msgspec.Struct, frozen=True, kw_only=True):
    """How a column compares, in pairs of rows of which the log knows the column."""

    column: Column
    stored: str | None  # in the table; None: it has no such column
    pairs: int
    differ: int
    served_missing: int  # where the table has a value
    source_missing: int  # where the served row has one
    served_any: int  # served rows that have a value
    source_any: int


class Pairs(NamedTuple):
    """Pairs that differ, in an order by chance that is always the same: ids, and the values on both sides."""

    ids: list[str]
    served: NDArray[Any]
    source: NDArray[Any]


class Matched(msgspec.Struct, frozen=True, kw_only=True):
    """What could be joined, and by what."""

    key: Key
    served: int  # rows, those asked twice counted once
    source: int  # rows of the table in the time that was served; all of them, by prediction id
    pairs: int
    ambiguous: int  # served rows whose key several rows of the table have
    shift_s: int  # served times are so many seconds later than those of the table
    columns: list[ColumnPairs]


@contextmanager
def matching(
    sql: duckdb.DuckDBPyConnection,
    served: Iterable[ServedRows],
    columns: Sequence[Column],
    *,
    time: str | None,
    unit: str | None,
    identity: str | None = None,
) -> Iterator[Matching]:
    """Hold the served rows beside the view `rows` of a connection, on disk, for as long as the block runs.

    Parameters
    ----------
    columns
        What is compared: the inputs of a model.
    time, unit
        The columns with a row's event time and unit.
    identity
        The table's column with prediction ids; None: `prediction_id`, if there is one.
    """
    with TemporaryDirectory(prefix="kaizen-") as folder:
        try:
            sql.execute(f"SET memory_limit = '{_MEMORY}'")
            sql.execute(f"ATTACH {literal(str(Path(folder) / 'skew.db'))} AS skew")
            made = Matching(sql, tuple(columns), time=time, unit=unit, identity=identity)
            made.take(served)
            yield made
        except duckdb.Error as err:
            says = str(err).splitlines()[0]
            raise DataError(f"the served rows and the table could not be held together: {says}", where="skew") from err
        finally:
            with suppress(duckdb.Error):
                sql.execute("DETACH skew")


class Matching:
    """Served rows and a table, joined. Made by `matching`."""

    def __init__(
        self,
        sql: duckdb.DuckDBPyConnection,
        columns: tuple[Column, ...],
        *,
        time: str | None,
        unit: str | None,
        identity: str | None,
    ) -> None:
        self._sql = sql
        self._columns = columns
        self._stored = stored_types(sql, "SELECT * FROM rows")
        self._time = time if time in self._stored else None
        self._unit = unit if unit in self._stored else None
        self._identity = _identity(identity, self._stored)
        self._forms: dict[tuple[str, ...], int] = {}
        self._known: list[str] = ["false"] * len(columns)  # where the log knows a column

    def take(self, served: Iterable[ServedRows]) -> None:
        """Put the served rows in a table; of an id that was asked twice the first answer counts."""
        values = "".join(f", c{i} {_TYPES[column.type]}" for i, column in enumerate(self._columns))
        self._sql.execute(
            f"CREATE TABLE skew.served (n BIGINT, form INT, id VARCHAR, unit VARCHAR, event_us BIGINT{values})"
        )
        count = 0
        for rows in served:
            self._insert(rows, count)
            count += len(rows.ids)
        self._sql.execute(
            """CREATE TABLE skew.again AS SELECT id, min(n) AS first FROM skew.served GROUP BY id HAVING count(*) > 1;
            DELETE FROM skew.served USING skew.again
            WHERE served.id = again.id AND served.n > again.first"""
        )
        for i, column in enumerate(self._columns):
            having = [str(form) for names, form in self._forms.items() if column.name in names]
            self._known[i] = f"form IN ({', '.join(having)})" if having else "false"

    def join(self) -> Matched:
        """Join what can be joined, and count."""
        key = self._key()
        served, low, high = self._one("SELECT count(*), min(event_us), max(event_us) FROM skew.served")
        shift = 0
        pairs, ambiguous = self._join(key, 0)
        counts = self._counts()
        if key != "prediction id" and (pairs + ambiguous < _ENOUGH * served or self._often_differ(counts)):
            shift = self._shift(key)
            if shift:
                pairs, ambiguous = self._join(key, shift)
                counts = self._counts()
        return Matched(
            key=key,
            served=served,
            source=self._source_rows(key, low, high, shift),
            pairs=pairs,
            ambiguous=ambiguous,
            shift_s=shift,
            columns=counts,
        )

    def differing(self, column: Column) -> Pairs:
        """Return pairs of a column that differ, at most `SAMPLE`."""
        i = self._columns.index(column)
        rows = self._sql.execute(
            f"SELECT id, s{i}, t{i} FROM skew.pairs WHERE {self._differs(i)} ORDER BY hash(id), id LIMIT {SAMPLE}"
        ).fetchall()
        return _pairs(column, rows)

    def earlier(self, column: Column) -> Pairs:
        """Return the same pairs with, in place of the table's value, the one of the unit's row before."""
        i = self._columns.index(column)
        rows = self._sql.execute(
            f"SELECT id, s, p FROM (SELECT id, s{i} AS s, {self._differs(i)} AS differs,"
            f" lag(t{i}) OVER (PARTITION BY unit ORDER BY event_us) AS p FROM skew.pairs)"
            f" WHERE differs ORDER BY hash(id), id LIMIT {SAMPLE}"
        ).fetchall()
        return _pairs(column, rows)

    def some(self, column: Column, rows: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return values of a column on both sides, whether or not they can be joined: at most so many of each."""
        i = self._columns.index(column)
        picked = [f"SELECT c{i} FROM skew.served WHERE {self._known[i]}"]
        picked += [f"SELECT {self._read(column)} FROM rows"] if column.name in self._stored else []
        found = [
            _array(
                column, self._sql.execute(f"{query} USING SAMPLE reservoir({rows} ROWS) REPEATABLE (1)").fetchall(), 0
            )
            for query in picked
        ]
        return found[0], found[1] if len(found) == 2 else found[0][:0]

    # Inside

    def _insert(self, rows: ServedRows, start: int) -> None:
        n = len(rows.ids)
        assert rows_of(rows.frame) in (0, n)
        form = self._forms.setdefault(tuple(sorted(rows.frame)), len(self._forms))
        known = {f"c{i}": rows.frame[c.name] for i, c in enumerate(self._columns) if c.name in rows.frame}
        fixed = {
            "n": np.arange(start, start + n),
            "id": np.array(rows.ids, dtype=object),
            "unit": np.array([unit or "" for unit in rows.units], dtype=object),
            "event_us": np.asarray(rows.at, np.int64),
        }
        self._sql.register("served_chunk", fixed | known)
        picked = [f"n, {form}, id, nullif(unit, ''), event_us"]
        picked += [_given(column, f"c{i}") if f"c{i}" in known else "NULL" for i, column in enumerate(self._columns)]
        self._sql.execute(f"INSERT INTO skew.served SELECT {', '.join(picked)} FROM served_chunk")
        self._sql.unregister("served_chunk")

    def _key(self) -> Key:
        if self._identity is not None:
            return "prediction id"
        if self._time is None:
            raise DataError(
                "the served rows can be joined with the table by nothing",
                where="skew",
                fix="declare time (and unit) under [data], or name the column that has prediction ids: --id COLUMN",
            )
        with_unit, every = self._one("SELECT count(unit), count(*) FROM skew.served")
        return "unit and time" if self._unit is not None and 2 * with_unit >= every else "time"

    def _keys(self, key: Key) -> tuple[str, str]:
        """Return the key of a row of the table and of a served row; the latter has `{shift}` in it."""
        if key == "prediction id":
            return f"CAST({quoted(self._identity or '')} AS VARCHAR)", "id"
        at, unit = self._read(Column(self._time or "", "time")), _text(self._unit, self._stored)
        if key == "time":
            return at, "event_us - {shift}"
        return (
            f"struct_pack(unit := {unit}, event_us := {at})",
            "struct_pack(unit := unit, event_us := event_us - {shift})",
        )

    def _join(self, key: Key, shift_s: int) -> tuple[int, int]:
        """Make the table of pairs; return how many there are, and how many served rows have several candidates."""
        own, asked = self._keys(key)
        asked = asked.format(shift=shift_s * 1_000_000)
        values = "".join(f", {self._read(column)} AS t{i}" for i, column in enumerate(self._columns))
        self._sql.execute(
            f"CREATE OR REPLACE TABLE skew.source AS SELECT {own} AS key{values} FROM rows"
            f" WHERE {own} IN (SELECT {asked} FROM skew.served)"
        )
        self._sql.execute(
            "CREATE OR REPLACE TABLE skew.twice AS SELECT key FROM skew.source GROUP BY key HAVING count(*) > 1"
        )
        served = "".join(f", c{i} AS s{i}, t{i}" for i in range(len(self._columns)))
        self._sql.execute(
            f"CREATE OR REPLACE TABLE skew.pairs AS SELECT id, form, unit, event_us{served}"
            f" FROM (SELECT *, {asked} AS key FROM skew.served) JOIN skew.source USING (key)"
            " WHERE key NOT IN (SELECT key FROM skew.twice)"
        )
        (pairs,) = self._one("SELECT count(*) FROM skew.pairs")
        (ambiguous,) = self._one(f"SELECT count(*) FROM skew.served WHERE {asked} IN (SELECT key FROM skew.twice)")
        return pairs, ambiguous

    def _often_differ(self, counts: Sequence[ColumnPairs]) -> bool:
        """Say whether many values differ: then rows may have met that only by chance have the same time."""
        told = [each for each in counts if self._tells(each.column) and each.pairs]
        return sum(each.differ / each.pairs for each in told) > _OFTEN * len(told)

    def _tells(self, column: Column) -> bool:
        """Say whether a column's values tell rows apart; other times are off as the event time is."""
        return column.type != "time" and column.name != self._unit

    def _shift(self, key: Key) -> int:
        """Return by how many seconds served times are later: what joins most rows whose values are the same."""
        own, asked = self._keys(key)
        told = [i for i, column in enumerate(self._columns) if self._tells(column)]
        values = "".join(f", {self._read(self._columns[i])} AS t{i}" for i in told)
        served = "".join(f", c{i} AS s{i}" for i in told)
        same = " + ".join(f"CAST(NOT {self._differs(i)} AS INT)" for i in told) or "0"
        found = self._sql.execute(
            f"""WITH sampled AS (SELECT * FROM skew.served ORDER BY hash(id), id LIMIT {_SHIFT_SAMPLE}),
            shifts AS (SELECT range AS shift FROM range(-{_FARTHEST_S}, {_FARTHEST_S} + 1, {_STEP_S})),
            asked AS (SELECT id, form, shift, {asked.format(shift="shift * 1000000")} AS key{served}
                FROM sampled, shifts),
            met AS (SELECT id, shift, max(1 + {same}) AS same
                FROM asked JOIN (SELECT {own} AS key{values} FROM rows) USING (key) GROUP BY id, shift)
            SELECT shift, count(*), sum(same) FROM met GROUP BY shift ORDER BY 3 DESC, abs(shift), shift"""
        ).fetchall()
        (tried,) = self._one(f"SELECT least(count(*), {_SHIFT_SAMPLE}) FROM skew.served")
        unshifted = next((same for shift, _, same in found if shift == 0), 0)
        is_better = bool(found) and found[0][1] >= _ENOUGH * tried and found[0][2] > 1.1 * unshifted
        return int(found[0][0]) if is_better else 0

    def _source_rows(self, key: Key, low: int | None, high: int | None, shift_s: int) -> int:
        where = ""
        if key != "prediction id" and low is not None and high is not None:
            at = self._read(Column(self._time or "", "time"))
            where = f" WHERE {at} BETWEEN {low - shift_s * 1_000_000} AND {high - shift_s * 1_000_000}"
        return int(self._one(f"SELECT count(*) FROM rows{where}")[0])

    def _counts(self) -> list[ColumnPairs]:
        found = []
        for i, column in enumerate(self._columns):
            known = self._known[i]
            row = self._one(
                f"SELECT count(*), count(*) FILTER (WHERE {self._differs(i)}),"
                f" count(*) FILTER (WHERE s{i} IS NULL AND t{i} IS NOT NULL),"
                f" count(*) FILTER (WHERE t{i} IS NULL AND s{i} IS NOT NULL), count(s{i}), count(t{i})"
                f" FROM skew.pairs WHERE {known}"
            )
            names = ("pairs", "differ", "served_missing", "source_missing", "served_any", "source_any")
            counts = dict(zip(names, map(int, row), strict=True))
            found.append(ColumnPairs(column=column, stored=self._stored.get(column.name), **counts))
        return found

    def _differs(self, i: int) -> str:
        apart = _DIFFERS[_TYPES[self._columns[i].type]].format(s=f"s{i}", t=f"t{i}")
        return f"({self._known[i]} AND ((s{i} IS NULL) <> (t{i} IS NULL) OR coalesce({apart}, false)))"

    def _read(self, column: Column) -> str:
        """Return the table's value as the model's type, as far as it can be read as that."""
        stored = self._stored.get(column.name)
        if stored is None:
            return f"CAST(NULL AS {_TYPES[column.type]})"
        kind, name = kind_of(stored), quoted(column.name)
        if column.type in ("category", "text"):
            return f"nullif(CAST({name} AS VARCHAR), '')"
        if column.type == "time":
            if kind == "time":
                return value_of(column, stored)
            if kind == "category":
                return f"epoch_us(TRY_CAST({name} AS TIMESTAMPTZ))"
            return f"TRY_CAST({name} AS BIGINT)"
        if kind == "time":
            return f"CAST({value_of(Column(column.name, 'time'), stored)} AS DOUBLE)"
        if kind in ("number", "boolean"):
            return value_of(column, stored)
        return f"TRY_CAST(trim({name}) AS DOUBLE)" if kind == "category" else "CAST(NULL AS DOUBLE)"

    def _one(self, query: str) -> tuple[Any, ...]:
        row = self._sql.execute(query).fetchone()
        assert row is not None
        return tuple(row)


def _identity(asked: str | None, stored: dict[str, str]) -> str | None:
    if asked is not None and asked not in stored:
        raise DataError(f"there is no column {asked!r}", where="skew: --id", fix=nearest(asked, stored))
    return asked or next((name for name in _EXPECTED_IDS if name in stored), None)


def _text(unit: str | None, stored: dict[str, str]) -> str:
    """Return the unit as the server writes it: a whole number without a point."""
    if unit is None:
        return "NULL"
    name = quoted(unit)
    if kind_of(stored[unit]) == "number":
        whole = f"CASE WHEN {name} = trunc({name}) THEN CAST(TRY_CAST({name} AS HUGEINT) AS VARCHAR) END"
        return f"coalesce({whole}, CAST({name} AS VARCHAR))"
    return f"nullif(CAST({name} AS VARCHAR), '')"


def _given(column: Column, name: str) -> str:
    kind = _TYPES[column.type]
    if kind == "DOUBLE":
        return f"CASE WHEN NOT isnan({name}) THEN {name} END"
    return f"nullif({name}, {_MISSING})" if kind == "BIGINT" else f"nullif({name}, '')"


def _pairs(column: Column, rows: list[tuple[Any, ...]]) -> Pairs:
    return Pairs([row[0] for row in rows], _array(column, rows, 1), _array(column, rows, 2))


def _array(column: Column, rows: Sequence[tuple[Any, ...]], place: int) -> NDArray[Any]:
    values = [row[place] for row in rows]
    kind = _TYPES[column.type]
    if kind == "VARCHAR":
        return np.array([value or "" for value in values], dtype=object)
    if kind == "BIGINT":
        return np.array([MISSING_TIME if value is None else value for value in values], dtype=np.int64)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
