"""How large a day's loss was when the model was made: what later days are held against."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.monitor.daily import DailyBound, daily_bound

LOG_LOSS_CAP = float(np.log(100.0))


class LossReference(msgspec.Struct, frozen=True, kw_only=True):
    """What a day's mean loss was out of sample, each row's loss cut at ``cap``."""

    metric: str
    cap: float
    daily: DailyBound

    def score(self, losses: NDArray[np.float64]) -> float:
        """Return a day's mean loss, rescaled to 0..1."""
        return self.daily.score(float(np.minimum(losses, self.cap).mean()))


def loss_reference(
    losses: NDArray[np.float64] | None, blocks: NDArray[np.int64] | None, metric: str
) -> LossReference | None:
    """Return the bound of the daily loss; None with too few days (`daily_bound`).

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
    daily = daily_bound(np.bincount(days, weights=np.minimum(losses, cap)) / rows, rows)
    return None if daily is None else LossReference(metric=metric, cap=cap, daily=daily)
