"""Tables that others made: from the file to a champion that beats what one gets without learning."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run_, declare

pytestmark = pytest.mark.slow

_ADULT = "age,workclass,weight,education,years,marital,occupation,relationship,race,sex,gain,loss,hours,country,income"


def table(name: str) -> Path:
    """Return a file of the shared data; the test is skipped where there is none."""
    path = Path(os.environ.get("KAIZEN_DATA", Path(__file__).parents[2].parent / "shared" / "data")) / name
    if not path.exists():
        pytest.skip(f"no {name}: set KAIZEN_DATA to the folder of the shared data")
    return path


def learn(kaizen: Run_, folder: Path, **keys: str) -> dict[str, Any]:
    """Learn in two trials and return what came out."""
    declare(folder, learn__budget='"2 trials"', learn__algorithms='["lightgbm", "linear"]', **keys)
    said = kaizen("learn", "--folder", folder, "--json")
    assert said.code == 0, said.err
    found = said.json()
    metric = found["metrics"][0]
    for name, figures in found["baselines"].items():
        baseline = next(figure["value"] for figure in figures if figure["name"] == metric["name"])
        assert metric["high"] < baseline, f"{name}: {baseline}"
    assert kaizen("bundle", "verify", "1", "--folder", folder).code == 0
    assert kaizen("doctor", "--folder", folder).code == 0
    return dict(found)


def test_adult_without_a_line_of_names_and_with_question_marks(kaizen: Run_, tmp_path: Path) -> None:
    lines = gzip.decompress(table("adult/adult-train.csv.gz").read_bytes()).splitlines(keepends=True)[:8000]
    (tmp_path / "adult.csv").write_bytes(b"".join(lines))
    nameless = kaizen("init", tmp_path / "adult.csv", "--target", "income", "--folder", tmp_path)
    assert nameless.code == 1
    assert "the first line looks like data" in nameless.err
    assert "?names=a,b,c" in nameless.err
    made = kaizen("init", f"{tmp_path / 'adult.csv'}?names={_ADULT}", "--target", "income", "--folder", tmp_path)
    assert "is 'income' '>50K' (not '<=50K')? yes in 23.9%" in made.out
    profile = kaizen("data", "profile", "--folder", tmp_path, "--json").json()
    assert {column["name"] for column in profile["columns"] if column["missing"]} == {
        "workclass",
        "occupation",
        "country",
    }
    found = learn(kaizen, tmp_path)
    assert found["metrics"][0]["value"] < 0.36  # the class rate alone has 0.55


def test_bike_sharing_names_the_columns_that_add_up_to_the_answer(kaizen: Run_, tmp_path: Path) -> None:
    with zipfile.ZipFile(table("bike_sharing/Bike-Sharing-Dataset.zip")) as archive:
        (tmp_path / "hour.csv").write_bytes(archive.read("hour.csv"))
    made = kaizen("init", tmp_path / "hour.csv", "--target", "cnt", "--time", "dteday", "--folder", tmp_path, "--json")
    assert made.json()["task"] == "regression"
    validated = kaizen("data", "validate", "--folder", tmp_path)
    assert "'casual' and 'registered' together give the target exactly" in validated.out
    found = learn(kaizen, tmp_path, data__outcome='["casual", "registered"]', data__ignore='["instant"]')
    assert set(found["baselines"]) == {"mean", "as_the_previous_day"}
    assert not any("leak" in warning for warning in found["warnings"])


def test_california_housing_has_no_time_and_some_rooms_are_not_counted(kaizen: Run_, tmp_path: Path) -> None:
    lines = io.BytesIO(gzip.decompress(table("california_housing/housing.csv.gz").read_bytes())).readlines()
    (tmp_path / "housing.csv").write_bytes(b"".join([lines[0], *lines[1::3]]))
    made = kaizen("init", tmp_path / "housing.csv", "--target", "median_house_value", "--folder", tmp_path)
    assert "regression of 'median_house_value'" in made.out
    found = learn(kaizen, tmp_path)
    assert found["metrics"][0]["name"] == "rmse"
    assert found["metrics"][0]["value"] < 60_000  # the mean alone has 115,000


def test_bank_marketing_shows_its_suspect_and_sms_spam_is_read_as_text(kaizen: Run_, tmp_path: Path) -> None:
    with zipfile.ZipFile(table("bank_marketing/bank-additional.zip")) as archive:
        (tmp_path / "bank.csv").write_bytes(archive.read("bank-additional/bank-additional-full.csv"))
    kaizen("init", tmp_path / "bank.csv", "--target", "y", "--folder", tmp_path / "bank")
    assert any("'duration' alone" in warning for warning in learn(kaizen, tmp_path / "bank")["warnings"])
    address = f"{table('sms_spam/sms.tsv')}?names=label,text"
    made = kaizen("init", address, "--target", "label", "--folder", tmp_path / "sms")
    assert "is 'label' 'spam' (not 'ham')? yes in 13.4%" in made.out
    learn(kaizen, tmp_path / "sms")
