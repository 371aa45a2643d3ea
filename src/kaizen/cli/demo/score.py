"""The score of the demo, month by month: the loop, the bundle it began with, and two baselines, on the same flights."""

from __future__ import annotations

from datetime import date

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.bundle import keys, load
from kaizen.cli.demo.flights import TIME_ZONE
from kaizen.core.project import Project
from kaizen.core.records import Bundle, Dataset, Endpoint
from kaizen.data import snapshot
from kaizen.loop import cycle, history
from kaizen.stats import metrics
from kaizen.stats.blocks import day_blocks, day_start

LOOP, FROZEN, RATE, YESTERDAY = "the loop", "the first bundle, frozen", "class rate", "as the previous day"


class Month(msgspec.Struct, frozen=True):
    """The mean log loss of a month's flights, by who answered, and how many flights these are."""

    month: str
    flights: int
    log_loss: dict[str, float]


class Score(msgspec.Struct, frozen=True):
    """All months, and all flights together."""

    months: tuple[Month, ...]
    overall: Month


def score(project: Project, days: range) -> Score:
    """Return the score of the flights of these event days whose truth is known by the end of them."""
    end = day_start(days.stop, TIME_ZONE)
    known = history.labels(project.log, known_by=end)
    first = project.records.find(Endpoint, limit=1)[0].champion.bundle
    model = load.load(project.records.get(Bundle, first), project.blobs, keys.trusted(project.keys))
    at, target, answered, frozen = [], [], [], []
    for group in history.champions(project.log, day_start(days.start, TIME_ZONE), end):
        truth = history.targets(group.ids, known)
        group = history.in_event_order(group)
        truth = history.targets(group.ids, known)
        at.append(group.at)
        target.append(truth)
        answered.append(group.outputs)
        frozen.append(model.predict(group.frame))
    days_ = day_blocks(np.concatenate(at), TIME_ZONE)
    truth = np.concatenate(target)
    seen = np.flatnonzero(~np.isnan(truth))
    rate, before = _past(project)
    predictions = {
        LOOP: np.concatenate(answered)[seen],
        FROZEN: np.concatenate(frozen)[seen],
        RATE: np.full(len(seen), rate),
        YESTERDAY: _yesterday(days_[seen], truth[seen], before),
    }
    losses = {
        name: metrics.per_row("log_loss", truth[seen], np.clip(values, 1e-3, 1 - 1e-3) if name == YESTERDAY else values)
        for name, values in predictions.items()
    }
    return _by_month(days_[seen], losses)


def _past(project: Project) -> tuple[float, float]:
    """Return the share of late flights in the first dataset, and on its last day."""
    dataset = next(found for found in project.records.find(Dataset) if not found.parents)
    frame = snapshot.load_dataset(dataset, project.blobs)
    days = day_blocks(frame[dataset.time or ""], TIME_ZONE)
    target = frame[dataset.target]
    return float(target.mean()), float(target[days == days.max()].mean())


def _yesterday(days: NDArray[np.int64], target: NDArray[np.float64], before: float) -> NDArray[np.float64]:
    """Return for each flight the share of late flights of the day before, all of them, known or not by then."""
    numbers, index = np.unique(days, return_inverse=True)
    rates = np.bincount(index, weights=target) / np.bincount(index)
    shifted = np.concatenate(([before], rates[:-1]))
    assert len(numbers) == len(shifted)
    return shifted[index]


def _by_month(days: NDArray[np.int64], losses: dict[str, NDArray[np.float64]]) -> Score:
    months = np.asarray([cycle.date_of(int(day)).strftime("%Y-%m") for day in np.unique(days)])
    of = months[np.unique(days, return_inverse=True)[1]]
    found = [_month(name, of == name, losses) for name in sorted(set(months.tolist()))]
    return Score(tuple(found), _month("all", np.ones(len(days), np.bool_), losses))


def _month(name: str, rows: NDArray[np.bool_], losses: dict[str, NDArray[np.float64]]) -> Month:
    return Month(name, int(rows.sum()), {who: float(loss[rows].mean()) for who, loss in losses.items()})


def first_of(month: str) -> date:
    """Return the first day of a month."""
    return date.fromisoformat(f"{month}-01")
