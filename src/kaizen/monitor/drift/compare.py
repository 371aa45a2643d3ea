"""Two tables held against each other once: which columns have changed, and whether it is worth a page.

Evidence of every column is an e-value, and e-BH says which of D columns carry it: the k with the most, each from
D / (level k) on. Without change some column does in at most `LEVEL` of all comparisons, however columns depend on each
other; a page needs an effect that matters on top.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal, TypeAlias

import msgspec
import numpy as np

from kaizen.core.ids import derived
from kaizen.core.records import Finding
from kaizen.monitor.drift.change import MATTERS, MISSING_MATTERS, Change
from kaizen.monitor.drift.joint import MATTERS as AUC_MATTERS
from kaizen.monitor.drift.joint import METHOD as METHOD_JOINT
from kaizen.monitor.drift.joint import SUMMARY as JOINT
from kaizen.monitor.drift.joint import Joint
from kaizen.monitor.quality.quality import SINGLE
from kaizen.stats.ebh import e_bh

METHOD = "e-values of chi2 and hypergeometric tests, e-BH over columns; debiased Jensen-Shannon distance"
LEVEL = 0.01  # the most that P(evidence for some column) may be without change

Cause: TypeAlias = Literal["", "values", "missing"]


class TableRead(msgspec.Struct, frozen=True):
    """A table that was compared: its address, how many rows it has, and from when to when they are."""

    address: str
    rows: int
    start: datetime | None = None
    end: datetime | None = None


class ColumnCompared(msgspec.Struct, frozen=True, kw_only=True):
    """A column of both tables.

    It pages when its ``evidence`` (an e-value) reaches the ``limit`` and its ``effect`` what ``matters``;
    ``detectable`` is the smallest effect for which so many rows could have given the evidence.
    """

    name: str
    type: str
    page: bool
    why: str  # one sentence for people
    evidence: float = 0.0
    limit: float = 0.0
    effect: float = 0.0
    matters: float = MATTERS
    detectable: float = 0.0
    cause: Cause = ""  # what the effect is of
    part: str = ""  # what is read off the column, where that is compared
    missing: tuple[float, float] = (0.0, 0.0)  # share in the reference, and now


class Together(msgspec.Struct, frozen=True, kw_only=True):
    """All columns at once: whether they page, though none of them does by itself, and what was found."""

    page: bool
    why: str  # one sentence for people
    limit: float  # that the evidence needs
    matters: float  # AUC
    joint: Joint


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    page: bool
    says: str
    reference: TableRead
    current: TableRead
    time: str | None  # the column that rows were put into days by
    blocks: str  # how rows that are alike were allowed for, for people
    columns: tuple[ColumnCompared, ...]
    together: Together | None
    findings: tuple[Finding, ...]

    @property
    def odd(self) -> tuple[Finding, ...]:
        """What is told and pages nobody: single rows and columns that are not what they were."""
        return tuple(finding for finding in self.findings if finding.question == SINGLE)


def judge(
    changes: Sequence[Sequence[Change]], joint: Joint | None = None, level: float = LEVEL
) -> tuple[list[ColumnCompared], Together | None]:
    """Return what to say of each column, given the changes of its parts, and of all columns together.

    Parameters
    ----------
    changes
        By column, what each of its parts shows.
    joint
        What all columns show together: it is held to the same level, as one column more. It pages only where no
        column does, for it is there to find what none of them shows.
    level
        See `LEVEL`.
    """
    evidence = [float(np.mean([part.evidence for part in parts])) for parts in changes]
    every = evidence if joint is None else [*evidence, joint.evidence]
    carried = e_bh(every, level) if every else np.zeros(0, np.bool_)
    limit = limit_of(len(every), int(carried.sum()), level)
    judged = [
        _judged(parts, own, limit, has_evidence=bool(carries))
        for parts, own, carries in zip(changes, evidence, carried, strict=False)
    ]
    if joint is None:
        return judged, None
    matters = joint.auc >= AUC_MATTERS
    pages = matters and bool(carried[-1]) and not any(column.page for column in judged)
    small = "" if matters else f", less than the {AUC_MATTERS:g} that matters"
    return judged, Together(page=pages, limit=limit, matters=AUC_MATTERS, joint=joint, why=f"{joint.says}{small}.")


def comparison(
    judged: Sequence[ColumnCompared],
    left_out: Sequence[ColumnCompared],
    together: Together | None,
    *,
    reference: TableRead,
    current: TableRead,
    time: str | None,
    at: datetime,
    odd: Sequence[Finding] = (),
) -> Comparison:
    """Return the comparison of two tables, those columns first that page, then by effect over what matters.

    What is `odd` is told with it, and pages nobody.
    """
    ranked = sorted(judged, key=lambda column: (not column.page, -column.effect / column.matters))
    paging = [column for column in ranked if column.page]
    blocks = "a day" if time else "a stretch of a thirtieth of the reference's rows"
    return Comparison(
        page=bool(paging) or (together is not None and together.page),
        says=_says(paging, together, len(judged), current.rows),
        reference=reference,
        current=current,
        time=time,
        blocks=blocks,
        columns=(*ranked, *left_out),
        together=together,
        findings=(*(_finding(column, current, at) for column in paging), *_joint_finding(together, current, at), *odd),
    )


def _says(paging: Sequence[ColumnCompared], together: Together | None, columns: int, rows: int) -> str:
    if paging:
        names = ", ".join(column.name for column in paging)
        return f"{len(paging)} of {columns} columns changed: {names}."
    if together is not None and together.page:
        return f"No column changed by itself, but how they go together did: {together.why}"
    return f"No change that matters in {columns} columns of {rows:,} rows."


def _finding(column: ColumnCompared, current: TableRead, at: datetime) -> Finding:
    return Finding(
        id=derived(at, "compare", current.address, column.name),
        project="compare",
        at=at,
        by="compare",
        question="drift",
        subject=column.name,
        method=METHOD,
        estimate=column.effect,
        low=None,
        high=None,
        evidence=column.evidence,
        limit=column.limit,
        verdict="page",
        n=current.rows,
        start=current.start,
        end=current.end,
        says=column.why,
        matters=column.matters,
        detectable=column.detectable,
    )


def limit_of(columns: int, carried: int = 1, level: float = LEVEL) -> float:
    """Return the evidence that each of so many columns needs, when so many carry it."""
    return columns / (level * max(1, carried))


def _joint_finding(together: Together | None, current: TableRead, at: datetime) -> Iterator[Finding]:
    if together is None:
        return
    joint = together.joint
    yield Finding(
        id=derived(at, "compare", current.address, JOINT),
        project="compare",
        at=at,
        by="compare",
        question=JOINT,
        subject="all columns",
        method=METHOD_JOINT,
        estimate=joint.auc,
        low=None,
        high=None,
        evidence=joint.evidence,
        limit=together.limit,
        verdict="page" if together.page else "ok",
        n=joint.rows,
        start=current.start,
        end=current.end,
        says=f"All columns together: {together.why}",
        matters=together.matters,
        blames=tuple(list(joint.importance)[:5]),
    )


def _judged(parts: Sequence[Change], evidence: float, limit: float, *, has_evidence: bool) -> ColumnCompared:
    worst = max(parts, key=lambda part: (part.matters is not None, part.evidence))
    by_missing = worst.matters == "missing"
    pages = has_evidence and worst.matters is not None
    return ColumnCompared(
        name=worst.profile.name,
        type=worst.profile.type,
        page=pages,
        why=_why(worst, evidence, limit, pages=pages, has_evidence=has_evidence),
        evidence=evidence,
        limit=limit,
        effect=worst.missing_gap if by_missing else worst.distance,
        matters=MISSING_MATTERS if by_missing else MATTERS,
        detectable=MISSING_MATTERS if by_missing else worst.detectable,
        cause="missing" if by_missing else "values",
        part=worst.profile.part,
        missing=(worst.usually_missing, worst.missing),
    )


def _why(change: Change, evidence: float, limit: float, *, pages: bool, has_evidence: bool) -> str:
    says = f"{change.profile.label} {change.says}"
    if pages:
        return f"{says}."
    if change.matters is not None:
        return f"{says}; but {change.rows:,} rows are no evidence ({evidence:.3g} of the {limit:.3g} it takes)."
    small = (
        f"{change.profile.label} lies {change.distance:.3f} from the reference, less than the {MATTERS:g} that matters"
    )
    if has_evidence:
        return f"{small}, though it is no accident."
    if change.detectable > MATTERS:
        return f"{small}; {change.rows:,} rows could have shown {change.detectable:.3f} or more."
    return f"{small}."
