"""How far estimates of the reference's own days missed, and how much the metric moves between them.

Each run of days is estimated from the others, as a window will be from all of them: what chance does not explain of
its misses widens every interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from kaizen.monitor.estimates.outcomes import Outcomes, outcome_of
from kaizen.stats.expected import Figure, figure

Float: TypeAlias = NDArray[np.float64]


def seen(outcomes: Outcomes, metric: str, rows: Float, sums: Mapping[str, Float], groups: slice | int) -> Figure:
    """Return a metric by the outcomes of some groups themselves."""
    total = sums[outcome_of(metric, outcomes.task)][groups]
    return figure(metric, np.asarray(outcomes.centres), rows, total.sum(axis=0) if total.ndim == 2 else total)


def excess_of(outcomes: Outcomes, metrics: Sequence[str]) -> dict[str, float]:
    """Return how far the estimates of one run of days from the others miss, beyond chance.

    The variance is the moment estimate of DerSimonian & Laird, *Controlled Clinical Trials* 7 (1986), taken where
    the misses are too large for chance at one in ten: otherwise its positive part would widen every interval.
    """
    found = {}
    for metric in metrics:
        misses, variances = misses_of(outcomes, metric)
        if len(misses) < 2:
            continue
        heterogeneity = float(np.sum(misses**2 / variances))
        if heterogeneity > chdtri(len(misses), 0.1):
            found[metric] = float(np.sqrt((heterogeneity - len(misses)) / np.sum(1 / variances)))
    return found


def misses_of(outcomes: Outcomes, metric: str) -> tuple[Float, Float]:
    """Return for each run of days the estimate from the others less the truth, and the variance that chance gives."""
    kind = outcome_of(metric, outcomes.task)
    told = outcomes.expect(kind)
    score, sums = np.asarray(outcomes.centres), {name: np.asarray(each) for name, each in outcomes.sums.items()}
    misses, variances = [], []
    for group, counts in enumerate(np.asarray(outcomes.rows, np.float64)):
        without = told.without[group]
        noise = without * (1 - without) if outcomes.task == "classification" else told.variance
        guess = figure(metric, score, counts, counts * without, counts * noise)
        truth = seen(outcomes, metric, counts, sums, group).value
        variance = float(guess.gradient**2 @ (counts * noise)) + told.spread(guess.gradient * counts)
        if np.isfinite(truth) and np.isfinite(guess.value) and variance > 0:
            misses.append(guess.value - truth)
            variances.append(variance)
    return np.array(misses), np.array(variances)


def usual_change(outcomes: Outcomes, metric: str) -> float:
    """Return twice the deviation of the metric between ten runs of the reference, at least a hundredth of it."""
    rows = np.asarray(outcomes.rows, np.float64)
    sums = {name: np.asarray(each) for name, each in outcomes.sums.items()}
    runs = [np.array(part) for part in np.array_split(np.arange(len(rows)), min(10, len(rows)))]
    values = np.array(
        [
            seen(outcomes, metric, rows[r].sum(axis=0), {k: v[r] for k, v in sums.items()}, slice(None)).value
            for r in runs
        ]
    )
    values = values[np.isfinite(values)]
    whole = float(seen(outcomes, metric, rows.sum(axis=0), sums, slice(None)).value)
    return max(2 * float(values.std(ddof=1)) if len(values) > 1 else 0.0, 0.01 * abs(whole))
