"""What is watched, what is open and what the last windows said: read from the Findings alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from kaizen.core.records import Finding
from kaizen.monitor.drift import inputs, joint
from kaizen.monitor.estimates import unlabelled
from kaizen.monitor.performance import latelabels, performance
from kaizen.monitor.quality import quality
from kaizen.monitor.segments import fairwatch, segmentwatch
from kaizen.monitor.serving import operations
from kaizen.monitor.skew import skew


class Question(NamedTuple):
    """A question that the monitors ask again and again.

    Attributes
    ----------
    name, others
        The questions of its findings that open and end.
    asks
        What it is, for people.
    summary
        The question of its summaries.
    shows
        What the estimate of a summary is; empty where summaries tell of several things, which are no one line.
    """

    name: str
    asks: str
    summary: str
    shows: str
    others: tuple[str, ...] = ()


QUESTIONS: Final = (
    Question(
        performance.QUESTION,
        "Is the loss higher than it was when the model was made?",
        performance.SUMMARY,
        "mean loss of a day",
    ),
    Question(
        unlabelled.QUESTION,
        "How good is the model expected to be, without labels? (This does not see concept drift.)",
        unlabelled.SUMMARY,
        "by how much the metric is worse than in the reference",
        others=(unlabelled.TRUST,),
    ),
    Question(
        inputs.QUESTION,
        "Has a column, or have the answers, changed?",
        inputs.SUMMARY,
        "largest distance of a column from its reference",
    ),
    Question(
        joint.SUMMARY,  # it opens nothing
        "Do the columns go together as they did?",
        joint.SUMMARY,
        "AUC of telling the window from the reference",
    ),
    Question(
        quality.QUESTION,
        "Are rows what rows should be, and as many?",
        quality.SUMMARY,
        "share of rows that break a rule",
    ),
    Question(
        operations.QUESTION,
        "Is the serving as fast, as whole and as cheap as it was?",
        operations.SUMMARY,
        "change of the signal with the most evidence, over what matters",
    ),
    Question(
        skew.QUESTION,
        "Does serving fill the columns as training does?",
        skew.SUMMARY,
        "largest share of pairs that differ",
    ),
    Question(
        segmentwatch.QUESTION,
        "Does it do worse for some of the rows?",
        segmentwatch.SUMMARY,
        "largest excess of a segment's loss",
    ),
    Question(
        fairwatch.QUESTION,
        "Are groups treated as alike as they were?",
        fairwatch.SUMMARY,
        "",
    ),
    Question(
        latelabels.SUMMARY,  # it opens nothing
        "What do the labels show that are here?",
        latelabels.SUMMARY,
        "final mean of a day",
    ),
)
_SUMMARIES: Final = tuple(question.summary for question in QUESTIONS)
_OPENING: Final = frozenset(name for question in QUESTIONS for name in (question.name, *question.others))


class MonitorStatus(msgspec.Struct, frozen=True):
    """The Findings that opened what is still open, those that ended what was, and the latest summary of each kind."""

    open: tuple[Finding, ...]
    latest: tuple[Finding, ...]
    over: tuple[Finding, ...] = ()  # in order of time, as `open`


def status(findings: Iterable[Finding]) -> MonitorStatus:
    """Return where the monitors stand after these Findings, given in order of time; others are passed over."""
    opened: dict[tuple[str, str, str], Finding] = {}
    latest: dict[str, Finding] = {}
    over: list[Finding] = []
    for finding in findings:
        if finding.question in _SUMMARIES:
            latest[finding.question] = finding
        elif finding.question in _OPENING:
            about = finding.question, finding.subject, finding.segment
            opened.pop(about, None)
            if finding.verdict == "resolved":
                over.append(finding)
            else:
                opened[about] = finding
    summaries = tuple(latest[name] for name in _SUMMARIES if name in latest)
    return MonitorStatus(tuple(opened.values()), summaries, tuple(over))
