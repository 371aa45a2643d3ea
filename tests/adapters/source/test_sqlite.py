"""SQLite as a source."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from kaizen.adapters.source.sqlite import SqliteSource
from kaizen.core.errors import DataError
from kaizen.testing.source import SourceConformance


def _database(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement)


class TestSqlite(SourceConformance):
    def source(self):
        return SqliteSource()

    def address(self, folder, rows):
        with closing(sqlite3.connect(folder / "rows.db")) as db, db:
            db.execute("CREATE TABLE t (id INTEGER, share REAL, label TEXT, sparse INTEGER)")
            db.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
        return f"sqlite:///{folder / 'rows.db'}?table=t"


def _attach(address: str):
    sql = duckdb.connect()
    sql.execute("SET TimeZone = 'UTC'")
    SqliteSource().attach(sql, "rows", address)
    return sql


def test_types_follow_the_values_and_the_declaration(tmp_path):
    _database(
        tmp_path / "a.db",
        "CREATE TABLE t (flag BOOLEAN, at DATETIME, mixed INTEGER)",
        "INSERT INTO t VALUES (1, '2013-01-01 05:00:00', 7), (0, '2013-01-01T06:00:00+01:00', 'seven')",
    )
    sql = _attach(f"{tmp_path / 'a.db'}#t")
    rows = sql.execute('SELECT flag, epoch_us("at"), mixed FROM rows').fetchall()
    assert rows == [(True, 1_357_016_400_000_000, "7"), (False, 1_357_016_400_000_000, "seven")]


def test_the_only_table_needs_no_name_and_one_of_two_does(tmp_path):
    _database(tmp_path / "a.db", "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
    assert _attach(str(tmp_path / "a.db")).execute("SELECT a FROM rows").fetchall() == [(1,)]
    _database(tmp_path / "a.db", "CREATE TABLE orders (a)")
    with pytest.raises(DataError, match="2 tables: orders, t"):
        _attach(str(tmp_path / "a.db"))
    with pytest.raises(DataError, match="no table 'order'") as caught:
        _attach(f"{tmp_path / 'a.db'}?table=order")
    assert "orders" in caught.value.fix


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "a.db").write_text("not a database, and long enough for a header" * 10)
    with pytest.raises(DataError, match="cannot be read as SQLite"):
        _attach(str(tmp_path / "a.db"))
