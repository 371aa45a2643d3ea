"""The conformance suite of the source port: subclass it, give the fixture, and pytest does the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from kaizen.core.errors import DataError
from kaizen.core.ports import Source

ROWS: Sequence[tuple[object, ...]] = tuple((n, n / 4, f"name {n % 7}", None if n % 3 else n) for n in range(500, 0, -1))
COLUMNS = ("id", "share", "label", "sparse")


class SourceConformance:
    """What every source must do.

    A subclass says how to make a source and an address that leads to `COLUMNS` and `ROWS` (or to no rows).

    >>> class TestMine(SourceConformance):
    ...     def source(self): ...
    ...     def address(self, folder, rows): ...
    """

    def source(self) -> Source:
        """Return the adapter under test."""
        raise NotImplementedError

    def address(self, folder: Path, rows: Sequence[tuple[object, ...]]) -> str:
        """Store these rows under the names `COLUMNS` and return the address that leads to them."""
        raise NotImplementedError

    def test_handles_its_own_address_and_no_foreign_scheme(self, tmp_path: Path) -> None:
        """`handles` answers by the address alone."""
        assert self.source().handles(self.address(tmp_path, ROWS))
        assert not self.source().handles("carrier-pigeon://coop/7")

    def test_gives_every_row_once_in_the_sources_order(self, tmp_path: Path) -> None:
        """Values, missing values and order arrive as they are."""
        assert self._read(tmp_path, ROWS) == list(ROWS)

    def test_numbers_are_numbers_and_text_is_text(self, tmp_path: Path) -> None:
        """Types follow from the values."""
        sql = self._attached(tmp_path, ROWS)
        kinds = [row[1] for row in sql.execute('DESCRIBE SELECT * FROM "the view"').fetchall()]
        assert kinds == ["BIGINT", "DOUBLE", "VARCHAR", "BIGINT"]

    def test_reads_the_same_rows_twice(self, tmp_path: Path) -> None:
        """Nothing is used up."""
        address = self.address(tmp_path, ROWS)
        sql = duckdb.connect()
        for view in ("one", "two"):
            self.source().attach(sql, view, address)
        same = sql.execute("SELECT count(*) FROM one POSITIONAL JOIN two WHERE one.id = two.id").fetchone()
        assert same == (len(ROWS),)

    def test_an_empty_table_is_an_error_that_names_the_address(self, tmp_path: Path) -> None:
        """No rows: nothing can be learnt, and the error says where."""
        address = self.address(tmp_path, ())
        with pytest.raises(DataError, match=r"no rows|empty") as caught:
            self.source().attach(duckdb.connect(), "rows", address)
        assert caught.value.where == address
        assert caught.value.fix

    def test_an_address_that_leads_nowhere_is_an_error(self, tmp_path: Path) -> None:
        """What is not there raises, and says what to do."""
        address = self.address(tmp_path, ROWS)
        for left in tmp_path.iterdir():
            left.unlink()
        with pytest.raises(DataError, match="no such") as caught:
            self.source().attach(duckdb.connect(), "rows", address)
        assert caught.value.fix

    def _attached(self, folder: Path, rows: Sequence[tuple[object, ...]]) -> Any:
        sql = duckdb.connect()
        self.source().attach(sql, "the view", self.address(folder, rows))
        return sql

    def _read(self, folder: Path, rows: Sequence[tuple[object, ...]]) -> list[tuple[object, ...]]:
        return list(self._attached(folder, rows).execute('SELECT * FROM "the view"').fetchall())
