"""The loop with labels that take three days: provisional and final figures, corrections, segments, who is to blame."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from kaizen.bundle import keys, load
from kaizen.core.clock import EventClock, to_us
from kaizen.core.errors import ProjectError
from kaizen.core.ids import derived
from kaizen.core.project import Project
from kaizen.core.records import Bundle, Finding, LabelBatch, PredictionBatch
from kaizen.graph.frame import feeds, from_rows, to_log
from kaizen.loop import cycle, lineage, observe, pipeline
from kaizen.loop.labelled import LabelledState
from kaizen.monitor.status import status
from tests.loop.conftest import END, TOML, made_up_rows

A_DAY = 200


def project_in(folder: Path, monitor: str = 'segments = ["kind"]\nfairness = ["kind"]\n') -> Project:
    """Return a project whose labels have three days, with its first champion."""
    toml = (
        TOML.replace('"2 trials"', '"1 trials"')
        .replace('["lightgbm", "linear"]', '["linear"]')
        .replace('label_delay = "1d"', 'label_delay = "3d"')
        .replace('["drift", "schedule 10d"]', '["rows 9999999"]')
    )
    (folder / "kaizen.toml").write_text(f"{toml}[monitor]\n{monitor}")
    (folder / "rows.csv").write_text(made_up_rows(days=30, per_day=A_DAY))
    made = Project.open(folder, clock=EventClock(END + timedelta(days=10)))
    keys.create(made.keys)
    pipeline.learn(made)
    return made


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a project that has learned; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("learned")
    project = project_in(folder)
    project.log.close()
    return folder


@pytest.fixture
def project(learned: Path, tmp_path: Path) -> Project:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(learned, folder)
    return Project.open(folder, clock=EventClock(END + timedelta(days=10)))


def live(project: Project, number: int, *, turned: bool = False) -> None:
    """Log a day of predictions and its labels: positives within a day, negatives within three. Turn the loop.

    Where `turned`, rows of kind `b` come out the other way round.
    """
    endpoint = project.endpoint()
    assert endpoint is not None
    random = np.random.default_rng(1000 + number)
    start = END + timedelta(days=10 + number)
    at = np.array([to_us(start) + i * 86_400_000_000 // A_DAY for i in range(A_DAY)])
    rows = [{"at": int(t), "x": float(random.normal()), "kind": str(random.choice(["a", "b", "c"]))} for t in at]
    bundle = project.records.get(Bundle, endpoint.champion.bundle)
    model = load.load(bundle, project.blobs, keys.trusted(project.keys))
    frame = from_rows(bundle.inputs, [{c.name: row[c.name] for c in bundle.inputs} for row in rows])
    tensors = feeds(bundle.inputs, frame)
    numbers, times, strings = to_log(bundle.inputs, tensors)
    ids = [derived(start, "live", str(number), str(i)) for i in range(A_DAY)]
    project.log.append(
        PredictionBatch(
            endpoint=endpoint.name,
            revision=endpoint.revision,
            bundle=bundle.id,
            role="champion",
            ids=ids,
            at=at.tolist(),
            units=[None] * A_DAY,
            outputs=model.run(tensors).tolist(),
            propensity=[1.0] * A_DAY,
            latency_us=[1] * A_DAY,
            requests=[None] * A_DAY,
            columns=bundle.inputs,
            numbers=numbers,
            times=times,
            strings=strings,
        )
    )
    odds = np.array([1.5 * row["x"] + (row["kind"] == "a") for row in rows])  # type: ignore[operator]
    odds *= np.where([turned and row["kind"] == "b" for row in rows], -1.0, 1.0)
    truth = (random.random(A_DAY) < 1 / (1 + np.exp(-odds))).astype(float)
    delay = random.uniform(0, np.where(truth == 1, 0.9, 2.9)) * 86_400_000_000
    project.log.append(LabelBatch(ids=ids, values=truth.tolist(), at=(at + delay.astype(np.int64)).tolist()))
    clock = project.clock
    assert isinstance(clock, EventClock)
    clock.advance(start + timedelta(days=1))
    for day in cycle.due(project):
        cycle.turn(project, day)


def state_of(project: Project) -> LabelledState:
    turn = cycle.last_turn(project)
    assert turn is not None
    return turn.state.labelled


def test_figures_are_provisional_for_three_days_and_then_final_beside_what_no_model_gets(project: Project) -> None:
    told: dict[int, float] = {}
    for number in range(12):
        live(project, number)
        for point in state_of(project).late.series:
            figure = point.figure("log_loss")
            if not point.is_final and figure is not None:
                told[point.day] = figure.value
    series = state_of(project).late.series
    assert [point.is_final for point in series] == [True] * 9 + [False] * 3
    assert all(point.labels == A_DAY for point in series if point.is_final)
    shares = [point.matured for point in series if not point.is_final]
    assert shares == sorted(shares, reverse=True)
    for point in series[5:9]:  # the curve is known from the fourth day on
        final = point.figure("log_loss")
        assert final is not None
        assert final.no_change is not None
        assert final.value < final.no_change
        assert final.value < final.rate
        assert told[point.day] == pytest.approx(final.value, abs=0.06)
    weekly = [f for f in project.records.find(Finding) if f.question == "late labels"]
    assert len(weekly) == 1
    performance = [f for f in project.records.find(Finding) if f.question == "performance window"]
    assert all("without a model" in f.says for f in performance)


def test_a_correction_changes_the_figure_and_what_was_thought_before_can_still_be_read(project: Project) -> None:
    for number in range(5):
        live(project, number)
    series = {point.day: point for point in state_of(project).late.series}
    day = max(number for number, point in series.items() if point.labels > 0)
    (batch,) = list(project.log.predictions(END + timedelta(days=14), END + timedelta(days=15)))
    now = to_us(project.clock.now())
    known = {i: v for b in project.log.labels(None, project.clock.now()) for i, v in zip(b.ids, b.values, strict=True)}
    wrong = [identity for identity in batch.ids if identity in known][:60]
    project.log.append(LabelBatch(ids=wrong, values=[1 - known[i] for i in wrong], at=[now + 1] * 60))
    live(project, 5)
    corrected = {point.day: point for point in state_of(project).late.series}[day]
    before, after = series[day].figure("log_loss"), corrected.figure("log_loss")
    assert before is not None
    assert after is not None
    assert after.value > before.value + 0.1
    found = lineage.explain(project, wrong[0])
    assert isinstance(found.subject, lineage.Prediction)
    assert (found.subject.label, found.subject.before) == (1 - known[wrong[0]], (known[wrong[0]],))
    assert f"before it was corrected: {known[wrong[0]]:g}" in next(lineage.lines(found))


def test_two_runs_of_the_same_days_remember_the_same(learned: Path, tmp_path: Path) -> None:
    import shutil

    states = []
    for name in ("one", "two"):
        shutil.copytree(learned, tmp_path / name)
        project = Project.open(tmp_path / name, clock=EventClock(END + timedelta(days=10)))
        for number in range(6):
            live(project, number)
            if name == "two":  # a new process each day
                project.log.close()
                project = Project.open(tmp_path / name, clock=project.clock)
        states.append(state_of(project))
    assert states[0] == states[1]


def test_a_kind_that_comes_out_otherwise_is_named_by_its_segment_and_blamed_for_the_page(project: Project) -> None:
    for number in range(28):
        live(project, number, turned=number >= 6)
    findings = project.records.find(Finding)
    page = next(f for f in findings if f.verdict == "page" and f.question == "performance")
    assert page.blames[0].startswith("kind=b")
    assert "Most of it where kind=b" in page.says
    assert "without a model" in page.says
    by_segment = [f for f in findings if f.question == "performance by segment"]
    assert by_segment[-1].segment == "kind=b"
    assert by_segment[-1].blames == ("kind=b",)
    assert [f.segment for f in findings if f.question == "segments" and f.verdict == "page"] == ["kind=b"]
    assert {f.segment for f in status(findings).open if f.question == "segments"} == {"kind=b"}
    assert {f.subject for f in findings if f.question.startswith("fairness")} >= {"kind: selection rate", "kind: loss"}
    fair = [f for f in findings if f.question == "fairness" and f.verdict == "page"]
    assert {f.subject for f in fair} >= {"kind: loss"}


def test_a_day_is_final_early_where_the_project_says_what_share_of_labels_makes_it_so(project: Project) -> None:
    toml = project.folder / "kaizen.toml"
    toml.write_text(toml.read_text() + "mature_share = 0.6\n")
    eager = Project.open(project.folder, clock=project.clock)
    for number in range(8):
        live(eager, number)
    series = state_of(eager).late.series
    assert [point.is_final for point in series] == [True] * 7 + [False]  # two days old, not four
    assert all(0.6 <= point.labels / A_DAY <= 1 for point in series if point.is_final)
    assert min(point.labels for point in series if point.is_final) < A_DAY


def test_a_listed_column_that_is_none_is_refused_before_anything_is_learned(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="'kin' is no column that the model reads") as caught:
        project_in(tmp_path, 'segments = ["x", "kin"]\n')
    assert caught.value.where == "kaizen.toml: monitor.segments[1]"
    assert caught.value.fix == "did you mean 'kind'?"


def test_a_time_makes_no_groups(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="'at' is a time, which makes no groups") as caught:
        project_in(tmp_path, 'fairness = ["at"]\n')
    assert caught.value.where == "kaizen.toml: monitor.fairness[0]"


def test_all_rows_segments_and_fairness_share_what_performance_may_page(project: Project) -> None:
    endpoint = project.endpoint()
    assert endpoint is not None
    reference = observe.reference_of(project, endpoint.champion.bundle)
    assert reference is not None
    settings = observe.settings_of(project.file.monitor)
    shared = observe._shared(settings, reference)
    assert shared.limit_of("performance") == pytest.approx(3 * settings.limit_of("performance"))
    assert shared.limit_of("drift") == settings.limit_of("drift")
    bare = msgspec.structs.replace(reference, segments=(), fairness=())
    assert observe._shared(settings, bare) == settings
