"""From settings to a model that can ship: fit, calibrate, measure, look back, refit on everything.

    1  fit on train, stopping on tune           the number of rounds
    2  calibrate on tune                        a monotone map from raw scores to answers
    3  measure on holdout                       metrics with intervals, of the model and of the baselines
    4  look back                                answers to earlier rows by models that had not seen them
    5  fit features and model on all rows       with the rounds of step 1

Retraining is this function with the settings of an earlier search. The rounds are not scaled up for the larger
last fit: more rows make a tree's leaves more certain, not the best number of trees much larger. The calibrator
is the one of step 2; the rows that could fit another have now been learnt from.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kaizen.core.ports import Fitted, Framework
from kaizen.core.records import Metric, Task
from kaizen.learn import baselines, calibrate
from kaizen.learn.calibrate import Calibrator
from kaizen.learn.problem import Features, Featurise, Problem, Rows, Settings, check
from kaizen.learn.search import answers, fit_on
from kaizen.stats import metrics

_LOOK_BACK = 4  # pieces of the training days; each but the first is answered by a model of those before it


@dataclass(frozen=True, eq=False)
class Sample:
    """Answers to rows that the model which gave them had not seen; one entry a row in every array."""

    rows: Rows  # positions in the problem's target, ascending in time within a part
    target: NDArray[np.float64]
    prediction: NDArray[np.float64]
    blocks: NDArray[np.int64] | None

    def losses(self, task: Task) -> NDArray[np.float64]:
        """Return the loss of each row (rows,): log loss in nats, or the squared error."""
        return metrics.per_row("log_loss" if task == "classification" else "squared", self.target, self.prediction)


@dataclass(frozen=True, eq=False)
class Outcome:
    """A model that can ship and what is known about it."""

    settings: Settings
    rounds: int
    model: Fitted  # fitted on all rows
    features: Features  # fitted on all rows
    calibrator: Calibrator
    metrics: tuple[Metric, ...]  # on the holdout
    baselines: Mapping[str, tuple[Metric, ...]]  # on the holdout
    rivals: Mapping[str, NDArray[np.float64]]  # what the baselines answer to the holdout's rows
    holdout: Sample  # what the metrics rest on
    out_of_sample: Sample  # the holdout, tune and, where there is time, most training days
    importance: Mapping[str, float]  # feature: share, largest first
    seconds: float

    @property
    def thresholds(self) -> Mapping[int, Sequence[float]]:
        """The split thresholds of each feature of the final model."""
        return self.model.thresholds()

    def metric(self, name: str) -> Metric:
        """Return the model's metric of this name; KeyError if the rows did not define it."""
        return {metric.name: metric for metric in self.metrics}[name]

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the final model's answers (rows,) to features (rows, columns), by the framework itself."""
        return self.calibrator.apply(self.model.predict(features))


def finish(
    problem: Problem,
    settings: Settings,
    framework: Framework,
    featurise: Featurise,
    seed: int,
    *,
    look_back: bool = True,
) -> Outcome:
    """Return the model of these settings, measured and then refitted on all rows.

    Parameters
    ----------
    look_back
        Whether to answer the later three quarters of the training days by models of the days before them: three
        smaller fits, for whoever needs losses by day over more days than the validation part has.

    Raises
    ------
    LearnError
        The target does not allow a fit, or the framework could not make one.
    """
    check(problem)
    started = time.perf_counter()
    features = featurise(framework.encoding, problem.train)
    fitted = fit_on(problem, problem.train, framework, settings, features, seed, stop_on=problem.tune)
    raw = {part: fitted.predict(features.matrix[rows]) for part, rows in _valid_parts(problem).items()}
    calibrator = _calibrator(problem, raw["tune"])
    holdout = _sample(problem, problem.holdout, calibrator.apply(raw["holdout"]))
    tuned = _sample(problem, problem.tune, _cross_calibrated(problem, calibrator, raw["tune"]))
    earlier = _earlier(problem, settings, framework, featurise, seed, fitted.rounds, calibrator) if look_back else []
    rivals = _rivals(problem)
    final_features, final = _on_all_rows(problem, settings, framework, featurise, seed, fitted.rounds)
    shares = zip((column.name for column in final_features.columns), final.importance(), strict=True)
    return Outcome(
        settings=settings,
        rounds=fitted.rounds,
        model=final,
        features=final_features,
        calibrator=calibrator,
        metrics=measure(problem.task, holdout, seed),
        baselines={
            name: measure(problem.task, _sample(problem, problem.holdout, answer), seed)
            for name, answer in rivals.items()
        },
        rivals=rivals,
        holdout=holdout,
        out_of_sample=_joined(problem, [*earlier, tuned, holdout]),
        importance=dict(sorted(shares, key=lambda pair: (-pair[1], pair[0]))),
        seconds=time.perf_counter() - started,
    )


def measure(task: Task, sample: Sample, seed: int) -> tuple[Metric, ...]:
    """Return the metrics of a sample with their intervals; those that its rows do not define are left out."""
    found = []
    for name in metrics.BY_TASK[task]:
        value = metrics.SCORES[name](sample.target, sample.prediction)
        if np.isfinite(value):
            low, high = metrics.interval(name, sample.target, sample.prediction, sample.blocks, seed)
            found.append(Metric(name, value, low, high, len(sample.target)))
    return tuple(found)


def _valid_parts(problem: Problem) -> dict[str, Rows]:
    return {"tune": problem.tune, "holdout": problem.holdout}


def _calibrator(problem: Problem, raw: NDArray[np.float64]) -> Calibrator:
    if problem.task == "regression":
        return calibrate.IDENTITY
    return calibrate.fit(raw, problem.target[problem.tune], problem.blocks_of(problem.tune))


def _cross_calibrated(problem: Problem, calibrator: Calibrator, raw: NDArray[np.float64]) -> NDArray[np.float64]:
    # The tune rows fitted the calibrator, so each is answered by one of the same method from the other folds.
    folds = calibrate.folds_of(len(raw), problem.blocks_of(problem.tune))
    if calibrator.method in ("none", "identity") or len(np.unique(folds)) < 2:
        return calibrator.apply(raw)
    return calibrate.cross_fitted(calibrator.method, raw, problem.target[problem.tune], folds)


def _sample(problem: Problem, rows: Rows, prediction: NDArray[np.float64]) -> Sample:
    return Sample(rows, problem.target[rows], prediction, problem.blocks_of(rows))


def _joined(problem: Problem, samples: Sequence[Sample]) -> Sample:
    rows = np.concatenate([sample.rows for sample in samples])
    return _sample(problem, rows, np.concatenate([sample.prediction for sample in samples]))


def _rivals(problem: Problem) -> dict[str, NDArray[np.float64]]:
    rows = problem.holdout
    known = problem.target[np.concatenate((problem.train, problem.tune))]
    name = baselines.CLASS_RATE if problem.task == "classification" else baselines.MEAN
    found = {name: baselines.constant(problem.task, known, len(rows))}
    if problem.blocks is not None:
        found[baselines.PREVIOUS_BLOCK] = baselines.previous_block(problem.task, problem.target, problem.blocks)[rows]
    return found


def _earlier(
    problem: Problem,
    settings: Settings,
    framework: Framework,
    featurise: Featurise,
    seed: int,
    rounds: int,
    calibrator: Calibrator,
) -> list[Sample]:
    """Return answers to the training days from the second piece on, each by a model of the pieces before it."""
    days = problem.blocks_of(problem.train)
    if days is None or len(np.unique(days)) < _LOOK_BACK:
        return []
    distinct = np.unique(days)
    starts = [distinct[len(distinct) * piece // _LOOK_BACK] for piece in range(1, _LOOK_BACK)]
    ends = [*starts[1:], distinct[-1] + 1]
    samples = []
    for start, end in zip(starts, ends, strict=True):
        before, rows = problem.train[days < start], problem.train[(days >= start) & (days < end)]
        if problem.task == "classification" and len(np.unique(problem.target[before])) < 2:
            continue
        features = featurise(framework.encoding, before)
        fitted = fit_on(problem, before, framework, settings, features, seed, rounds=max(rounds, 1))
        samples.append(_sample(problem, rows, calibrator.apply(fitted.predict(features.matrix[rows]))))
    return samples


def _on_all_rows(
    problem: Problem, settings: Settings, framework: Framework, featurise: Featurise, seed: int, rounds: int
) -> tuple[Features, Fitted]:
    rows = np.arange(len(problem.target), dtype=np.int64)
    features = featurise(framework.encoding, rows)
    return features, fit_on(problem, rows, framework, settings, features, seed, rounds=max(rounds, 1))


__all__ = ["Outcome", "Sample", "answers", "finish", "measure"]
