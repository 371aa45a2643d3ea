"""What to expect of a window's rows, by their scores: the reference as it was, reweighted, or with another prior.

    calibrated    outcomes as the reference had them at the same score
    reweighted    the same, of reference rows weighted to look like the window
    prior shift   the same, with the share of positives that explains the window

The rule: prior shift where a new share of positives explains how the columns moved; else reweighted where the weights
leave reference rows worth 40 % of them; else calibrated. Where the columns do not rule out that the share moved, the
reweighted estimate has the other as its rival, and the interval reaches as far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Task
from kaizen.monitor.estimates.outcomes import POSITIVE, Expectation, Outcomes, outcome_of
from kaizen.stats.expected import Figure, figure
from kaizen.stats.reweighting import PriorShift, balance, effective_share, prior_shift

Float: TypeAlias = NDArray[np.float64]
Method: TypeAlias = Literal["calibrated", "reweighted", "prior shift"]

WORTH_FROM = 0.4
_SCORE_BINS, _COLUMN_BINS = 32, 10


class ReferenceRows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of the reference by their bins, little-endian and row-major: what reweighting needs, and nothing more."""

    keys: tuple[str, ...]  # of the columns
    sizes: tuple[int, ...]  # how many bins each has
    codes: bytes  # uint16 (rows, columns)
    groups: bytes  # uint16 (rows,)
    scores: bytes  # uint16 (rows,) the bin
    outcomes: bytes  # float64 (rows,)

    def columns(self) -> NDArray[np.int64]:
        """Return the bins by row and column, (rows, columns)."""
        return np.frombuffer(self.codes, "<u2").reshape(-1, len(self.keys)).astype(np.int64)

    def of(self, part: Literal["groups", "scores"]) -> NDArray[np.int64]:
        """Return the group or the score's bin of each row, (rows,)."""
        return np.frombuffer(getattr(self, part), "<u2").astype(np.int64)


class Window(NamedTuple):
    """A window by its counts."""

    scores: Float  # (bins,) rows
    columns: dict[str, Float]
    outside: float


class Basis(NamedTuple):
    """What the chosen method expects of a row in each bin, by outcome, and as the share of positives errs."""

    method: Method
    expected: dict[str, Expectation]
    shifted: tuple[dict[str, Expectation], ...] = ()
    rival: dict[str, Expectation] | None = None  # of the prior shift, where the window does not rule that out
    effective: float | None = None
    prior: float | None = None


def basis_of(
    outcomes: Outcomes, metric: str, window: Window, rows: ReferenceRows | None, method: Method | None
) -> tuple[Basis, tuple[str, ...]]:
    """Return what to expect by the rule, or by this method, and what there is to warn of.

    Parameters
    ----------
    metric
        The one that warnings give figures of.
    """
    plain = _calibrated(outcomes)
    keys = [] if rows is None else [key for key in rows.keys if key in window.columns]
    if rows is None or not keys or method == "calibrated":
        return plain, ()

    def would(instead: Basis, had: str) -> tuple[str, ...]:
        value = expected(outcomes, metric, window.scores, instead.expected).value
        return (f"It would be {value:.4f}, had {had}.",)

    prior = _prior(outcomes, rows, window, keys, method)
    if prior is not None and (method is not None or prior[1].explains):
        return prior[0], would(plain, "the inputs moved along the score and not the share of positives")
    if method == "prior shift":
        return plain, ()
    found = _reweighted(outcomes, rows, window, keys)
    if method is None and found.effective is not None and found.effective < WORTH_FROM:
        left = f"rows worth {found.effective:.0%} are left"
        return plain, (f"The inputs lie too far from the reference to reweight it: {left}.",)
    if prior is None:
        return found, ()
    moved, shift = prior
    warnings = would(moved, "the share of positives moved, which explains the inputs as well")
    return found._replace(rival=moved.expected, shifted=moved.shifted), warnings if shift.is_worth_a_word else ()


def _calibrated(outcomes: Outcomes) -> Basis:
    return Basis("calibrated", {name: outcomes.expect(name) for name in _outcomes_of(outcomes.task)})


def _outcomes_of(task: Task) -> tuple[str, ...]:
    return (POSITIVE,) if task == "classification" else ("absolute", "squared")


class _Coarse(NamedTuple):
    """The reference's rows and the window by few bins a column, the score first: what the two are compared by."""

    reference: NDArray[np.int64]  # (rows, 1 + columns)
    window: list[Float]  # for each the counts by bin


def _coarse(outcomes: Outcomes, rows: ReferenceRows, window: Window, keys: Sequence[str], scores: int) -> _Coarse:
    """Return both by few bins, each of about as many reference rows: fine ones would each be known too badly."""
    merged = _merged(np.asarray(outcomes.rows, np.float64).sum(axis=0), scores)
    codes, counts = [merged[rows.of("scores")]], [_tally(merged, window.scores)]
    for key in keys:
        place, now = rows.columns()[:, rows.keys.index(key)], window.columns[key]
        merged = _merged(_tally(place, size=len(now)), _COLUMN_BINS)
        codes.append(merged[place])
        counts.append(_tally(merged, now))
    return _Coarse(np.stack(codes, axis=1), counts)


def _merged(rows: Float, most: int) -> NDArray[np.int64]:
    """Return for each bin the one of `most` at the most that it becomes a part of; neighbours are merged."""
    share = (np.cumsum(rows) - rows / 2) / max(1.0, float(rows.sum()))
    return np.unique(np.floor(share * most), return_inverse=True)[1].astype(np.int64)


def _reweighted(outcomes: Outcomes, rows: ReferenceRows, window: Window, keys: Sequence[str]) -> Basis:
    coarse = _coarse(outcomes, rows, window, keys, _SCORE_BINS // 2)
    weights = balance(coarse.reference, coarse.window)
    tables = _weighted(outcomes, rows, weights)
    expected = {name: outcomes.expect_of(name, *tables) for name in _outcomes_of(outcomes.task)}
    return Basis("reweighted", expected, effective=effective_share(weights))


def _weighted(outcomes: Outcomes, rows: ReferenceRows, weights: Float) -> tuple[Float, dict[str, Float]]:
    many = len(outcomes.rows)
    cell = rows.of("groups") * outcomes.size + rows.of("scores")
    told = np.frombuffer(rows.outcomes, "<f8")
    powers = {"absolute": 1, "squared": 2, "fourth": 4, POSITIVE: 1}

    def tally(values: Float) -> Float:
        return _tally(cell, values, many * outcomes.size).reshape(many, outcomes.size)

    return tally(weights), {name: tally(weights * told ** powers[name]) for name in outcomes.sums}


def _tally(place: NDArray[np.int64], values: Float | None = None, size: int = 0) -> Float:
    return np.bincount(place, values, size).astype(np.float64)


def _prior(
    outcomes: Outcomes, rows: ReferenceRows, window: Window, keys: Sequence[str], method: Method | None
) -> tuple[Basis, PriorShift] | None:
    """Return what to expect if the share of positives moved and nothing else; None if the columns rule that out.

    None, too, where it cannot be told, or where it is not asked for.
    """
    if outcomes.task != "classification" or method == "reweighted":
        return None
    is_one = np.frombuffer(rows.outcomes, "<f8") > 0.5
    coarse = _coarse(outcomes, rows, window, keys, _SCORE_BINS)
    none, one = (
        [_tally(place[which], size=len(now)) for place, now in zip(coarse.reference.T, coarse.window, strict=True)]
        for which in (~is_one, is_one)
    )
    try:
        found = prior_shift(none, one, coarse.window)
    except ValueError:
        if method is not None:
            raise
        return None
    if method is None and not found.may_explain:
        return None
    low, high = max(found.share - found.error, 0.0), min(found.share + found.error, 1.0)
    shifted = tuple(_with_prior(outcomes, share) for share in (low, high))
    return Basis("prior shift", _with_prior(outcomes, found.share), shifted, prior=found.share), found


def _with_prior(outcomes: Outcomes, share: float) -> dict[str, Expectation]:
    rows, ones = np.asarray(outcomes.rows, np.float64), np.asarray(outcomes.sums[POSITIVE])
    before = ones.sum() / rows.sum()
    raised, rest = share / before * ones, (1 - share) / (1 - before) * (rows - ones)
    return {POSITIVE: outcomes.expect_of(POSITIVE, raised + rest, {POSITIVE: raised})}


def expected(outcomes: Outcomes, metric: str, counts: Float, expected: Mapping[str, Expectation]) -> Figure:
    told = expected[outcome_of(metric, outcomes.task)]
    return figure(metric, np.asarray(outcomes.centres), counts, counts * told.mean, counts * told.variance)
