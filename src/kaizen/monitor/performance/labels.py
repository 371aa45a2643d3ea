"""Labels that come late: each is joined with its prediction by id, and the last one known wins.

    add_predictions ──► the day's rows, with what two forecasts without a model would have said
    add_labels      ──► the row's day, by id ─► sums of the day (`openday.py`)
    close           ──► the day is over: its sums stay, its ids are forgotten

Every value that an id was ever given is in the log; here is only what counts now. A label whose prediction is not here
yet waits for it; one for a day that was closed comes too late and is counted as such.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from kaizen.core.clock import to_us
from kaizen.monitor.performance.maturity import Grid, grid_of
from kaizen.monitor.performance.openday import Measures, OpenDay
from kaizen.stats.blocks import day_blocks, day_start
from kaizen.stats.persistence import newest_known, persistence_rates

Float = NDArray[np.float64]
Int = NDArray[np.int64]

RATE_DAYS = 7  # the rate that is held against a model is of the newest rows known, so many days of them
_ROW = 1 << 40  # a place is day * _ROW + row
_NOWHERE = int(np.iinfo(np.int64).min)


class LabelBook:
    """Joins labels with predictions and keeps each open day's sums; a label costs the same however many rows there are.

    Parameters
    ----------
    measures
        What is summed.
    time_zone
        Of the days.
    delay
        How long a label may take.

    Attributes
    ----------
    days
        The open days by number.
    unmatched
        Labels that were forgotten without having met their prediction, such as those of days that had been closed.
    """

    def __init__(self, measures: Measures, time_zone: str, delay: timedelta) -> None:
        self.grid: Grid = grid_of(delay)
        self.days: dict[int, OpenDay] = {}
        self.unmatched = 0
        self._measures, self._zone = measures, time_zone
        self._places: dict[str, int] = {}
        self._early: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        self._closed = -(10**9)
        self._outcomes = [np.empty((0, 4))]
        self._reach_us = self.grid.delay_us + (RATE_DAYS + 1) * 86_400_000_000

    def add_predictions(
        self, ids: Sequence[str], at: Int, outputs: Float, *, counted: NDArray[np.bool_] | None = None
    ) -> None:
        """Add predictions, whose labels may be here already. Of an id that comes twice the first counts.

        What a forecast without a model would have said follows from the labels known by each row's time: those that
        came before are to be added before.

        Parameters
        ----------
        at
            Event times, microseconds since 1970, UTC, shape (rows,).
        outputs
            The model's answers, shape (rows,).
        counted
            Which rows the figures are of, shape (rows,); the others are here for what turned out: rows of earlier days,
            or answered by another model. None: all.
        """
        new = self._new(ids)
        days = day_blocks(np.asarray(at, np.int64)[new], self._zone)
        for day in np.unique(days).tolist():
            rows = new[days == day]
            if day > self._closed:
                counts = np.ones(len(rows), np.bool_) if counted is None else counted[rows]
                self._add_to(day, [ids[row] for row in rows.tolist()], at[rows], outputs[rows], counts)

    def add_labels(self, ids: Sequence[str], values: Float, known_at: Int) -> None:
        """Give predictions their labels, or correct them: the one that became known last counts, of equals the later.

        Parameters
        ----------
        values
            Finite, shape (labels,).
        known_at
            When each became known, microseconds since 1970, UTC, shape (labels,).
        """
        places = np.array([self._places.get(identity, _NOWHERE) for identity in ids], dtype=np.int64)
        for at in np.flatnonzero(places == _NOWHERE).tolist():
            self._early[ids[at]].append((int(known_at[at]), float(values[at])))
        here = np.flatnonzero(places != _NOWHERE)
        joined = places[here], np.asarray(values, np.float64)[here], np.asarray(known_at, np.int64)[here]
        self._learn(*joined)
        self._apply(*joined)

    def close(self, day: int) -> OpenDay | None:
        """Return a day that is over and forget its ids, and those of the days before it; None if it had no rows."""
        self._closed = max(self._closed, day)
        closed = self.days.pop(day, None)
        self.days = {number: kept for number, kept in self.days.items() if number > day}
        before = len(self._places)
        self._places = {identity: place for identity, place in self._places.items() if place // _ROW > day}
        if before != len(self._places):
            self._forget_early(to_us(day_start(day, self._zone)))
        return closed

    def _forget_early(self, before_us: int) -> None:
        """Drop labels that wait for a prediction and became known before the days that are open."""
        for identity in [each for each, known in self._early.items() if known[-1][0] < before_us]:
            self.unmatched += len(self._early.pop(identity))

    def _new(self, ids: Sequence[str]) -> Int:
        first: dict[str, int] = {}
        for row, identity in enumerate(ids):
            if identity not in self._places:
                first.setdefault(identity, row)
        return np.fromiter(first.values(), np.int64, len(first))

    def _add_to(self, day: int, ids: list[str], at: Int, outputs: Float, counts: NDArray[np.bool_]) -> None:
        start_us = to_us(day_start(day, self._zone))
        rows, known_at, values = self._waited(ids)
        fresh = _outcomes(at[rows], known_at, values, np.full(len(rows), np.nan))
        last, answers = self._rivals(start_us, at, fresh)
        fresh[:, 3] = last[rows]
        self._outcomes.append(fresh)
        kept = np.flatnonzero(counts)
        if not len(kept):
            return
        if day not in self.days:
            self.days[day] = OpenDay(day, start_us, self.grid, self._measures)
        open_day = self.days[day]
        places = np.full(len(ids), _NOWHERE, np.int64)
        places[kept] = day * _ROW + len(open_day) + np.arange(len(kept))
        self._places.update((ids[row], int(places[row])) for row in kept.tolist())
        open_day.add(at[kept], np.concatenate((outputs[None], answers))[:, kept], last[kept])
        here = counts[rows]
        self._apply(places[rows[here]], values[here], known_at[here])

    def _waited(self, ids: list[str]) -> tuple[Int, Int, Float]:
        """Return the labels that waited for these predictions: position of the id, when known, value."""
        early = [
            (row, known_at, value)
            for row, identity in enumerate(ids)
            if identity in self._early
            for known_at, value in self._early.pop(identity)
        ]
        rows, known, values = zip(*early, strict=True) if early else ((), (), ())
        return np.array(rows, np.int64), np.array(known, np.int64), np.array(values, np.float64)

    def _apply(self, places: Int, values: Float, known_at: Int) -> None:
        """Give the rows at these places their labels, by day; the newest of each place counts."""
        order = np.lexsort((known_at, places))
        places, values, known_at = places[order], values[order], known_at[order]
        newest = np.append(places[1:] != places[:-1], True) if len(places) else np.empty(0, np.bool_)
        places, values, known_at = places[newest], values[newest], known_at[newest]
        for day in np.unique(places // _ROW).tolist():
            of_day = places // _ROW == day
            self.days[day].label(places[of_day] % _ROW, values[of_day], known_at[of_day])

    def _learn(self, places: Int, values: Float, known_at: Int) -> None:
        """Remember what forecasts without a model may look at from now on."""
        for day in np.unique(places // _ROW).tolist():
            of_day, open_day = places // _ROW == day, self.days[day]
            rows = places[of_day] % _ROW
            at, last = open_day.column("at")[rows], open_day.column("last")[rows]
            self._outcomes.append(_outcomes(at, known_at[of_day], values[of_day], last))

    def _rivals(self, start_us: int, at: Int, own: Float) -> tuple[Float, Float]:
        """Return the newest outcome known at each row's time, (rows,), and the answers of both forecasts, (2, rows).

        `own` are outcomes of these very rows: the first may be known before the last is asked for.
        """
        before = np.concatenate(self._outcomes)
        before = before[before[:, 0] >= start_us - self._reach_us]
        self._outcomes = [before]
        row_at, known_at, values, earlier = np.concatenate((before, own)).T
        last = newest_known(at, row_at.astype(np.int64), known_at.astype(np.int64), values)
        known = known_at < start_us
        newest = row_at.max(where=known, initial=-np.inf)
        recent = values[known & (row_at > newest - RATE_DAYS * 86_400_000_000)]
        if self._measures.classes == 1:
            rate = recent.mean() if len(recent) else np.nan
            return last, np.stack((last, np.full(len(at), rate)))
        turned = known & np.isfinite(earlier)
        turns = np.zeros((2, 2))
        np.add.at(turns, ((earlier[turned] > 0.5).astype(np.int64), (values[turned] > 0.5).astype(np.int64)), 1)
        rate = (np.sum(recent > 0.5) + 0.5) / (len(recent) + 1.0)
        chance = persistence_rates(turns)[(last > 0.5).astype(np.int64)]
        return last, np.stack((np.where(np.isnan(last), rate, chance), np.full(len(at), rate)))


def _outcomes(row_at: Int, known_at: Int, values: Float, last: Float) -> Float:
    """Return outcomes, (outcomes, 4): when the row was, when it was known, its value, and the newest one known then."""
    return np.stack((row_at.astype(np.float64), known_at.astype(np.float64), values, last), axis=1)
