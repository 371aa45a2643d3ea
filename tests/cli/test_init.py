"""`kaizen init`: what it finds, what it writes, and what it refuses before it writes anything."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.cli.conftest import Run_, houses, people


def test_says_what_it_found_in_a_yes_or_no_table(kaizen: Run_, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(people())
    said = kaizen("init", tmp_path / "people.csv", "--target", "paid", "--time", "seen_at", "--folder", tmp_path)
    assert said.code == 0
    assert "400 of 4 columns" in said.out
    assert "is 'paid' 'pays' (not 'never')? yes in 4" in said.out
    assert "'seen_at' from 2024-01-01 to 2024-01-20" in said.out
    assert "Next: kaizen learn" in said.out
    file = tomllib.loads((tmp_path / "kaizen.toml").read_text())
    assert file["data"] == {"source": "people.csv", "target": "paid", "time": "seen_at"}
    assert (tmp_path / ".kaizen" / "kaizen.schema.json").exists()


def test_a_number_with_many_values_is_a_regression_and_rows_without_it_are_counted(kaizen: Run_, tmp_path: Path):
    (tmp_path / "houses.csv").write_text(houses())
    said = kaizen("init", tmp_path / "houses.csv", "--target", "price", "--folder", tmp_path / "p", "--json").json()
    assert said["task"] == "regression"
    assert said["rows"] == 300
    assert {"name": "street", "type": "category"} in said["columns"]
    assert any("6 rows have none and are left out" in line for line in said["says"])
    assert any("split at random" in line for line in said["says"])


def test_labels_that_differ_by_a_full_stop_only_are_one_class(kaizen: Run_, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y\n" + "1,>50K\n2,<=50K.\n3,>50K.\n4,<=50K\n" * 10)
    said = kaizen("init", tmp_path / "t.csv", "--target", "y", "--folder", tmp_path, "--json")
    assert said.json()["task"] == "classification"


def test_a_column_of_times_that_is_not_named_is_pointed_out(kaizen: Run_, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(people())
    said = kaizen("init", tmp_path / "people.csv", "--target", "paid", "--folder", tmp_path)
    assert 'write time = "seen_at" under [data]' in said.out


def test_a_project_in_another_folder_finds_its_table(kaizen: Run_, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "part1.csv").write_text(people())
    (tmp_path / "part2.csv").write_text(people(seed=2))
    monkeypatch.chdir(tmp_path)
    assert kaizen("init", "part*.csv", "--target", "paid", "--folder", "p", "--name", "parts").code == 0
    assert "800 rows" in kaizen("data", "profile", "--folder", "p").out


@pytest.mark.parametrize(
    ("table", "options", "says"),
    [
        ("people.csv", ["--target", "piad"], "there is no column 'piad'\n  → did you mean 'paid'?"),
        (
            "people.csv",
            ["--target", "paid", "--time", "seen"],
            "there is no column 'seen'\n  → did you mean 'seen_at'?",
        ),
        ("people.csv", ["--target", "paid", "--unit", "cty"], "there is no column 'cty'\n  → did you mean 'city'?"),
        ("people.csv", ["--target", "paid", "--time", "city"], "'city' is declared as a time and row 1 says"),
        ("people.csv", ["--target", "city"], "the target 'city' has 3 classes ('"),
        ("people.csv", ["--target", "paid", "--task", "regression"], "a regression needs numbers"),
        ("people.csv", ["--target", "paid", "--name", "My People"], "lower-case letters"),
        ("one.csv", ["--target", "y"], "the target 'y' has the class 'good' only"),
        ("empty.csv", ["--target", "y"], "the file is empty"),
        ("header.csv", ["--target", "y"], "has no rows"),
        ("peple.csv", ["--target", "paid"], "there is no such file\n  → did you mean 'people.csv'?"),
        ("table.zip", ["--target", "y"], "the format 'zip' is not one that is read here"),
        ("ragged.csv", ["--target", "y"], "line 4 has 3 fields where the first line has 2"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    table: str, options: list[str], says: str, kaizen: Run_, tmp_path: Path
) -> None:
    (tmp_path / "people.csv").write_text(people())
    (tmp_path / "one.csv").write_text("x,y\n" + "1,good\n" * 50)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("x,y\n")
    (tmp_path / "ragged.csv").write_text("x,y\n1,yes\n2,no\n3,yes,no\n" + "1,yes\n" * 5)
    (tmp_path / "table.zip").write_bytes(b"PK")
    project = tmp_path / "project"
    said = kaizen("init", tmp_path / table, *options, "--folder", project)
    assert said.code == 1
    assert says in said.err
    assert "Traceback" not in said.err
    assert not project.exists()
    error = kaizen("init", tmp_path / table, *options, "--folder", project, "--json").json()["error"]
    assert error["what"]
    assert error["fix"] or "project.name" in error["where"]


def test_a_project_that_is_there_already_stays_as_it_is(kaizen: Run_, draft: Path) -> None:
    before = (draft / "kaizen.toml").read_text()
    said = kaizen("init", draft / "people.csv", "--target", "city", "--folder", draft)
    assert said.code == 1
    assert "there is a project here already" in said.err
    assert (draft / "kaizen.toml").read_text() == before
