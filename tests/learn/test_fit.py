"""Finishing: honest figures, as many rows out of sample as there are, and a model of all rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kaizen.adapters.framework.hist_boosting import HistBoosting
from kaizen.adapters.framework.lightgbm import LightGBM
from kaizen.adapters.framework.linear import Linear
from kaizen.core.records import Task
from kaizen.learn import report
from kaizen.learn.fit import finish
from kaizen.learn.problem import Problem, Settings
from tests.learn.worlds import world

ALGORITHMS: dict[str, Any] = {"lightgbm": LightGBM(), "hist_boosting": HistBoosting(), "linear": Linear()}


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_the_model_beats_both_baselines_and_is_of_all_rows(name: str, task: Task) -> None:
    """On rows that no choice has seen."""
    problem, featurise = world(task)
    framework = ALGORITHMS[name]
    outcome = finish(problem, Settings(name, dict(framework.defaults(task))), framework, featurise, 0)
    own = outcome.metric(problem.metric)
    assert own.low < own.value < own.high
    assert own.n == len(problem.holdout)
    assert len(outcome.baselines) == 2
    for rival in outcome.baselines.values():
        assert own.value < next(metric.value for metric in rival if metric.name == problem.metric)
    assert featurise.calls[-1][1] == len(problem.target)  # type: ignore[attr-defined]
    assert sum(outcome.importance.values()) == pytest.approx(1.0)
    assert bool(np.isfinite(outcome.predict(outcome.features.matrix)).all())


def test_out_of_sample_covers_three_quarters_of_the_training_days_and_all_that_validate() -> None:
    """Every row once, in time order, each answered by a model of earlier days; losses by day are the monitor's."""
    problem, featurise = world()
    outcome = finish(problem, Settings("linear", {"C": 1.0}), Linear(), featurise, 0)
    sample = outcome.out_of_sample
    assert problem.blocks is not None
    assert sample.blocks is not None
    assert len(np.unique(sample.rows)) == len(sample.rows)
    assert len(np.unique(sample.blocks)) == 24 - 4
    assert bool((np.diff(sample.blocks) >= 0).all())
    assert sample.losses("classification").mean() < 0.65
    assert len(finish(problem, Settings("linear"), Linear(), featurise, 0, look_back=False).out_of_sample.rows) == len(
        problem.split[1]
    )


def test_the_holdout_decides_nothing() -> None:
    """Other outcomes there change the metrics and not the rounds, the calibration or any earlier answer."""
    problem, featurise = world()
    flipped = problem.target.copy()
    flipped[problem.holdout] = 1.0 - flipped[problem.holdout]
    other = Problem("classification", "log_loss", flipped, problem.split, problem.blocks)
    settings = Settings("hist_boosting", dict(HistBoosting().defaults("classification")))
    first, second = (finish(p, settings, HistBoosting(), featurise, 0) for p in (problem, other))
    assert first.rounds == second.rounds
    assert first.calibrator == second.calibrator
    assert first.holdout.prediction.tolist() == second.holdout.prediction.tolist()
    assert first.metric("auc").value == pytest.approx(1.0 - second.metric("auc").value)


def test_the_same_inputs_give_the_same_outcome() -> None:
    """Graph, figures and report, byte for byte."""
    problem, featurise = world()
    settings = Settings("lightgbm", dict(LightGBM().defaults("classification")))
    first, second = (finish(problem, settings, LightGBM(), featurise, 5) for _ in range(2))
    assert first.model.graph() == second.model.graph()
    assert (first.metrics, first.baselines, first.calibrator) == (second.metrics, second.baselines, second.calibrator)
    pages = [report.html(o, title="t", task="classification", metric="log_loss") for o in (first, second)]
    assert pages[0].replace(f"{first.seconds}", "") == pages[1].replace(f"{second.seconds}", "")


def test_rows_without_time_have_one_baseline() -> None:
    """There is no day before."""
    problem, featurise = world("regression", days=None)
    outcome = finish(problem, Settings("linear", {"C": 1.0}), Linear(), featurise, 0)
    assert list(outcome.baselines) == ["mean"]
    assert outcome.out_of_sample.blocks is None
    assert len(outcome.out_of_sample.rows) == len(problem.split[1])


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_report_shows_all_parts_and_escapes_names(task: Task) -> None:
    """Also with values nobody expects."""
    problem, featurise = world(task)
    outcome = finish(problem, Settings("linear", {"C": 1.0}), Linear(), featurise, 0)
    segments = {"a<b": np.array(["x$y$", ""] * len(problem.holdout), dtype=object)[: len(problem.holdout)]}
    made = report.html(outcome, title="A & B", task=task, metric=problem.metric, segments=segments)
    for part in ("Against the baselines", "What it goes by", "Segments", "(missing)", "A &amp; B", "Settings"):
        assert part in made
    assert ("Calibration" if task == "classification" else "Residuals") in made
    assert "a<b" not in made
