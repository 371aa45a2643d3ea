"""Served rows beside a table's: what is joined, what differs, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pytest

from kaizen.core.errors import DataError
from kaizen.core.records import Column
from kaizen.data import tables
from kaizen.data.matching import Matching, ServedRows, matching
from kaizen.graph.frame import MISSING_TIME

COLUMNS = (
    Column("size", "number"),
    Column("kind", "category"),
    Column("when", "time"),
    Column("member", "boolean"),
)
T0 = 1_767_225_600_000_000  # 2026-01-01, UTC
MINUTE = 60_000_000
HOUR = 60 * MINUTE


def frame(rows: int, start: int = 0) -> dict[str, np.ndarray]:
    index = np.arange(start, start + rows)
    return {
        "size": index * 1.5,
        "kind": np.array([f"k{i % 5}" for i in index], dtype=object),
        "when": T0 + index * MINUTE + 7_000,
        "member": (index % 2).astype(float),
    }


def chunk(rows: int, start: int = 0, **changed: object) -> ServedRows:
    """Return rows as they are in the table `made`, but for what is changed."""
    index = np.arange(start, start + rows)
    inputs = frame(rows, start) | {k: v for k, v in changed.items() if k not in ("ids", "units", "at")}
    return ServedRows(
        list(changed.get("ids", [f"p{i}" for i in index])),  # type: ignore[call-overload]
        list(changed.get("units", [f"u{i % 3}" for i in index])),  # type: ignore[call-overload]
        np.asarray(changed.get("at", T0 + index * MINUTE)),
        {name: np.asarray(values) for name, values in inputs.items() if values is not None},
    )


def made(folder: Path, rows: int = 200, extra: str = "", name: str = "t.parquet") -> Path:
    """Write the table of so many rows, one a minute."""
    path = folder / name
    duckdb.sql(
        f"""COPY (SELECT 'p' || i AS prediction, 'u' || (i % 3) AS shop,
        make_timestamptz(CAST({T0} + i * {MINUTE} AS BIGINT)) AS asked,
        i * 1.5 AS size, 'k' || (i % 5) AS kind,
        make_timestamptz(CAST({T0} + i * {MINUTE} + 7000 AS BIGINT)) AS "when", i % 2 = 1 AS member {extra}
        FROM range({rows}) t(i)) TO '{path}'"""
    )
    return path


@contextmanager
def joined(path: Path, *served: ServedRows, **options: str | None) -> Iterator[Matching]:
    keys = {"time": "asked", "unit": "shop"} | options
    with (
        tables.read(str(path), path.parent) as sql,
        matching(sql, served, COLUMNS, **keys) as found,  # type: ignore[arg-type]
    ):
        yield found


def differing(found: Matching) -> dict[str, int]:
    return {each.column.name: each.differ for each in found.join().columns}


def test_the_same_rows_are_the_same_by_every_key(tmp_path: Path) -> None:
    path = made(tmp_path)
    for options, key in (
        ({}, "unit and time"),
        ({"unit": None}, "time"),
        ({"identity": "prediction"}, "prediction id"),
    ):
        with joined(path, chunk(120), chunk(80, 120), **options) as found:
            match = found.join()
            assert (match.key, match.served, match.pairs, match.ambiguous, match.shift_s) == (key, 200, 200, 0, 0)
            assert match.source == 200
            assert [(c.pairs, c.differ, c.served_any, c.source_any) for c in match.columns] == [(200, 0, 200, 200)] * 4


def test_a_column_called_prediction_id_is_joined_by_unasked(tmp_path: Path) -> None:
    path = made(tmp_path, extra=", 'p' || (199 - i) AS prediction_id")
    with joined(path, chunk(200)) as found:
        match = found.join()
        assert (match.key, match.pairs) == ("prediction id", 200)
        assert match.columns[0].differ == 200


def test_values_that_differ_by_rounding_alone_are_the_same(tmp_path: Path) -> None:
    size = frame(200)["size"]
    for changed, differ in (
        (size.astype(np.float32).astype(float) * (1 + 1e-8), 0),
        (size * (1 + 1e-5), 199),  # but for zero
        (np.where(np.arange(200) == 9, np.nan, size), 1),
    ):
        with joined(made(tmp_path), chunk(200, size=changed)) as found:
            assert differing(found)["size"] == differ
    with joined(made(tmp_path), chunk(200, when=frame(200)["when"] // 1000 * 1000)) as found:
        assert differing(found)["when"] == 0
    with joined(made(tmp_path), chunk(200, when=frame(200)["when"] + 1000)) as found:
        assert differing(found)["when"] == 200


def test_missing_on_both_sides_is_the_same_and_on_one_is_counted(tmp_path: Path) -> None:
    path = made(tmp_path, extra="")
    duckdb.sql(
        f"""COPY (SELECT * REPLACE (CASE WHEN size >= 15 THEN size END AS size, nullif(kind, 'k1') AS kind)
        FROM '{path}') TO '{tmp_path / "gaps.parquet"}'"""
    )
    size = np.where(np.arange(200) < 20, np.nan, frame(200)["size"])
    kind = np.where(frame(200)["kind"] == "k2", "", frame(200)["kind"])
    when = np.full(200, MISSING_TIME)
    with joined(tmp_path / "gaps.parquet", chunk(200, size=size, kind=kind, when=when)) as found:
        counted = {each.column.name: each for each in found.join().columns}
    assert (counted["size"].differ, counted["size"].served_missing, counted["size"].source_missing) == (10, 10, 0)
    assert (counted["kind"].differ, counted["kind"].served_missing, counted["kind"].source_missing) == (80, 40, 40)
    assert (counted["when"].served_any, counted["when"].source_any) == (0, 200)


def test_pairs_that_differ_are_shown_with_both_sides_always_the_same_ones(tmp_path: Path) -> None:
    path, kinds = made(tmp_path), frame(200)["kind"]
    kinds[[3, 77]] = ["K3", "other"]
    column = COLUMNS[1]
    for chunks in ([chunk(200, kind=kinds)], [chunk(50, 0, kind=kinds[:50]), chunk(150, 50, kind=kinds[50:])]):
        with joined(path, *chunks) as found:
            found.join()
            pairs = found.differing(column)
            assert {*zip(pairs.ids, pairs.served, pairs.source, strict=True)} == {
                ("p3", "K3", "k3"),
                ("p77", "other", "k2"),
            }
            assert pairs.ids == sorted(pairs.ids, key=pairs.ids.index)
            earlier = found.earlier(column)
            assert earlier.ids == pairs.ids
            assert dict(zip(earlier.ids, earlier.source, strict=True)) == {"p3": "k0", "p77": "k4"}


def test_an_id_that_was_answered_twice_counts_once_with_its_first_answer(tmp_path: Path) -> None:
    again = chunk(50, size=np.zeros(50))
    with joined(made(tmp_path), chunk(200), again) as found:
        match = found.join()
        assert (match.served, match.pairs, match.columns[0].differ) == (200, 200, 0)


def test_rows_with_several_candidates_are_left_out_and_counted(tmp_path: Path) -> None:
    path = made(tmp_path)
    duckdb.sql(f"COPY (FROM '{path}' UNION ALL FROM '{path}' WHERE size < 15) TO '{tmp_path / 'twice.parquet'}'")
    with joined(tmp_path / "twice.parquet", chunk(200)) as found:
        match = found.join()
        assert (match.pairs, match.ambiguous) == (190, 10)


@pytest.mark.parametrize("hours", [-5, 2, 5.5, 14])
@pytest.mark.parametrize("unit", ["shop", None])
def test_times_that_are_all_off_by_a_time_zone_are_joined_all_the_same(
    tmp_path: Path, hours: float, unit: str | None
) -> None:
    late = chunk(200, at=T0 + np.arange(200) * MINUTE + int(hours * HOUR))
    with joined(made(tmp_path), late, unit=unit) as found:
        match = found.join()
    assert match.shift_s == hours * 3600
    assert match.pairs >= 190  # at an hour and more, minutes of the two ends may meet by themselves
    assert sum(each.differ for each in match.columns) == 0


def test_a_time_zone_is_found_though_other_rows_have_the_same_times(tmp_path: Path) -> None:
    """A row every minute for a week: at any shift of whole minutes, times meet; the values say which rows belong."""
    late = chunk(
        5000, 2000, at=T0 + np.arange(2000, 7000) * MINUTE + 2 * HOUR, when=frame(5000, 2000)["when"] + 2 * HOUR
    )
    with joined(made(tmp_path, rows=10_000), late, unit=None) as found:
        match = found.join()
    assert (match.shift_s, match.pairs) == (7200, 5000)
    assert {each.column.name: each.differ for each in match.columns} == {
        "size": 0,
        "kind": 0,
        "when": 5000,
        "member": 0,
    }


def test_what_cannot_be_joined_is_not(tmp_path: Path) -> None:
    other = chunk(200, at=T0 + np.arange(200) * MINUTE + 37)
    with joined(made(tmp_path), other) as found:
        match = found.join()
        assert (match.pairs, match.shift_s) == (0, 0)
        served, source = found.some(COLUMNS[0], 1000)
        assert sorted(served) == sorted(source) == sorted(frame(200)["size"])


def test_types_that_differ_are_read_as_far_as_they_can_be(tmp_path: Path) -> None:
    path = made(tmp_path)
    duckdb.sql(
        f"""COPY (SELECT prediction, shop, asked, CAST(size AS VARCHAR) AS size, i % 5 + 0.0 AS kind,
        epoch(CAST("when" AS TIMESTAMP)) AS "when", 'maybe' AS member
        FROM (SELECT *, row_number() OVER () - 1 AS i FROM '{path}')) TO '{tmp_path / "typed.parquet"}'"""
    )
    kinds = np.array([str(i % 5) for i in range(200)], dtype=object)
    with joined(tmp_path / "typed.parquet", chunk(200, kind=kinds)) as found:
        counted = {each.column.name: each for each in found.join().columns}
        assert counted["size"].differ == 0
        assert counted["size"].stored == "VARCHAR"
        assert counted["kind"].differ == 200
        assert found.differing(COLUMNS[1]).source[0].endswith(".0")
        assert counted["when"].differ == 200
        pairs = found.differing(COLUMNS[2])
        assert (abs(pairs.source * 1_000_000 - pairs.served) < 1_000_000).all()
        assert (counted["member"].source_any, counted["member"].source_missing) == (0, 200)


def test_a_column_that_the_log_hides_or_the_table_lacks_is_no_difference(tmp_path: Path) -> None:
    path = made(tmp_path)
    duckdb.sql(f"COPY (SELECT * EXCLUDE (member) FROM '{path}') TO '{tmp_path / 'less.parquet'}'")
    hidden = chunk(100, size=None)
    with joined(tmp_path / "less.parquet", hidden, chunk(100, 100)) as found:
        counted = {each.column.name: each for each in found.join().columns}
    assert (counted["size"].pairs, counted["size"].differ) == (100, 0)
    assert (counted["kind"].pairs, counted["member"].stored) == (200, None)


def test_units_are_written_as_the_server_writes_them(tmp_path: Path) -> None:
    path = made(tmp_path)
    for stored in ("BIGINT", "DOUBLE", "DECIMAL(9, 1)", "VARCHAR"):
        target = tmp_path / "units.parquet"
        duckdb.sql(f"COPY (SELECT * REPLACE (CAST(substr(shop, 2) AS {stored}) AS shop) FROM '{path}') TO '{target}'")
        with joined(target, chunk(200, units=[str(i % 3) for i in range(200)])) as found:
            assert found.join().pairs == 200


def test_units_without_a_bound_are_nobodys(tmp_path: Path) -> None:
    path, target = made(tmp_path), tmp_path / "units.parquet"
    unit = "CASE shop WHEN 'u1' THEN 'inf'::DOUBLE WHEN 'u2' THEN 1e300 ELSE 0 END AS shop"
    duckdb.sql(f"COPY (SELECT * REPLACE ({unit}) FROM '{path}') TO '{target}'")
    with joined(target, chunk(200, units=[str(i % 3) for i in range(200)])) as found:
        assert found.join().pairs == 67


def test_what_the_engine_cannot_do_is_an_error_of_kaizen(tmp_path: Path) -> None:
    path = made(tmp_path)
    with tables.read(str(path), tmp_path) as sql:
        sql.execute("CREATE OR REPLACE TEMP VIEW rows AS SELECT asked, shop, CAST(kind AS INT) AS size FROM _source")
        asked = matching(sql, [chunk(5)], COLUMNS, time="asked", unit="shop")
        with pytest.raises(DataError, match="could not be held together: Conversion Error"), asked as found:
            found.join()
        assert not sql.execute("SELECT 1 FROM duckdb_databases() WHERE database_name = 'skew'").fetchall()


def test_awkward_names_and_values_are_just_names_and_values(tmp_path: Path) -> None:
    columns = (Column('a "b"; --', "category"), Column("at", "number"))
    path = tmp_path / "odd.parquet"
    duckdb.sql(
        f"""COPY (SELECT make_timestamptz(CAST({T0} + i * {MINUTE} AS BIGINT)) AS "select",
        'x''"; é日' AS "a ""b""; --", CASE i WHEN 0 THEN 'inf'::DOUBLE ELSE i END AS "at"
        FROM range(5) t(i)) TO '{path}'"""
    )
    served = ServedRows(
        ["'", "''", '"', "%", "é"],
        [None] * 5,
        T0 + np.arange(5) * MINUTE,
        {'a "b"; --': np.array(["x'\"; é日"] * 5, dtype=object), "at": np.array([np.nan, 1, 2, 3, 4.5])},
    )
    with (
        tables.read(str(path), tmp_path) as sql,
        matching(sql, [served], columns, time="select", unit=None) as found,
    ):
        match = found.join()
        assert [(c.pairs, c.differ) for c in match.columns] == [(5, 0), (5, 1)]
        assert found.differing(columns[1]).ids == ["é"]


def test_nothing_to_join_by_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = made(tmp_path)
    with joined(path, chunk(5), time=None) as found, pytest.raises(DataError, match="joined with the table by nothing"):
        found.join()
    with pytest.raises(DataError, match="no column 'predicton'"), joined(path, chunk(5), identity="predicton"):
        pass


def test_no_served_rows_are_no_error(tmp_path: Path) -> None:
    with joined(made(tmp_path)) as found:
        assert (found.join().served, found.join().pairs) == (0, 0)


def test_nothing_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with joined(path, chunk(200)) as found:
        found.join()
        assert list(scratch.iterdir())
    assert list(scratch.iterdir()) == []
