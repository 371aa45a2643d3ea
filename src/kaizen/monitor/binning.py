"""Where a value falls: bins fixed once on the reference, so that later windows cannot move them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import ColumnType

NUMBER_BINS = 32
CATEGORIES = 63
KNOWN = 1000  # a column with more distinct labels is not checked for unseen ones


class Bins(msgspec.Struct, frozen=True, kw_only=True):
    """The bins of one column.

    A number falls far below (under the first of the ``edges``), between two of them (the lower one included), far above
    (from the last on), or, the last bin, is missing. The first and the last edge lie outside the reference's range by
    as much as the range is wide. A category is one of ``labels``, another known one, unseen, or, the last bin, missing;
    ``known`` are the rarer labels that the reference had (None: too many to keep, and none counts as unseen), and
    ``novelty`` is the share of rows whose label occurred once: about the share that is new in as many rows more (Good,
    *Biometrika* 40 (1953)).
    """

    edges: tuple[float, ...] | None = None
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
        return float(np.nextafter(self.edges[-2], -np.inf)) if self.edges else np.nan


def bins_of(kind: ColumnType, values: NDArray[Any]) -> Bins:
    """Return the bins that these values make, shape (rows,)."""
    return _label_bins(values) if kind in ("category", "text") else Bins(edges=_edges(values))


def place(bins: Bins, values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the bin of each value, shape (rows,); the last bin is "missing"."""
    if bins.edges is None:
        return _place_labels(bins, values)
    values = np.asarray(values, dtype=np.float64)
    codes = np.searchsorted(np.asarray(bins.edges), values, side="right")
    return np.where(np.isnan(values), bins.size - 1, codes).astype(np.int64)


def canonical(label: str) -> str:
    """Return the one spelling of a label: ``2.0`` and ``2`` are one category, as are ``" x"`` and ``"x"``.

    >>> canonical("2.0"), canonical("02"), canonical("A")
    ('2', '02', 'A')
    """
    label = label.strip()
    whole, dot, rest = label.partition(".")
    return whole if dot and rest.strip("0") == "" and whole.lstrip("-").isdigit() else label


def _edges(values: NDArray[Any]) -> tuple[float, ...]:
    """Return increasing edges: quantiles, and both sides of every value that holds more than 2/32 of the rows."""
    numbers = np.sort(np.asarray(values, dtype=np.float64))
    numbers = numbers[: np.searchsorted(numbers, np.nan)]  # NaN sorts last
    n = len(numbers)
    if n == 0:
        return ()
    cuts = numbers[(np.arange(NUMBER_BINS) * n) // NUMBER_BINS]
    low, high = numbers[0], numbers[-1]
    margin = (high - low) or abs(low) or 1.0
    ends = np.nextafter([high, high + margin], np.inf)
    held = np.searchsorted(numbers, cuts, side="right") - np.searchsorted(numbers, cuts, side="left")
    heavy = cuts[held > 2 * n / NUMBER_BINS]
    return tuple(np.unique(np.concatenate(([low - margin], cuts, heavy, np.nextafter(heavy, np.inf), ends))).tolist())


def _label_bins(values: NDArray[Any]) -> Bins:
    tallies: Counter[str] = Counter()
    for label, times in Counter(values.tolist()).items():
        tallies[canonical(label)] += times
    del tallies[""]
    ranked = sorted(tallies, key=lambda label: (-tallies[label], label))
    rest = tuple(ranked[CATEGORIES:])
    once = sum(1 for times in tallies.values() if times == 1)
    return Bins(
        labels=tuple(ranked[:CATEGORIES]),
        known=rest if len(ranked) <= KNOWN else None,
        novelty=once / max(1, tallies.total()),
    )


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
