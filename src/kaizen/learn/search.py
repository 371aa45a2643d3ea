"""The search for settings: every algorithm's defaults first, then what a tree-structured Parzen estimator proposes.

Trials are our records; the sampler only remembers them (ask and tell, in memory; Optuna, Akiba et al. 2019).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from kaizen.core.errors import LearnError
from kaizen.core.ports import Choice, Fitted, Framework, Param
from kaizen.core.projectfile import SearchBudget
from kaizen.core.records import Task
from kaizen.learn import calibrate
from kaizen.learn.problem import Encoding, Features, Featurise, Problem, Settings, check
from kaizen.stats.metrics import HIGHER_IS_BETTER, SCORES

_EXPLORE = 4  # random proposals before the sampler trusts what it has seen


class Trial(msgspec.Struct, frozen=True):
    """One fit of the search: its settings, and its score on the tune rows, or why it failed."""

    number: int
    settings: Settings
    rounds: int
    score: float | None
    seconds: float
    failed: str = ""


def search(
    problem: Problem,
    frameworks: Mapping[str, Framework],
    featurise: Featurise,
    budget: SearchBudget,
    seed: int,
    on_trial: Callable[[Trial], None] = lambda _: None,
) -> list[Trial]:
    """Return the trials in the order they were run; `best` picks one.

    With a budget of trials the same inputs give the same trials. With seconds at least one trial is run, and
    none is begun that would, going by the last ones, end too late.

    Raises
    ------
    LearnError
        The target does not allow a fit, or every trial failed (with the reasons).
    """
    check(problem)
    if not frameworks:
        raise LearnError("there is no algorithm to search", where="learn.algorithms")
    started = time.perf_counter()
    bench = _Bench(problem, frameworks, featurise, seed)
    study = _Study(problem, frameworks, seed)
    trials: list[Trial] = []
    while _affordable(budget, trials, time.perf_counter() - started):
        settings = study.propose(len(trials))
        trial = bench.run(len(trials), settings)
        study.learn(trial)
        trials.append(trial)
        on_trial(trial)
    if all(trial.score is None for trial in trials):
        reasons = "; ".join(sorted({f"{trial.settings.algorithm}: {trial.failed}" for trial in trials}))
        raise LearnError(f"every trial failed: {reasons}", where="learn.algorithms")
    return trials


def best(problem: Problem, trials: Sequence[Trial]) -> Trial:
    """Return the trial with the best score; of equals the first."""
    sign = -1.0 if problem.metric in HIGHER_IS_BETTER else 1.0
    scored = [(sign * trial.score, trial.number, trial) for trial in trials if trial.score is not None]
    if not scored:
        raise LearnError("no trial has a score", where="learn")
    return min(scored, key=lambda entry: entry[:2])[2]


def answers(task: Task, raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return uncalibrated answers (rows,) of raw predictions (rows,): probabilities, or values."""
    return (calibrate.NONE if task == "classification" else calibrate.IDENTITY).apply(raw)


def _affordable(budget: SearchBudget, trials: Sequence[Trial], spent: float) -> bool:
    if budget.trials is not None:
        return len(trials) < budget.trials
    limit = budget.seconds or 0.0
    usual = float(np.median([trial.seconds for trial in trials[-5:]])) if trials else 0.0
    return not trials or spent + usual <= limit


class _Bench:
    """Runs trials; the features of an encoding are fitted once, on the training rows."""

    def __init__(self, problem: Problem, frameworks: Mapping[str, Framework], featurise: Featurise, seed: int) -> None:
        self._problem = problem
        self._frameworks = frameworks
        self._featurise = featurise
        self._seed = seed
        self._features: dict[Encoding, Features] = {}

    def run(self, number: int, settings: Settings) -> Trial:
        framework = self._frameworks[settings.algorithm]
        if framework.encoding not in self._features:
            self._features[framework.encoding] = self._featurise(framework.encoding, self._problem.train)
        started = time.perf_counter()
        try:
            rounds, score = self._score(framework, settings, self._features[framework.encoding])
        except Exception as err:  # a framework may raise anything; the search goes on without it
            return Trial(number, settings, 0, None, time.perf_counter() - started, f"{type(err).__name__}: {err}")
        failed = "" if np.isfinite(score) else f"{self._problem.metric} is not defined on the tune rows"
        return Trial(number, settings, rounds, None if failed else score, time.perf_counter() - started, failed)

    def _score(self, framework: Framework, settings: Settings, features: Features) -> tuple[int, float]:
        problem, tune = self._problem, self._problem.tune
        fitted = fit_on(problem, problem.train, framework, settings, features, self._seed, stop_on=tune)
        predicted = answers(problem.task, fitted.predict(features.matrix[tune]))
        return fitted.rounds, SCORES[problem.metric](problem.target[tune], predicted)


def fit_on(
    problem: Problem,
    rows: NDArray[np.int64],
    framework: Framework,
    settings: Settings,
    features: Features,
    seed: int,
    *,
    stop_on: NDArray[np.int64] | None = None,
    rounds: int | None = None,
) -> Fitted:
    """Return the model fitted on these rows, with rounds found on `stop_on` or given."""
    validation = None if stop_on is None else (features.matrix[stop_on], problem.target[stop_on])
    return framework.fit(
        problem.task,
        settings.params,
        features.columns,
        features.matrix[rows],
        problem.target[rows],
        seed=seed,
        validation=validation,
        rounds=rounds,
    )


class _Study:
    """Optuna's sampler over a space that branches by algorithm; a parameter is ``algorithm.name`` there."""

    def __init__(self, problem: Problem, frameworks: Mapping[str, Framework], seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._task: Task = problem.task
        self._frameworks = frameworks
        self._names = tuple(frameworks)
        self._maximise = problem.metric in HIGHER_IS_BETTER
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=len(self._names) + _EXPLORE)
        direction = StudyDirection.MAXIMIZE if self._maximise else StudyDirection.MINIMIZE
        self._study = optuna.create_study(sampler=sampler, direction=direction)
        self._asked: optuna.Trial | None = None

    def propose(self, number: int) -> Settings:
        if number < len(self._names):
            name = self._names[number]
            return Settings(name, dict(self._frameworks[name].defaults(self._task)))
        if number < len(self._names) + _EXPLORE:
            self._study.enqueue_trial({"algorithm": self._promising(number)})
        self._asked = trial = self._study.ask()
        name = str(trial.suggest_categorical("algorithm", self._names))
        space = self._frameworks[name].space(self._task)
        return Settings(name, {choice.name: _suggest(trial, name, choice) for choice in space})

    def _promising(self, number: int) -> str:
        # Random parameters are spent on the two algorithms that did best by default, in turn.
        scored = [trial for trial in self._study.trials[: len(self._names)] if trial.value is not None]
        ranked = sorted(scored, key=lambda trial: (-1.0 if self._maximise else 1.0) * (trial.value or 0.0))
        names = [str(trial.params["algorithm"]) for trial in ranked[:2]] or list(self._names)
        return names[number % len(names)]

    def learn(self, trial: Trial) -> None:
        if self._asked is None:
            self._study.add_trial(self._told(trial))
        elif trial.score is None:
            self._study.tell(self._asked, state=TrialState.FAIL)
        else:
            self._study.tell(self._asked, trial.score)
        self._asked = None

    def _told(self, trial: Trial) -> FrozenTrial:
        name = trial.settings.algorithm
        space = {choice.name: choice for choice in self._frameworks[name].space(self._task)}
        known = {key: value for key, value in trial.settings.params.items() if key in space}
        algorithms: dict[str, BaseDistribution] = {"algorithm": CategoricalDistribution(self._names)}
        return create_trial(
            state=TrialState.FAIL if trial.score is None else TrialState.COMPLETE,
            value=trial.score,
            params={"algorithm": name} | {f"{name}.{key}": value for key, value in known.items()},
            distributions=algorithms | {f"{name}.{key}": _distribution(space[key]) for key in known},
        )


def _suggest(trial: optuna.Trial, algorithm: str, choice: Choice) -> Param:
    key = f"{algorithm}.{choice.name}"
    if choice.options:
        return _plain(trial.suggest_categorical(key, choice.options))
    if choice.integer:
        return int(trial.suggest_int(key, int(choice.low), int(choice.high), log=choice.log))
    return float(trial.suggest_float(key, choice.low, choice.high, log=choice.log))


def _distribution(choice: Choice) -> BaseDistribution:
    if choice.options:
        return CategoricalDistribution(choice.options)
    if choice.integer:
        return IntDistribution(int(choice.low), int(choice.high), log=choice.log)
    return FloatDistribution(choice.low, choice.high, log=choice.log)


def _plain(value: Any) -> Param:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
