"""The rules of a row on many rows at once: which row breaks which rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaizen.core.rules import RowRule, Rules, row_rules
from kaizen.graph.check_arrays import broken_rows
from kaizen.graph.frame import is_missing, rows_of


class BatchCheck:
    """Rules, ready to be held against frames. It agrees with `row_check` on every row.

    Parameters
    ----------
    rules
        Of the columns that the frames have; a rule that reads a column which a frame lacks is not broken there.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = row_rules(rules)
        self.types = {rule.column: rule.type for rule in rules.columns}

    def masks(self, frame: Mapping[str, NDArray[Any]]) -> Iterator[tuple[int, RowRule, NDArray[np.bool_]]]:
        """Yield the number of each rule that can be looked at, the rule, and the rows that break it, (rows,)."""
        absurd: NDArray[np.bool_] | None = None  # of the column whose range comes next
        for at, rule in enumerate(self.rules):
            if not frame.keys() >= set(rule.columns):
                continue
            mask = self._mask(rule, frame)
            if rule.kind == "extreme":
                absurd = mask
            elif rule.kind == "range" and absurd is not None:
                mask, absurd = mask & ~absurd, None
            yield at, rule, mask

    def broken(self, frame: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Return which row breaks which rule, (rows, rules)."""
        found = np.zeros((len(self.rules), rows_of(frame)), np.bool_)
        for at, _, mask in self.masks(frame):
            found[at] = mask
        return found.T

    def missing(self, column: str, frame: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Return the rows that lack a value of a column, (rows,)."""
        return is_missing(frame[column], self.types[column])

    def _mask(self, rule: RowRule, frame: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        if rule.broken is not None:
            return broken_rows(rule.broken, frame)
        values = frame[rule.name]
        if rule.kind == "missing":
            return self.missing(rule.name, frame)
        if rule.kind == "categories":
            return _unknown(values, rule.values)
        return _beyond(values, rule)


def _beyond(values: NDArray[Any], rule: RowRule) -> NDArray[np.bool_]:
    low, high = rule.bounds
    # Two reductions are cheaper than two masks, and most columns lie inside.
    if (low is None or np.fmin.reduce(values, initial=np.inf) >= low) and (
        high is None or np.fmax.reduce(values, initial=-np.inf) <= high
    ):
        return np.zeros(len(values), np.bool_)
    return (values < (-np.inf if low is None else low)) | (values > (np.inf if high is None else high))


def _unknown(values: NDArray[Any], known: Sequence[str]) -> NDArray[np.bool_]:
    fine, listed = frozenset(known) | {""}, values.tolist()
    if fine.issuperset(listed):
        return np.zeros(len(values), np.bool_)
    return np.fromiter((value not in fine for value in listed), np.bool_, len(values))
