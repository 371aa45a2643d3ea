"""The report of a run: one self-contained HTML page with the plots that people want to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Metric, Task
from kaizen.learn.fit import Outcome, Sample
from kaizen.learn.search import Trial
from kaizen.page import charts
from kaizen.page.charts import Bar, Line, Reliability
from kaizen.page.page import Card, Html, Tone, cards, columns, figure, joined, page, section, table
from kaizen.stats import curves, metrics

_TITLES = {
    "log_loss": "log loss",
    "brier": "Brier score",
    "auc": "AUC",
    "average_precision": "average precision",
    "accuracy": "accuracy",
    "ece": "calibration error",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
}
_MOST_FEATURES = 16
_LEAST_SHARE = 0.001
_MOST_VALUES = 10
_FEWEST_ROWS = 30  # of a segment's value, to be shown
_NO_SEGMENTS: Mapping[str, NDArray[Any]] = MappingProxyType({})


def html(
    outcome: Outcome,
    *,
    title: str,
    task: Task,
    metric: str,
    trials: Sequence[Trial] = (),
    segments: Mapping[str, NDArray[Any]] = _NO_SEGMENTS,
) -> str:
    """Return the report as one HTML document.

    Parameters
    ----------
    metric
        What the settings were ranked by; it leads the page.
    trials
        The search that led to the settings; none for a retraining with settings already known.
    segments
        Column name to one string (rows,) for each row of ``outcome.holdout``, in its order.
    """
    parts = [_headline(metric, outcome), _against_baselines(metric, task, outcome)]
    parts.append(_probabilities(outcome.holdout) if task == "classification" else _values(outcome.holdout))
    parts.append(_importance(outcome))
    if segments:
        parts.append(_segments(metric, outcome.holdout, segments))
    if trials:
        parts.append(_search(metric, trials))
    parts.append(_settings(outcome))
    return page(title, *parts, subtitle=_subtitle(outcome), footer="Intervals are 95 %. Made by kaizen.")


def _subtitle(outcome: Outcome) -> str:
    rows, days = len(outcome.holdout.rows), outcome.holdout.blocks
    over = f" on {len(np.unique(days))} days" if days is not None else ""
    return (
        f"{outcome.settings.algorithm} on {len(outcome.features.matrix):,} rows; "
        f"every figure below is of {rows:,} rows{over} that no choice has seen."
    )


def _headline(metric: str, outcome: Outcome) -> Html:
    shown = [_metric_card(found, outcome, primary=found.name == metric) for found in outcome.metrics]
    shown.sort(key=lambda card: card.label != _TITLES[metric])
    return cards(shown[:4])


def _metric_card(metric: Metric, outcome: Outcome, *, primary: bool) -> Card:
    rivals = [_named(rival, metric.name) for rival in outcome.baselines.values()]
    known = [rival.value for rival in rivals if rival is not None]
    sign = 1.0 if metric.name in metrics.HIGHER_IS_BETTER else -1.0
    tone: Tone = "quiet"
    if primary and known:
        tone = "good" if sign * metric.value > max(sign * value for value in known) else "bad"
    return Card(_TITLES[metric.name], _number(metric.value), f"{_number(metric.low)} to {_number(metric.high)}", tone)


def _against_baselines(metric: str, task: Task, outcome: Outcome) -> Html:
    everyone = {outcome.settings.algorithm: outcome.metrics, **outcome.baselines}
    bars = []
    for place, (name, found) in enumerate(everyone.items()):
        shown = _named(found, metric)
        if shown is not None:
            bars.append(Bar(_words(name), shown.value, shown.low, shown.high, quiet=place > 0))
    chart = charts.bars(bars, title=_TITLES[metric], from_zero=False)
    header = ("", *(_words(name) for name in everyone))
    rows = [
        (_TITLES[own.name], *(_with_interval(_named(found, own.name)) for found in everyone.values()))
        for own in outcome.metrics
    ]
    figures = table(header, rows, numbers=range(1, len(header)))
    return section("Against the baselines", figure(chart), figures, note=_verdict(task, outcome))


def _verdict(task: Task, outcome: Outcome) -> str:
    """Say, for each baseline, by how much the loss of the same rows is smaller."""
    holdout = outcome.holdout
    unit = "nats of log loss" if task == "classification" else "of squared error"
    said = []
    for name, answers in outcome.rivals.items():
        rival = Sample(holdout.rows, holdout.target, answers, holdout.blocks)
        gain, low, high = metrics.mean_interval(rival.losses(task) - holdout.losses(task), holdout.blocks)
        sure = "better than" if low > 0 else "worse than" if high < 0 else "not surely different from"
        said.append(f"{sure} “{_words(name)}” by {_number(gain)} ({_number(low)} to {_number(high)}) {unit} a row")
    return "On the same rows the model is " + ", and ".join(said) + "."


def _probabilities(sample: Sample) -> Html:
    target, prediction = sample.target, sample.prediction
    bins = curves.reliability(target, prediction)
    shown = Reliability(bins.predicted.tolist(), bins.observed.tolist(), bins.low.tolist(), bins.high.tolist())
    ranked, found = curves.roc(target, prediction), curves.precision_recall(target, prediction)
    roc = charts.curves(
        [Line(f"AUC {metrics.auc(target, prediction):.3f}", ranked[0].tolist(), ranked[1].tolist())],
        title="ROC",
        x="false positive rate",
        y="true positive rate",
        diagonal=True,
    )
    precision = charts.curves(
        [Line(f"AP {metrics.average_precision(target, prediction):.3f}", found[0].tolist(), found[1].tolist())],
        title="Precision and recall",
        x="recall",
        y="precision",
        level=float(target.mean()),
    )
    spread = {
        "came true": prediction[target > 0.5],
        "did not": prediction[target <= 0.5],
    }
    return section(
        "Probabilities",
        columns(
            figure(
                charts.calibration(shown, prediction),
                "On the dashed line a forecast of 30 % comes true in 30 % of cases.",
            ),
            figure(
                charts.histogram(spread, title="Scores by outcome", x="predicted probability", bins=40),
                "The further apart the two, the better the model tells the outcomes from each other.",
            ),
            figure(roc, "How many true cases are found at the price of how many false alarms."),
            figure(precision, "Of the rows called, how many are right; the dashed line is what chance would get."),
        ),
    )


def _values(sample: Sample) -> Html:
    density = charts.density(
        sample.prediction, sample.target, title="Predicted and true", x_label="predicted", y_label="true"
    )
    residuals = charts.histogram(
        {"residual": sample.target - sample.prediction}, title="Residuals", x="true − predicted"
    )
    return section(
        "Values",
        columns(
            figure(density, "Rows on the dashed line are predicted without error."),
            figure(residuals, "What the model gets wrong, and to which side."),
        ),
    )


def _importance(outcome: Outcome) -> Html:
    shares = [(name, share) for name, share in outcome.importance.items() if share > _LEAST_SHARE]
    if not shares:
        return section("What it goes by", note="No feature carries weight: the model answers the same to every row.")
    chart = charts.bars([Bar(name, share) for name, share in shares[:_MOST_FEATURES]], title="Importance", x="share")
    left = len(outcome.importance) - min(len(shares), _MOST_FEATURES)
    rest = f" {left} more are not shown." if left else ""
    return section(
        "What it goes by", figure(chart), note=f"Each feature's share of what the splits gain, or of the weights.{rest}"
    )


def _segments(metric: str, sample: Sample, segments: Mapping[str, NDArray[Any]]) -> Html:
    shown = [_segment(metric, sample, name, values) for name, values in segments.items()]
    whole = metrics.SCORES[metric](sample.target, sample.prediction)
    return section(
        "Segments",
        columns(*(figure(chart) for chart in shown if chart)),
        note=f"{_TITLES[metric]} by value, the most frequent first; dashed: all rows ({_number(whole)}).",
    )


def _segment(metric: str, sample: Sample, name: str, values: NDArray[Any]) -> Html:
    counts = Counter(str(value) for value in values.tolist())
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    bars = []
    for value, count in ranked[:_MOST_VALUES]:
        mine = np.flatnonzero(values == value)
        target, prediction = sample.target[mine], sample.prediction[mine]
        figure_of_it = metrics.SCORES[metric](target, prediction)
        if count >= _FEWEST_ROWS and np.isfinite(figure_of_it):
            blocks = None if sample.blocks is None else sample.blocks[mine]
            low, high = metrics.interval(metric, target, prediction, blocks)
            bars.append(Bar(f"{value or '(missing)'} · {count:,}", figure_of_it, low, high))
    if not bars:
        return Html("")
    whole = metrics.SCORES[metric](sample.target, sample.prediction)
    return charts.bars(bars, title=name, reference=whole, from_zero=False, narrow=True)


def _search(metric: str, trials: Sequence[Trial]) -> Html:
    chart = charts.trials(
        [(trial.settings.algorithm, trial.score) for trial in trials],
        title="Trials",
        y=_TITLES[metric],
        higher_is_better=metric in metrics.HIGHER_IS_BETTER,
    )
    failures = [(str(trial.number + 1), trial.settings.algorithm, trial.failed) for trial in trials if trial.failed]
    failed = table(("trial", "algorithm", "why it failed"), failures) if failures else Html("")
    seconds = sum(trial.seconds for trial in trials)
    return section(
        "Search",
        figure(chart, "Scored on rows of their own, before calibration; the first of each algorithm is its default."),
        failed,
        note=f"{len(trials)} trials in {seconds:.1f} s.",
    )


def _settings(outcome: Outcome) -> Html:
    rows = [(name, _plain(value)) for name, value in outcome.settings.params.items()]
    rows += [("rounds", str(outcome.rounds)), ("calibration", outcome.calibrator.method)]
    return section("Settings", joined([table(("parameter", "value"), rows)]), note=outcome.settings.algorithm)


def _named(found: Sequence[Metric], name: str) -> Metric | None:
    return next((metric for metric in found if metric.name == name), None)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _plain(value: object) -> str:
    return _number(value) if isinstance(value, float) else str(value)


def _with_interval(metric: Metric | None) -> str:
    if metric is None:
        return "–"
    return f"{_number(metric.value)} ({_number(metric.low)} to {_number(metric.high)})"


def _number(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}" if abs(value) < 100_000 else f"{value:,.0f}"
