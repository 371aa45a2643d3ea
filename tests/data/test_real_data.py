"""Data that nobody here made: what is read, typed, split and suspected."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from kaizen.core.errors import DataError
from kaizen.data.columns import columns_of, inputs_of
from kaizen.data.leaks import leaks
from kaizen.data.profile import profile
from kaizen.data.tables import connect
from kaizen.data.target import target_of
from kaizen.data.validate import check, infer

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
            if v.rule != "order" and v.column != "vendor_id"
        }
        for name in ("2018-07", "2018-08", "2018-10", "2018-11", "2019-02")
    }
    # Rows are in no order, and a new vendor drives from autumn on; otherwise the half year was quiet.
    assert broken["2018-07"] == broken["2018-10"] == broken["2018-11"] == set()
    assert ("total_amount", "extreme") in broken["2018-08"]
    assert ("congestion_surcharge", "missing") in broken["2019-02"]


def _trips(source: str) -> dict[str, object]:
    return {"source": source, "target": "tip_amount", "task": "regression", "time": "pickup_datetime"}


def test_half_open_files_of_every_kind_are_read(real, declare, tmp_path):
    mixed = real("nyc_taxi/yellow_tripdata_sample_2019-01.csv.gz")  # lines end in CR LF and in LF
    sql = connect(declare(**_trips(str(mixed))), tmp_path)
    count, trips = sql.execute("SELECT count(*), sum(vendor_id) FROM rows").fetchone()
    assert count == 10_000
    assert np.isfinite(trips)
