"""The source and its tables, joined without the future."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaizen.core.errors import DataError
from kaizen.core.projectfile import DataSection, ProjectFile, ProjectSection, TableSection
from kaizen.data.columns import columns_of, load
from kaizen.data.tables import connect, lookups, resolved


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "rows.csv").write_text(
        "at,store,item,y\n"
        "2013-01-01 10:30,a,x,1\n2013-01-01 09:59,a,z,0\n2013-01-01 12:00,b,x,1\n2013-01-05 00:00,a,,0\n"
        "2013-01-01 11:00,a,x,1\n"
    )
    (tmp_path / "weather.csv").write_text(
        "store,hour,temp\na,2013-01-01 10:00,1\na,2013-01-01 11:00,2\na,2013-01-01 11:00,3\nb,2013-01-01 12:00:01,9\n"
    )
    (tmp_path / "items.csv").write_text("item,price\nx,5\nw,7\n")
    return tmp_path


WEATHER = TableSection(source="weather.csv", key="store", time="hour", tolerance="2h")
ITEMS = TableSection(source="items.csv", key="item")


def test_a_row_sees_the_newest_row_at_or_before_its_time_within_the_tolerance(shop, declare):
    sql = connect(declare(time="at", tables={"weather": WEATHER}), shop)
    # 09:59 is before the first hour; b's only hour is a second late; the 5th is too old; of two at 11:00 the later.
    assert [temp for (temp,) in sql.execute("SELECT temp FROM rows").fetchall()] == [1, None, None, None, 3]


def test_every_row_stays_once_and_in_order(shop, declare):
    sql = connect(declare(time="at", tables={"weather": WEATHER, "items": ITEMS}), shop)
    found = sql.execute("SELECT strftime(rows.at, '%d %H:%M'), item, price FROM rows").fetchall()
    assert [row[0] for row in found] == ["01 10:30", "01 09:59", "01 12:00", "05 00:00", "01 11:00"]
    assert [row[2] for row in found] == [5, None, 5, None, 5]
    assert [column.name for column in columns_of(sql, file=declare())] == ["at", "store", "item", "y", "temp", "price"]


@settings(max_examples=15, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ab")), min_size=1, max_size=30),
    table=st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ab")), min_size=1, max_size=20),
)
def test_as_of_agrees_with_a_plain_search(tmp_path_factory, rows, table):
    folder = tmp_path_factory.mktemp("asof")
    day = "2013-01-01T00:00:0{}Z".format
    (folder / "r.csv").write_text("n,t,k\n" + "".join(f"{n},{day(t)},{k}\n" for n, (t, k) in enumerate(rows)))
    (folder / "w.csv").write_text("k,t2,v\n" + "".join(f"{k},{day(t)},{n}\n" for n, (t, k) in enumerate(table)))
    data = DataSection(
        source="r.csv",
        target="n",
        time="t",
        tables={"w": TableSection(source="w.csv", key="k", time="t2", tolerance="3s")},
    )
    sql = connect(ProjectFile(project=ProjectSection(name="p"), data=data), folder)
    expected = []
    for n, (t, k) in enumerate(rows):
        seen = [(t2, number) for number, (t2, k2) in enumerate(table) if k2 == k and t2 <= t]
        newest = max(seen, default=None)
        expected.append((n, newest[1] if newest and t - newest[0] <= 3 else None))
    assert sql.execute("SELECT n, v FROM rows").fetchall() == expected


def test_the_future_of_a_table_changes_nothing(shop, declare):
    file = declare(time="at", tables={"weather": WEATHER})
    before = connect(file, shop).execute("SELECT * FROM rows").fetchall()
    with (shop / "weather.csv").open("a") as table:
        table.write("a,2013-02-01 00:00,99\nb,2014-01-01 00:00,99\n")
    assert connect(file, shop).execute("SELECT * FROM rows").fetchall() == before


def test_a_look_up_with_a_key_twice_names_the_key(shop, declare):
    (shop / "items.csv").write_text("item,price\nx,5\nx,6\nw,7\n")
    with pytest.raises(DataError, match="item = 'x' is there 2 times") as caught:
        connect(declare(tables={"items": ITEMS}), shop)
    assert "data.tables.items" in caught.value.where


def test_look_up_tables_come_as_frames(shop, declare):
    file = declare(time="at", tables={"weather": WEATHER, "items": ITEMS})
    frames = lookups(connect(file, shop), file)
    assert list(frames) == ["items"]
    assert frames["items"]["item"].tolist() == ["x", "w"]
    assert frames["items"]["price"].tolist() == [5.0, 7.0]


def test_a_name_that_is_taken_asks_for_a_prefix_and_takes_it(shop, declare):
    (shop / "items.csv").write_text("item,Y\nx,5\n")
    with pytest.raises(DataError, match="'Y' is there already, in the source") as caught:
        connect(declare(tables={"items": ITEMS}), shop)
    assert 'prefix = "items_"' in caught.value.fix
    prefixed = TableSection(source="items.csv", key="item", prefix="items_")
    sql = connect(declare(tables={"items": prefixed}), shop)
    assert [row[0] for row in sql.execute("SELECT items_Y FROM rows").fetchall()] == [5, None, 5, None, 5]


@pytest.mark.parametrize(
    ("words", "path", "near"),
    [
        ({"target": "yy"}, "data.target", "'y'"),
        ({"time": "att"}, "data.time", "'at'"),
        ({"unit": "stor"}, "data.unit", "'store'"),
        ({"outcome": ["itm"]}, "data.outcome", "'item'"),
        ({"types": {"itm": "text"}}, "data.types", "'item'"),
        ({"group": "stor"}, "learn.group", "'store'"),
    ],
)
def test_a_declared_column_that_is_not_there_names_the_nearest(shop, declare, words, path, near):
    with pytest.raises(DataError, match="there is no column") as caught:
        connect(declare(**words), shop)
    assert path in caught.value.where
    assert near in caught.value.fix


def test_a_missing_key_names_the_nearest(shop, declare):
    with pytest.raises(DataError, match="there is no column 'itm'") as caught:
        connect(declare(tables={"items": TableSection(source="items.csv", key="itm")}), shop)
    assert "'item'" in caught.value.fix


def test_an_as_of_table_needs_the_rows_to_have_a_time(shop, declare):
    with pytest.raises(DataError, match="the rows have none"):
        connect(declare(tables={"weather": WEATHER}), shop)


def test_keys_of_different_types_are_refused(shop, declare):
    (shop / "items.csv").write_text("item,price\n1,5\n2,7\n")
    with pytest.raises(DataError, match="key 'item' is VARCHAR in the rows and BIGINT in the table"):
        connect(declare(tables={"items": ITEMS}), shop)


def test_a_time_that_does_not_parse_is_named_with_its_row(tmp_path, declare):
    (tmp_path / "rows.csv").write_text("at,y\n2013-01-01T00:00:00Z,1\nyesterday,0\nsoon,1\n")
    with pytest.raises(DataError, match="'at' is declared as a time and row 2 says 'yesterday'"):
        connect(declare(time="at"), tmp_path)


def test_numbers_are_no_times(tmp_path, declare):
    (tmp_path / "rows.csv").write_text("at,y\n20130101,1\n20130102,0\n")
    with pytest.raises(DataError, match="declared as a time and holds numbers"):
        connect(declare(time="at"), tmp_path)


def test_all_kinds_of_time_become_utc_microseconds(tmp_path, declare):
    sql = "COPY (SELECT DATE '2013-01-02' AS d, TIMESTAMP '2013-01-02 00:00:00.5' AS naive,"
    sql += " TIMESTAMPTZ '2013-01-02 01:00:00+01' AS zoned, TIMESTAMP_NS '2013-01-02 00:00:00' AS nano,"
    sql += f" '2013-01-02T02:00:00+02:00' AS iso, 1 AS y) TO '{tmp_path / 'rows.parquet'}'"
    file = declare(source="rows.parquet", time="iso", types={"nano": "time"})
    duckdb.execute(sql)
    rows = connect(file, tmp_path)
    columns = columns_of(rows, file=file)
    assert [column.type for column in columns] == ["time"] * 5 + ["number"]
    frame = load(rows, "rows", columns)
    midnight = 1_357_084_800_000_000
    assert [int(frame[name][0]) for name in ("d", "naive", "zoned", "nano", "iso")] == [
        midnight,
        midnight + 500_000,
        midnight,
        midnight,
        midnight,
    ]
    assert frame["d"].dtype == np.int64


def test_declared_types_overrule_what_is_stored(tmp_path, declare):
    (tmp_path / "rows.csv").write_text("zip,flag,y\n1234,1,1\n5678,0,0\n")
    file = declare(types={"zip": "category", "flag": "boolean"})
    sql = connect(file, tmp_path)
    columns = {column.name: column.type for column in columns_of(sql, file=file)}
    assert columns == {"zip": "category", "flag": "boolean", "y": "number"}
    assert load(sql, "rows", columns_of(sql, file=file))["zip"].tolist() == ["1234", "5678"]


def test_addresses_start_at_the_projects_folder():
    assert resolved("a.csv?header=false", Path("/p")) == "/p/a.csv?header=false"
    assert resolved("/b/a.csv", Path("/p")) == "/b/a.csv"
    assert resolved("sqlite:///a.db?table=t", Path("/p")) == "sqlite:////p/a.db?table=t"
    assert resolved("sqlite:////b/a.db", Path("/p")) == "sqlite:////b/a.db"


def test_an_address_of_no_adapter_lists_them(tmp_path, declare):
    with pytest.raises(DataError, match="no source adapter") as caught:
        connect(declare(source="kafka://a/b"), tmp_path)
    assert "files" in caught.value.fix
