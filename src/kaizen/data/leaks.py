"""Columns that know the answer: declared by the project, or betrayed by how well they predict it alone.

A column that predicts too well is a suspect, not a culprit: some questions are easy. So evidence is absolute only
where it is overwhelming (an AUC of 0.98), and below that a column is named when it stands far above the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import duckdb
import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from kaizen.core.errors import LeakageError
from kaizen.core.projectfile import ProjectFile
from kaizen.core.records import Column
from kaizen.data.columns import load, quoted
from kaizen.data.target import Target, target_of
from kaizen.graph.frame import Frame, is_missing
from kaizen.stats import metrics

Evidence: TypeAlias = Literal["declared", "equal", "predicts", "missing", "sum"]

_SAMPLE = 100_000  # rows: an AUC is then known to 0.002
_CERTAIN_AUC = 0.98
_SUSPECT_AUC = 0.90  # if the median column is below _EASY_AUC
_WATCH_AUC = 0.80  # if besides it stands _GAP above every other below it
_EASY_AUC = 0.75
_GAP = 0.03
_SUSPECT_CORRELATION = 0.98
_CHANCE = 1e-6  # what an accusation by missing values must rule out
_PURE = 0.98  # share of one answer among the rows
_BINS = 64
_SMOOTHING = 20.0  # rows of prior belief a category
_PAIR_ROWS = 2_000
_MAX_PAIRED = 60  # columns: 1,770 pairs
_MIN_ROWS = 50


class Leak(msgspec.Struct, frozen=True):
    """A column that knows the answer, or seems to."""

    column: str
    evidence: Evidence
    figure: float | None  # AUC, rank correlation, share of one answer among the rows, or R²
    says: str  # one sentence for people

    @property
    def is_certain(self) -> bool:
        """Whether it is declared, or the target itself; else it is a suspicion."""
        return self.evidence in ("declared", "equal", "sum")


def leaks(
    sql: duckdb.DuckDBPyConnection,
    view: str,
    columns: Sequence[Column],
    *,
    file: ProjectFile,
    wanted: Sequence[str] = (),
) -> list[Leak]:
    """Return the leaks among the columns that a model would read, the certain ones first.

    Parameters
    ----------
    columns
        The columns that a model may read, such as `inputs_of`; the target and the time are passed over.
    wanted
        Names that somebody asks to learn from; those in `data.outcome` are leaks by declaration.
    """
    declared = [_declared(name) for name in wanted if name in file.data.outcome]
    named = {leak.column for leak in declared}
    passed = {file.data.target, file.data.time, *named}
    suspects = [column for column in columns if column.name not in passed]
    target = target_of(sql, view, file=file)
    frame, answers = _sample(sql, view, suspects, target)
    if len(answers) < _MIN_ROWS or not suspects:
        return declared
    found = _equal(suspects, frame, answers)
    found += (
        _of_regression(suspects, frame, answers) if target.positive is None else _of_question(suspects, frame, answers)
    )
    once = {leak.column: leak for leak in reversed(found)}  # the first evidence of a column counts
    return declared + [leak for leak in found if once[leak.column] is leak]


def refuse(found: Sequence[Leak], *, where: str = "") -> None:
    """Raise `LeakageError` that names the columns which are leaks by declaration."""
    names = [leak.column for leak in found if leak.evidence == "declared"]
    if names:
        listed = ", ".join(repr(name) for name in names)
        raise LeakageError(
            f"{listed} would not be known when the prediction is asked for",
            where=where,
            fix="leave them out of the features, or take them from outcome under [data] if they are known by then",
        )


def _declared(name: str) -> Leak:
    says = f"{name!r} is declared as an outcome: it is known only after the prediction was asked for."
    return Leak(name, "declared", None, says)


def _sample(
    sql: duckdb.DuckDBPyConnection, view: str, columns: Sequence[Column], target: Target
) -> tuple[Frame, NDArray[np.float64]]:
    """Return the suspects and the answers on rows spread evenly by a fixed scramble of their numbers."""
    rows = max(target.rows - target.missing, 1)
    answer = "_kaizen_answer"
    scrambled = "(_kaizen_row * 2654435761) % 4294967296"
    names = ", ".join(quoted(column.name) for column in columns)
    query = (
        f"SELECT {names + ', ' if names else ''}{answer} FROM (SELECT *, {target.sql} AS {answer},"
        f" row_number() OVER () AS _kaizen_row FROM {quoted(view)}) WHERE {answer} IS NOT NULL"
        f" AND {scrambled} < {int(min(1.0, _SAMPLE / rows) * 4294967296)}"
    )
    frame = load(sql, query, [*columns, Column(answer, "number")])
    answers = frame.pop(answer)
    order = np.argsort((np.arange(len(answers)) * 2_654_435_761) % 4_294_967_296, kind="stable")  # halves alike in time
    return {name: values[order] for name, values in frame.items()}, answers[order]


def _equal(columns: Sequence[Column], frame: Frame, answers: NDArray[np.float64]) -> list[Leak]:
    return [
        Leak(column.name, "equal", 1.0, f"{column.name!r} is the target itself, in every row.")
        for column in columns
        if column.type in ("number", "boolean") and np.array_equal(frame[column.name], answers)
    ]


def _of_question(columns: Sequence[Column], frame: Frame, answers: NDArray[np.float64]) -> list[Leak]:
    found = [leak for column in columns if (leak := _missingness(column, frame, answers)) is not None]
    areas = {column.name: _best_auc(column, frame[column.name], answers) for column in columns}
    easy = float(np.median(list(areas.values()))) >= _EASY_AUC
    ranked = sorted(areas, key=lambda name: (-areas[name], name))
    for place, name in enumerate(ranked):
        following = areas[ranked[place + 1]] if place + 1 < len(ranked) else 0.5
        if (
            areas[name] >= _CERTAIN_AUC
            or (not easy and areas[name] >= _SUSPECT_AUC)
            or (
                not easy
                and place == len(_strong(areas))
                and areas[name] >= _WATCH_AUC
                and areas[name] - following >= _GAP
            )
        ):
            found.append(_predicts(name, areas[name]))
    return found


def _strong(areas: dict[str, float]) -> list[str]:
    return [name for name, area in areas.items() if area >= _SUSPECT_AUC]


def _predicts(name: str, area: float) -> Leak:
    says = f"{name!r} alone ranks the answers with an AUC of {area:.3f}: is it known when the prediction is asked for?"
    return Leak(name, "predicts", area, says)


def _missingness(column: Column, frame: Frame, answers: NDArray[np.float64]) -> Leak | None:
    """Return the leak of a column that is missing, or present, nearly only with one answer."""
    absent = is_missing(frame[column.name], column.type)
    share = float(answers.mean())
    for part, state in ((absent, "missing"), (~absent, "there")):
        n = int(np.count_nonzero(part))
        if n == 0 or n == len(answers):
            continue
        yes = int(answers[part].sum())
        for answer, count, expected in (("yes", yes, share), ("no", n - yes, 1 - share)):
            pure = count / n
            rare = 1 - pure <= min(1 - _PURE, (1 - expected) / 10)
            if rare and float(stats.binom.sf(count - 1, n, expected)) < _CHANCE:
                says = f"Where {column.name!r} is {state}, the answer is {answer} in {pure:.1%} of {n} rows"
                return Leak(column.name, "missing", pure, f"{says}, against {expected:.1%} in all.")
    return None


def _best_auc(column: Column, values: NDArray[Any], answers: NDArray[np.float64]) -> float:
    """Return the AUC of the better of two readings: by rank (a number), and by the answers' mean a value or bin."""
    coded = _coded(column, values)
    half = len(answers) // 2
    means = _means(coded[:half], answers[:half], int(coded.max(initial=0)) + 1)
    by_mean = _auc(answers[half:], means[coded[half:]])
    if column.type == "category" or column.type == "text":
        return by_mean
    present = ~is_missing(values, column.type)
    by_rank = _auc(answers[present], values[present].astype(np.float64))
    # By rank only where most rows have a value: the rest would go unseen.
    return max(by_mean, by_rank, 1 - by_rank) if present.mean() > 0.5 else by_mean


def _auc(answers: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """Return the AUC, or 0.5 where only one answer occurs: such rows accuse nobody."""
    area = metrics.auc(answers, scores)
    return 0.5 if math.isnan(area) else area


def _coded(column: Column, values: NDArray[Any]) -> NDArray[np.int64]:
    """Return a number a value, or a bin of equal counts; missing is one of its own."""
    if column.type in ("category", "text"):
        index: dict[str, int] = {}
        return np.fromiter((index.setdefault(value, len(index)) for value in values.tolist()), np.int64, len(values))
    absent = is_missing(values, column.type)
    if absent.all():
        return np.zeros(len(values), np.int64)
    edges = np.unique(np.quantile(values[~absent], np.linspace(0, 1, _BINS + 1)[1:-1]))
    return np.asarray(np.where(absent, 0, 1 + np.searchsorted(edges, values, side="right")), np.int64)


def _means(codes: NDArray[np.int64], answers: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    sums = np.bincount(codes, answers, count)
    rows = np.bincount(codes, minlength=count)
    return np.asarray((sums + _SMOOTHING * answers.mean()) / (rows + _SMOOTHING))  # (count,)


def _of_regression(columns: Sequence[Column], frame: Frame, answers: NDArray[np.float64]) -> list[Leak]:
    found = _sums([column.name for column in columns if column.type == "number"], frame, answers)
    for column in columns:
        correlation = _best_correlation(column, frame[column.name], answers)
        if correlation >= _SUSPECT_CORRELATION:
            says = f"{column.name!r} alone orders the answers with a rank correlation of {correlation:.3f}"
            says += ": is it known when the prediction is asked for?"
            found.append(Leak(column.name, "predicts", correlation, says))
    return found


def _best_correlation(column: Column, values: NDArray[Any], answers: NDArray[np.float64]) -> float:
    coded = _coded(column, values)
    half = len(answers) // 2
    means = _means(coded[:half], answers[:half], int(coded.max(initial=0)) + 1)
    readings = [_rank_correlation(means[coded[half:]], answers[half:])]
    present = ~is_missing(values, column.type)
    if column.type not in ("category", "text") and present.mean() > 0.5:
        readings.append(abs(_rank_correlation(values[present].astype(np.float64), answers[present])))
    return max(readings)


def _rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if len(a) < _MIN_ROWS or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])


def _sums(names: Sequence[str], frame: Frame, answers: NDArray[np.float64]) -> list[Leak]:
    """Return pairs of columns of which the target is a linear combination, exact but for rounding."""
    found: list[Leak] = []
    kept = [name for name in names if len(np.unique(frame[name][:_PAIR_ROWS])) > 1][:_MAX_PAIRED]
    for at, first in enumerate(kept):
        for second in kept[at + 1 :]:
            if (share := _explained(frame[first], frame[second], answers)) is not None:
                for name, other in ((first, second), (second, first)):
                    says = f"{name!r} and {other!r} together give the target exactly (R² {share:.6f})."
                    found.append(Leak(name, "sum", share, says))
    return found


def _explained(a: NDArray[np.float64], b: NDArray[np.float64], answers: NDArray[np.float64]) -> float | None:
    """Return R² of answers on a, b and 1 if nothing is left over on any row and both are needed, else None."""
    few = slice(0, _PAIR_ROWS)
    weights = _fitted(a[few], b[few], answers[few])
    if weights is None:
        return None
    left = answers - (weights[0] * a + weights[1] * b + weights[2])
    left = left[~np.isnan(left)]
    spread = float(np.std(answers))
    share = 1 - float(np.mean(left**2)) / spread**2
    needed = min(abs(weights[0]) * float(np.nanstd(a)), abs(weights[1]) * float(np.nanstd(b))) > 1e-3 * spread
    return share if share > 1 - 1e-9 and needed and not math.isnan(share) else None


def _fitted(a: NDArray[np.float64], b: NDArray[np.float64], answers: NDArray[np.float64]) -> NDArray[np.float64] | None:
    known = ~(np.isnan(a) | np.isnan(b))
    if np.count_nonzero(known) < _MIN_ROWS:
        return None
    design = np.column_stack((a[known], b[known], np.ones(np.count_nonzero(known))))  # (rows, 3)
    weights = np.asarray(np.linalg.lstsq(design, answers[known], rcond=None)[0], np.float64)
    left = answers[known] - design @ weights
    return weights if float(np.mean(left**2)) < 1e-9 * float(np.var(answers)) else None
