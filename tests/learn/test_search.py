"""The search repeats, begins with every default, and survives trials that fail."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from kaizen.adapters.framework.hist_boosting import HistBoosting
from kaizen.adapters.framework.linear import Linear
from kaizen.core.errors import LearnError
from kaizen.core.projectfile import SearchBudget
from kaizen.learn.problem import Problem
from kaizen.learn.search import Trial, best, search
from tests.learn.worlds import world

FRAMEWORKS: dict[str, Any] = {"hist_boosting": HistBoosting(), "linear": Linear()}


class Broken(Linear):
    """A framework whose every fit goes wrong."""

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Fail."""
        raise RuntimeError("no fit today")


def test_trials_begin_with_the_defaults_and_repeat() -> None:
    """The same budget of trials and seed, the same settings and scores."""
    problem, featurise = world()
    seen: list[Trial] = []
    first = search(problem, FRAMEWORKS, featurise, SearchBudget(trials=9), 3, seen.append)
    again = search(problem, FRAMEWORKS, featurise, SearchBudget(trials=9), 3)
    assert [t.settings.algorithm for t in first[:2]] == ["hist_boosting", "linear"]
    assert first[1].settings.params == {"C": 1.0}
    assert [(t.settings, t.score, t.rounds) for t in first] == [(t.settings, t.score, t.rounds) for t in again]
    assert seen == first
    assert best(problem, first).score == min(t.score for t in first if t.score is not None)
    assert msgspec.json.decode(msgspec.json.encode(first), type=list[Trial]) == first


def test_features_are_fitted_once_an_encoding_and_on_training_rows_only() -> None:
    """Not once a trial, and never on what judges."""
    problem, featurise = world()
    search(problem, FRAMEWORKS, featurise, SearchBudget(trials=6), 0)
    assert sorted(featurise.calls) == [("codes", len(problem.train)), ("dense", len(problem.train))]  # type: ignore[attr-defined]


def test_a_failing_algorithm_is_recorded_and_the_search_goes_on() -> None:
    """With its reason."""
    problem, featurise = world()
    trials = search(problem, {"broken": Broken(), "linear": Linear()}, featurise, SearchBudget(trials=5), 0)
    assert trials[0].failed == "RuntimeError: no fit today"
    assert trials[0].score is None
    assert best(problem, trials).settings.algorithm == "linear"


def test_when_every_trial_fails_the_reasons_are_told() -> None:
    """There is nothing to go on with."""
    problem, featurise = world()
    with pytest.raises(LearnError, match="every trial failed: broken: RuntimeError: no fit today"):
        search(problem, {"broken": Broken()}, featurise, SearchBudget(trials=2), 0)


def test_a_budget_of_no_seconds_still_tries_once() -> None:
    """So that there is a model."""
    problem, featurise = world("regression")
    assert len(search(problem, FRAMEWORKS, featurise, SearchBudget(seconds=0.0), 0)) == 1


def test_higher_is_better_where_it_is() -> None:
    """Ranked by AUC the best is the largest."""
    problem, featurise = world()
    by_auc = Problem("classification", "auc", problem.target, problem.split, problem.blocks)
    trials = search(by_auc, FRAMEWORKS, featurise, SearchBudget(trials=6), 0)
    assert best(by_auc, trials).score == max(t.score for t in trials if t.score is not None)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: np.zeros_like(t), "one class: it is 0 in every row"),
        (lambda t: np.where(np.arange(len(t)) < 900, 0.0, 1.0), "one class: it is 0 in every training row"),
        (lambda t: t * 2.0, "needs a target of 0 and 1 and found 0, 2"),
        (lambda t: np.where(np.arange(len(t)) == 5, np.nan, t), "1 of 1200 targets are missing"),
    ],
)
def test_a_target_that_cannot_be_learnt_is_refused(change: Any, says: str) -> None:
    """Before any fit."""
    problem, featurise = world()
    spoilt = Problem("classification", "log_loss", change(problem.target), problem.split, problem.blocks)
    with pytest.raises(LearnError, match=says):
        search(spoilt, FRAMEWORKS, featurise, SearchBudget(trials=1), 0)


def test_too_few_rows_and_an_unknown_metric_are_refused() -> None:
    """With what would do."""
    tiny, featurise = world(rows=20)
    with pytest.raises(LearnError, match="20 rows are too few"):
        search(tiny, FRAMEWORKS, featurise, SearchBudget(trials=1), 0)
    problem, featurise = world()
    wrong = Problem("classification", "logloss", problem.target, problem.split, problem.blocks)
    with pytest.raises(LearnError, match="did you mean 'log_loss'"):
        search(wrong, FRAMEWORKS, featurise, SearchBudget(trials=1), 0)


def test_tune_and_holdout_share_no_day_and_keep_their_order() -> None:
    """The holdout is later; without time both halves have the same rate; groups stay whole."""
    problem, _ = world()
    assert problem.blocks is not None
    assert problem.blocks[problem.tune].max() < problem.blocks[problem.holdout].min()
    timeless, _ = world(days=None)
    halves = [timeless.target[rows].mean() for rows in (timeless.tune, timeless.holdout)]
    assert halves[0] == pytest.approx(halves[1], abs=0.01)
    groups = np.arange(1200) // 7
    grouped = Problem("classification", "log_loss", timeless.target, timeless.split, None, groups)
    assert not set(groups[grouped.tune]) & set(groups[grouped.holdout])
