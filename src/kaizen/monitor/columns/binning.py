"""Where a value falls: bins fixed once on the reference, so that later windows cannot move them.

Numbers are taken as 32-bit floats, here and nowhere else: a bin needs no more digits, and counting is a sort of small
pieces by the processor's vector units and one look-up an edge, several times as fast as a look-up a value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import ColumnType

NUMBER_BINS = 32
CATEGORIES = 63
LEAST = 5  # rows of the reference that a label needs for a bin of its own: rarer ones come and go
KNOWN = 1000  # a column with more distinct labels is not checked for unseen ones
_HUGE = 1e38  # edges beyond would leave no room for the margin
_PIECE = 1 << 13  # values sorted at a time: half of a first-level cache


class Bins(msgspec.Struct, frozen=True, kw_only=True):
    """The bins of one column.

    A number falls far below (under the first of the ``edges``), between two of them (the lower one included), far above
    (from the last on), or, the last bin, is missing. The first and the last edge lie outside the reference's range by
    as much as the range is wide. A category is one of ``labels``, another known one, unseen, or, the last bin, missing;
    ``known`` are the rarer labels that the reference had (None: too many to keep, and none counts as unseen), and
    ``novelty`` is the share of rows whose label occurred once: about the share that is new in as many rows more (Good,
    *Biometrika* 40 (1953)).
    """

    edges: tuple[float, ...] | None = None  # each exactly a 32-bit float
    labels: tuple[str, ...] = ()
    known: tuple[str, ...] | None = None
    novelty: float = 0.0

    @property
    def size(self) -> int:
        """How many bins there are, "missing" included."""
        return len(self.edges) + 2 if self.edges is not None else len(self.labels) + 3

    @property
    def low(self) -> float:
        """The smallest number of the reference."""
        return self.edges[1] if self.edges else np.nan

    @property
    def high(self) -> float:
        """The largest number of the reference."""
        return float(np.nextafter(np.float32(self.edges[-2]), np.float32(-np.inf))) if self.edges else np.nan

    def compared(self, counts: NDArray[Any]) -> NDArray[np.float64]:
        """Return the counts of values, shape (..., bins): as they are held against the reference's.

        Missing is left out, and an unseen label counts with the rare ones: a new one that is rare is no drift.
        """
        values = np.asarray(counts, dtype=np.float64)[..., :-1]
        if self.edges is not None:
            return values
        return np.concatenate((values[..., :-2], values[..., -2:].sum(axis=-1, keepdims=True)), axis=-1)


def bins_of(kind: ColumnType, values: NDArray[Any]) -> Bins:
    """Return the bins that these values make, shape (rows,)."""
    return label_bins(Counter(values.tolist())) if kind in ("category", "text") else Bins(edges=_edges(values))


def label_bins(found: Mapping[str, int]) -> Bins:
    """Return the bins that labels make, given how often each is there."""
    tallies: Counter[str] = Counter()
    for label, times in found.items():
        tallies[canonical(label)] += times
    del tallies[""]
    ranked = sorted(tallies, key=lambda label: (-tallies[label], label))
    own = sum(1 for label in ranked[:CATEGORIES] if tallies[label] >= LEAST)
    rest = tuple(ranked[own:])
    once = sum(1 for times in tallies.values() if times == 1)
    return Bins(
        labels=tuple(ranked[:own]),
        known=rest if len(ranked) <= KNOWN else None,
        novelty=once / max(1, tallies.total()),
    )


def place(bins: Bins, values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the bin of each value, shape (rows,); the last bin is "missing"."""
    if bins.edges is None:
        return _place_labels(bins, values)
    numbers = _as_binned(values)
    codes = np.searchsorted(np.asarray(bins.edges, np.float32), numbers, side="right")
    return np.where(np.isnan(numbers), bins.size - 1, codes).astype(np.int64)


def tally(bins: Bins, values: NDArray[Any]) -> NDArray[np.int64]:
    """Return how many values fall in each bin, shape (bins,): what `place` would give, counted."""
    if bins.edges is None:
        return np.bincount(_place_labels(bins, values), minlength=bins.size).astype(np.int64)
    edges = np.asarray((*bins.edges, np.nan), np.float32)  # NaN sorts last, so its place is the count of all others
    below = np.zeros(len(edges), np.int64)
    piece = np.empty(_PIECE, np.float32)
    with np.errstate(over="ignore"):
        for start in range(0, len(values), _PIECE):
            part = values[start : start + _PIECE]
            numbers = piece[: len(part)]
            numbers[:] = part
            numbers.sort()
            below += numbers.searchsorted(edges)
    return np.diff(below, prepend=0, append=len(values))


def canonical(label: str) -> str:
    """Return the one spelling of a label: ``2.0`` and ``2`` are one category, as are ``" x"`` and ``"x"``.

    >>> canonical("2.0"), canonical("02"), canonical("A")
    ('2', '02', 'A')
    """
    label = label.strip()
    whole, dot, rest = label.partition(".")
    return whole if dot and rest.strip("0") == "" and whole.lstrip("-").isdigit() else label


def _as_binned(values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what is too large for 32 bits is infinite, and far above
        return np.asarray(values).astype(np.float32)


def _edges(values: NDArray[Any]) -> tuple[float, ...]:
    """Return increasing edges: quantiles, and both sides of every value that holds more than 2/32 of the rows."""
    numbers = np.sort(_as_binned(values))
    numbers = numbers[: np.searchsorted(numbers, np.nan)].clip(-_HUGE, _HUGE)  # NaN sorts last
    n = len(numbers)
    if n == 0:
        return ()
    cuts = numbers[(np.arange(NUMBER_BINS) * n) // NUMBER_BINS]
    low, high = float(numbers[0]), float(numbers[-1])
    margin = (high - low) or abs(low) or 1.0
    after = np.float32(np.inf)
    first = np.array([low - margin], np.float32)
    ends = np.nextafter(np.array([high, high + margin], np.float32), after)
    held = np.searchsorted(numbers, cuts, side="right") - np.searchsorted(numbers, cuts, side="left")
    heavy = cuts[held > 2 * n / NUMBER_BINS]
    return tuple(np.unique(np.concatenate((first, cuts, heavy, np.nextafter(heavy, after), ends))).tolist())


def _place_labels(bins: Bins, values: NDArray[Any]) -> NDArray[np.int64]:
    other, unseen, missing = (len(bins.labels) + extra for extra in range(3))
    codes = {label: code for code, label in enumerate(bins.labels)}
    codes |= dict.fromkeys(bins.known or (), other)
    codes[""] = missing
    beyond = other if bins.known is None else unseen
    found = [codes.get(value, -1) for value in values.tolist()]
    placed = np.array(found, dtype=np.int64)
    for at in np.flatnonzero(placed < 0).tolist():
        label = values[at]
        code = codes.get(canonical(label), beyond)
        codes[label] = code
        placed[at] = code
    return placed
