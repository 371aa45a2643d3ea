"""Wrong usage ends with 2 and says what there is; a missing extra names its install line; the doctor sees it all."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaizen.cli import verbs
from tests.cli.conftest import Run_, declare


def test_the_nearest_verb_is_named(kaizen: Run_) -> None:
    said = kaizen("lern")
    assert said.code == 2
    assert "did you mean 'learn'?" in said.err


@pytest.mark.parametrize("arguments", [("lern",), ("init", "x.csv", "--targt", "y"), ("init",), ("bundle", "show")])
def test_wrong_usage_is_json_for_programs(arguments: tuple[str, ...], kaizen: Run_) -> None:
    said = kaizen(*arguments, "--json")
    assert said.code == 2
    error = said.json()["error"]
    assert error["code"] == "usage"
    assert error["what"]
    assert error["fix"].endswith("--help")


@pytest.mark.parametrize("verb", verbs.SUMMARIES)
def test_every_verb_explains_itself(verb: str, kaizen: Run_) -> None:
    said = kaizen(verb, "--help")
    assert said.code == 0
    assert said.out.startswith(f"Usage: kaizen {verb}")


@pytest.mark.parametrize(
    "arguments",
    [
        ("learn",),
        ("serve",),
        ("data", "profile"),
        ("data", "validate"),
        ("bundle", "list"),
        ("bundle", "show", "1"),
        ("loop", "status"),
        ("loop", "rollback"),
        ("monitor", "status"),
        ("experiment", "status"),
    ],
)
def test_a_folder_without_a_project_says_how_to_make_one(
    arguments: tuple[str, ...], kaizen: Run_, tmp_path: Path
) -> None:
    said = kaizen(*arguments, "--folder", tmp_path)
    assert said.code == 1
    assert "there is no project here\n  → kaizen init DATA --target COLUMN" in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_names_its_install_line(kaizen: Run_, draft: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for module in [name for name in sys.modules if name == "duckdb" or name.startswith(("duckdb.", "kaizen.data"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    said = kaizen("data", "profile", "--folder", draft)
    assert said.code == 1
    assert 'duckdb is needed here and not installed\n  → pip install "kaizen-ml[learn]"' in said.err


def test_the_doctor_finds_a_new_project_well_and_says_what_comes_next(kaizen: Run_, draft: Path) -> None:
    checks = {check["name"]: check for check in kaizen("doctor", "--folder", draft, "--json").json()}
    assert checks["source"]["says"].startswith("400 rows")
    assert checks["records"]["state"] == "warning"
    assert checks["records"]["fix"] == "kaizen learn"


def test_the_doctor_fails_for_a_source_that_is_gone(kaizen: Run_, draft: Path) -> None:
    (draft / "people.csv").unlink()
    said = kaizen("doctor", "--folder", draft)
    assert said.code == 1
    assert "✗ source" in said.out
    assert "there is no such file" in said.out


def test_the_doctor_fails_for_a_wrong_key_in_the_project_file(kaizen: Run_, draft: Path) -> None:
    declare(draft, learn__bugdet='"2 trials"')
    said = kaizen("doctor", "--folder", draft)
    assert said.code == 1
    assert "did you mean 'budget'?" in said.out
