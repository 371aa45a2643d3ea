"""`kaizen data`: profile, validate, snapshot."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Run_, declare, inventory, people


def test_profile_shows_times_as_times_and_large_numbers_whole(kaizen: Run_, draft: Path) -> None:
    said = kaizen("data", "profile", "--folder", draft)
    assert said.code == 0
    assert "400 rows in people.csv" in said.out
    assert "2024-01-01 00:00" in said.out
    assert "Oslo" in said.out


def test_profile_for_programs_has_every_column(kaizen: Run_, draft: Path) -> None:
    found = kaizen("data", "profile", "--folder", draft, "--json").json()
    assert {column["name"]: column["type"] for column in found["columns"]} == {
        "age": "number",
        "city": "category",
        "seen_at": "time",
        "paid": "category",
    }


def test_the_source_keeps_its_own_rules(kaizen: Run_, draft: Path) -> None:
    said = kaizen("data", "validate", "--folder", draft)
    assert said.code == 0
    assert "✓ every rule holds" in said.out


def test_another_table_is_held_against_the_source(kaizen: Run_, draft: Path) -> None:
    first, *rest = people(400, seed=5).splitlines()
    strange = [line.replace("Oslo", "Atlantis") for line in rest]
    (draft / "later.csv").write_text("\n".join([first.replace("age", "years"), *strange]) + "\n")
    said = kaizen("data", "validate", "later.csv", "--folder", draft)
    assert said.code == 1
    assert "✗ Column 'age' is missing." in said.out
    assert "such as 'Atlantis'" in said.out


def test_a_declared_rule_that_fails_ends_with_1_in_both_forms(kaizen: Run_, draft: Path) -> None:
    declare(draft, data__rules="{age = {max = 50}}")
    said = kaizen("data", "validate", "--folder", draft)
    assert said.code == 1
    assert "✗" in said.out
    looked = kaizen("data", "validate", "--folder", draft, "--json")
    assert looked.code == 1
    assert '"passed":false' in looked.out


def test_a_check_between_columns_is_shown_and_its_rows_may_be_left_out(kaizen: Run_, draft: Path) -> None:
    declare(draft, data__checks="{grown = \"age >= 30 or city != 'Oslo'\"}")
    said = kaizen("data", "validate", "--folder", draft)
    assert said.code == 1
    assert "✗ The check 'grown' (age >= 30 or city != 'Oslo') does not hold for" in said.out
    declare(draft, data__max_broken=0.5)
    assert kaizen("data", "validate", "--folder", draft).code == 0
    kept = kaizen("data", "snapshot", "--folder", draft, "--json").json()
    looked = kaizen("data", "validate", "--folder", draft, "--json").json()
    assert 400 - kept["rows"] == sum(violation["rows"] for violation in looked["violations"]) > 0


def test_a_check_that_cannot_be_read_is_refused_with_its_place(kaizen: Run_, draft: Path) -> None:
    declare(draft, data__checks='{grown = "ages >= 30"}')
    error = kaizen("data", "validate", "--folder", draft, "--json").json()["error"]
    assert (error["where"], error["fix"]) == ("data.checks.grown", "did you mean 'age'?")


def test_the_same_rows_are_the_same_dataset(kaizen: Run_, draft: Path) -> None:
    first = kaizen("data", "snapshot", "--folder", draft, "--json").json()
    again = kaizen("data", "snapshot", "--folder", draft, "--json").json()
    assert first == again
    assert first["rows"] == 400
    assert inventory(draft)["Dataset"] == {first["id"]}
