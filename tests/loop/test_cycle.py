from __future__ import annotations

import re
from datetime import timedelta
from statistics import NormalDist

import numpy as np
import pytest

from kaizen.bundle import keys, load
from kaizen.core.clock import EventClock, to_us
from kaizen.core.errors import DecisionError
from kaizen.core.ids import derived
from kaizen.core.project import Project
from kaizen.core.records import (
    Alert,
    Bundle,
    Dataset,
    Decision,
    Delivery,
    Finding,
    LabelBatch,
    PredictionBatch,
    Run,
    Step,
)
from kaizen.data.snapshot import load_dataset
from kaizen.graph.frame import feeds, from_rows, to_log
from kaizen.loop import act, candidate, cycle, pipeline
from tests.loop.conftest import END


def answer_a_day(
    project: Project,
    number: int,
    *,
    shift: float = 0.0,
    labelled: bool = True,
    scale: float = 1.0,
    rows_: int = 200,
    tied: bool = False,
) -> None:
    """Put a day of predictions by every arm in the log, and their labels a few hours later.

    `scale` is what the numbers are sent times: labels go by what they should have been. Of `tied` rows the kind goes
    by x, each as it is distributed otherwise.
    """
    endpoint = project.endpoint()
    assert endpoint is not None
    random = np.random.default_rng(number)
    start = END + timedelta(days=number)
    at = [to_us(start) + i * 86_400_000_000 // rows_ for i in range(rows_)]
    rows = [{"at": t, "x": float(random.normal() + shift), "kind": str(random.choice(["a", "b", "c"]))} for t in at]
    if tied:
        rows = [row | {"kind": "abc"[int(3 * NormalDist().cdf(float(row["x"])))]} for row in rows]
    truth = [float(random.random() < 1 / (1 + np.exp(-1.5 * row["x"]))) for row in rows]  # type: ignore[operator]
    rows = [row | {"x": row["x"] * scale} for row in rows]  # type: ignore[operator]
    ids = [derived(start, str(number), str(i)) for i in range(rows_)]
    for arm in endpoint.arms:
        bundle = project.records.get(Bundle, arm.bundle)
        model = load.load(bundle, project.blobs, keys.trusted(project.keys))
        own = [{c.name: row[c.name] for c in bundle.inputs} for row in rows]
        frame = from_rows(bundle.inputs, own)
        tensors = feeds(bundle.inputs, frame)
        numbers, times, strings = to_log(bundle.inputs, tensors) if arm.role == "champion" else (b"", b"", [])
        project.log.append(
            PredictionBatch(
                endpoint=endpoint.name,
                revision=endpoint.revision,
                bundle=arm.bundle,
                role=arm.role,
                ids=ids,
                at=at,
                units=[None] * rows_,
                outputs=model.run(tensors).tolist(),
                propensity=[1.0] * rows_,
                latency_us=[1] * rows_,
                requests=[None] * rows_,
                columns=bundle.inputs if arm.role == "champion" else (),
                numbers=numbers,
                times=times,
                strings=strings,
            )
        )
    if labelled:
        project.log.append(LabelBatch(ids=ids, values=truth, at=[t + 3_600_000_000 for t in at]))


def go_through(project: Project, days: range, *, shift: float = 0.0, **words: float) -> list[cycle.Turn]:
    clock = project.clock
    assert isinstance(clock, EventClock)
    turns = []
    for number in days:
        answer_a_day(project, number, shift=shift, **words)  # type: ignore[arg-type]
        clock.advance(END + timedelta(days=number + 1))
        turns += [cycle.turn(project, day) for day in cycle.due(project)]
    return turns


def test_the_first_bundle_becomes_champion_by_a_decision(project: Project) -> None:
    learned = pipeline.learn(project)
    endpoint = project.endpoint()
    assert endpoint is not None
    assert (endpoint.revision, endpoint.champion.bundle) == (1, learned.bundle)
    decision = project.records.get(Decision, endpoint.decision)
    assert (decision.action, decision.bundle, decision.revision) == ("promote", learned.bundle, 1)


def test_learning_again_from_the_same_rows_computes_nothing_and_changes_nothing(project: Project) -> None:
    first = pipeline.learn(project)
    steps = len(project.records.find(Step))
    assert pipeline.learn(project) == first
    assert len(project.records.find(Step)) == steps
    assert len(project.records.find(Run)) == 1


def test_a_due_retraining_goes_over_the_gates_into_shadow_and_learns_from_known_labels_only(project: Project) -> None:
    first = pipeline.learn(project)
    turns = go_through(project, range(12))
    assert [turn.day for turn in turns] == list(range(turns[0].day, turns[0].day + 12))
    actions = [decision.action for decision in project.records.find(Decision)]
    assert actions == ["promote", "retrain", "shadow"]
    endpoint = project.endpoint()
    assert endpoint is not None
    challenger = endpoint.arm("challenger")
    assert challenger is not None
    assert challenger.bundle != first.bundle
    asked = next(d for d in project.records.find(Decision) if d.action == "retrain")
    dataset = next(d for d in project.records.find(Dataset) if d.parents)
    frame = load_dataset(dataset, project.blobs)
    assert frame["at"].max() < to_us(asked.at - timedelta(days=1))
    assert dataset.rows == 30 * 60 + int((frame["at"] >= to_us(END)).sum())
    assert not np.isnan(frame["y"]).any()


def test_a_turn_is_done_once(project: Project) -> None:
    pipeline.learn(project)
    turns = go_through(project, range(11))
    before = len(project.records.find(Finding)), len(project.records.find(Decision)), len(project.records.find(Step))
    assert [cycle.turn(project, turn.day) for turn in turns] == turns
    assert before == (
        len(project.records.find(Finding)),
        len(project.records.find(Decision)),
        len(project.records.find(Step)),
    )


def test_labels_of_the_future_are_not_read(project: Project) -> None:
    pipeline.learn(project)
    go_through(project, range(3))
    state = cycle.last_turn(project)
    assert state is not None
    # A label for an old prediction that becomes known only after the clock must change nothing now.
    project.log.append(LabelBatch(ids=[derived(END, "0", "0")], values=[1.0], at=[to_us(END + timedelta(days=300))]))
    answer_a_day(project, 3)
    clock = project.clock
    assert isinstance(clock, EventClock)
    clock.advance(END + timedelta(days=4))
    turn = cycle.turn(project, state.day + 1)
    assert turn.state.new_rows == state.state.new_rows + 200


@pytest.mark.slow
def test_a_hand_rolls_back_and_the_ledger_says_who(project: Project) -> None:
    first = pipeline.learn(project)
    go_through(project, range(12))
    promoted = act.approve(project, by="ada", reason="looks fine")
    assert (promoted.action, promoted.by, promoted.reason) == ("promote", "ada", "looks fine")
    back = act.roll_back(project, by="grace")
    endpoint = project.endpoint()
    assert endpoint is not None
    assert (back.action, back.by, endpoint.champion.bundle) == ("roll back", "grace", first.bundle)


def test_drift_is_found_and_asks_for_a_retraining(project: Project) -> None:
    pipeline.learn(project)
    go_through(project, range(8), shift=2.0)
    pages = [f for f in project.records.find(Finding) if f.verdict == "page" and f.question == "drift"]
    assert "x" in {finding.subject for finding in pages}
    asked = [d for d in project.records.find(Decision) if d.action == "retrain"]
    assert len(asked) == 1
    assert "drift" in asked[0].reason
    (alert,) = project.records.find(Alert)
    assert re.search(r"; log_loss about \d+% (worse|better); decided: retrain$", alert.title)
    assert asked[0].id in alert.parents
    assert [(each.channel, each.delivered) for each in project.records.find(Delivery)] == [("log", True)]
    assert set(asked[0].findings) <= {finding.id for finding in pages}


@pytest.mark.slow
def test_a_retraining_that_fails_ends_in_a_decision_and_the_loop_goes_on(project: Project) -> None:
    pipeline.learn(project)
    go_through(project, range(9))
    project.log.close()
    (project.folder / "kaizen.toml").write_text((project.folder / "kaizen.toml").read_text() + GATE)
    broken = Project.open(project.folder, clock=project.clock)
    turns = go_through(broken, range(9, 12))
    assert len(turns) == 3
    last = [decision for decision in broken.records.find(Decision) if decision.action == "stop"]
    assert len(last) == 1
    assert "a gate asks for 'fame'" in last[0].reason


GATE = '\n[[learn.gates]]\nmetric = "fame"\nmin = 1.0\n'


@pytest.mark.slow
def test_a_retraining_that_was_cut_off_is_taken_up_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.learn(project)
    go_through(project, range(9))

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(candidate, "train", cut)
        with pytest.raises(KeyboardInterrupt):
            go_through(project, range(9, 11))
    asked = [decision for decision in project.records.find(Decision) if decision.action == "retrain"]
    assert len(asked) == 1
    assert candidate.unfinished(project) == asked[0]
    (day,) = cycle.due(project)
    cycle.turn(project, day)
    assert [decision.action for decision in project.records.find(Decision)] == ["promote", "retrain", "shadow"]
    assert list(cycle.due(project)) == []


def test_two_processes_cannot_turn_one_loop(project: Project) -> None:
    with cycle.alone(project), pytest.raises(DecisionError, match="another process"), cycle.alone(project):
        pass
