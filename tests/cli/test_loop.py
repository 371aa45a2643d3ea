"""`kaizen loop`, `monitor`, `experiment`: steering by hand, and turns for days that are over."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kaizen.core.clock import EventClock
from tests.cli.conftest import Run_, declare, houses, inventory, people, post, served


def actions(kaizen: Run_, folder: Path) -> list[str]:
    return [decision["action"] for decision in kaizen("loop", "decisions", "--folder", folder, "--json").json()]


@pytest.mark.parametrize(
    "verb", [("loop", "rollback"), ("loop", "approve"), ("loop", "trigger"), ("loop", "run", "--once")]
)
def test_before_anything_is_learned_there_is_nothing_to_steer(verb: tuple[str, ...], kaizen: Run_, draft: Path) -> None:
    said = kaizen(*verb, "--folder", draft)
    assert said.code == 1
    assert "this project has no endpoint yet\n  → kaizen learn" in said.err
    assert not any(inventory(draft).values())


def test_there_is_nothing_to_roll_back_to_or_to_approve_after_the_first_model(kaizen: Run_, learned: Path) -> None:
    before = inventory(learned)
    back = kaizen("loop", "rollback", "--folder", learned, "--json").json()["error"]
    assert back["code"] == "decision"
    assert back["what"] == "no other bundle was ever champion here"
    assert "there is no challenger to promote" in kaizen("loop", "approve", "--folder", learned).err
    assert "is the champion already" in kaizen("loop", "promote", "1", "--folder", learned).err
    assert inventory(learned) == before


def test_a_challenger_is_approved_and_taken_back_by_hand(kaizen: Run_, learned: Path) -> None:
    (learned / "people.csv").write_text(people(500, seed=3))
    kaizen("learn", "--folder", learned)
    assert "a challenger is being tried already" in kaizen("loop", "trigger", "--folder", learned).err
    assert "challenger" in kaizen("experiment", "status", "--folder", learned).out
    said = kaizen("loop", "approve", "--reason", "better by hand", "--folder", learned)
    assert "promote: revision 3" in said.out
    assert "better by hand" in said.out
    assert kaizen("loop", "rollback", "--folder", learned, "--json").json()["revision"] == 4
    assert actions(kaizen, learned) == ["promote", "shadow", "promote", "roll back"]
    last = kaizen("loop", "decisions", "--folder", learned, "--json").json()[-1]
    explained = kaizen("loop", "explain", last["id"], "--folder", learned).out
    assert "roll back" in explained
    assert "people version 1" in explained


def test_an_unknown_id_is_named(kaizen: Run_, learned: Path) -> None:
    said = kaizen("loop", "explain", "nothing-like-it", "--folder", learned)
    assert said.code == 1
    assert "nothing has the id 'nothing-like-it'" in said.err


def test_days_that_are_over_get_their_turn_once_without_a_time_and_with_a_number_for_a_target(
    kaizen: Run_, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "houses.csv").write_text(houses())
    kaizen("init", tmp_path / "houses.csv", "--target", "price", "--folder", tmp_path)
    declare(tmp_path, learn__budget='"1 trials"', learn__algorithms='["linear"]')
    assert kaizen("learn", "--folder", tmp_path).code == 0
    assert "Nothing is due" in kaizen("loop", "run", "--once", "--folder", tmp_path).out
    with served(tmp_path) as url:
        lines = [line.split(",") for line in houses(60, seed=7).splitlines()[1:]]
        rows = [{"rooms": float(r), "area": float(a), "street": s} for r, a, s, _ in lines]
        status, answer = post(f"{url}/v1/predict", {"rows": rows})
        assert status == 200
        labels = "".join(
            json.dumps({"id": given["id"], "value": float(price)}) + "\n"
            for given, (*_, price) in zip(answer["predictions"], lines, strict=True)
            if price
        )
        (tmp_path / "labels.jsonl").write_text(labels)
        told = kaizen("feedback", tmp_path / "labels.jsonl", "--url", url, "--folder", tmp_path)
        assert told.out == f"{labels.count('id')} labels accepted.\n"
    _let_days_pass(monkeypatch, 2)
    turns = [
        json.loads(line) for line in kaizen("loop", "run", "--once", "--folder", tmp_path, "--json").out.splitlines()
    ]
    assert len(turns) == 2
    assert "Nothing is due" in kaizen("loop", "run", "--once", "--folder", tmp_path).out
    (standing,) = kaizen("monitor", "status", "--folder", tmp_path, "--json").json()["endpoints"]
    assert {each["question"] for each in standing["watched"]} >= {"performance", "drift", "quality"}
    assert "False pages allowed: 1/30d, all watching together." in kaizen("monitor", "status", "--folder", tmp_path).out
    out = tmp_path / "how it stands.html"
    made = kaizen("monitor", "report", "--folder", tmp_path, "--out", out, "--json").json()
    assert made == {"report": str(out), "endpoint": standing["endpoint"], "open": len(standing["fired"])}
    assert "What is watched" in out.read_text(encoding="utf-8")
    retrained = kaizen("loop", "trigger", "--reason", "new rows", "--folder", tmp_path, "--json").json()
    assert retrained["action"] == "shadow"
    assert actions(kaizen, tmp_path) == ["promote", "retrain", "shadow"]


def _let_days_pass(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    later = datetime.now(UTC) + timedelta(days=days)
    monkeypatch.setattr("kaizen.core.project.SystemClock", lambda: EventClock(later))


def test_feedback_says_when_nobody_listens_and_when_the_server_refuses(
    kaizen: Run_, learned: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.jsonl").write_text('{"id": "x", "value": "yes"}\n')
    nobody = kaizen("feedback", tmp_path / "labels.jsonl", "--url", "http://127.0.0.1:9", "--folder", learned)
    assert nobody.code == 1
    assert "no kaizen server answers: [Errno" in nobody.err
    with served(learned) as url:
        refused = kaizen("feedback", tmp_path / "labels.jsonl", "--url", url, "--folder", learned)
    assert refused.code == 1
    assert "the server refused it: " in refused.err
    assert "nothing was stored" in refused.err
