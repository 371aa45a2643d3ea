"""What is watched, what is open and what the last windows said: read from the Findings alone."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kaizen.core.records import Finding
from kaizen.monitor import fairwatch, inputs, latelabels, performance, quality, segmentwatch

_SUMMARIES = (
    inputs.SUMMARY,
    quality.SUMMARY,
    performance.SUMMARY,
    latelabels.SUMMARY,
    segmentwatch.SUMMARY,
    fairwatch.SUMMARY,
)
_QUESTIONS = (inputs.QUESTION, quality.QUESTION, performance.QUESTION, segmentwatch.QUESTION, fairwatch.QUESTION)


class MonitorStatus(msgspec.Struct, frozen=True):
    """The Findings that opened what is still open, in order of time, and the latest summary of each kind."""

    open: tuple[Finding, ...]
    latest: tuple[Finding, ...]


def status(findings: Iterable[Finding]) -> MonitorStatus:
    """Return where the monitors stand after these Findings, given in order of time; others are passed over."""
    opened: dict[tuple[str, str, str], Finding] = {}
    latest: dict[str, Finding] = {}
    for finding in findings:
        if finding.question in _SUMMARIES:
            latest[finding.question] = finding
        elif finding.question in _QUESTIONS:
            about = finding.question, finding.subject, finding.segment
            opened.pop(about, None)
            if finding.verdict != "resolved":
                opened[about] = finding
    return MonitorStatus(tuple(opened.values()), tuple(latest[name] for name in _SUMMARIES if name in latest))
