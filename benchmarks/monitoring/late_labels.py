"""Late labels: what one costs however many rows its day has, and how good figures are before all labels are in.

The rival looks at all labels of the day again for each that comes; the floor finds an id in a dictionary. Then days are
played whose positives are labelled within one and a half days and negatives within five: the provisional log loss, and
the mean over the labels that are there, each held against the final one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
from _report import arguments, goal, machine, table

from kaizen.core.ids import derived
from kaizen.core.records import Finding
from kaizen.monitor.performance.labels import LabelBook
from kaizen.monitor.performance.latelabels import LateState, follow
from kaizen.monitor.performance.openday import Measures
from kaizen.page.charts import Line, lines
from kaizen.page.page import Html
from kaizen.stats.metrics import log_loss

DAY_US = 86_400_000_000
FIRST = 20_000
DELAY_DAYS = 8
MEASURES = Measures(
    "classification",
    ("log_loss", "brier", "error"),
    (float(np.log(100)), 1.0, 1.0),
    tuple((1 / (1 + np.exp(-np.linspace(-4, 1.5, 15)))).tolist()),
)


def main() -> None:
    """Measure and print."""
    measure(quick=arguments(__doc__).quick)
    machine("scipy")


def measure(*, quick: bool) -> Html:
    """Print the costs and the errors; return the picture of the costs."""
    picture = _cost((1_000, 10_000) if quick else (1_000, 10_000, 100_000, 1_000_000))
    _accuracy(2 if quick else 20)
    return picture


def _cost(sizes: tuple[int, ...]) -> Html:
    costs = [_costs(size) for size in sizes]
    shown = [[f"{n:,}", *(f"{seconds * 1e6:.2f}" for seconds in each)] for n, each in zip(sizes, costs, strict=True)]
    table(
        ("rows of the day", "us, one at a time", "us, of a thousand", "us, all again (rival)", "us, look-up (floor)"),
        shown,
    )
    goal("a label costs the same on the largest day as on the smallest", costs[-1][1] / costs[0][1], 2.0, unit=" times")
    names = ("one at a time", "of a thousand", "all again", "look-up")
    rows = [f"{size:,}" for size in sizes]
    series = [
        Line(name, rows, [each[at] * 1e6 for each in costs]) for at, name in enumerate(names) if name != "all again"
    ]
    return lines(series, title="A late label, by the rows of its day", x="rows", y="us", wide=False)


def _costs(size: int) -> tuple[float, float, float, float]:
    """Return seconds a label on a day of so many rows: alone, of a thousand, by looking at all again, the look-up."""
    rng = np.random.default_rng(0)
    at, outputs = FIRST * DAY_US + np.sort(rng.integers(0, DAY_US, size)), rng.random(size)
    ids, values = [f"row {i}" for i in range(size)], (rng.random(size) < outputs).astype(float)
    book = LabelBook(MEASURES, "UTC", timedelta(days=DELAY_DAYS))
    book.add_predictions(ids, at, outputs)
    book.add_labels(ids, values, at + 1)
    places = dict(zip(ids, range(size), strict=True))
    late = [ids[i] for i in rng.integers(0, size, 200).tolist()]
    return (
        _each(lambda i: book.add_labels(late[i : i + 1], values[i : i + 1], at[-1:] + 2 + i), 200),
        _each(lambda _: book.add_labels(ids[:1000], values[:1000], at[:1000] + 500), 5) / 1000,
        _each(lambda i: log_loss(values, outputs) + places[late[i]], 20),
        _each(lambda i: places[late[i]], 200),
    )


def _each(work: Callable[[int], object], times: int) -> float:
    start = time.process_time()
    for i in range(times):
        work(i)
    return (time.process_time() - start) / times


def _accuracy(stories: int) -> None:
    errors: dict[int, list[tuple[float, float, bool, float]]] = {}
    for seed in range(stories):
        for age, found in _story(seed):
            errors.setdefault(age, []).append(found)
    shown = []
    for age, rows in sorted(errors.items()):
        error, plain, inside, matured = np.array(rows, float).T
        figures = (np.mean(error), np.sqrt(np.mean(error**2)), np.mean(plain), np.sqrt(np.mean(plain**2)))
        shown.append(
            [age + 1, f"{np.mean(matured):.0%}", *(f"{each:+.4f}" for each in figures), f"{np.mean(inside):.1%}"]
        )
    table(
        ("days old", "labels here", "bias", "error", "bias of the plain mean", "its error", "95 % interval covers"),
        shown,
    )
    covers = float(np.mean([row[2] for rows in errors.values() for row in rows]))
    goal("intervals of provisional figures cover the final one", covers, 0.93, least=True)


def _story(
    seed: int, days: int = 70, a_day: int = 400, burn: int = 30
) -> list[tuple[int, tuple[float, float, bool, float]]]:
    """Return (age, (error, error of the plain mean, whether the interval covers, share of labels)) of made-up days."""
    rng = np.random.default_rng(seed)
    book, state = LabelBook(MEASURES, "UTC", timedelta(days=DELAY_DAYS)), LateState()
    waiting, told, final = [], {}, {}
    for today in range(FIRST, FIRST + days):
        at = today * DAY_US + np.sort(rng.integers(0, DAY_US, a_day))
        odds = -1.5 + 1.3 * rng.normal(size=a_day)
        target = (rng.random(a_day) < 1 / (1 + np.exp(-(odds + 0.3 * rng.normal())))).astype(float)
        delay = rng.exponential(np.where(target == 1, 1.5, 5.0)) * np.exp(0.2 * rng.normal())
        known_at = at + (np.minimum(delay, DELAY_DAYS - 0.01) * DAY_US).astype(np.int64)
        ids = np.array([f"{today}.{i}" for i in range(a_day)], object)
        waiting.append((ids, target, known_at))
        book.add_predictions(ids.tolist(), at, 1 / (1 + np.exp(-odds)))
        for each, (names, values, known) in enumerate(waiting):
            now = known < (today + 1) * DAY_US
            book.add_labels(names[now].tolist(), values[now], known[now])
            waiting[each] = (names[~now], values[~now], known[~now])
        plain = {n: d.sums[0, ..., 0].sum() / max(1, d.count.sum()) for n, d in book.days.items()}
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=today + 1)
        due = today - DELAY_DAYS
        state, _ = follow(
            state,
            book,
            MEASURES,
            final=[due] if due >= FIRST else [],
            today=today,
            now=moment,
            window_days=7,
            start=moment - timedelta(days=1),
            stamp=_stamp,
        )
        for point in state.series:
            figure = point.figure("log_loss")
            if figure is None or point.day < FIRST + burn:
                continue
            if point.is_final:
                final[point.day] = figure.value
            else:
                told[point.day, today - point.day] = (figure, float(plain[point.day]), point.matured or 0.0)
    return [
        (age, (f.value - final[day], mean - final[day], f.low <= final[day] <= f.high, matured))
        for (day, age), (f, mean, matured) in told.items()
        if day in final
    ]


def _stamp(**evidence: object) -> Finding:
    end = evidence["end"]
    assert isinstance(end, datetime)
    return Finding(id=derived(end, str(evidence["question"])), project="bench", at=end, by="bench", **evidence)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
