"""Estimates without labels in a project: made at training, found again when days are watched."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from kaizen.bundle import keys, manifest
from kaizen.core.clock import EventClock, to_us
from kaizen.core.project import Project
from kaizen.core.projectfile import Gate
from kaizen.core.records import Bundle, Finding
from kaizen.loop import observe, pipeline, unlabelled
from kaizen.monitor.estimates.basis import ReferenceRows
from kaizen.monitor.estimates.estimate import BLIND
from kaizen.monitor.estimates.unlabelled import SUMMARY
from kaizen.monitor.reference import Reference
from tests.loop.conftest import END, TOML, made_up_rows
from tests.loop.test_cycle import go_through
from tests.monitor.unlabelled_world import reference


def reference_of(project: Project) -> Reference:
    endpoint = project.endpoint()
    assert endpoint is not None
    found = observe.reference_of(project, endpoint.champion.bundle)
    assert found is not None
    return found


def summaries(project: Project) -> list[Finding]:
    return project.records.find(Finding, where={"question": SUMMARY})


def test_a_full_window_has_an_estimate_of_the_projects_metric(project: Project) -> None:
    pipeline.learn(project)
    go_through(project, range(8))
    (found,) = summaries(project)
    assert (found.subject, found.verdict, found.n) == ("log_loss", "ok", 1400)
    assert found.low is not None
    assert found.high is not None
    assert found.low < (found.estimate or 0.0) < found.high
    assert BLIND in found.says[:400]  # a message holds no more
    known = reference_of(project).estimate
    assert known is not None
    rows = unlabelled.reference_rows(project, known)
    assert isinstance(rows, ReferenceRows)
    assert len(rows.keys) == 2  # x and kind; the time is not compared
    assert 0.4 < known.figures["log_loss"] < 0.7


def regression(folder: Path, more: str = "") -> Project:
    """Return a project whose target is a number, the noisier the larger `x` is."""
    random = np.random.default_rng(0)
    lines = made_up_rows(per_day=100).strip().split("\n")
    rows = [lines[0]]
    for line in lines[1:]:
        at, x, kind, _ = line.split(",")
        rows.append(f"{at},{x},{kind},{2 * float(x) + random.normal() * np.exp(0.7 * float(x)):.5f}")
    (folder / "rows.csv").write_text("\n".join(rows) + "\n")
    toml = TOML.replace('name = "made-up"', 'name = "made-up"\ntask = "regression"')
    (folder / "kaizen.toml").write_text(toml + more)
    made = Project.open(folder, clock=EventClock(END))
    keys.create(made.keys)
    return made


def test_a_regression_ships_a_model_of_its_losses_which_shows_where_it_is_unsure(tmp_path: Path) -> None:
    project = regression(tmp_path)
    learned = pipeline.learn(project)
    bundle = project.records.get(Bundle, learned.bundle)
    assert manifest.LOSS in [file.path for file in bundle.files]
    x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    frame = {"x": x, "kind": np.array(["a"] * 5, dtype=object), "at": np.full(5, to_us(END))}
    expected = unlabelled.scores(project, learned.bundle, reference_of(project), frame, np.zeros(5))
    assert expected is not None
    assert (np.diff(expected) > 0).all()
    assert unlabelled.scores(project, learned.bundle, reference_of(project), {"x": x}, np.zeros(5)) is None
    go_through(project, range(8))
    (found,) = summaries(project)
    assert found.subject == "rmse"
    assert (found.low or 0.0) < (found.estimate or 0.0) < (found.high or 0.0)


def test_a_bundle_from_elsewhere_is_estimated_without_reweighting(project: Project) -> None:
    """Its rows are a blob of the project that it was made in."""
    known, kept = reference(np.random.default_rng(0))
    assert unlabelled.reference_rows(project, None) is None
    assert unlabelled.reference_rows(project, msgspec.structs.replace(known, rows="0" * 64)) is None
    blob = project.blobs.put(msgspec.msgpack.encode(kept))
    assert unlabelled.reference_rows(project, msgspec.structs.replace(known, rows=blob)) == kept


def test_what_matters_is_what_the_first_gate_about_the_metric_allows() -> None:
    gates = [
        Gate(metric="auc", min=0.7),
        Gate(metric="log_loss", no_worse_than="champion", margin=0.02),
        Gate(metric="rmse", max=9.0),
        Gate(metric="brier", no_worse_than="champion"),
    ]
    assert unlabelled.allowed_by(gates, "auc", 0.8) == pytest.approx(0.1)
    assert unlabelled.allowed_by(gates, "log_loss", 0.5) == 0.02
    assert unlabelled.allowed_by(gates, "rmse", 8.0) == 1.0
    assert unlabelled.allowed_by(gates, "brier", 0.2) is None
    assert unlabelled.allowed_by([], "auc", 0.8) is None
