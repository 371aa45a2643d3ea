"""A bad batch is not learned from and asks for nothing; when the data are good again the loop goes on by itself."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from kaizen.core.project import Project
from kaizen.core.records import Column, Dataset, Decision, Finding
from kaizen.core.rules import Check, Rule, Rules
from kaizen.data.snapshot import load_dataset
from kaizen.loop import bad_data, cycle, pipeline
from kaizen.loop.bad_data import Sieve, explains
from kaizen.loop.history import Answers
from kaizen.loop.observe import rules_of
from kaizen.monitor.quality.spells import Spell
from kaizen.stats.blocks import day_blocks
from tests.loop.conftest import END
from tests.loop.test_cycle import answer_a_day, go_through

BAD = range(3, 13)


@pytest.fixture
def patient(project: Project) -> Project:
    """Return the project, which retrains for drift and performance."""
    path = project.folder / "kaizen.toml"
    asked = 'retrain_on = ["drift", "performance"]'
    path.write_text(path.read_text().replace('retrain_on = ["drift", "schedule 10d"]', asked))
    return Project.open(project.folder, clock=project.clock)


def decisions(project: Project) -> list[tuple[str, str]]:
    return [(decision.action, decision.reason) for decision in project.records.find(Decision)]


@pytest.mark.slow
def test_a_unit_that_changes_for_ten_days_blocks_is_resolved_and_is_not_learned_from(patient: Project) -> None:
    pipeline.learn(patient)
    turns = go_through(patient, range(3)) + go_through(patient, BAD, scale=1000.0)
    first, last = turns[3].day, turns[-1].day
    quality = [f for f in patient.records.find(Finding) if f.question == "quality"]
    assert [(f.subject, f.verdict, f.began) for f in quality] == [("x", "watch", END + timedelta(days=3))]
    assert quality[0].end == END + timedelta(days=4)  # found on its first day
    drifts = [f for f in patient.records.find(Finding) if f.question == "drift" and f.verdict == "page"]
    assert {f.subject for f in drifts} == {"x", "prediction"}  # people are told
    assert [action for action, _ in decisions(patient)] == ["promote", "hold", "hold"]  # for each trigger once
    reason = decisions(patient)[-1][1]
    assert reason == ("asked for by drift (prediction, x), performance (log_loss), but bad data: x since 2026-02-03")

    go_through(patient, range(13, 27))
    quality = [f for f in patient.records.find(Finding) if f.question == "quality"]
    assert [(f.subject, f.verdict) for f in quality] == [("x", "watch"), ("x", "resolved")]
    assert quality[1].end == END + timedelta(days=16)  # 600 rows are good again
    assert [action for action, _ in decisions(patient)] == ["promote", "hold", "hold"]
    turn = cycle.last_turn(patient)
    assert turn is not None
    assert [(s.first_day, s.last_day, s.whole_from) for s in turn.state.watch.quality.spells] == [(first, last, first)]

    drifts = [(f.subject, f.verdict) for f in patient.records.find(Finding) if f.question == "drift"]
    assert drifts[-2:] == [("x", "resolved"), ("prediction", "resolved")]  # nothing was retrained for it

    go_through(patient, range(27, 29))  # two windows have passed, and the losses, which have a cause of their own, ask
    assert decisions(patient)[3] == ("retrain", "asked for by performance (log_loss)")
    dataset = next(d for d in patient.records.find(Dataset) if d.parents)
    frame = load_dataset(dataset, patient.blobs)
    days = day_blocks(frame["at"], "UTC")
    assert not np.isin(days, range(first, last + 1)).any()
    assert np.abs(frame["x"]).max() < 10
    assert dataset.rows == 30 * 60 + 200 * len({day for day in days.tolist() if day >= turns[0].day})
    (left_out,) = [f for f in patient.records.find(Finding) if f.question == bad_data.LEFT_OUT]
    assert "2,000 are left out: bad data: x from 2026-02-03 to 2026-02-12 (2,000)" in left_out.says
    judged = patient.records.find(Decision)[4]
    assert judged.action == "shadow"
    assert left_out.id in judged.findings
    assert "2,000 are left out" in judged.reason


@pytest.mark.slow
def test_absurd_rows_and_broken_checks_are_left_out_of_a_retraining(project: Project) -> None:
    path: Path = project.folder / "kaizen.toml"
    path.write_text(path.read_text().replace("[learn]", "[data.checks]\nsmall = \"x < 50 or kind != 'b'\"\n[learn]", 1))
    project = Project.open(project.folder, clock=project.clock)
    pipeline.learn(project)
    endpoint = project.endpoint()
    assert endpoint is not None
    rules = rules_of(project, endpoint.champion.bundle)
    assert rules is not None
    assert [check.name for check in rules.checks] == ["small"]
    go_through(project, range(9))
    answer_a_day(project, 9, rows_=2, scale=1e6)  # two absurd rows on a day of their own
    go_through(project, range(10, 12))
    dataset = next(d for d in project.records.find(Dataset) if d.parents)
    frame = load_dataset(dataset, project.blobs)
    assert np.abs(frame["x"]).max() < 10
    (left_out,) = [f for f in project.records.find(Finding) if f.question == bad_data.LEFT_OUT]
    assert "2 are left out: x extreme (2)" in left_out.says


def test_without_rules_nothing_is_left_out(project: Project) -> None:
    sieve = Sieve(None, (), "UTC")
    assert sieve.good(_answers({"x": np.array([1.0, 1e9])}, [0, 1])).tolist() == [True, True]
    assert sieve.finding(project, END, "asked") is None


def _answers(frame: dict[str, np.ndarray], days: list[int]) -> Answers:
    at = np.array(days, np.int64) * 86_400_000_000
    ids = [str(i) for i in range(len(days))]
    return Answers("b", "champion", ids, at, np.zeros(len(days)), (Column("x", "number"),), frame)


RULES = Rules(
    rows=100,
    task="regression",
    target="y",
    columns=(
        Rule(column="x", type="number", low=0.0, high=10.0),
        Rule(column="kind", type="category", categories=("a",)),
    ),
    checks=(Check("c", "x < 9 or kind == 'a'"),),
)


@pytest.mark.parametrize(
    ("spell", "kept"),
    [
        ({"subject": "x", "kind": "extreme", "heavy_from": 2}, [0]),
        ({"subject": "x", "kind": "range"}, [0, 1, 2, 4]),
        ({"subject": "x", "kind": "missing"}, [0, 1, 2]),
        ({"subject": "kind", "kind": "categories", "heavy_from": 2}, [0, 1, 2, 3]),
        ({"subject": "rows there before", "kind": "repeats"}, [0, 1, 3, 4]),
    ],
)
def test_of_bad_days_the_bad_rows_are_left_out_or_all(spell: dict[str, object], kept: list[int]) -> None:
    frame = {
        "x": np.array([1.0, 5.0, 5.0, 25.0, np.nan, 30.0]),  # the last breaks the check, on a good day
        "kind": np.array(["b", "a", "a", "a", "b", "b"], object),
    }
    spell = {"columns": ("x",), "first_day": 2, "last_day": 3, **spell}
    sieve = Sieve(RULES, [Spell(**spell)], "UTC")  # type: ignore[arg-type]
    assert np.flatnonzero(sieve.good(_answers(frame, [1, 2, 2, 2, 2, 4]))).tolist() == kept
    assert (sieve.rows, sieve.left_out) == (6, 6 - len(kept))


def test_what_bad_days_explain() -> None:
    light = Spell(subject="x", kind="range", columns=("x",), first_day=10, last_day=12)
    heavy = Spell(subject="kind", kind="categories", columns=("kind",), first_day=10, last_day=12, heavy_from=11)
    check = Spell(subject="sum", kind="check", columns=("a", "b"), first_day=10)

    def found(trigger: str, subject: str, day: int) -> list[str]:
        spells = (light, heavy, check)
        return [s.subject for s in spells if explains([s], trigger, subject, day=day, window_days=7)]

    assert found("drift", "x", 12) == found("drift", "x", 26) == ["x"]
    assert found("drift", "x", 27) == []
    assert found("drift", "b", 400) == ["sum"]  # it still goes on
    assert found("drift", "other", 12) == []
    assert found("drift", "prediction", 12) == found("performance", "log_loss", 12) == ["kind"]
    assert found("schedule", "", 12) == found("rows", "", 12) == []
