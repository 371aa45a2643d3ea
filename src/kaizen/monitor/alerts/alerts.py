"""From findings to alerts: what belongs together is one alert, and it is over when all of it is. Pure.

    the findings of a turn ─► by question (and segment, subject) ─► parts that open and close ─► opened  ┐ news
                                                                                                 worse   │
                                                                                                 resolved┘
                                                                                                 better    kept only

| a finding says | an alert                                                                              |
|----------------|---------------------------------------------------------------------------------------|
| page           | opens, or has one part more                                                           |
| watch          | the same for the questions in `QUIET`, whose alerts are never more than ``info``      |
| resolved       | has one part less                                                                     |
| ok             | has no part left: a window's summary says that nothing of its question is open        |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from kaizen.core.alerting import AlertsSection
from kaizen.core.durations import duration
from kaizen.core.ids import derived
from kaizen.core.records import Alert, Decision, Finding, Part, Severity
from kaizen.monitor.alerts import messages
from kaizen.monitor.performance import performance
from kaizen.monitor.quality import quality

Names: TypeAlias = tuple[str, str, str]  # question, subject, segment
Change: TypeAlias = Literal["opened", "worse", "better", "resolved"]
QUIET: Final = (quality.QUESTION,)  # questions whose incidents open without a page
RANKS: Final[dict[Severity, int]] = {"info": 0, "warning": 1, "critical": 2}
_SUMMARY = " window"


class Stake(NamedTuple):
    """What the champion's metric was on the rows that it is held against: the scale of an impact."""

    metric: str
    value: float


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the user says of alerts, as `[alerts]` has it."""

    split_by: tuple[str, ...] = ()
    critical_from: float = 0.1
    cooldown: timedelta = timedelta(days=1)
    labels: dict[str, str] = {}
    links: dict[str, str] = {}


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """When and of what a turn speaks, and what was decided in it."""

    project: str
    endpoint: str
    at: datetime  # event time
    step: str  # makes the ids of its alerts its own
    by: str = "loop"
    time_zone: str = "UTC"
    stake: Stake | None = None
    decisions: tuple[Decision, ...] = ()


def rules_of(section: AlertsSection) -> Rules:
    """Return the rules that a project declares."""
    return Rules(
        split_by=tuple(section.split_by),
        critical_from=section.critical_from,
        cooldown=duration(section.cooldown),
        labels=section.labels,
        links=section.links,
    )


def update(before: Iterable[Alert], findings: Sequence[Finding], moment: Moment, rules: Rules) -> list[Alert]:
    """Return the alerts that these findings change: at most one for each key, none where nothing changes.

    Parameters
    ----------
    before
        All alerts so far, in order of arrival.
    findings
        Of one turn, in the order in which they were raised.
    """
    latest = {alert.key: alert for alert in before if alert.endpoint == moment.endpoint}
    groups = {key: _Group.of(was) for key, was in latest.items() if was.state == "open"}
    held = {names: group for group in groups.values() for names in group.standing()}
    pages = {(finding.question, finding.segment) for finding in findings if finding.verdict == "page"}
    for finding in findings:
        for names in _closed_by(finding, held):
            held.pop(names).close(names, finding)
        if not _opens(finding, pages):
            continue
        names = (_question(finding), finding.subject, finding.segment)
        if names not in held:
            key = _key(finding, moment.endpoint, rules.split_by)
            held[names] = groups.setdefault(key, _Group(names[0], latest.get(key)))
        held[names].open(names, finding)
    summaries = [finding for finding in findings if finding.question.endswith(_SUMMARY)]
    made = (_record(key, group, summaries, moment, rules) for key, group in groups.items())
    return [alert for alert in made if alert is not None]


def open_alerts(alerts: Iterable[Alert]) -> tuple[Alert, ...]:
    """Return the alerts that are open after these, given in order of arrival; the most severe and oldest first."""
    latest = {alert.key: alert for alert in alerts}
    found = [alert for alert in latest.values() if alert.state == "open"]
    return tuple(sorted(found, key=lambda alert: (-RANKS[alert.severity], alert.since)))


def severity(finding: Finding, stake: Stake | None, critical_from: float) -> Severity:
    """Return how severe a finding is, by the share of the metric that it costs.

    A page is a ``warning`` at least, for an estimate without labels does not see every harm; from `critical_from` on
    it is ``critical``, and so is worse performance whose impact nobody has put in figures. What does not page is
    ``info``.
    """
    if finding.verdict != "page":
        return "info"
    share = at_stake(finding, stake)
    if share is None:
        return "critical" if _question(finding) == performance.QUESTION else "warning"
    return "critical" if share >= critical_from else "warning"


def at_stake(finding: Finding, stake: Stake | None) -> float | None:
    """Return by what share of the metric a finding makes it worse; None where that is not known."""
    return None if finding.impact is None or stake is None or stake.value == 0 else finding.impact / abs(stake.value)


@dataclass
class _Group:
    """An alert in the making: the parts after each finding, and the findings that opened or closed one."""

    question: str
    was: Alert | None
    parts: dict[Names, Part] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @classmethod
    def of(cls, alert: Alert) -> _Group:
        """Return the group that goes on from an open alert."""
        parts = {(alert.question, part.subject, part.segment): part for part in alert.parts}
        return cls(alert.question, alert, parts)

    def standing(self) -> list[Names]:
        """Return the names of the parts that are not over."""
        return [names for names, part in self.parts.items() if part.closed is None]

    def open(self, names: Names, finding: Finding) -> None:
        """Take up a part, once; one that was over is open again, as the last."""
        part = self.parts.get(names)
        if part is None or part.closed is not None:
            self.parts.pop(names, None)
            self.parts[names] = Part(*names[1:], opened=finding.id)
        self.findings.append(finding)

    def close(self, names: Names, finding: Finding) -> None:
        """Note that a part is over."""
        self.parts[names] = msgspec.structs.replace(self.parts[names], closed=finding.id)
        if finding not in self.findings[-1:]:
            self.findings.append(finding)


def _question(finding: Finding) -> str:
    return finding.question.removesuffix(_SUMMARY)


def _opens(finding: Finding, pages: set[tuple[str, str]]) -> bool:
    """Say whether a finding opens something; a summary only pages for itself where no column does."""
    if finding.question.endswith(_SUMMARY):
        return finding.verdict == "page" and (_question(finding), finding.segment) not in pages
    return finding.verdict == "page" or (finding.verdict == "watch" and finding.question in QUIET)


def _closed_by(finding: Finding, held: Mapping[Names, _Group]) -> list[Names]:
    """Return which of the open parts a finding says are over."""
    if finding.question.endswith(_SUMMARY):
        if finding.verdict not in ("ok", "resolved"):
            return []
        about = (_question(finding), finding.segment)
        return [names for names in held if (names[0], names[2]) == about]
    names = (finding.question, finding.subject, finding.segment)
    return [names] if finding.verdict == "resolved" and names in held else []


def _key(finding: Finding, endpoint: str, split_by: tuple[str, ...]) -> str:
    parts = {"segment": finding.segment, "subject": finding.subject}
    return "/".join([endpoint, _question(finding), *(parts[label] for label in split_by if parts[label])])


def _record(key: str, group: _Group, summaries: Sequence[Finding], moment: Moment, rules: Rules) -> Alert | None:
    """Return what a group has become, or None where that is what it was."""
    was = group.was if group.was and group.was.state == "open" else None
    standing = [group.parts[names] for names in group.standing()]
    if not standing and was is None:
        return None  # it opened and closed within one turn
    own = {finding.id for finding in group.findings}
    around = [finding for finding in summaries if _question(finding) == group.question and finding.id not in own]
    heard = [*sorted(group.findings, key=_weight), *around]
    worst = _worst(heard, was, moment.stake, rules.critical_from)
    change = _change(was, standing, worst)
    if change is None:
        return None
    alert = _alert(key, group, was, worst, change, heard, moment, rules)
    words = messages.Words(moment.time_zone, moment.stake.metric if moment.stake else "", moment.decisions)
    return msgspec.structs.replace(
        alert, title=messages.title(alert, words), body=messages.body(alert, heard, was, words)
    )


def _alert(
    key: str,
    group: _Group,
    was: Alert | None,
    worst: Severity,
    change: Change,
    heard: Sequence[Finding],
    moment: Moment,
    rules: Rules,
) -> Alert:
    """Return the record, its words left out; `was` is the one before in this episode."""
    identity = derived(moment.at, moment.project, "alert", key, moment.step)
    follows = (group.was.id,) if group.was else ()
    began = [f.began or f.start or f.at for f in group.findings if f.verdict in ("page", "watch")]
    shares = [at_stake(finding, moment.stake) for finding in heard] + ([was.at_stake] if was else [])
    new = {finding.id: place for place, finding in enumerate(heard)}
    return Alert(
        id=identity,
        project=moment.project,
        at=moment.at,
        by=moment.by,
        parents=(*follows, *(finding.id for finding in heard), *(decision.id for decision in moment.decisions)),
        key=key,
        episode=was.episode if was else identity,
        endpoint=moment.endpoint,
        question=group.question,
        state="resolved" if change == "resolved" else "open",
        change=change,
        severity=worst,
        parts=tuple(sorted(group.parts.values(), key=lambda part: new.get(part.opened, -1))),
        since=min([*began, *([was.since] if was else [])]),
        title="",
        body="",
        findings=tuple(finding.id for finding in heard),
        labels={**rules.labels, "endpoint": moment.endpoint, "question": group.question, "severity": worst},
        links=rules.links,
        at_stake=max((share for share in shares if share is not None), default=None),
        quiet_until=_quiet_until(group.was, worst, moment.at, rules.cooldown),
    )


def _worst(heard: Sequence[Finding], was: Alert | None, stake: Stake | None, critical_from: float) -> Severity:
    """Return the highest severity so far; of an alert that pages, a summary's estimate of what it costs counts too."""
    found = (severity(finding, stake, critical_from) for finding in heard)
    worst: Severity = max((*found, was.severity if was else "info"), key=RANKS.__getitem__)
    shares = (at_stake(finding, stake) for finding in heard)
    is_dear = any(share is not None and share >= critical_from for share in shares)
    return "critical" if worst == "warning" and is_dear else worst


def _weight(finding: Finding) -> tuple[float, float]:
    """Order findings, the worst first: by impact, then by how far the effect is over what matters."""
    over = finding.estimate / finding.matters if finding.estimate is not None and finding.matters else 0.0
    return -(finding.impact or 0.0), -over


def _change(was: Alert | None, standing: Sequence[Part], worst: Severity) -> Change | None:
    """Return what happened; who was in it before is no news when he comes back, unless it got more severe."""
    if was is None:
        return "opened"
    if not standing:
        return "resolved"
    known = {(part.subject, part.segment) for part in was.parts}
    if RANKS[worst] > RANKS[was.severity] or any((part.subject, part.segment) not in known for part in standing):
        return "worse"
    return "better" if {p.opened for p in standing} != {p.opened for p in was.standing} else None


def _quiet_until(was: Alert | None, worst: Severity, at: datetime, cooldown: timedelta) -> datetime | None:
    """Return until when nobody is told, for it was over shortly before and is no more severe than it was then.

    The time counts from the last resolution that people may have been told of, so what comes and goes all the time is
    told once in each cool-down, not never.
    """
    if was is None or RANKS[worst] > RANKS[was.severity]:
        return None
    if was.state == "open":
        return was.quiet_until
    was_told = was.quiet_until is None or was.at >= was.quiet_until
    until = was.at + cooldown if was_told else was.quiet_until
    return until if until is not None and at < until else None
