"""What the days of a reference add to the rules that its rows suggest: how far a day strays without being wrong."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.rules import Rule, Rules
from kaizen.graph.frame import Frame, is_missing
from kaizen.monitor.quality import repeats, volume

_LEAST_ROWS: Final = 20  # of a day whose shares say something


def by_day(rules: Rules, frame: Frame, blocks: NDArray[np.int64] | None) -> Rules:
    """Return the rules with what the days of a reference had.

    The share of missing values and of unknown categories may be as large as on the worst of these days, unless it is
    declared; unknown, on a day of the reference, is a category that no other day has.

    Parameters
    ----------
    frame
        The rows by column.
    blocks
        The day of each row, shape (rows,); None: rows have no time, and days say nothing.
    """
    columns = {name: frame[name] for name in (rule.column for rule in rules.columns) if name in frame}
    found = msgspec.structs.replace(rules, max_repeats=repeats.usual_share(columns, blocks), flow=volume.fit(blocks))
    if blocks is None:
        return found
    days = np.unique(blocks, return_inverse=True)[1].astype(np.int64)
    after = tuple(
        _widened(rule, columns[rule.column], days) if rule.column in columns else rule for rule in rules.columns
    )
    return msgspec.structs.replace(found, columns=after)


def _widened(rule: Rule, values: NDArray[Any], days: NDArray[np.int64]) -> Rule:
    if "missing" not in rule.declared:
        worst = _worst(is_missing(values, rule.type), days)
        rule = msgspec.structs.replace(rule, max_missing=max(rule.max_missing, worst))
    if rule.categories is not None and "categories" not in rule.declared:
        worst = _worst(_only_that_day(values, days), days)
        rule = msgspec.structs.replace(rule, max_unknown=max(rule.max_unknown, worst))
    return rule


def _worst(hits: NDArray[np.bool_], days: NDArray[np.int64]) -> float:
    rows = np.bincount(days)
    shares = np.bincount(days, weights=hits)[rows >= _LEAST_ROWS] / rows[rows >= _LEAST_ROWS]
    return float(shares.max()) if len(shares) else 0.0


def _only_that_day(values: NDArray[Any], days: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the rows whose category occurs on no other day."""
    first: dict[str, int] = {}
    several: set[str] = {""}
    listed = values.tolist()
    for value, day in zip(listed, days.tolist(), strict=True):
        if first.setdefault(value, day) != day:
            several.add(value)
    return np.fromiter((value not in several for value in listed), np.bool_, len(listed))
