"""Performance before all labels are in: one step for each turn of the loop, a series by day, a sentence a week.

    the book: open days ─► curves of arrival ─► provisional figures ─► series
                      └─► closed days ─► final figures ─► series, and lessons on what the provisional ones got wrong

Nothing here pages: pages rest on final days (`performance.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np

from kaizen.core.clock import to_us
from kaizen.core.records import Finding
from kaizen.monitor.paging import Stamp
from kaizen.monitor.performance.labels import LabelBook
from kaizen.monitor.performance.maturity import Curves, Delays, Grid
from kaizen.monitor.performance.openday import Measures, OpenDay
from kaizen.monitor.performance.provisional import (
    LEAST_SHARE,
    DayPoint,
    Figure,
    Lesson,
    estimates,
    expected,
    figures,
    final_figures,
)
from kaizen.monitor.window import day_name

SUMMARY = "late labels"
METHOD = "labels weighted by how soon labels of their class come"
SERIES_DAYS = 60  # final ones


class Told(msgspec.Struct, frozen=True, array_like=True):
    """A provisional figure of an open day, before correction: what the final one will be held against.

    Told of ages up to a week each day, then each week: what an age taught holds until the next.
    """

    day: int
    age: int
    name: str
    value: float
    error: float


class LateState(msgspec.Struct, frozen=True):
    """What is remembered: how fast labels come, how provisional figures erred, those of open days, and the series."""

    delays: Delays | None = None
    lessons: tuple[Lesson, ...] = ()
    told: tuple[Told, ...] = ()
    series: tuple[DayPoint, ...] = ()
    since_summary: int = 0


def follow(
    state: LateState,
    book: LabelBook,
    measures: Measures,
    *,
    final: Sequence[int],
    today: int,
    now: datetime,
    window_days: int,
    start: datetime,
    stamp: Stamp,
) -> tuple[LateState, list[Finding]]:
    """Return the state after one more day, and once a window what there is to say.

    Parameters
    ----------
    book
        With the predictions of all days up to today, and all labels known by now.
    final
        The days, in order, whose labels have had their time since the last call; they are closed in the book.
    today
        The event day that is over.
    window_days
        How often there is something to say.
    start
        When the day began.
    """
    closed = {number: book.close(number) for number in final}
    days = [day for day in closed.values() if day is not None and day.count.sum() > 0]
    delays = state.delays or Delays.none(book.grid, measures.classes)
    lessons = {(lesson.name, lesson.age): lesson for lesson in state.lessons}
    series = {point.day: point for point in state.series if point.day not in closed}
    for day in days:
        delays = delays.learn(_delays(day, book.grid, to_us(now)))
        series[day.day] = _final(day, measures)
        lessons |= _learnt(lessons, state.told, series[day.day])
    curves = _curves(delays, book, to_us(now))
    told = [each for each in state.told if each.day not in closed]
    for number, day in sorted(book.days.items()):
        series[number], more = _provisional(day, book.grid, measures, curves, lessons, today - number, to_us(now))
        told += more
    final_ones = [point for _, point in sorted(series.items()) if point.is_final][-SERIES_DAYS:]
    open_ones = [point for _, point in sorted(series.items()) if not point.is_final]
    since = state.since_summary + 1
    after = LateState(delays, tuple(lessons.values()), tuple(told), (*final_ones, *open_ones), since)
    if since < window_days or not after.series:
        return after, []
    finding = _summary([*final_ones[-window_days:], *open_ones], measures.losses[0], start, today, stamp)
    return msgspec.structs.replace(after, since_summary=0), [finding]


def _delays(day: OpenDay, grid: Grid, now_us: int) -> Delays:
    """Return what a day shows of delays; of one that was closed early the rest was never seen."""
    in_the_end = day.start_us + 86_400_000_000 + grid.delay_us
    return Delays.of_day(day.arrivals, day.rows.sum(axis=1), grid.watched(day.start_us, min(in_the_end, now_us)))


def _curves(delays: Delays, book: LabelBook, now_us: int) -> Curves | None:
    """Return the curves of closed and open days; None while no day was ever seen to its end: nobody knows the rest."""
    if delays.days == 0:
        return None
    for day in book.days.values():
        delays = delays.add(_delays(day, book.grid, now_us))
    return delays.curves()


def _final(day: OpenDay, measures: Measures) -> DayPoint:
    return DayPoint(
        day=day.day,
        is_final=True,
        rows=len(day),
        labels=int(day.count.sum()),
        matured=1.0,
        figures=final_figures(day, measures),
    )


def _provisional(
    day: OpenDay,
    grid: Grid,
    measures: Measures,
    curves: Curves | None,
    lessons: dict[tuple[str, int], Lesson],
    age: int,
    now_us: int,
) -> tuple[DayPoint, list[Told]]:
    """Return the day's point, and what is to be held against its final figures one day."""
    labels = int(day.count.sum())
    point = DayPoint(day=day.day, is_final=False, rows=len(day), labels=labels, matured=None)
    if curves is None:
        return point, []
    to_come = expected(day, grid, curves, now_us)
    matured = labels / max(labels + float(to_come.later.sum()), 1e-9)
    point = msgspec.structs.replace(point, matured=matured)
    if matured < LEAST_SHARE:
        return point, []
    found, taught = estimates(day, measures, to_come), age if age < 7 else age // 7 * 7
    told = [Told(day.day, age, name, float(each.values[0]), each.error) for name, each in found.items()]
    of_age = {name: lesson for (name, at), lesson in lessons.items() if at == taught}
    return msgspec.structs.replace(point, figures=figures(found, day, of_age)), told if age == taught else []


def _learnt(
    lessons: dict[tuple[str, int], Lesson], told: Sequence[Told], final: DayPoint
) -> dict[tuple[str, int], Lesson]:
    """Return the lessons that a day's final figures teach about what was said of it before."""
    after = {}
    for each in told:
        figure = final.figure(each.name) if each.day == final.day else None
        if figure is not None:
            before = lessons.get((each.name, each.age), Lesson(each.name, each.age))
            after[each.name, each.age] = before.learn(figure.value, each.value, each.error)
    return after


def _summary(points: Sequence[DayPoint], name: str, start: datetime, today: int, stamp: Stamp) -> Finding:
    """Return what the last days come to: the mean over provisional days, or over final ones if there are no others."""
    shown = [(point, figure) for point in points if (figure := point.figure(name)) is not None]
    open_ones = [(p, f) for p, f in shown if not p.is_final]
    speaks = open_ones or shown
    weights = np.array([point.rows for point, _ in speaks], dtype=np.float64)
    values = np.array([figure.value for _, figure in speaks])
    reaches = np.array([(figure.high - figure.low) / 2 for _, figure in speaks])
    value = float(weights @ values / weights.sum()) if speaks else None
    reach = float(np.sqrt(((weights * reaches) ** 2).sum()) / weights.sum()) if speaks else 0.0
    waiting = sum(point.rows - point.labels for point in points if not point.is_final)
    return stamp(
        question=SUMMARY,
        subject=name,
        method=METHOD,
        estimate=value,
        low=None if value is None else value - reach,
        high=None if value is None else value + reach,
        evidence=None,
        limit=None,
        verdict="ok",
        n=sum(point.labels for point, _ in speaks),
        start=start - timedelta(days=today - (speaks[0][0].day if speaks else points[0].day)),
        end=start + timedelta(days=1),
        says=_says(points, name, open_ones, value, reach, waiting),
    )


def _says(
    points: Sequence[DayPoint],
    name: str,
    open_ones: Sequence[tuple[DayPoint, Figure]],
    value: float | None,
    reach: float,
    waiting: int,
) -> str:
    final = [(point, figure) for point in points if point.is_final and (figure := point.figure(name)) is not None]
    told = []
    if final:
        mean = float(np.mean([figure.value for _, figure in final]))
        told.append(
            f"final from {day_name(final[0][0].day)} to {day_name(final[-1][0].day)}: {mean:.4f}{_beside(final)}"
        )
    if open_ones and value is not None:
        days = f"from {day_name(open_ones[0][0].day)} to {day_name(open_ones[-1][0].day)}"
        share = np.average([p.matured or 0.0 for p, _ in open_ones], weights=[p.rows for p, _ in open_ones])
        interval = f"{value:.4f} ({value - reach:.4f} to {value + reach:.4f})"
        told.append(f"provisional {days}, with {share:.0%} of the labels here: {interval}")
    if not told:
        return f"No {name} yet: {waiting} predictions wait for their labels."
    return f"{name} is {'; '.join(told)}. {waiting} predictions wait for their labels."


def _beside(final: Sequence[tuple[DayPoint, Figure]]) -> str:
    beside = without_a_model([point for point, _ in final], final[0][1].name)
    return f" ({beside})" if beside else ""


def without_a_model(points: Sequence[DayPoint], name: str) -> str:
    """Return what forecasts without a model got on these days, in words; empty where nothing was known yet."""
    found = [figure for point in points if (figure := point.figure(name)) is not None]
    rivals = [(f.no_change, f.rate) for f in found if f.no_change is not None and f.rate is not None]
    if not rivals:
        return ""
    no_change, rate = np.mean(rivals, axis=0).tolist()
    return f"without a model {no_change:.4f} by the newest known outcome, {rate:.4f} by its usual rate"
