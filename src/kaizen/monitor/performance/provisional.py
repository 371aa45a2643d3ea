"""What a day's figures will be when its labels are in, from the labels that are.

Labels that come early are not like the others: a sale is reported at once, "no sale" at the end of the month. So the
labels that are here are not averaged. They tell how many positives and negatives are still to come among answers alike,
and what those will lose is known, for the answers are:

    positives of a group    labels ÷ the share of positives that has come by now        how sure: binomial
    negatives               the same, with their own share
    both                    add up to the labels that are expected at all: the surer of the two weighs more
    the day                 losses of the rows with labels + expected losses of those that will get one

The first line weights each label by the inverse of its chance to be here (Horvitz & Thompson, *Journal of the American
Statistical Association* 47 (1952)), which depends on the label itself (Yasui et al., *A feedback shift correction in
predicting conversion rates under delayed feedback*, WWW 2020). Assumed: labels of a class come as fast as they did on
the days before, whatever the answer was. Numbers have no classes: of a regression, rows still without a label are taken
to lose what labelled rows with such answers do.

What this gets wrong on days that became final since is learnt, by age: as much is added, and the interval is as wide as
these errors were (`Lesson`).
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from kaizen.monitor.performance.maturity import FORGETS, Curves, Grid
from kaizen.monitor.performance.openday import ARMS, FINE, Measures, OpenDay

Float = NDArray[np.float64]

AUC = "auc"
LEAST_SHARE = 0.05  # of the labels that will come: with fewer here there is no provisional figure
_PRIOR = 4.0  # days' worth of belief that the stated error is right
_DAY_US = 86_400_000_000


class Figure(msgspec.Struct, frozen=True, array_like=True):
    """A figure of a day with its 95 % interval, and what forecasts without a model get on the same rows.

    The interval of a provisional figure is for the day's final one; that of a final figure for the mean of days like
    it, rows taken as independent. ``no_change`` is of "as the newest outcome known at the time", ``rate`` of "as often
    as in the newest week known"; None where nothing was known yet, and of auc, which a rate does not have.
    """

    name: str
    value: float
    low: float
    high: float
    no_change: float | None = None
    rate: float | None = None


class DayPoint(msgspec.Struct, frozen=True, array_like=True):
    """A day of the series: ``matured`` is the share of the labels that will come which are here; None: nobody knows."""

    day: int
    is_final: bool
    rows: int
    labels: int
    matured: float | None
    figures: tuple[Figure, ...] = ()

    def figure(self, name: str) -> Figure | None:
        """Return the figure of this name, or None."""
        return next((each for each in self.figures if each.name == name), None)


class Expected(NamedTuple):
    """What is still to come of a day, by group of answers."""

    later: Float  # labels, (groups,)
    later_error: Float  # variance of their number
    positives: Float  # the share of positives among them; 0 of a regression
    positives_error: Float  # variance of the number of positives among all labels


def expected(day: OpenDay, grid: Grid, curves: Curves, now_us: int) -> Expected:
    """Return how many labels will come until the day is final, and how many of them positive."""
    ages = grid.ages(day.start_us, now_us)
    last = grid.ages(day.start_us, day.start_us + _DAY_US + grid.delay_us)
    here, in_the_end = curves.share_at(ages), curves.share_at(last)
    comes = np.clip(_ratio(in_the_end - here, 1.0 - here), 0.0, 1.0)  # (steps,)
    later, later_error = comes @ day.waiting, (comes * (1 - comes)) @ day.waiting
    if day.count.shape[1] == 1:
        return Expected(later, later_error, np.zeros(len(later)), np.zeros(len(later)))
    negatives, positives = day.count.T.astype(np.float64)
    # The share of each class that has come, over the steps at which this group's predictions were made: (2, groups).
    steps = np.stack([_ratio(curves.class_at(k, ages), curves.class_at(k, last)) for k in range(2)])
    come = np.clip(_ratio(steps @ day.rows, day.rows.sum(axis=0)), 1e-6, 1.0)
    total = negatives + positives + later
    all_negatives, all_positives = np.minimum((negatives, positives) / come, total)  # as far as each tells alone
    rate = (all_positives + 0.5) / (all_positives + all_negatives + 1.0)
    error = total * rate * (1 - come[1]) / come[1]  # variance of the number of positives, by what is here of them
    other = total * (1 - rate) * (1 - come[0]) / come[0] + later_error  # and by what is here of the negatives
    weight = _ratio(other, error + other)
    number = weight * all_positives + (1 - weight) * (total - all_negatives)
    missing = np.clip(number - positives, 0.0, later)
    return Expected(later, later_error, _ratio(missing, later), _ratio(error * other, error + other))


class Estimate(NamedTuple):
    """A figure of each arm, and the standard error of the model's."""

    values: Float  # (arms,)
    error: float


def estimates(day: OpenDay, measures: Measures, to_come: Expected) -> dict[str, Estimate]:
    """Return the figures by name; of a classification the auc too, where both classes occur. {} without labels."""
    labels, later = float(day.count.sum()), float(to_come.later.sum())
    if labels == 0:
        return {}
    means, spread = _later_losses(day, to_come)  # (arms, groups, losses), (groups, losses)
    total = labels + later
    values = (day.sums.sum(axis=(1, 2)) + np.einsum("agl,g->al", means, to_come.later)) / total  # (arms, losses)
    errors = spread + (means[0] - values[0]) ** 2 * to_come.later_error[:, None]
    found = {
        name: Estimate(values[:, at], float(np.sqrt(errors[:, at].sum())) / total)
        for at, name in enumerate(measures.losses)
    }
    if measures.classes == 2:
        found |= _auc(day, measures, to_come)
    return found


def _later_losses(day: OpenDay, to_come: Expected) -> tuple[Float, Float]:
    """Return the mean loss that labels still to come will show, and the variance of its sum over them."""
    if day.count.shape[1] == 2:
        waiting = np.maximum(day.waiting.sum(axis=0), 1)
        would = day.would / waiting[:, None, None]  # (arms, groups, classes, losses)
        share = to_come.positives[:, None]
        means = share * would[:, :, 1] + (1 - share) * would[:, :, 0]
        return means, (would[0, :, 1] - would[0, :, 0]) ** 2 * to_come.positives_error[:, None]
    count = day.count[:, 0][:, None]  # (groups, 1)
    whole = day.sums.sum(axis=(1, 2)) / max(1, int(count.sum()))  # (arms, losses)
    means = np.where(count > 0, day.sums[:, :, 0] / np.maximum(count, 1), whole[:, None])
    variance = np.maximum(day.squares[0, :, 0] / np.maximum(count, 1) - means[0] ** 2, 0.0)
    later = to_come.later[:, None]
    return means, variance * (later + later**2 / np.maximum(count, 1))


def _auc(day: OpenDay, measures: Measures, to_come: Expected) -> dict[str, Estimate]:
    group = measures.alike(_CENTRES)
    comes = _ratio(to_come.later, day.waiting.sum(axis=0))[group]
    known, waiting = day.histogram[:2].astype(np.float64), day.histogram[2] * comes
    classes = known + waiting * np.stack((1 - to_come.positives[group], to_come.positives[group]))
    value = _area(*classes)
    if not np.isfinite(value):
        return {}
    # Of the error that the labelled rows alone would have, what the day's own rows will leave of it is no error.
    missing = _area_variance(value, *known.sum(axis=1)) - _area_variance(value, *classes.sum(axis=1))
    return {AUC: Estimate(np.array([value, np.nan, np.nan]), float(np.sqrt(max(missing, 0.0))))}


_CENTRES = 1.0 / (1.0 + np.exp(-(np.arange(FINE) + 0.5 - FINE / 2) * (24.0 / FINE)))


def _area(negatives: Float, positives: Float) -> float:
    pairs = negatives.sum() * positives.sum()
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + 0.5 * negatives)).sum() / pairs) if pairs > 0 else float("nan")


def _area_variance(area: float, negatives: float, positives: float) -> float:
    """Return the variance of an area under the ROC curve (Hanley & McNeil, *Radiology* 143 (1982))."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    m, n = max(positives, 1.0), max(negatives, 1.0)
    return float((area * (1 - area) + (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)) / (m * n))


class Lesson(msgspec.Struct, frozen=True, array_like=True):
    """How a provisional figure of one age erred on days that are final now, in its own standard errors; decaying."""

    name: str
    age: int
    weight: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def learn(self, final: float, value: float, error: float) -> Lesson:
        """Return the lesson with one more day."""
        z = float(np.clip((final - value) / max(error, 1e-12), -20.0, 20.0))
        kept = 1 - FORGETS
        return Lesson(self.name, self.age, self.weight * kept + 1, self.total * kept + z, self.squares * kept + z * z)

    def corrected(self, value: float, error: float) -> tuple[float, float, float]:
        """Return the figure and its 95 % interval after what was learnt."""
        mean = self.total / (self.weight + _PRIOR)
        spread = self.squares - 2 * mean * self.total + mean * mean * self.weight
        scale = error * float(np.sqrt((spread + _PRIOR) / (self.weight + _PRIOR)))
        reach = float(stdtrit(self.weight + _PRIOR, 0.975)) * scale * float(np.sqrt(1 + 1 / (self.weight + _PRIOR)))
        return value + mean * error, value + mean * error - reach, value + mean * error + reach


def figures(found: dict[str, Estimate], day: OpenDay, lessons: dict[str, Lesson]) -> tuple[Figure, ...]:
    """Return the provisional figures, corrected by the lessons of their age."""
    return tuple(
        _figure(name, lessons.get(name, Lesson(name, 0)).corrected(float(each.values[0]), each.error), each, day)
        for name, each in found.items()
    )


def final_figures(day: OpenDay, measures: Measures) -> tuple[Figure, ...]:
    """Return the figures of a day whose labels have had their time."""
    none = Expected(*(np.zeros(measures.groups) for _ in range(4)))
    labels = max(1, int(day.count.sum()))
    reach = float(ndtri(0.975))
    found = []
    for name, each in estimates(day, measures, none).items():
        value = float(each.values[0])
        if name == AUC:
            error = float(np.sqrt(max(_area_variance(value, *day.count.sum(axis=0)), 0.0)))
        else:
            at = measures.losses.index(name)
            error = float(np.sqrt(max(day.squares[0, ..., at].sum() / labels - value**2, 0.0) / labels))
        found.append(_figure(name, (value, value - reach * error, value + reach * error), each, day))
    return tuple(found)


def _figure(name: str, value: tuple[float, float, float], found: Estimate, day: OpenDay) -> Figure:
    most = 1.0 if name in (AUC, "brier", "error") else np.inf
    middle, low, high = (float(np.clip(each, 0.0, most)) for each in value)
    if name == AUC or not day.knows_rivals:
        return Figure(name, middle, low, high)
    rivals = dict(zip(ARMS, found.values.tolist(), strict=True))
    return Figure(name, middle, low, high, rivals["no change"], rivals["rate"])


def _ratio(top: Float, bottom: Float) -> Float:
    return np.divide(top, bottom, out=np.zeros_like(np.asarray(top, np.float64)), where=bottom > 0)
