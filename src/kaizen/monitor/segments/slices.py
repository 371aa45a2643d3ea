"""Who is to blame? Slices of the rows, one column or two, that lose more than the same slice lost in the reference.

    columns whose groups differ most in loss ─► groups, pairs of groups ─► a table of daily losses in the reference
    after a page: the same table of the days since it began ─► excess, e-SR, e-BH ─► ranked by the lower bound

A search over slices as SliceFinder (Chung, Kraska, Polyzotis, Tae & Whang, ICDE 2019) and SliceLine (Sagadeeva & Boehm,
SIGMOD 2021) make it, two columns deep and bounded, but held against the past: a slice that was always hard is no news.
It explains a page and never makes one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from kaizen.core.records import Column
from kaizen.graph.frame import Frame
from kaizen.monitor.columns.groups import LEAST_ROWS, Groups, groups_of
from kaizen.monitor.daily import DailyBound, daily_bound
from kaizen.monitor.segments.segments import daily_means
from kaizen.stats.ebh import e_bh
from kaizen.stats.streams import risk_levels

Float = NDArray[np.float64]
Int = NDArray[np.int64]

Key: TypeAlias = tuple[tuple[int, int], ...]  # (column, group) of one column, or of two

MOST_COLUMNS = 12
MOST_GROUPS = 7  # of a column
MOST_SLICES = 1000
EXPLAINED = 0.7  # of the excess of a slice of one column: by one of two columns within it, which then speaks for it


class SliceBound(msgspec.Struct, frozen=True):
    """A slice of the reference: group numbers of one column, or of two, and what a day's mean loss was."""

    groups: Key
    bound: DailyBound


class SliceReference(msgspec.Struct, frozen=True):
    """The columns that slices are cut along, the slices, and the daily loss of all rows."""

    columns: tuple[Groups, ...]
    slices: tuple[SliceBound, ...]
    whole: DailyBound

    def name(self, slice_: SliceBound) -> str:
        """Return a slice's name, such as ``origin=JFK, hour>=20``."""
        return ", ".join(self.columns[column].names[group] for column, group in slice_.groups)


class Slice(NamedTuple):
    """A slice that stands out: its excess over the reference with the 95 % interval, its e-detector, what e-BH says."""

    name: str
    value: float
    low: float
    high: float
    evidence: float
    is_named: bool
    rows: int


def fit(
    columns: Sequence[Column], frame: Frame, losses: Float, blocks: Int, *, first: Collection[str] = ()
) -> SliceReference | None:
    """Return the slices of these rows that can be held against later ones; None with fewer than five days.

    Parameters
    ----------
    frame, losses, blocks
        Rows that the model had not seen, their losses (cut at the cap of the reference) and their days, (rows,).
    first
        Columns to cut along in any case, such as listed segments.
    """
    whole = _whole(losses, blocks)
    if whole is None:
        return None
    made = [
        groups
        for column in columns
        if column.type in ("number", "category", "boolean")
        and (groups := groups_of(column.name, column.type, frame[column.name], most=MOST_GROUPS)) is not None
    ]
    coded = [(groups, groups.codes(frame[groups.column])) for groups in made]
    coded.sort(key=lambda each: (each[0].column not in first, -_explained(each[1], losses)))
    coded = coded[:MOST_COLUMNS]
    found = [*_single(coded, losses, blocks), *_paired(coded, losses, blocks)]
    bounds = ((key, daily_bound(means, rows)) for key, means, rows in found[:MOST_SLICES])
    slices = tuple(SliceBound(key, bound) for key, bound in bounds if bound is not None)
    return SliceReference(tuple(groups for groups, _ in coded), slices, whole)


def _single(coded: Sequence[tuple[Groups, Int]], losses: Float, blocks: Int) -> list[tuple[Key, Float, Int]]:
    """Return the groups of each column, with mean loss and rows by day."""
    found: list[tuple[Key, Float, Int]] = []
    for at, (groups, codes) in enumerate(coded):
        rows, means = daily_means(codes, len(groups), losses, blocks)
        found += [(((at, group),), means[group], rows[group]) for group in range(len(groups))]
    return found


def _paired(coded: Sequence[tuple[Groups, Int]], losses: Float, blocks: Int) -> list[tuple[Key, Float, Int]]:
    """Return the pairs of groups of two columns that have enough rows, the largest first."""
    found: list[tuple[Key, Float, Int]] = []
    for (one, (a, a_codes)), (other, (b, b_codes)) in combinations(enumerate(coded), 2):
        rows, means = daily_means(_joint(a_codes, b_codes, len(b)), len(a) * len(b), losses, blocks)
        found += [
            (((one, cell // len(b)), (other, cell % len(b))), means[cell], rows[cell])
            for cell in np.flatnonzero(rows.sum(axis=1) >= LEAST_ROWS).tolist()
        ]
    return sorted(found, key=lambda each: (-int(each[2].sum()), each[0]))


def find(reference: SliceReference, frame: Frame, losses: Float, blocks: Int, *, alpha: float) -> list[Slice]:
    """Return the slices that lose more than they did, and more than all rows do now; those that e-BH names first.

    A slice stands out where its excess is surely above that of all rows (when everything got worse alike, no slice is
    to blame) and, of a slice of two columns, above that of each column alone. "Surely" holds for all slices together
    (Bonferroni); the interval is of one. To be named by e-BH at `alpha` among the e-detectors of all slices takes more
    days than a page does: who is named comes first, and within both the surest excess.

    Parameters
    ----------
    frame, losses, blocks
        The last mature days: rows, losses (cut at the cap of the reference) and days, shape (rows,).
    """
    if not len(losses) or not reference.slices:
        return []
    codes = {
        at: groups.codes(frame[groups.column]) for at, groups in enumerate(reference.columns) if groups.column in frame
    }
    looked = [each for each in reference.slices if all(column in codes for column, _ in each.groups)]
    rows, means = _tables(looked, reference, codes, losses, blocks)  # (slices, days)
    seen = _excesses(reference, looked, rows, means, alpha)
    alone = {
        each.groups[0]: (seen[at].value, each.bound.mean) for at, each in enumerate(looked) if len(each.groups) == 1
    }
    usual = reference.whole.mean
    everywhere, growth = (float(losses.mean()) - usual, usual), max(1.0, float(losses.mean()) / max(usual, 1e-12))
    found = [
        (each, slice_)
        for at, (each, slice_) in enumerate(zip(looked, seen, strict=True))
        if _surely(means[at], each.bound, growth, len(looked)) > _shared(each, alone, everywhere)
    ]
    kept = (slice_ for each, slice_ in found if not _is_explained(each, slice_, found))
    return sorted(kept, key=lambda each: (not each.is_named, -each.low))


def _excesses(
    reference: SliceReference, looked: Sequence[SliceBound], rows: Int, means: Float, alpha: float
) -> list[Slice]:
    """Return what each slice shows, in the order in which they were looked at."""
    floor, ceiling, bound = (
        np.array([getattr(each.bound, name) for each in looked]) for name in ("floor", "ceiling", "bound")
    )
    scores = np.clip((means - floor[:, None]) / (ceiling - floor)[:, None], 0.0, 1.0)
    levels = risk_levels(scores, np.maximum(bound, 1e-12))
    named = e_bh(levels, alpha)
    return [
        Slice(
            reference.name(each),
            float(np.nanmean(means[at])) - each.bound.mean if np.isfinite(means[at]).any() else 0.0,
            *_interval(means[at], each.bound, 0.05),
            float(levels[at]),
            bool(named[at]),
            int(rows[at].sum()),
        )
        for at, each in enumerate(looked)
    ]


def _surely(means: Float, bound: DailyBound, growth: float, looked: int) -> float:
    """Return a lower bound of a slice's excess that holds for all slices that were looked at together.

    How much days differ is taken from the reference, and as much more as all losses have grown: an explanation is
    wanted when there are few bad days, and good ones among them, for when it began is not known to the day.
    """
    days = means[np.isfinite(means)]
    if not len(days):
        return -np.inf
    t = float(stdtrit(bound.days - 1, 1 - 0.025 / looked))
    reach = t * bound.deviation * growth * float(np.sqrt(1 / len(days) + 1 / bound.days))
    return float(days.mean()) - bound.mean - reach


def _interval(means: Float, bound: DailyBound, alpha: float) -> tuple[float, float]:
    """Return the interval of a slice's excess by days, with one spread for both sides (Student 1908)."""
    days = means[np.isfinite(means)]
    n, m = len(days), bound.days
    if n == 0:
        return -np.inf, np.inf
    squares = float(((days - days.mean()) ** 2).sum()) + (m - 1) * bound.deviation**2
    freedom = n + m - 2
    reach = float(stdtrit(freedom, 1 - alpha / 2)) * np.sqrt(squares / freedom * (1 / n + 1 / m))
    excess = float(days.mean()) - bound.mean
    return excess - reach, excess + reach


def _shared(
    each: SliceBound, alone: dict[tuple[int, int], tuple[float, float]], everywhere: tuple[float, float]
) -> float:
    """Return the excess that is no news of a slice: what all rows, or one of its two columns alone, would let expect.

    Both are pairs (excess, mean in the reference): a slice that was always hard has a larger excess when all losses
    grow by one factor, so that what is expected is the excess itself or the same factor, whichever is more.
    """
    wider = [everywhere, *(alone[group] for group in each.groups if len(each.groups) > 1 and group in alone)]
    return max(0.0, *(max(excess, excess * each.bound.mean / max(mean, 1e-12)) for excess, mean in wider))


def _is_explained(each: SliceBound, slice_: Slice, found: Sequence[tuple[SliceBound, Slice]]) -> bool:
    """Whether most of what a column's slice loses too much is lost by one of the narrower slices within it."""
    within = (inner for other, inner in found if len(other.groups) > 1 and each.groups[0] in other.groups)
    most = max((inner.value * inner.rows for inner in within), default=0.0)
    return len(each.groups) == 1 and most >= EXPLAINED * slice_.value * slice_.rows


def _tables(
    looked: Sequence[SliceBound], reference: SliceReference, codes: dict[int, Int], losses: Float, blocks: Int
) -> tuple[Int, Float]:
    """Return rows and mean loss (NaN of few rows) by slice and day; one pass over the rows for each pair of columns."""
    days = len(np.unique(blocks))
    rows, means = np.zeros((len(looked), days), np.int64), np.full((len(looked), days), np.nan)
    for columns, places in _by_columns(looked).items():
        sizes = [len(reference.columns[column]) for column in columns]
        joint = codes[columns[0]] if len(columns) == 1 else _joint(codes[columns[0]], codes[columns[1]], sizes[1])
        table = daily_means(joint, int(np.prod(sizes)), losses, blocks)
        cells = [each[0][1] if len(each) == 1 else each[0][1] * sizes[1] + each[1][1] for _, each in places]
        at = [place for place, _ in places]
        rows[at], means[at] = table[0][cells], table[1][cells]
    least = np.array([each.bound.least_rows for each in looked], np.int64)[:, None]
    return rows, np.where(rows >= least, means, np.nan)


def _by_columns(looked: Sequence[SliceBound]) -> dict[tuple[int, ...], list[tuple[int, Key]]]:
    by: dict[tuple[int, ...], list[tuple[int, Key]]] = {}
    for place, each in enumerate(looked):
        by.setdefault(tuple(column for column, _ in each.groups), []).append((place, each.groups))
    return by


def _joint(a: Int, b: Int, size: int) -> Int:
    return np.where((a >= 0) & (b >= 0), a * size + b, -1)


def _explained(codes: Int, losses: Float) -> float:
    """Return how much of the losses' variance lies between the groups."""
    inside = codes >= 0
    rows = np.bincount(codes[inside])
    sums = np.bincount(codes[inside], losses[inside])
    means = np.divide(sums, rows, out=np.zeros(len(rows)), where=rows > 0)
    return float(rows @ (means - losses.mean()) ** 2) / len(losses)


def _whole(losses: Float, blocks: Int) -> DailyBound | None:
    rows, means = daily_means(np.zeros(len(losses), np.int64), 1, losses, blocks)
    return daily_bound(means[0], rows[0])
