"""Data that nobody here made: what is read, typed, split and suspected."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from kaizen.core.errors import DataError
from kaizen.data.columns import columns_of, inputs_of, load
from kaizen.data.leaks import leaks
from kaizen.data.profile import profile
from kaizen.data.tables import connect
from kaizen.data.target import target_of
from kaizen.data.validate import check, infer
from kaizen.graph.batch_check import BatchCheck

ADULT = "age,workclass,fnlwgt,education,education_num,marital,occupation,relationship,race,sex,gain,loss,hours,country"
ADULT += ",income"


def _suspects(sql, file):
    return {leak.column: leak for leak in leaks(sql, "rows", inputs_of(columns_of(sql, file=file), file), file=file)}


def test_adult_has_no_names_and_says_so(real, declare, tmp_path):
    path = real("adult/adult-train.csv.gz")
    with pytest.raises(DataError, match="first line looks like data") as caught:
        connect(declare(source=str(path), target="income"), tmp_path)
    assert "?names=" in caught.value.fix


def test_adult_with_names(real, declare, tmp_path):
    file = declare(source=f"{real('adult/adult-train.csv.gz')}?names={ADULT}", target="income")
    sql = connect(file, tmp_path)
    found = profile(sql, "rows", columns_of(sql, file=file))
    assert found.rows == 32_561
    assert [found.column(name).missing for name in ("workclass", "occupation", "country")] == [1836, 1843, 583]
    target = target_of(sql, file=file)
    assert (target.positive, round(target.mean * 32_561)) == (">50K", 7_841)
    assert _suspects(sql, file) == {}
    test = connect(declare(source=f"{real('adult/adult-test.csv.gz')}?names={ADULT}", target="income"), tmp_path)
    assert round(target_of(test, file=file).mean * 16_281) == 3_846  # labels end in a full stop there
    rules = infer(found, declare(target="other"))
    assert {(v.column, v.rule) for v in check(test, "rows", rules)} == {("income", "categories")}


def test_bike_sharing_gives_its_sum_away(real, declare, tmp_path):
    with zipfile.ZipFile(real("bike_sharing/Bike-Sharing-Dataset.zip")) as archive:
        archive.extract("hour.csv", tmp_path)
    file = declare(source="hour.csv", target="cnt", task="regression", time="dteday")
    sql = connect(file, tmp_path)
    assert {c.name: c.type for c in columns_of(sql, file=file)}["dteday"] == "time"
    assert {name: leak.evidence for name, leak in _suspects(sql, file).items()} == {
        "casual": "sum",
        "registered": "sum",
    }
    assert check(sql, "rows", infer(profile(sql, "rows", columns_of(sql, file=file)), file)) == []


def test_california_housing(real, declare, tmp_path):
    file = declare(
        source=str(real("california_housing/housing.csv.gz")), target="median_house_value", task="regression"
    )
    sql = connect(file, tmp_path)
    found = profile(sql, "rows", columns_of(sql, file=file))
    assert (found.rows, found.column("total_bedrooms").missing) == (20_640, 207)
    assert dict(found.column("ocean_proximity").top)["ISLAND"] == 5
    assert _suspects(sql, file) == {}


def test_the_length_of_a_call_is_suspect(real, declare, tmp_path):
    with zipfile.ZipFile(real("bank_marketing/bank-additional.zip")) as archive:
        archive.extractall(tmp_path)
    file = declare(source="bank-additional/bank-additional-full.csv")
    sql = connect(file, tmp_path)
    assert target_of(sql, file=file).mean == pytest.approx(4640 / 41_188)
    assert list(_suspects(sql, file)) == ["duration"]


def test_months_of_taxi_trips_break_rules_when_the_world_changed(real, declare, tmp_path):
    folder = real("nyc_taxi")
    file = declare(target="tip_amount", task="regression", time="pickup_datetime")

    def month(pattern: str):
        sql = connect(declare(**_trips(f"{folder}/yellow_tripdata_sample_{pattern}.csv.gz")), tmp_path)
        return sql

    sql = month("2018-0[1-6]")
    rules = infer(profile(sql, "rows", columns_of(sql, file=file)), file)
    broken = {
        name: {
            (v.column, v.rule)
            for v in check(month(name), "rows", rules)
            if v.rule not in ("order", "late") and v.column != "vendor_id"
        }
        for name in ("2018-07", "2018-08", "2018-10", "2018-11", "2019-02")
    }
    # Rows are in no order, and a new vendor drives from autumn on; otherwise the half year was quiet.
    assert broken["2018-07"] == broken["2018-10"] == broken["2018-11"] == set()
    assert ("total_amount", "extreme") in broken["2018-08"]
    assert ("congestion_surcharge", "missing") in broken["2019-02"]


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("adult/adult-train.csv.gz", {(1, "categories", "country", 1)}),  # the one person from Holand-Netherlands
        ("bank_marketing/bank-additional.zip", set()),
        pytest.param("online_retail/online_retail.parquet", set(), marks=pytest.mark.slow),
    ],
)
def test_one_half_of_a_table_breaks_no_rule_of_the_other(real, declare, tmp_path, name, odd):
    file = declare(**HALVES[name.partition("/")[0]](real(name), tmp_path))
    sql = connect(file, tmp_path)
    sql.execute("CREATE TABLE numbered AS SELECT *, row_number() OVER () AS place FROM rows")
    found = set()
    for half in (0, 1):
        for table, which in (("one", half), ("two", 1 - half)):
            picked = f"SELECT * EXCLUDE (place) FROM numbered WHERE hash(place) % 2 = {which}"
            sql.execute(f"CREATE OR REPLACE TABLE {table} AS {picked}")
        columns = columns_of(sql, "one", file=file)
        rules = infer(profile(sql, "one", columns), file)
        assert [violation for violation in check(sql, "two", rules) if violation.rule != "late"] == []
        for _, rule, mask in BatchCheck(rules).masks(load(sql, "two", columns)):
            if mask.any():
                found.add((half, rule.kind, rule.name, int(mask.sum())))
    assert found == odd


def _bank(path, folder):
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return {"source": "bank-additional/bank-additional-full.csv"}


HALVES = {
    "adult": lambda path, _: {"source": f"{path}?names={ADULT}", "target": "income"},
    "bank_marketing": _bank,
    "online_retail": lambda path, _: {
        "source": str(path), "target": "Quantity", "task": "regression", "time": "InvoiceDate",
    },
}  # fmt: skip


def test_the_years_of_a_bank_differ_and_say_so(real, declare, tmp_path):
    file = declare(**_bank(real("bank_marketing/bank-additional.zip"), tmp_path))
    sql = connect(file, tmp_path)
    for table, sign in (("one", "<="), ("two", ">")):  # rows are in order of time: 2008, then 2009 and 2010
        picked = f"SELECT *, row_number() OVER () AS place FROM rows QUALIFY place {sign} count(*) OVER () / 2"
        sql.execute(f"CREATE TABLE {table} AS SELECT * EXCLUDE (place) FROM ({picked})")
    rules = infer(profile(sql, "one", columns_of(sql, "one", file=file)), file)
    found = {(violation.column, violation.rule) for violation in check(sql, "two", rules)}
    assert found == {
        ("age", "range"), ("month", "categories"), ("previous", "range"), ("poutcome", "categories"),
        ("emp.var.rate", "range"), ("cons.price.idx", "range"), ("cons.conf.idx", "range"),
    }  # fmt: skip


@pytest.fixture
def trips(real, declare, tmp_path):
    """Return a function that gives the trips of months as a view and as a frame, and their rules."""
    folder = real("nyc_taxi")

    def read(pattern: str, **data):
        file = declare(**_trips(f"{folder}/yellow_tripdata_sample_{pattern}.csv.gz"), **data)
        sql = connect(file, tmp_path)
        columns = [column for column in columns_of(sql, file=file) if column.name != "congestion_surcharge"]
        return sql, load(sql, "rows", columns), infer(profile(sql, "rows", columns), file)

    return read


def test_single_absurd_amounts_of_trips_are_found_in_their_rows(trips):
    _, _, rules = trips("2018-0[1-6]")
    for month, odd in {
        "2018-08": [("extreme", "fare_amount", 429_490.2), ("extreme", "total_amount", 429_491.0)],
        "2019-01": [
            ("range", "fare_amount", 3004.0), ("range", "extra", -36.71), ("extreme", "mta_tax", 37.51),
            ("range", "total_amount", 3004.8),
        ],
    }.items():  # fmt: skip
        _, frame, _ = trips(month)
        masks = BatchCheck(rules).masks(frame)
        found = [(rule.kind, rule.name, value) for _, rule, mask in masks for value in frame[rule.name][mask]]
        assert [each for each in found if each[1] != "vendor_id"] == odd  # a new vendor drives from July on


def test_trips_of_another_month_are_late_events(trips):
    late = {}
    for month in ("2018-08", "2018-11", "2019-05"):
        sql, _, rules = trips(month)
        late[month] = {v.rows: v.verdict for v in check(sql, "rows", rules) if v.rule == "late"}
    assert late == {"2018-08": {}, "2018-11": {3: "watch"}, "2019-05": {1: "watch"}}


def test_amounts_of_trips_add_up_until_the_surcharge_comes(trips):
    total = "fare_amount + extra + mta_tax + tip_amount + tolls_amount + improvement_surcharge"
    for month, least, most in (("2018-08", 1, 40), ("2019-02", 5000, 10_000)):
        sql, frame, rules = trips(month, checks={"total": f"abs({total} - total_amount) < 0.005"})
        (counted,) = sql.execute(f"SELECT count(*) FROM rows WHERE abs({total} - total_amount) > 0.005").fetchone()
        (violation,) = [each for each in check(sql, "rows", rules) if each.rule == "check"]
        (mask,) = [mask for _, rule, mask in BatchCheck(rules).masks(frame) if rule.kind == "check"]
        assert least < counted == violation.rows == mask.sum() < most


def _trips(source: str) -> dict[str, object]:
    return {"source": source, "target": "tip_amount", "task": "regression", "time": "pickup_datetime"}


def test_half_open_files_of_every_kind_are_read(real, declare, tmp_path):
    mixed = real("nyc_taxi/yellow_tripdata_sample_2019-01.csv.gz")  # lines end in CR LF and in LF
    sql = connect(declare(**_trips(str(mixed))), tmp_path)
    count, trips = sql.execute("SELECT count(*), sum(vendor_id) FROM rows").fetchone()
    assert count == 10_000
    assert np.isfinite(trips)
