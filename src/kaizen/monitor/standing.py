"""How an endpoint stands: what is watched and how, what fired and since when, what it costs, what was done about it.

Read from records alone: findings, the alerts that they made, the decisions that stand on them, and the loop's memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeAlias

import msgspec

from kaizen.core.records import Decision, Finding, Severity, Verdict
from kaizen.monitor.alerts.deliveries import Standing
from kaizen.monitor.reference import Reference
from kaizen.monitor.status import QUESTIONS, Question, status

By: TypeAlias = dict[str, Standing]  # the finding that opened a part: the alert that it is in


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done about it: a decision, or people who were told."""

    at: datetime
    what: str
    decision: str | None = None


class Fired(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong and not over yet.

    Attributes
    ----------
    since, began
        When it was found, and when it probably began.
    effect, matters, detectable
        How large it is, from what size on it matters, and what the rows could have shown.
    evidence, limit
        Against "nothing changed", and what it takes.
    blames
        Columns and segments behind it, the worst first.
    impact
        The estimated change of the champion's metric, above 0 is worse; None: nobody knows.
    """

    question: str
    subject: str
    segment: str
    severity: Severity | None
    since: datetime
    began: datetime
    effect: float | None
    matters: float | None
    detectable: float | None
    evidence: float | None
    limit: float | None
    blames: tuple[str, ...]
    impact: float | None
    at_stake: float | None
    says: str
    finding: str
    alert: str | None
    done: tuple[Done, ...]


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """A question that is asked again and again: how, and what was last said to it; nothing yet where that is None."""

    question: str
    asks: str
    how: str | None = None
    at: datetime | None = None
    verdict: Verdict | None = None
    says: str | None = None


class EndpointStanding(msgspec.Struct, frozen=True, kw_only=True):
    """How an endpoint stands.

    Attributes
    ----------
    watched_to
        The end of the last event day that was watched; None: none yet.
    max_false_pages
        What is promised of all watching together.
    fired, over
        What is wrong now, the worst first; and what was over last, the newest first.
    """

    endpoint: str
    revision: int
    champion: str
    version: int
    max_false_pages: str
    watched_to: datetime | None
    watched: tuple[Watched, ...]
    fired: tuple[Fired, ...]
    over: tuple[Finding, ...]
    decisions: tuple[Decision, ...]


def fired(findings: Iterable[Finding], decisions: Sequence[Decision], alerts: Sequence[Standing]) -> tuple[Fired, ...]:
    """Return what is wrong, the worst first: by severity, by what it costs, by how long it has been known."""
    by = {part.opened: standing for standing in alerts for part in standing.alert.parts}
    found = [_fired(finding, decisions, by.get(finding.id)) for finding in status(findings).open]
    order: dict[Severity | None, int] = {"critical": 0, "warning": 1, "info": 2, None: 3}
    return tuple(sorted(found, key=lambda each: (order[each.severity], -(each.impact or 0.0), each.since)))


def _fired(finding: Finding, decisions: Sequence[Decision], standing: Standing | None) -> Fired:
    done = [
        Done(at=decision.at, what=f"{decision.action}: {decision.reason}", decision=decision.id)
        for decision in decisions
        if finding.id in decision.findings
    ]
    if standing is not None:
        done += [Done(at=at, what=f"{channel} was told") for channel, at in standing.told.items()]
    since = finding.end or finding.at
    return Fired(
        question=finding.question,
        subject=finding.subject,
        segment=finding.segment,
        severity=standing.alert.severity if standing else None,
        since=since,
        began=finding.began or finding.start or since,
        effect=finding.estimate,
        matters=finding.matters,
        detectable=finding.detectable,
        evidence=finding.evidence,
        limit=finding.limit,
        blames=finding.blames,
        impact=finding.impact,
        at_stake=standing.alert.at_stake if standing else None,
        says=finding.says,
        finding=finding.id,
        alert=standing.alert.id if standing else None,
        done=tuple(sorted(done, key=lambda each: each.at)),
    )


def watched(findings: Iterable[Finding], reference: Reference | None) -> tuple[Watched, ...]:
    """Return every question that is asked, with its latest answer."""
    latest = {finding.question: finding for finding in status(findings).latest}
    return tuple(_watched(question, latest.get(question.summary), reference) for question in QUESTIONS)


def _watched(question: Question, latest: Finding | None, reference: Reference | None) -> Watched:
    how = counted(reference) if question.name == "drift" and reference is not None else None
    if latest is None:
        return Watched(question=question.name, asks=question.asks, how=how)
    return Watched(
        question=question.name,
        asks=question.asks,
        how=how or latest.method,
        at=latest.end or latest.at,
        verdict=latest.verdict,
        says=latest.says,
    )


def counted(reference: Reference) -> str:
    """Return how the columns of a reference are counted, for people: read off the reference, not set by hand."""
    habits = [profile.habit for profile in reference.profiles]
    ways = Counter(habit.says if habit is not None else "too few days: windows" for habit in habits)
    if len(ways) == 1:
        return f"{len({p.name for p in reference.profiles})} columns, {next(iter(ways))}"
    return "; ".join(f"{number} {'column' if number == 1 else 'columns'}: {way}" for way, number in ways.most_common())
