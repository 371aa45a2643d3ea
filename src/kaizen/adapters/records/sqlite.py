"""Records in one SQLite file: a table of records, in order of arrival, and a table of who stands on whom.

    records   seq · kind · id · project · at · body (JSON)
    edges     child (seq of a record) · parent (id)

The JSON is what `msgspec` makes of the struct, so the file can be read with any SQLite shell.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC
from math import isfinite
from pathlib import Path
from typing import TypeVar, get_args

import msgspec

from kaizen.core.errors import ConflictError, NotFoundError, StoreError, nearest
from kaizen.core.records import AnyRecord, Record

R = TypeVar("R", bound=Record)

_VERSION = 1
_SCHEMA = """
CREATE TABLE records (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    project TEXT NOT NULL,
    at TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (kind, id)
) STRICT;
CREATE INDEX records_by_kind ON records (kind);
CREATE INDEX records_by_id ON records (id);
CREATE INDEX endpoints_by_name ON records (json_extract(body, '$.name')) WHERE kind = 'endpoint';
CREATE INDEX steps_by_inputs ON records (json_extract(body, '$.inputs'), json_extract(body, '$.name'))
    WHERE kind = 'step';
CREATE TABLE edges (
    child INTEGER NOT NULL REFERENCES records (seq),
    parent TEXT NOT NULL,
    PRIMARY KEY (parent, child)
) STRICT, WITHOUT ROWID;
CREATE INDEX edges_by_child ON edges (child);
"""

_KINDS: dict[type[Record], str] = {kind: str(kind.__struct_config__.tag) for kind in get_args(AnyRecord)}
_DECODERS = {kind: msgspec.json.Decoder(kind) for kind in _KINDS}
_ANY = msgspec.json.Decoder(AnyRecord)
_COLUMNS = ("id", "project")  # fields that are columns of the table too

_UP = """
WITH RECURSIVE line (seq, depth) AS (
    SELECT seq, 0 FROM records WHERE id = :id
    UNION
    SELECT r.seq, depth + 1 FROM line JOIN edges e ON e.child = line.seq JOIN records r ON r.id = e.parent
    WHERE depth < :depth
)
"""
_DOWN = """
WITH RECURSIVE line (seq, depth) AS (
    SELECT seq, 0 FROM records WHERE id = :id
    UNION
    SELECT e.child, depth + 1 FROM line JOIN records r ON r.seq = line.seq JOIN edges e ON e.parent = r.id
    WHERE depth < :depth
)
"""
_LINE = "SELECT body FROM records JOIN line USING (seq) GROUP BY seq ORDER BY min(depth), seq"


class SqliteRecords:
    """Records in a SQLite file in WAL mode. The contract is `kaizen.core.ports.Records`.

    Threads share one connection, one at a time; processes each have their own and wait for each other's writes up
    to a minute. Readers wait for nobody. Do not carry an open one across a fork.

    Parameters
    ----------
    path
        The file; it and its folder are made when first used.

    Examples
    --------
    >>> from datetime import datetime
    >>> from kaizen.core.records import Step
    >>> records = SqliteRecords(":memory:")
    >>> at = datetime(2013, 1, 1, tzinfo=UTC)
    >>> step = Step(id="1", project="p", at=at, by="doc", name="fit", inputs="a", result="b")
    >>> records.put([step])
    >>> records.find(Step, where={"name": "fit"}) == [step]
    True
    >>> records.close()
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._mutex = threading.RLock()
        self._open: sqlite3.Connection | None = None

    def put(self, records: Sequence[Record]) -> None:
        """Store all of these or none; when it returns they survive `kill -9` and the loss of power."""
        rows = [(record, _row(record)) for record in records]
        with self._transaction() as sql:
            for record, row in rows:
                inserted = sql.execute(
                    "INSERT INTO records (kind, id, project, at, body) VALUES (?, ?, ?, ?, ?)"
                    " ON CONFLICT (kind, id) DO NOTHING",
                    row,
                )
                if inserted.rowcount == 0:
                    self._require_same(sql, record, row)
                    continue
                edges = [(inserted.lastrowid, parent) for parent in dict.fromkeys(record.parents)]
                sql.executemany("INSERT INTO edges (child, parent) VALUES (?, ?)", edges)

    def get(self, kind: type[R], identity: str) -> R:
        """Return the record of this id; `NotFoundError` if there is none."""
        name = _kind(kind)
        found = self._select("SELECT body FROM records WHERE kind = ? AND id = ?", (name, identity))
        if not found:
            raise NotFoundError(f"there is no {_spoken(name)} {identity!r}", where=str(self.path))
        return self._decoded(kind, found)[0]

    def find(
        self,
        kind: type[R],
        *,
        where: Mapping[str, str | int] | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> list[R]:
        """Return records of a kind in order of arrival, those whose top-level fields equal `where`."""
        # The kind is written out, not bound: only then does SQLite see that a partial index applies.
        query = [f"SELECT body FROM records WHERE kind = '{_kind(kind)}'"]
        values: list[str | int] = []
        for field, value in (where or {}).items():
            _require_field(kind, field)
            query.append(f"AND {field} = ?" if field in _COLUMNS else f"AND json_extract(body, '$.{field}') = ?")
            values.append(value)
        query.append("ORDER BY seq DESC" if newest_first else "ORDER BY seq")
        if limit is not None:
            query.append("LIMIT ?")
            values.append(limit)
        return self._decoded(kind, self._select(" ".join(query), values))

    def lineage(self, identity: str, *, descendants: bool = False, depth: int = 100) -> list[Record]:
        """Return the records of this id and all that they stand on, nearest first.

        Parameters
        ----------
        identity
            The id of a record of any kind; an id that nothing has gives an empty list.
        descendants
            Return what stands on them instead.
        depth
            How many steps to go.
        """
        found = self._select((_DOWN if descendants else _UP) + _LINE, {"id": identity, "depth": depth})
        with _explained(self.path):
            return [_ANY.decode(body) for (body,) in found]

    def close(self) -> None:
        """Let go of the file; a later call opens it again."""
        with self._mutex:
            if self._open is not None:
                self._open.close()
                self._open = None

    def _require_same(self, sql: sqlite3.Connection, record: Record, row: Sequence[str]) -> None:
        kind, identity, *_, body = row
        found = sql.execute("SELECT body FROM records WHERE kind = ? AND id = ?", (kind, identity)).fetchone()[0]
        decode = _DECODERS[type(record)].decode
        if found != body and decode(found) != decode(body):
            raise ConflictError(
                f"the {_spoken(kind)} {identity!r} is stored with other content",
                where=str(self.path),
                fix="read the stored one; a correction is a new record whose parent it is",
            )

    def _decoded(self, kind: type[R], found: Sequence[tuple[str]]) -> list[R]:
        decode = _DECODERS[kind].decode
        with _explained(self.path):
            return [decode(body) for (body,) in found]  # type: ignore[misc]

    def _select(self, query: str, values: Sequence[str | int] | Mapping[str, str | int]) -> list[tuple[str]]:
        with self._mutex, _explained(self.path):
            return self._connection().execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._mutex, _explained(self.path):
            sql = self._connection()
            sql.execute("BEGIN IMMEDIATE")
            try:
                yield sql
                sql.execute("COMMIT")
            except BaseException:
                if sql.in_transaction:
                    sql.execute("ROLLBACK")
                raise

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            self._open = _connect(self.path)
        return self._open


def _connect(path: Path) -> sqlite3.Connection:
    if str(path) != ":memory:":
        path.parent.mkdir(parents=True, exist_ok=True)
    sql = sqlite3.connect(path, timeout=60.0, isolation_level=None, check_same_thread=False)
    try:
        sql.execute("PRAGMA journal_mode = WAL")
        # FULL syncs the WAL at each commit. Measured: 0.17 ms a commit against 0.01 ms with NORMAL, far below what
        # a durable step may cost, so a commit also survives the loss of power.
        sql.execute("PRAGMA synchronous = FULL")
        _migrate(sql, path)
    except BaseException:
        sql.close()
        raise
    return sql


def _migrate(sql: sqlite3.Connection, path: Path) -> None:
    if _version(sql) == _VERSION:
        return
    sql.execute("BEGIN IMMEDIATE")  # two processes may meet a new file at once
    version = _version(sql)
    if version == 0:
        for statement in _SCHEMA.split(";\n"):
            sql.execute(statement)
        sql.execute(f"PRAGMA user_version = {_VERSION}")
    sql.execute("COMMIT")
    if version > _VERSION:
        what = f"this store has format {version}, made by a newer kaizen"
        raise StoreError(what, where=str(path), fix="upgrade kaizen-ml")


def _version(sql: sqlite3.Connection) -> int:
    return int(sql.execute("PRAGMA user_version").fetchone()[0])


def _row(record: Record) -> tuple[str, str, str, str, str]:
    kind = _kind(type(record))
    _require_finite(msgspec.to_builtins(record), f"{kind} {record.id}")
    body = msgspec.json.encode(record).decode()
    return kind, record.id, record.project, record.at.astimezone(UTC).isoformat(), body


def _require_finite(value: object, place: str) -> None:
    """Raise for a NaN or an infinity, which JSON would turn into null without a word."""
    if isinstance(value, float) and not isfinite(value):
        raise StoreError(f"a record cannot hold {value}", where=place, fix="say None, or leave the figure out")
    if isinstance(value, Mapping):
        for key, each in value.items():
            _require_finite(each, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for position, each in enumerate(value):
            _require_finite(each, f"{place}[{position}]")


def _kind(kind: type[Record]) -> str:
    try:
        return _KINDS[kind]
    except KeyError:
        known = ", ".join(sorted(each.__name__ for each in _KINDS))
        raise StoreError(f"{kind.__name__} is no kind of record that is kept here", fix=f"known: {known}") from None


def _spoken(kind: str) -> str:
    return kind.replace("_", " ")


def _require_field(kind: type[Record], field: str) -> None:
    if field not in kind.__struct_fields__:
        raise StoreError(
            f"a {_spoken(_kind(kind))} has no field {field!r}",
            where="where",
            fix=nearest(field, kind.__struct_fields__),
        )


_FIXES = {
    "SQLITE_FULL": "free space on this disk, then do it again",
    "SQLITE_READONLY": "check that the file and its folder may be written to",
    "SQLITE_CANTOPEN": "check that the folder exists and may be written to",
    "SQLITE_PERM": "check that the file and its folder may be written to",
    "SQLITE_BUSY": "another process has been writing for over a minute; find it, or wait and do it again",
    "SQLITE_LOCKED": "another process has been writing for over a minute; find it, or wait and do it again",
    "SQLITE_NOTADB": "move the file away and restore it from a backup",
    "SQLITE_CORRUPT": "move the file away and restore it from a backup",
    "SQLITE_IOERR": "check the disk and its free space",
}


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite, the file system or a foreign body says into a `StoreError`."""
    try:
        yield
    except sqlite3.Error as err:
        name = getattr(err, "sqlite_errorname", "") or ""
        fix = next((fix for code, fix in _FIXES.items() if name.startswith(code)), "")
        raise StoreError(f"the records store failed: {err}", where=str(path), fix=fix) from err
    except OSError as err:
        fix = "check that the folder may be written to and that its disk has space"
        raise StoreError(f"the records store cannot be opened: {err}", where=str(path), fix=fix) from err
    except msgspec.DecodeError as err:
        fix = "it was written by another version of kaizen, or by hand"
        raise StoreError(f"a stored record cannot be read: {err}", where=str(path), fix=fix) from err
