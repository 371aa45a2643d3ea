"""Is a column filled the same way for training and for serving? Value by value where rows can be joined.

| verdict | when                                                                                                      |
|---------|-----------------------------------------------------------------------------------------------------------|
| watch   | at least 1 % of the pairs differ (estimate), and it is no accident (e-value from 100 on)                   |
| watch   | the column is always missing on one side, or the table does not have it                                    |
| watch   | nothing could be joined, and the distributions lie as far apart as a drift that matters                   |
| ok      | otherwise                                                                                                  |

A finding never pages and blocks nothing: it says where to look, and what the likely cause is (`causes.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.clock import from_us
from kaizen.core.records import Column, ColumnType, Finding
from kaizen.graph.frame import is_missing
from kaizen.monitor.columns.binning import bins_of, place
from kaizen.monitor.paging import Stamp
from kaizen.monitor.skew.causes import Cause
from kaizen.stats.distances import chi2_test, js_distance
from kaizen.stats.intervals import clopper_pearson
from kaizen.stats.proportions import share_detectable, share_evidence

QUESTION: Final = "skew"
SUMMARY: Final = "skew window"
METHOD: Final = "values of joined rows, Clopper-Pearson interval and e-value of the share that differs"
METHOD_APART: Final = "chi2 and debiased Jensen-Shannon distance of rows that could not be joined"
MATTERS: Final = 0.01
LIMIT: Final = 100.0
_DISTANCE: Final = 0.112  # as for drift
_LEVEL: Final = 0.01

Judged: TypeAlias = Literal["ok", "watch"]


class Example(msgspec.Struct, frozen=True):
    """A pair that differs: the prediction's id, what the table has and what was served; None: missing."""

    id: str
    source: str | float | None
    served: str | float | None


class ColumnSkew(msgspec.Struct, frozen=True, kw_only=True):
    """How a column of the served rows compares with the table's.

    Attributes
    ----------
    stored
        The type in which the table has it; None: it has no such column.
    pairs, differ, share
        Joined rows, and how many of them differ beyond float rounding.
    low, high
        The 95 % interval of the share.
    evidence
        The e-value against "1 % at most".
    served_missing, source_missing
        Pairs in which only the served row, or only the table, lacks a value.
    cause, cause_share
        What explains most of the pairs that differ, and the share of them that it does.
    distance
        Of the distributions, where nothing could be joined.
    """

    name: str
    type: ColumnType
    stored: str | None
    verdict: Judged
    says: str
    pairs: int = 0
    differ: int = 0
    share: float = 0.0
    low: float = 0.0
    high: float = 1.0
    evidence: float = 1.0
    detectable: float = 1.0
    served_missing: int = 0
    source_missing: int = 0
    cause: str | None = None
    cause_share: float | None = None
    distance: float | None = None
    examples: tuple[Example, ...] = ()


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted of a column's pairs."""

    column: Column
    stored: str | None
    pairs: int
    differ: int
    served_missing: int
    source_missing: int
    served_any: int  # pairs with a served value
    source_any: int


def judged(counted: Counted, cause: Cause | None, examples: tuple[Example, ...]) -> ColumnSkew:
    """Return what the pairs of a column say."""
    n, differ = counted.pairs, counted.differ
    share = differ / max(1, n)
    low, high = (float(bound) for bound in clopper_pearson(differ, n))
    evidence = share_evidence(differ, n, MATTERS)
    absent = _absent(counted)
    is_skewed = absent is not None or (share >= MATTERS and evidence >= LIMIT)
    return ColumnSkew(
        name=counted.column.name,
        type=counted.column.type,
        stored=counted.stored,
        verdict="watch" if is_skewed else "ok",
        says=_says(counted, share, low, high, absent, cause, examples),
        pairs=n,
        differ=differ,
        share=share,
        low=low,
        high=high,
        evidence=evidence,
        detectable=share_detectable(n, MATTERS, LIMIT),
        served_missing=counted.served_missing,
        source_missing=counted.source_missing,
        cause=absent or (cause.says if cause else None),
        cause_share=cause.share if cause and absent is None else None,
        examples=examples,
    )


def judged_apart(
    column: Column, stored: str | None, served: NDArray[Any], source: NDArray[Any], columns: int
) -> ColumnSkew:
    """Return what the distributions of a column say whose rows could not be joined; `columns` share the level.

    The difference is one of distribution: the world may have changed between the rows of the two.
    """
    name, kind = column.name, column.type
    if stored is None:
        return ColumnSkew(
            name=name,
            type=kind,
            stored=None,
            verdict="watch",
            says=f"{name} is no column of the table.",
            cause=_NO_COLUMN,
        )
    if not len(served) or not len(source):
        return ColumnSkew(
            name=name, type=kind, stored=stored, verdict="ok", says=f"{name}: there is nothing to compare."
        )
    if kind == "time":
        low, high = (float(np.median(v[~is_missing(v, kind)])) if len(v) else np.nan for v in (source, served))
        apart = abs(high - low) / 86_400e6
        says = f"{name} has its median {apart:.3g} days apart; times always move, so that is not judged."
        return ColumnSkew(name=name, type=kind, stored=stored, verdict="ok", says=says)
    bins = bins_of(kind, source)
    before, now = (np.bincount(place(bins, v), minlength=bins.size).astype(np.float64) for v in (source, served))
    p_value, _ = chi2_test(before, now)
    distance = js_distance(before, now)
    is_skewed = distance >= _DISTANCE and p_value < _LEVEL / max(1, columns)
    return ColumnSkew(
        name=name,
        type=kind,
        stored=stored,
        verdict="watch" if is_skewed else "ok",
        says=f"{name} is distributed otherwise in serving: distance {distance:.3f} (matters from {_DISTANCE}); no row "
        "could be joined, so it may be a drift as well."
        if is_skewed
        else f"{name} is distributed alike: distance {distance:.3f}.",
        distance=distance,
    )


def example(kind: ColumnType, identity: str, served: NDArray[Any], source: NDArray[Any]) -> Example:
    """Return a pair, each side an array of one value, as people read it."""
    return Example(identity, _readable(kind, source), _readable(kind, served))


def findings(
    columns: Sequence[ColumnSkew], joined: str, *, rows: int, start: datetime, end: datetime, stamp: Stamp,
    open_before: frozenset[str] = frozenset(),
) -> list[Finding]:  # fmt: skip
    """Return a Finding for each column that is skewed, or was until now, and a summary.

    Parameters
    ----------
    joined
        A sentence on what could be joined.
    start, end
        The time of the served rows.
    open_before
        Columns of which the last word was that they are skewed.
    """
    found = [
        _finding(column, "watch" if column.verdict == "watch" else "resolved", start, end, stamp)
        for column in columns
        if column.verdict == "watch" or column.name in open_before
    ]
    skewed = [column for column in columns if column.verdict == "watch"]
    worst = max(columns, key=lambda column: (column.verdict == "watch", column.share), default=None)
    named = ", ".join(column.name for column in skewed)
    says = f"Serving fills {len(skewed)} of {len(columns)} columns otherwise than the table: {named}" if skewed else (
        f"Serving fills all {len(columns)} columns as the table does" if rows else "There was nothing to compare"
    )  # fmt: skip
    found.append(
        stamp(
            question=SUMMARY,
            subject="columns" if worst is None else worst.name,
            method=METHOD if rows else METHOD_APART,
            estimate=None if worst is None else worst.share,
            low=None,
            high=None,
            evidence=None,
            limit=None,
            verdict="watch" if skewed else "ok",
            n=rows,
            start=start,
            end=end,
            says=f"{says}. {joined}",
            matters=MATTERS,
            blames=tuple(column.name for column in skewed),
        )
    )
    return found


_NO_COLUMN: Final = "the table has no such column"


def _absent(counted: Counted) -> str | None:
    """Return in which way the column is not there at all on one side."""
    if counted.stored is None:
        return _NO_COLUMN
    if counted.source_any and not counted.served_any:
        return "it is always missing in serving"
    if counted.served_any and not counted.source_any:
        return "it is always missing in the table"
    return None


def _says(
    counted: Counted,
    share: float,
    low: float,
    high: float,
    absent: str | None,
    cause: Cause | None,
    examples: tuple[Example, ...],
) -> str:
    name, n = counted.column.name, counted.pairs
    if absent == _NO_COLUMN:
        return f"{name} is no column of the table."
    if not n:
        return f"{name}: no pair of rows to compare."
    if not counted.differ:
        return f"{name} is the same in all {n:,} pairs."
    says = f"{name} differs in {share:.2%} of {n:,} pairs (95 %: {low:.2%} to {high:.2%})"
    if absent is not None:
        says += f": {absent}"
    elif cause is not None:
        says += f"; most likely {cause.says} ({cause.share:.0%} of them)"
    if examples:
        first = examples[0]
        says += f"; such as {first.id}: {_quoted(first.source)} in the table, {_quoted(first.served)} served"
    return f"{says}."


def _quoted(value: str | float | None) -> str:
    if value is None:
        return "missing"
    return repr(value) if isinstance(value, str) else f"{value:.10g}"


def _readable(kind: ColumnType, value: NDArray[Any]) -> str | float | None:
    if bool(is_missing(value, kind)[0]):
        return None
    if kind == "time":
        return from_us(int(value[0])).isoformat()
    return str(value[0]) if kind in ("category", "text") else float(value[0])


def _finding(
    column: ColumnSkew, verdict: Literal["watch", "resolved"], start: datetime, end: datetime, stamp: Stamp
) -> Finding:
    by_pairs = column.distance is None
    return stamp(
        question=QUESTION,
        subject=column.name,
        method=METHOD if by_pairs else METHOD_APART,
        estimate=column.share if by_pairs else column.distance,
        low=column.low if by_pairs else None,
        high=column.high if by_pairs else None,
        evidence=column.evidence if by_pairs else None,
        limit=LIMIT if by_pairs else None,
        verdict=verdict,
        n=column.pairs,
        start=start,
        end=end,
        says=column.says,
        matters=MATTERS if by_pairs else _DISTANCE,
        detectable=column.detectable if by_pairs else None,
    )
