"""What a batch costs: fixed + row * rows, from every batch that runs, the old ones slowly forgotten.

    warm-up (1, 2, 4 … rows) ─▶ begin ─▶ of(rows) ─▶ how many fit, whether a deadline can be met
                                          ▲
    each batch ─▶ observe(rows, took) ────┘       fixed, row: least squares; slack: the 95th percentile above it

Least squares with exponential forgetting, in the form of running means, variance and covariance (Welford, 1962, with
constant gain). The slope is drawn towards its last value by a little weight (a ridge), so that batches that all have
one size move the fixed part alone. An observation counts as no more than half as much again as was expected, or as
four times the slack, so that a process that was paused for a second is not taken for a slow model, and a model that has
become slow is believed after some dozen batches. The percentile is followed by stochastic approximation (Robbins and
Monro, 1951). All of it takes a few microseconds and no memory that grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_GAIN: Final = 0.05  # weight of the newest batch
_RIDGE: Final = 0.01  # of the squared mean size: how much the sizes must vary before the slope moves
_STEP: Final = 0.2  # of the mean error: how fast the percentile is followed
_QUANTILE: Final = 0.95


class Cost:
    """Learns what batches cost, in nanoseconds. Used on the loop's thread only, once it serves."""

    __slots__ = ("_cov", "_rows", "_spread", "_took", "_var", "fixed_ns", "row_ns", "slack_ns")

    def __init__(self) -> None:
        self.fixed_ns = 0.0
        self.row_ns = 0.0
        self.slack_ns = 0.0  # by which one batch in twenty takes longer
        self._rows = self._took = self._var = self._cov = 0.0
        self._spread = 0.0  # the mean error

    def begin(self, seen: Sequence[tuple[int, float]]) -> None:
        """Start from batches (rows, nanoseconds) that were run to find out; at least one."""
        count = len(seen)
        self._rows = sum(rows for rows, _ in seen) / count
        self._took = sum(took for _, took in seen) / count
        self._var = sum((rows - self._rows) ** 2 for rows, _ in seen) / count
        self._cov = sum((rows - self._rows) * (took - self._took) for rows, took in seen) / count
        self.row_ns = self._cov / self._var if self._var else 0.0
        self._draw()
        self._spread = sum(abs(took - self.of(rows)) for rows, took in seen) / count
        self.slack_ns = max(self._spread, 0.1 * self.of(1))

    def of(self, rows: int) -> float:
        """Return how long a batch of so many rows is expected to take."""
        return self.fixed_ns + self.row_ns * rows

    def observe(self, rows: int, took_ns: float) -> None:
        """Learn from a batch."""
        if not self._took:
            self.begin([(rows, took_ns)])
            return
        expected = self.fixed_ns + self.row_ns * rows
        error = min(took_ns - expected, max(4.0 * self.slack_ns, 0.5 * expected))
        far, late = rows - self._rows, expected + error - self._took
        self._rows += _GAIN * far
        self._took += _GAIN * late
        self._var = (1.0 - _GAIN) * (self._var + _GAIN * far * far)
        self._cov = (1.0 - _GAIN) * (self._cov + _GAIN * far * late)
        ridge = _RIDGE * self._rows * self._rows + 0.1
        self.row_ns = (self._cov + ridge * self.row_ns) / (self._var + ridge)
        self._draw()
        self._spread += _GAIN * (abs(error) - self._spread)
        self.slack_ns += _STEP * self._spread * (_QUANTILE - 1.0 if error < self.slack_ns else _QUANTILE)
        if self.slack_ns < 0.0:
            self.slack_ns = 0.0

    def _draw(self) -> None:
        """Lay the line through the mean, with neither part below zero."""
        most = self._took / self._rows
        self.row_ns = min(max(self.row_ns, 0.0), most)
        self.fixed_ns = self._took - self.row_ns * self._rows
