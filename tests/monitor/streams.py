"""Real rows in order of time, a model of the first of them, and what the monitors say of the rest."""

from __future__ import annotations

import csv
import gzip
import io
import os
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from kaizen.core import plugins
from kaizen.core.records import Column, FeatureColumn
from kaizen.monitor.performance import latelabels, performance
from kaizen.monitor.performance.labels import LabelBook
from kaizen.monitor.performance.latelabels import LateState
from kaizen.monitor.performance.performance import PerformanceState
from kaizen.monitor.reference import fit
from kaizen.monitor.segments import facets
from kaizen.monitor.settings import MonitorSettings
from kaizen.stats.metrics import per_row
from tests.monitor.days import stamp

FOLDER = Path(os.environ.get("KAIZEN_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
DAY_US = 86_400_000_000


@dataclass
class Rows:
    """A table in order of time: columns, the target, and the day and time of each row."""

    task: str
    columns: list[Column]
    frame: dict
    target: np.ndarray
    at: np.ndarray  # microseconds

    @property
    def day(self):
        return self.at // DAY_US

    def take(self, rows):
        frame = {name: values[rows] for name, values in self.frame.items()}
        return Rows(self.task, self.columns, frame, self.target[rows], self.at[rows])


def _table(text, numbers, categories, delimiter=","):
    rows = list(csv.DictReader(text, delimiter=delimiter))
    frame = {name: np.array([float(row[name]) for row in rows]) for name in numbers}
    frame |= {name: np.array([row[name] for row in rows], object) for name in categories}
    columns = [Column(name, "number") for name in numbers] + [Column(name, "category") for name in categories]
    return rows, frame, columns


def elec2():
    """Return half-hours of the electricity market from May 1996; the target is whether the price went up."""
    with gzip.open(FOLDER / "elec2" / "electricity.csv.gz", "rt") as text:
        numbers = ("period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer")
        rows, frame, columns = _table(text, numbers, ("day",))
    target = np.array([float(row["class"] == "UP") for row in rows])
    start = (datetime(1996, 5, 7, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days
    return Rows("classification", columns, frame, target, start * DAY_US + np.arange(len(rows)) * (DAY_US // 48))


def bank_marketing(a_day=100):
    """Return calls of a bank, May 2008 to November 2010, without the leak `duration`; so many are taken as a day."""
    with zipfile.ZipFile(FOLDER / "bank_marketing" / "bank-additional.zip") as archive:
        text = io.TextIOWrapper(archive.open("bank-additional/bank-additional-full.csv"), "utf-8")
        numbers = ("age", "campaign", "pdays", "previous")
        categories = ("job", "marital", "education", "default", "housing", "loan", "contact", "poutcome")
        rows, frame, columns = _table(text, numbers, categories, ";")
    target = np.array([float(row["y"] == "yes") for row in rows])
    at = 14_000 * DAY_US + np.arange(len(rows)) * (DAY_US // a_day)
    return Rows("classification", columns, frame, target, at)


def bike_sharing():
    """Return hourly rentals of 2011 and 2012; `casual` and `registered`, which add up to the target, are left out."""
    with zipfile.ZipFile(FOLDER / "bike_sharing" / "Bike-Sharing-Dataset.zip") as archive:
        text = io.TextIOWrapper(archive.open("hour.csv"), "utf-8")
        rows, frame, columns = _table(text, ("hr", "temp", "hum", "windspeed"), ("workingday", "weathersit"))
    target = np.array([float(row["cnt"]) for row in rows])
    days = [(datetime.fromisoformat(row["dteday"]) - datetime(1970, 1, 1)).days for row in rows]
    at = np.array(days) * DAY_US + frame["hr"].astype(np.int64) * 3_600_000_000
    return Rows("regression", columns, frame, target, at)


class Model:
    """A boosted model of some rows; categories get the codes that they had there."""

    def __init__(self, rows, rounds=120):
        self._known = {
            c.name: {v: i for i, v in enumerate(sorted(set(rows.frame[c.name].tolist())))}
            for c in rows.columns
            if c.type == "category"
        }
        self._columns, self._task = rows.columns, rows.task
        features = [FeatureColumn(c.name, c.name, len(self._known.get(c.name, ()))) for c in rows.columns]
        params = {"learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 50}
        self._fitted = plugins.load("framework", "lightgbm")().fit(
            rows.task, params, features, self._matrix(rows), rows.target, seed=0, rounds=rounds
        )

    def _matrix(self, rows):
        matrix = np.empty((len(rows.target), len(self._columns)))
        for at, column in enumerate(self._columns):
            known, values = self._known.get(column.name), rows.frame[column.name]
            matrix[:, at] = values if known is None else [known.get(v, -1) for v in values.tolist()]
        return matrix

    def predict(self, rows):
        raw = self._fitted.predict(self._matrix(rows))
        return 1 / (1 + np.exp(-raw)) if self._task == "classification" else raw


def reference_of(rows, outputs, segments=(), fairness=()):
    """Return the reference of rows that the model had not seen."""
    kind = "log_loss" if rows.task == "classification" else "squared"
    losses = per_row(kind, rows.target, outputs)
    known = fit(rows.columns, rows.frame, outputs, blocks=rows.day, losses=losses, loss_blocks=rows.day, metric=kind)
    return facets.with_facets(
        known,
        rows.columns,
        rows.frame,
        outputs=outputs,
        target=rows.target,
        losses=losses,
        blocks=rows.day,
        task=rows.task,
        segments=segments,
        fairness=fairness,
    )


@dataclass
class Story:
    """What came of a stream: the Findings of performance with the day at whose end they were made, and the series."""

    findings: list
    series: dict

    def pages(self):
        return [(day, finding) for day, finding in self.findings if finding.verdict == "page"]

    def mean(self, name, first, last, which="value"):
        points = [p for d, p in self.series.items() if first <= d <= last and p.is_final]
        return float(np.mean([getattr(p.figure(name), which) for p in points]))


def watched(rows, outputs, reference, delay):
    """Return what is said of these rows day by day, when each label is known so long after its row."""
    measures = facets.measures_of(reference, rows.task)
    book = LabelBook(measures, "UTC", delay)
    ids = [str(i) for i in range(len(rows.target))]
    known_at = rows.at + delay // timedelta(microseconds=1)
    late, state, incidents, findings, series = LateState(), PerformanceState(), (), [], {}
    told, final_to = 0, int(rows.day[0]) - 1
    for today in range(int(rows.day[0]), int(rows.day[-1]) + 1):
        now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=today + 1)
        here = np.flatnonzero(rows.day == today)
        upto = int(np.searchsorted(known_at, (today + 1) * DAY_US))
        book.add_labels(ids[told:upto], rows.target[told:upto], known_at[told:upto])
        told = upto
        if len(here):
            book.add_predictions([ids[i] for i in here], rows.at[here], outputs[here])
        last = today - -(-delay // timedelta(days=1))
        final = list(range(final_to + 1, last + 1))
        final_to = max(final_to, last)
        late, _ = latelabels.follow(
            late,
            book,
            measures,
            final=final,
            today=today,
            now=now,
            window_days=7,
            start=now - timedelta(days=1),
            stamp=stamp,
        )
        series |= {point.day: point for point in late.series}
        for day in final:
            of_day = np.flatnonzero(rows.day == day)
            kind = reference.loss.metric
            state, more, incidents = performance.mature(
                reference.loss,
                state,
                day,
                per_row(kind, rows.target[of_day], outputs[of_day]),
                incidents,
                limit=MonitorSettings().limit_of("performance"),
                window_days=7,
                start=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day),
                stamp=stamp,
            )
            findings += [(today, each) for each in more]
    return Story(findings, series)
