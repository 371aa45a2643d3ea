"""`kaizen learn`: rows in, a champion out; what is odd is said, what cannot be is refused with nothing registered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kaizen.core.project import Project
from kaizen.core.records import Dataset
from tests.cli.conftest import Run_, declare, houses, inventory, people


def test_shows_what_was_found_and_what_comes_next(kaizen: Run_, draft: Path) -> None:
    said = kaizen("learn", "--folder", draft)
    assert said.code == 0
    assert "class rate" in said.out
    assert "log_loss" in said.out
    assert f"Report: {draft / 'report.html'}" in said.out
    assert "Decision: promote, the first bundle of this endpoint." in said.out
    assert "Next: kaizen serve" in said.out
    assert (draft / "report.html").read_text().startswith("<!")


def test_learning_again_from_the_same_rows_makes_nothing_new(kaizen: Run_, learned: Path) -> None:
    before = inventory(learned)
    again = kaizen("learn", "--folder", learned, "--json").json()
    assert inventory(learned) == before
    assert again["version"] == 1
    assert again["decision"]["action"] == "promote"


def test_a_second_model_goes_to_shadow_and_says_how_to_follow_it(kaizen: Run_, learned: Path) -> None:
    (learned / "people.csv").write_text(people(500, seed=3))
    said = kaizen("learn", "--folder", learned)
    assert "Decision: shadow" in said.out
    assert "kaizen experiment status" in said.out
    assert "challenger" in kaizen("loop", "status", "--folder", learned).out


def test_a_candidate_that_fails_a_gate_is_dropped_with_the_reason(kaizen: Run_, draft: Path) -> None:
    declare(draft, learn__gates='[{metric = "auc", min = 0.999}]')
    said = kaizen("learn", "--folder", draft)
    assert "Decision: stop, the candidate failed a gate: auc 0." in said.out
    assert "is under 0.999" in said.out
    assert "Next: kaizen loop explain" in said.out
    assert kaizen("serve", "--folder", draft).code == 1


def test_a_column_that_knows_the_answer_is_named_and_learning_goes_on(kaizen: Run_, draft: Path) -> None:
    lines = people().splitlines()
    known = [f"{line},{7 if line.endswith('pays') else 3}" for line in lines[1:]]
    (draft / "people.csv").write_text("\n".join([lines[0] + ",receipt", *known]) + "\n")
    said = kaizen("learn", "--folder", draft)
    assert said.code == 0
    assert "! leak suspect: 'receipt' alone ranks the answers" in said.err
    assert 'write outcome = ["receipt"] under [data]' in said.err
    declare(draft, data__outcome='["receipt"]')
    again = kaizen("learn", "--folder", draft, "--json").json()
    assert not any("receipt" in warning for warning in again["warnings"])


def test_a_declared_outcome_among_the_features_is_refused(kaizen: Run_, draft: Path) -> None:
    declare(draft, data__outcome='["age"]', features__module='"features.py"')
    (draft / "features.py").write_text("from kaizen.features import col\nFEATURES = {'age': col.age}\n")
    said = kaizen("learn", "--folder", draft)
    assert said.code == 1
    assert "'age' would not be known when the prediction is asked for" in said.err
    assert not any(inventory(draft).values())


def test_without_a_time_rows_without_a_price_are_left_out_and_counted(kaizen: Run_, tmp_path: Path) -> None:
    (tmp_path / "houses.csv").write_text(houses())
    kaizen("init", tmp_path / "houses.csv", "--target", "price", "--folder", tmp_path)
    declare(tmp_path, learn__budget='"2 trials"', learn__algorithms='["linear"]')
    said = kaizen("learn", "--folder", tmp_path, "--json").json()
    assert "6 of 300 rows have no 'price' and are left out." in said["warnings"]
    figures = {metric["name"]: metric["value"] for metric in said["metrics"]}
    assert figures["rmse"] < 0.3 * said["baselines"]["mean"][0]["value"]
    project = Project.open(tmp_path)
    assert [dataset.rows for dataset in project.records.find(Dataset)] == [294]


def test_rows_out_of_the_order_of_time_are_accepted_and_said(kaizen: Run_, draft: Path) -> None:
    first, *rest = people().splitlines()
    shuffled = np.random.default_rng(0).permutation(rest).tolist()
    (draft / "people.csv").write_text("\n".join([first, *shuffled]) + "\n")
    said = kaizen("learn", "--folder", draft)
    assert said.code == 0
    assert "rows come after a later one by 'seen_at'; their order is not used." in said.err


def test_rows_without_a_time_are_refused_with_their_share(kaizen: Run_, draft: Path) -> None:
    first, *rest = people().splitlines()
    rest[::40] = [",".join([*line.split(",")[:2], "", line.split(",")[3]]) for line in rest[::40]]
    (draft / "people.csv").write_text("\n".join([first, *rest]) + "\n")
    said = kaizen("learn", "--folder", draft)
    assert said.code == 1
    assert "2.5% of 'seen_at' is missing" in said.err


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"data__target": '"piad"'}, "data.target: there is no column 'piad'\n  → did you mean 'paid'?"),
        ({"data__time": '"seen"'}, "data.time: there is no column 'seen'\n  → did you mean 'seen_at'?"),
        ({"data__ignore": '["citi"]'}, "data.ignore: there is no column 'citi'\n  → did you mean 'city'?"),
        ({"data__time": '"age"'}, "column 'age' is declared as a time and holds numbers"),
        ({"data__time": '"city"'}, "column 'city' is declared as a time and row 1 says"),
        ({"data__types": '{city = "number"}'}, "column 'city' is declared as a number and row 1 says"),
        ({"data__types": '{city = "nummer"}'}, "data.types.city: it is none of the known values (value 'nummer')"),
        ({"data__target": '"city"'}, "has 3 classes ('"),
        ({"data__source": '"peeple.csv"'}, "there is no such file\n  → did you mean 'people.csv'?"),
        ({"data__time_zone": '"Europe/Olso"'}, "there is no such time zone; did you mean 'Europe/Oslo'?"),
        ({"data__rules": "{age = {max = 50}}"}, "values of 'age' are over 50; they reach from 18 to 79"),
        ({"data__max_age": '"1d"'}, "days old, and may be 24.0 hours old"),
        ({"learn__algorithms": '["lightgmb"]'}, "learn.algorithms: there is no algorithm 'lightgmb'\n  → did you mean"),
        ({"learn__metric": '"logloss"'}, "'logloss' is no metric of classification\n  → did you mean 'log_loss'?"),
        ({"learn__gates": '[{metric = "rmse", max = 1}]'}, "learn.gates[0].metric: 'rmse' is no metric of"),
        ({"learn__bugdet": '"9s"'}, "learn.bugdet: unknown key 'bugdet' (value '9s')\n  → did you mean 'budget'?"),
        ({"learn__budget": '"9 trails"'}, "learn.budget: '9 trails' is no duration"),
        ({"serve__port": "80800"}, "serve.port: a port lies between 1 and 65535"),
        ({"serve__port": '"80"'}, "serve.port: expected 'int', got 'str' (value '80')"),
        ({"project__task": '"ranking"'}, "project.task: the task 'ranking' does not exist yet"),
        ({"project__task": '"forecast"'}, "project.task: the task 'forecast' does not exist yet"),
        ({"project__task": '"regresion"'}, "did you mean 'regression'?"),
        ({"features__module": '"features.py"'}, "features.py: cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place_and_nothing_is_registered(
    keys: dict[str, str], says: str, kaizen: Run_, draft: Path
) -> None:
    before = (draft / "kaizen.toml").read_text()
    declare(draft, **keys)
    said = kaizen("learn", "--folder", draft)
    assert said.code == 1
    assert says in said.err
    assert "Traceback" not in said.err
    error = kaizen("learn", "--folder", draft, "--json").json()["error"]
    assert error["what"]
    assert error["where"]
    assert not (draft / "report.html").exists()
    (draft / "kaizen.toml").write_text(before)
    assert not any(inventory(draft).values())


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("", "the file is empty"),
        ("age,city,seen_at,paid\n", "has no rows"),
        ("age,city,seen_at,paid\n" + "31,Oslo,2024-01-01T00:00:00Z,pays\n" * 99, "the class 'pays' only"),
        (people(12), "a split gives 9 rows to train on and 3 to validate on; 20 are needed"),
        (
            people().replace("seen_at", "seen at"),
            "data.time: there is no column 'seen_at'\n  → did you mean 'seen at'?",
        ),
    ],
)
def test_a_table_that_changed_for_the_worse_leaves_the_project_as_it_was(
    table: str, says: str, kaizen: Run_, learned: Path
) -> None:
    before = inventory(learned)
    (learned / "people.csv").write_text(table)
    said = kaizen("learn", "--folder", learned, "--json")
    assert said.code == 1
    error = said.json()["error"]
    assert says in f"{error['where']}: {error['what']}\n  → {error['fix']}"
    after = inventory(learned)
    after["Dataset"] = before["Dataset"]
    assert after == before
