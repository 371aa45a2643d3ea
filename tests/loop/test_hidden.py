"""Columns that the log hides: not watched, not learned from, not filled in, and each time it is said."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from kaizen.bundle import keys
from kaizen.core.clock import EventClock
from kaizen.core.project import Project
from kaizen.core.records import Decision, Finding
from kaizen.loop import candidate, cycle, history, lineage, observe, pipeline
from tests.loop.conftest import END, TOML, made_up_rows
from tests.loop.test_cycle import answer_a_day, go_through

pytestmark = pytest.mark.slow


@pytest.fixture
def hidden(tmp_path: Path) -> Project:
    """Return a project with a champion, whose log leaves out `x` and hashes `kind`."""
    (tmp_path / "kaizen.toml").write_text(TOML + '[serve.log]\nhash = ["kind"]\ndrop = ["x"]\n')
    (tmp_path / "rows.csv").write_text(made_up_rows())
    made = Project.open(tmp_path, clock=EventClock(END))
    keys.create(made.keys)
    pipeline.learn(made)
    return made


def test_hidden_columns_are_not_watched_and_the_others_are(hidden: Project) -> None:
    turns = go_through(hidden, range(8), shift=3.0)
    found = [hidden.records.get(Finding, each) for turn in turns for each in turn.findings]
    summary = next(f for f in found if f.question == "drift window" and f.verdict != "page")
    assert "Not watched, for the log does not carry them: x, kind." in summary.says
    drifted = {each.subject for each in found if each.question == "drift" and each.verdict == "page"}
    assert drifted == {"prediction"}  # x moved far, and only what it does to the answers shows


def test_a_retraining_that_needs_hidden_columns_ends_in_a_decision_that_says_so(hidden: Project) -> None:
    answer_a_day(hidden, 0)
    clock = hidden.clock
    assert isinstance(clock, EventClock)
    clock.advance(END + timedelta(days=3))
    stopped = candidate.by_hand(hidden, by="me", reason="try", note=lambda _: None)
    assert isinstance(stopped, Decision)
    assert stopped.action == "stop"
    assert "the logged predictions do not carry x, kind" in stopped.reason


def test_a_column_that_is_hidden_from_a_day_on_is_hidden_in_what_spans_it(project: Project) -> None:
    pipeline.learn(project)
    answer_a_day(project, 0)
    project.log.close()
    toml = project.folder / "kaizen.toml"
    toml.write_text(toml.read_text() + '[serve.log]\ndrop = ["x"]\n')
    later = Project.open(project.folder, clock=EventClock(END))
    answer_a_day(later, 1)
    (both,) = history.champions(later.log)
    assert [c.name for c in both.columns] == list(both.frame) == ["at", "kind"]
    assert len(both.ids) == len(both.frame["kind"]) == 400
    (first,) = history.champions(later.log, end=END + timedelta(days=1))
    assert set(first.frame) == {"at", "x", "kind"}  # what was logged before stays known


def test_a_shadow_is_not_computed_from_inputs_that_are_not_there(hidden: Project) -> None:
    endpoint = hidden.endpoint()
    assert endpoint is not None
    (hidden.folder / "rows.csv").write_text(made_up_rows(seed=5))
    learned = pipeline.learn(hidden)
    with_challenger = hidden.endpoint()
    assert with_challenger is not None
    assert {arm.bundle for arm in with_challenger.arms[1:]} == {learned.bundle}
    answer_a_day(hidden, 0)
    whole = history.answers(hidden.log)
    champion = next(group for group in whole if group.role == "champion")
    arm = with_challenger.arms[1]
    outputs, names = observe._other(hidden, arm, whole, champion)
    assert not np.isnan(outputs).any()
    assert names == []
    some = [history.select(g, np.arange(150)) if g.role != "champion" else g for g in whole]
    outputs, names = observe._other(hidden, arm, some, champion)
    assert np.isnan(outputs).sum() == 50
    assert names == ["x", "kind"]


def test_a_day_whose_shadow_answers_are_missing_is_said_and_not_guessed(
    hidden: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hidden.folder / "rows.csv").write_text(made_up_rows(seed=5))
    challenger = pipeline.learn(hidden).bundle
    answers = history.answers

    def overloaded(log, start=None, end=None):
        groups = answers(log, start, end)
        return [history.select(g, np.arange(150)) if g.bundle == challenger else g for g in groups]

    monkeypatch.setattr(history, "answers", overloaded)
    turns = go_through(hidden, range(3))
    found = [hidden.records.get(Finding, each) for turn in turns for each in turn.findings]
    gaps = [each for each in found if each.question == "comparison coverage"]
    assert gaps
    assert all((gap.verdict, gap.subject, gap.n, gap.estimate) == ("watch", challenger, 200, 0.25) for gap in gaps)
    assert "50 are left out of the comparison" in gaps[0].says
    assert "does not carry x, kind" in gaps[0].says
    last = cycle.last_turn(hidden)
    assert last is not None
    assert {paired.rows for paired in last.state.pairs} == {150}


def test_the_answer_of_a_challenger_with_units_of_its_own_is_explained(project: Project) -> None:
    champion = pipeline.learn(project).bundle
    endpoint = project.endpoint()
    assert endpoint is not None
    (project.folder / "rows.csv").write_text(made_up_rows(seed=5))
    other = pipeline.learn(project).bundle
    answer_a_day(project, 0)
    batches = list(project.log.predictions())
    of_challenger = next(batch for batch in batches if batch.role == "challenger")
    alone = msgspec.structs.replace(of_challenger, ids=[f"own-{n}" for n in range(len(of_challenger.ids))])
    project.log.append(alone)
    found = lineage.explain(project, "own-7").subject
    assert isinstance(found, lineage.Prediction)
    assert (found.role, found.bundle) == ("challenger", other)
    both = lineage.explain(project, of_challenger.ids[7]).subject
    assert isinstance(both, lineage.Prediction)
    assert (both.role, both.bundle) == ("champion", champion)
