"""What was normal when the model was made: per column a small table of counts, and how large the daily loss was.

    numbers      far below | below | 32 bins of equal mass, heavy values in their own | above | far above | missing
    categories   the 63 commonest | other | unseen | missing

Counts of days add up to counts of windows, so nothing is ever kept of the rows themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import DataError, nearest
from kaizen.core.records import Column, ColumnType
from kaizen.graph.frame import Frame
from kaizen.monitor.binning import Bins, bins_of, place
from kaizen.monitor.fairness import FairnessReference
from kaizen.monitor.segments import SegmentReference
from kaizen.monitor.slices import SliceReference
from kaizen.stats.distances import INDEPENDENT, Spread, spread_of
from kaizen.stats.intervals import t_bounds

OUTPUT = "prediction"  # the subject under which the model's answers are watched
FEWEST_BLOCKS = 5  # of losses: below, performance is not watched
TOLERANCE = 0.01  # a loss that rises by less, relative to its mean, is not worth a page
LOG_LOSS_CAP = float(np.log(100.0))


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One column of the reference.

    ``counts`` has one entry a bin, the last for missing values. ``spread`` (of values) and ``spread_missing`` say how
    many rows are worth one independent row, because the rows of a day are alike: hundreds for weather.
    """

    name: str
    type: ColumnType
    bins: Bins
    counts: tuple[int, ...]
    spread: Spread = INDEPENDENT
    spread_missing: float = 1.0
    is_output: bool = False

    @property
    def key(self) -> str:
        """What tells it from all others: a column may be called what the answer is called."""
        return f"answer:{self.name}" if self.is_output else f"column:{self.name}"


class LossReference(msgspec.Struct, frozen=True, kw_only=True):
    """What a day's mean loss was out of sample.

    A row's loss is cut at ``cap``; a day's mean is rescaled so that ``floor`` is 0 and ``ceiling`` is 1 and cut there;
    ``bound`` is the upper 95 % bound of the mean of days so rescaled, and 1 % of the loss on top.
    """

    metric: str
    cap: float
    floor: float
    ceiling: float
    bound: float
    mean: float
    blocks: int
    least_rows: int  # a day with fewer is passed over

    def score(self, losses: NDArray[np.float64]) -> float:
        """Return a day's mean loss, rescaled to 0..1."""
        mean = float(np.minimum(losses, self.cap).mean())
        return min(max((mean - self.floor) / (self.ceiling - self.floor), 0.0), 1.0)

    @property
    def loss_bound(self) -> float:
        """The bound in the metric's own unit."""
        return self.floor + self.bound * (self.ceiling - self.floor)


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """All that a monitor needs to know about normal times; a few hundred kilobytes of JSON at most."""

    rows: int
    blocks: int
    columns: tuple[Profile, ...]
    output: Profile | None = None
    loss: LossReference | None = None
    segments: tuple[SegmentReference, ...] = ()
    slices: SliceReference | None = None
    fairness: tuple[FairnessReference, ...] = ()

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The columns, and the model's answers where known."""
        return self.columns if self.output is None else (*self.columns, self.output)


def fit(
    columns: Sequence[Column],
    frame: Frame,
    outputs: NDArray[np.float64] | None,
    *,
    blocks: NDArray[np.int64] | None,
    output_blocks: NDArray[np.int64] | None = None,
    losses: NDArray[np.float64] | None = None,
    loss_blocks: NDArray[np.int64] | None = None,
    metric: str = "log_loss",
) -> Reference:
    """Return the reference of these rows.

    Parameters
    ----------
    columns
        The raw columns that requests carry. Time columns are not compared: they always move.
    frame
        The rows by column, as `kaizen.graph.frame` has them.
    outputs
        The model's answers to rows like these, best to rows it was not fitted on; None: answers are not watched.
    blocks
        The day of each row, shape (rows,); None: rows are taken as independent.
    output_blocks
        The day of each answer, where the answers are to other rows than those of the frame.
    losses, loss_blocks
        Losses of rows that the model was not fitted on, and their days, shape (loss rows,). Fewer than 5 days:
        performance is not watched.
    metric
        What the losses are. Those of ``log_loss`` are cut at log 100 (an answer that gave the truth 1 %), others at
        their 99.9 % quantile, so that no single row makes a bad day.
    """
    rows = len(next(iter(frame.values()))) if frame else 0
    if rows == 0:
        raise DataError("a reference needs at least one row", where="monitor reference")
    days = _numbered(blocks)
    answer_days = days if output_blocks is None else _numbered(output_blocks)
    profiles = (_profile(c.name, c.type, frame[c.name], days) for c in columns if c.type != "time")
    return Reference(
        rows=rows,
        blocks=0 if days is None else int(days.max()) + 1,
        columns=tuple(profiles),
        output=None if outputs is None else _answers(outputs, answer_days),
        loss=_loss_reference(losses, loss_blocks, metric),
    )


def _numbered(blocks: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    return None if blocks is None else np.unique(blocks, return_inverse=True)[1].astype(np.int64)


def count(
    reference: Reference,
    frame: Frame,
    outputs: NDArray[np.float64] | None,
    *,
    hidden: Collection[str] = (),
) -> dict[str, NDArray[np.int64]]:
    """Return the counts of these rows in the bins of the reference, by the profile's key; counts of days add up.

    Columns that are `hidden` are not counted.
    """
    watched = [p for p in reference.columns if p.name not in hidden]
    for p in watched:
        if p.name not in frame:
            raise DataError(f"the column {p.name!r} is missing", where="monitor", fix=nearest(p.name, frame))
    counts = {p.key: _tally(place(p.bins, frame[p.name]), p.bins) for p in watched}
    output = reference.output
    if output is not None and outputs is not None:
        counts[output.key] = _tally(place(output.bins, outputs), output.bins)
    return counts


def _tally(codes: NDArray[np.int64], bins: Bins) -> NDArray[np.int64]:
    return np.bincount(codes, minlength=bins.size).astype(np.int64)


def _profile(
    name: str,
    kind: ColumnType,
    values: NDArray[Any],
    days: NDArray[np.int64] | None,
) -> Profile:
    bins = bins_of(kind, values)
    codes = place(bins, values)
    counts = tuple(_tally(codes, bins).tolist())
    if days is None:
        return Profile(name=name, type=kind, bins=bins, counts=counts)
    daily = np.bincount(days * bins.size + codes, minlength=(int(days.max()) + 1) * bins.size)
    spread, spread_missing = _spreads(daily.reshape(-1, bins.size).astype(np.float64))
    return Profile(name=name, type=kind, bins=bins, counts=counts, spread=spread, spread_missing=spread_missing)


def _answers(outputs: NDArray[np.float64], days: NDArray[np.int64] | None) -> Profile:
    return msgspec.structs.replace(_profile(OUTPUT, "number", outputs, days), is_output=True)


def _spreads(daily: NDArray[np.float64]) -> tuple[Spread, float]:
    """Return the spread of the values and of missing between days or, where it is larger, between weeks."""
    tables = [daily]
    if len(daily) >= 28:
        whole = len(daily) // 7 * 7
        tables.append(daily[:whole].reshape(-1, 7, daily.shape[1]).sum(axis=1))
    values = max((spread_of(t[:, :-1]) for t in tables), key=lambda spread: spread.factor)
    known = (np.stack((t[:, :-1].sum(axis=1), t[:, -1]), axis=1) for t in tables)
    return values, max(spread_of(t).factor for t in known)


def _loss_reference(
    losses: NDArray[np.float64] | None, blocks: NDArray[np.int64] | None, metric: str
) -> LossReference | None:
    """Return the bound of the daily loss; None with fewer than `FEWEST_BLOCKS` days.

    The bound is the one-sided 95 % t bound over days. Simulated coverage for 10 to 60 normal days 94 to 95 %, for
    log-normal days of sigma 0.6 90 to 94 %; the betting bound of Waudby-Smith & Ramdas covers 99 % and more, at a
    width that would hide a doubling of the loss for the 10 to 30 days that a reference has.
    """
    if losses is None or blocks is None:
        return None
    known = np.isfinite(losses)
    if not known.any():
        return None
    losses, days = losses[known], np.unique(blocks[known], return_inverse=True)[1]
    cap = LOG_LOSS_CAP if metric == "log_loss" else float(np.quantile(losses, 0.999))
    rows = np.bincount(days)
    least_rows = max(1, int(np.median(rows)) // 10)
    means = (np.bincount(days, weights=np.minimum(losses, cap)) / rows)[rows >= least_rows]
    if len(means) < FEWEST_BLOCKS:
        return None
    # The range is set by how much days differ: bets on the excess over a floor near usual days find a rise of a tenth
    # weeks before bets on the loss itself; the ceiling keeps one freak day from paging alone.
    centre, deviation = float(means.mean()), max(float(means.std(ddof=1)), 1e-9 + 1e-3 * abs(float(means.mean())))
    floor, ceiling = max(0.0, centre - 2 * deviation), centre + 4 * deviation
    scores = np.clip((means - floor) / (ceiling - floor), 0.0, 1.0)
    return LossReference(
        metric=metric,
        cap=cap,
        floor=floor,
        ceiling=ceiling,
        bound=min(1.0, t_bounds(scores, alpha=0.1)[1] + TOLERANCE * abs(centre) / (ceiling - floor)),
        mean=centre,
        blocks=len(means),
        least_rows=least_rows,
    )
