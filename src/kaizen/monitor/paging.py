"""Pages without noise: an incident opens once, stays open in silence, and is reported again when it is over.

fires, none open ──► opened (the only thing that pages)      clean, open ──► closed
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

import msgspec

from kaizen.core.records import Finding, Verdict

Change: TypeAlias = Literal["none", "opened", "open", "closed"]


class Incident(msgspec.Struct, frozen=True):
    """What is wrong and has been reported: one for each question and subject, until it is resolved."""

    question: str
    subject: str
    since: datetime


class Stamp(Protocol):
    """Makes a Finding of evidence: adds id, project, time, maker and parents; the same evidence, the same id."""

    def __call__(
        self,
        *,
        question: str,
        subject: str,
        method: str,
        estimate: float | None,
        low: float | None,
        high: float | None,
        evidence: float | None,
        limit: float | None,
        verdict: Verdict,
        n: int,
        start: datetime,
        end: datetime,
        says: str,
        matters: float | None = None,
        detectable: float | None = None,
        began: datetime | None = None,
        blames: tuple[str, ...] = (),
        segment: str = "",
        impact: float | None = None,
    ) -> Finding:
        """Return the Finding."""
        ...


def settle(
    incidents: Sequence[Incident], question: str, subject: str, *, fires: bool, clean: bool, at: datetime
) -> tuple[Change, tuple[Incident, ...]]:
    """Return what changes for this question and subject, and the incidents open afterwards.

    Between firing and clean nothing changes (hysteresis): an open incident stays open, none is opened.
    """
    is_open = any(i.question == question and i.subject == subject for i in incidents)
    if fires and not is_open:
        return "opened", (*incidents, Incident(question, subject, at))
    if clean and is_open:
        return "closed", tuple(i for i in incidents if (i.question, i.subject) != (question, subject))
    return ("open" if is_open else "none"), tuple(incidents)
