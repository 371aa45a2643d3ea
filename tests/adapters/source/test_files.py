"""Files as a source: the suite for each format, and what is peculiar to CSV."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import duckdb
import pytest

from kaizen.adapters.source.files import FileSource
from kaizen.core.errors import DataError
from kaizen.testing.source import COLUMNS, SourceConformance


class _Files(SourceConformance):
    name = ""

    def source(self):
        return FileSource()


class TestCsv(_Files):
    separator = ","
    name = "rows.csv"

    def address(self, folder, rows):
        with (folder / self.name).open("w", newline="") as file:
            writer = csv.writer(file, delimiter=self.separator)
            writer.writerow(COLUMNS)
            writer.writerows(["" if value is None else value for value in row] for row in rows)
        return str(folder / self.name)


class TestTsv(TestCsv):
    separator = "\t"
    name = "rows.tsv"


class TestCompressedCsv(TestCsv):
    def address(self, folder, rows):
        plain = Path(super().address(folder, rows))
        packed = plain.with_suffix(".csv.gz")
        packed.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
        return str(packed)


class _Copied(_Files):
    def address(self, folder, rows):
        sql = duckdb.connect()
        sql.execute("CREATE TABLE t (id BIGINT, share DOUBLE, label VARCHAR, sparse BIGINT)")
        if rows:
            sql.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
        sql.execute(f"COPY t TO '{folder / self.name}'")
        return str(folder / self.name)


class TestParquet(_Copied):
    name = "rows.parquet"


class TestJsonLines(_Copied):
    name = "rows.jsonl"


def _attach(tmp_path: Path, text: str, options: str = "", name: str = "a.csv"):
    (tmp_path / name).write_text(text, newline="")
    sql = duckdb.connect()
    FileSource().attach(sql, "rows", f"{tmp_path / name}{options}")
    return sql


def _types(sql) -> dict[str, str]:
    return {row[0]: row[1] for row in sql.execute("DESCRIBE SELECT * FROM rows").fetchall()}


@pytest.mark.parametrize("marker", ["NA", "?", "null", "NaN", "", " ?"])
def test_numbers_with_a_missing_marker_stay_numbers(tmp_path, marker):
    sql = _attach(tmp_path, f"a,b,c\n1,{marker},x\n2,3.5,{marker}\n4,5,y\n")
    assert _types(sql) == {"a": "BIGINT", "b": "DOUBLE", "c": "VARCHAR"}
    assert sql.execute("SELECT b, c FROM rows").fetchall() == [(None, "x"), (3.5, None), (5.0, "y")]


def test_a_type_that_only_shows_late_in_the_file_counts(tmp_path):
    sql = _attach(tmp_path, "a,b\n" + "1,\n" * 30_000 + "1.5,2\n")
    assert _types(sql) == {"a": "DOUBLE", "b": "BIGINT"}


def test_spaces_around_text_are_dropped(tmp_path):
    sql = _attach(tmp_path, "a, b\n1, x \n2, y\n")
    assert sql.execute("SELECT b FROM rows").fetchall() == [("x",), ("y",)]


@pytest.mark.parametrize(
    "text", ["39,Private,x\n50,Public,y\n38,Private,z\n", "ham,ok\nham,yes\nspam,no\nham,so\nham,on\n"]
)
def test_a_first_line_of_data_is_refused_with_the_way_to_name_columns(tmp_path, text):
    with pytest.raises(DataError, match="first line looks like data") as caught:
        _attach(tmp_path, text)
    assert "?names=" in caught.value.fix
    assert "?header=false" in caught.value.fix


def test_names_in_the_address_make_every_line_a_row(tmp_path):
    sql = _attach(tmp_path, "39,Private\n50,Public\n", "?names=age,work")
    assert sql.execute("SELECT age, work FROM rows").fetchall() == [(39, "Private"), (50, "Public")]


def test_header_false_numbers_the_columns(tmp_path):
    assert list(_types(_attach(tmp_path, "39,Private\n50,Public\n", "?header=false"))) == ["column0", "column1"]


def test_options_read_what_the_file_does_not_say(tmp_path):
    (tmp_path / "x.dat").write_bytes("a;b\n1;café\n".encode("latin-1"))
    sql = duckdb.connect()
    FileSource().attach(sql, "rows", f"{tmp_path / 'x.dat'}?format=csv&delim=;&encoding=latin-1")
    assert sql.execute("SELECT * FROM rows").fetchall() == [(1, "café")]


def test_an_unknown_option_names_the_nearest(tmp_path):
    with pytest.raises(DataError, match="unknown option 'headr'") as caught:
        _attach(tmp_path, "a\n1\n", "?headr=false")
    assert "header" in caught.value.fix


def test_mixed_line_ends_are_read(tmp_path):
    sql = _attach(tmp_path, "a,b,c\r\n1,2,x\r\n3,4,y\n5,6,\n")
    assert sql.execute("SELECT * FROM rows").fetchall() == [(1, 2, "x"), (3, 4, "y"), (5, 6, None)]


def test_a_line_with_too_few_fields_is_named(tmp_path):
    with pytest.raises(DataError, match="line 3 has 2 fields where the first line has 3"):
        _attach(tmp_path, "a,b,c\n1,2,x\n3,4\n5,6,y\n")


def test_an_archive_and_an_unknown_format_are_refused(tmp_path):
    with pytest.raises(DataError, match="format 'zip'") as caught:
        _attach(tmp_path, "PK", name="a.zip")
    assert "unpack" in caught.value.fix


def test_a_broken_parquet_file_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot be read as parquet"):
        _attach(tmp_path, "PAR1 but not really", name="a.parquet")


def test_the_nearest_file_is_named(tmp_path):
    (tmp_path / "houses.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match="no such file") as caught:
        FileSource().attach(duckdb.connect(), "rows", str(tmp_path / "house.csv"))
    assert "houses.csv" in caught.value.fix


def test_a_pattern_reads_files_in_order_of_name(tmp_path):
    for name in "cab":
        (tmp_path / f"{name}.csv").write_text(f"n,part\n1,{name}\n2,{name}\n")
    sql = duckdb.connect()
    FileSource().attach(sql, "rows", str(tmp_path / "*.csv"))
    assert [part for (part,) in sql.execute("SELECT part FROM rows").fetchall()] == list("aabbcc")
