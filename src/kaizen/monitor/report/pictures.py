"""What two distributions look like side by side, from their counts alone: shares of equal cells, or of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaizen.monitor.columns.binning import Bins

CELLS = 36
LABELS = 8
_TAIL = 0.035  # of the rows of either, on each side, that the range of a picture of numbers does not go by


class Picture(NamedTuple):
    """Shares of two distributions over the same places, and what the places are called."""

    before: list[float]
    now: list[float]
    low: str  # of numbers: where the first place begins
    high: str  # and where the last ends
    labels: list[str]  # of categories: each place


def picture(bins: Bins, before: Sequence[int], now: NDArray[np.float64]) -> Picture:
    """Return the picture of the counts of a reference and of other rows, missing values left out.

    Numbers lie evenly within a bin, as far as one can tell; a single value that many rows have keeps to its cell.
    """
    counts = (np.asarray(before, np.float64), np.asarray(now, np.float64))
    if bins.edges is None:
        return _of_labels(bins, *(_shares(bins.compared(each)) for each in counts))
    first, second = (_shares(each[:-1]) for each in counts)
    if not bins.edges:
        return Picture([0.0], [0.0], "", "", [])
    return _of_numbers(np.asarray(bins.edges), first, second)


def _shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return counts / max(1.0, float(counts.sum()))


def _of_labels(bins: Bins, before: NDArray[np.float64], now: NDArray[np.float64]) -> Picture:
    names = [*bins.labels, "others"]
    order = np.argsort(-np.maximum(before, now), kind="stable")[:LABELS].tolist()
    kept = [place for place in order if max(before[place], now[place]) > 0]
    return Picture(
        [float(before[place]) for place in kept],
        [float(now[place]) for place in kept],
        "",
        "",
        [names[place] or "(empty)" for place in kept],
    )


def _of_numbers(edges: NDArray[np.float64], before: NDArray[np.float64], now: NDArray[np.float64]) -> Picture:
    # The bins beyond the outermost edges have no end: what lies there is drawn at the edge.
    lows, highs = np.concatenate((edges[:1], edges)), np.concatenate((edges, edges[-1:]))
    low, high = _range(lows, highs, np.maximum(before, now))
    cells = np.linspace(low, high, CELLS + 1)
    was, is_now = (_spread(cells, lows, highs, shares) for shares in (before, now))
    return Picture(was, is_now, f"{low:.4g}", f"{high:.4g}", [])


def _range(lows: NDArray[np.float64], highs: NDArray[np.float64], shares: NDArray[np.float64]) -> tuple[float, float]:
    """Return from where to where most values lie, and a quarter beyond: a long tail would flatten all the rest."""
    total = np.cumsum(shares) / max(float(shares.sum()), 1e-12)
    first = int(np.searchsorted(total, _TAIL))
    last = min(int(np.searchsorted(total, 1 - _TAIL)), len(shares) - 1)
    low, high = (
        float(highs[first - 1] if first else lows[0]),
        float(lows[last + 1] if last + 1 < len(lows) else highs[-1]),
    )
    filled = np.flatnonzero(shares)
    width = max(high - low, 1e-4 * max(abs(low), abs(high)), 1e-9)
    low, high = max(low - width / 4, float(lows[filled[0]])), min(high + width / 4, float(highs[filled[-1]]))
    margin = width * 0.03 if high - low > 1e-5 * max(abs(low), abs(high), 1e-9) else 0.5 * (abs(low) or 1.0)
    return low - margin, high + margin


def _spread(
    cells: NDArray[np.float64], lows: NDArray[np.float64], highs: NDArray[np.float64], shares: NDArray[np.float64]
) -> list[float]:
    """Return the share of each cell: that of a bin is spread evenly over it; what is beyond counts at the end."""
    width = np.maximum(highs - lows, 1e-12 * max(1.0, float(np.abs(cells).max())))
    below = np.clip((cells[:, None] - lows) / width, 0.0, 1.0) @ shares  # (cells + 1,)
    below[0], below[-1] = 0.0, float(shares.sum())
    return [max(0.0, float(share)) for share in np.diff(below)]
