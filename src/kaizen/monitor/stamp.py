"""From evidence to a Finding: whose it is, when, on what it stands, and an id that follows from all that."""

from __future__ import annotations

from datetime import datetime

from kaizen.core.ids import derived
from kaizen.core.records import Finding, Verdict


class Stamper:
    """Makes Findings whose ids follow from the step, the question, the subject and the window.

    Parameters
    ----------
    project, by, parents
        Of every Finding.
    at
        The moment they are made at.
    key
        The step that they belong to.
    """

    def __init__(self, project: str, *, by: str, at: datetime, key: str, parents: tuple[str, ...] = ()) -> None:
        self._project = project
        self._by = by
        self._at = at
        self._key = key
        self._parents = parents

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
        return Finding(
            id=derived(self._at, self._project, self._key, question, subject, segment, end.isoformat()),
            project=self._project,
            at=self._at,
            by=self._by,
            parents=self._parents,
            question=question,
            subject=subject,
            method=method,
            estimate=estimate,
            low=low,
            high=high,
            evidence=evidence,
            limit=limit,
            verdict=verdict,
            n=n,
            start=start,
            end=end,
            says=says,
            matters=matters,
            detectable=detectable,
            began=began,
            blames=blames,
            segment=segment,
            impact=impact,
        )
