"""How a column has changed: the evidence that it is no accident, and an effect that is or is not worth a page.

|          | values                                 | missing values                                     |
|----------|----------------------------------------|----------------------------------------------------|
| evidence | chi2 test of the bins                  | hypergeometric test                                |
| effect   | debiased Jensen-Shannon distance       | gap between 95 % Clopper-Pearson bounds            |
| matters  | from 0.112 (a PSI of about 0.1)        | from 0.01                                          |
| is over  | below 0.09                             | below 0.008                                        |

Both p-values become e-values, and the column's evidence is their mean. Rows that are alike within a day count for
less, by what the reference's days showed (`Spread`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kaizen.monitor.columns.binning import Bins
from kaizen.monitor.reference import Profile
from kaizen.stats.calibrators import e_of_p, p_of_e
from kaizen.stats.distances import chi2_test, hypergeometric_test, js_detectable, js_distance
from kaizen.stats.intervals import clopper_pearson

Key: TypeAlias = Literal["values", "missing"]

MATTERS, IS_OVER = 0.112, 0.09
MISSING_MATTERS, MISSING_IS_OVER = 0.01, 0.008
_TWO = 2  # keys, of which a column's evidence is the mean
_QUARTILES = (0.25, 0.5, 0.75)


class Change(NamedTuple):
    """What some rows show of one column beside its reference."""

    profile: Profile
    counts: NDArray[np.float64]  # of the rows, missing last
    distance: float
    value_evidence: float  # e-value
    detectable: float  # the smallest distance for which these rows could give evidence enough
    missing_low: float
    missing_high: float
    missing_gap: float  # between the bounds of the reference and of the rows
    missing_evidence: float  # e-value

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self.counts.sum())

    @property
    def evidence(self) -> float:
        """The e-value of "the column is as it was"."""
        return (self.value_evidence + self.missing_evidence) / _TWO

    @property
    def matters(self) -> Key | None:
        """Which effect is worth a page: the one with more evidence where both are; None where neither is."""
        by = {"values": self.distance >= MATTERS, "missing": self.missing_gap >= MISSING_MATTERS}
        if by["values"] and by["missing"]:
            return "values" if self.value_evidence >= self.missing_evidence else "missing"
        return "values" if by["values"] else "missing" if by["missing"] else None

    @property
    def is_clean(self) -> bool:
        """Whether it is back in the range in which an incident is over."""
        return self.distance < IS_OVER and self.missing_gap < MISSING_IS_OVER

    @property
    def missing(self) -> float:
        """The share of missing values among the rows."""
        return float(self.counts[-1] / max(1.0, self.counts.sum()))

    @property
    def usually_missing(self) -> float:
        """The share of missing values in the reference."""
        return self.profile.counts[-1] / max(1, sum(self.profile.counts))

    @property
    def says(self) -> str:
        """What changed and by how much, for people: no subject, no full stop."""
        moved = _moved(self.profile, self.counts)
        lies = f"lies {self.distance:.3f} from the reference{f': {moved}' if moved else ''}"
        gone = f"is missing in {self.missing:.1%} of the rows, where {self.usually_missing:.1%} were"
        if self.matters == "missing":
            return gone
        return f"{lies}, and {gone}" if self.missing_gap >= MISSING_MATTERS else lies


def change(profile: Profile, counts: NDArray[np.int64], limit: float) -> Change:
    """Return what the counts of some rows show against the reference.

    Parameters
    ----------
    profile
        The column's reference.
    counts
        Of the rows, shape (bins,), the last for missing.
    limit
        The evidence that a page needs; it says what these rows could have shown.
    """
    reference, current = np.asarray(profile.counts, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    values = profile.bins.compared(reference), profile.bins.compared(current)
    p_value, _ = chi2_test(*values, profile.spread)
    worth = 1 / profile.spread_missing
    low, high = clopper_pearson(
        np.array([reference[-1], current[-1]]) * worth, np.array([reference.sum(), current.sum()]) * worth
    )
    missing_p = hypergeometric_test(
        current[-1] * worth, current.sum() * worth, reference[-1] * worth, reference.sum() * worth
    )
    needed = p_of_e(_TWO * limit)
    return Change(
        profile=profile,
        counts=current,
        distance=js_distance(*values, profile.spread),
        value_evidence=e_of_p(p_value),
        detectable=max(MATTERS, js_detectable(*values, needed, profile.spread)),
        missing_low=float(low[1]),
        missing_high=float(high[1]),
        missing_gap=float(max(low[1] - high[0], low[0] - high[1])),
        missing_evidence=e_of_p(missing_p),
    )


def _moved(profile: Profile, counts: NDArray[np.float64]) -> str:
    """Return what moved most: the quartiles of numbers, the share of the label that changed most."""
    before = np.asarray(profile.counts, dtype=np.float64)
    if profile.bins.edges is None:
        return _share_moved(profile.bins, before, counts)
    was, now = (_quartiles(profile.bins, each) for each in (before, counts))
    if was is None or now is None:
        return "values where there were none" if was is None and now is not None else ""
    place = int(np.argmax(np.abs(np.subtract(now, was))))
    which = ("lower quartile", "median", "upper quartile")[place]
    if was[place] == now[place]:
        return _bin_moved(profile.bins, before, counts)
    edges = profile.bins.edges or ()
    return f"{which} {_at(edges, was[place])}, now {_at(edges, now[place])}"


def _quartiles(bins: Bins, counts: NDArray[np.float64]) -> list[int] | None:
    """Return the bins that the quartiles of counts fall in."""
    known = counts[:-1]
    if not bins.edges or known.sum() == 0:
        return None
    return [int(place) for place in np.searchsorted(np.cumsum(known) / known.sum(), _QUARTILES)]


def _at(edges: Sequence[float], place: int) -> str:
    """Return the lower end of a bin of numbers, or what it lies over: the bin above a single value has no own."""
    if place == 0:
        return f"under {edges[0]:.4g}"
    low = edges[place - 1]
    is_above_one = place > 1 and np.nextafter(np.float32(edges[place - 2]), np.float32(np.inf)) == np.float32(low)
    return f"over {edges[place - 2]:.4g}" if is_above_one else f"{low:.4g}"


def _bin_moved(bins: Bins, before: NDArray[np.float64], counts: NDArray[np.float64]) -> str:
    shares = [each[:-1] / max(1.0, each[:-1].sum()) for each in (before, counts)]
    place = int(np.argmax(np.abs(shares[1] - shares[0])))
    low, high = _at(bins.edges or (), place), _at(bins.edges or (), place + 1) if place < len(bins.edges or ()) else ""
    between = f"at {low}" if high.endswith(low) or not high else f"from {low} to {high}"
    return f"{shares[0][place]:.1%} lay {between}, now {shares[1][place]:.1%}"


def _share_moved(bins: Bins, before: NDArray[np.float64], counts: NDArray[np.float64]) -> str:
    shares = [bins.compared(each) / max(1.0, each[:-1].sum()) for each in (before, counts)]
    place = int(np.argmax(np.abs(shares[1] - shares[0])))
    label = repr(bins.labels[place]) if place < len(bins.labels) else "other labels"
    return f"{label} had {shares[0][place]:.1%}, now {shares[1][place]:.1%}"
