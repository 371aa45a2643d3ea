"""How large a day's loss was when the model was made: what later days are held against."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.stats.intervals import t_bounds

FEWEST_BLOCKS = 5  # of losses: below, performance is not watched
TOLERANCE = 0.01  # a loss that rises by less, relative to its mean, is not worth a page
LOG_LOSS_CAP = float(np.log(100.0))


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


def loss_reference(
    losses: NDArray[np.float64] | None, blocks: NDArray[np.int64] | None, metric: str
) -> LossReference | None:
    """Return the bound of the daily loss; None with fewer than `FEWEST_BLOCKS` days.

    The bound is the one-sided 95 % t bound over days. Simulated coverage for 10 to 60 normal days 94 to 95 %, for
    log-normal days of sigma 0.6 90 to 94 %; the betting bound of Waudby-Smith & Ramdas covers 99 % and more, at a
    width that would hide a doubling of the loss for the 10 to 30 days that a reference has.

    Parameters
    ----------
    losses, blocks
        Losses of rows that the model was not fitted on, and their days, shape (rows,).
    metric
        What the losses are. Those of ``log_loss`` are cut at log 100 (an answer that gave the truth 1 %), others at
        their 99.9 % quantile, so that no single row makes a bad day.
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
