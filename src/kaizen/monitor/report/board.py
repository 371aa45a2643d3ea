"""How an endpoint stands, as one self-contained HTML page: what fired, what it costs, what was done, and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from kaizen.core.records import Finding
from kaizen.monitor.drift.change import MATTERS, Change
from kaizen.monitor.report.report import drawn, share_missing
from kaizen.monitor.standing import EndpointStanding, Fired
from kaizen.monitor.status import QUESTIONS, Question
from kaizen.page import charts
from kaizen.page.charts import Event, Line
from kaizen.page.page import (
    Card,
    Html,
    Tone,
    badge,
    cards,
    code,
    columns,
    figure,
    grid,
    joined,
    page,
    paragraph,
    section,
    table,
)
from kaizen.page.small import meter

_TONES: Final[dict[str | None, Tone]] = {"critical": "bad", "warning": "bad", "info": "plain", None: "quiet"}
_COLORS: Final = {"page": charts.RED, "watch": charts.ORANGE, "resolved": charts.GREEN}
_FEWEST_POINTS: Final = 3
_HOW: Final = (
    "Something pages when two keys turn: the evidence, an e-value of “nothing changed” counted in days, reaches what "
    "it needs, and the effect reaches what matters. What an effect could have been seen at the earliest stands beside "
    "it. All watching together keeps to the false pages that the project allows. Grey is the reference, blue the "
    "newest window; missing values are left out of the pictures."
)


def html(standing: EndpointStanding, findings: Sequence[Finding], changes: Sequence[Change]) -> str:
    """Return the page of an endpoint.

    Parameters
    ----------
    findings
        All that its monitors found, in order of time.
    changes
        The newest window of each column beside the reference, as `kaizen.loop.standing.gathered` gives them.
    """
    parts = [_headline(standing)]
    if standing.fired:
        fired = [_fired(each) for each in standing.fired]
        parts.append(section("What fired", columns(*fired) if len(fired) > 1 else fired[0]))
    parts.append(section("Over time", *_over_time(standing, findings)))
    parts.append(section("What is watched", _watched(standing)))
    if changes:
        parts.append(section("The newest window beside the reference", _pictures(standing, changes)))
    if standing.over:
        rows = [(f"{f.at:%Y-%m-%d}", f"{f.question} of {f.subject}", f.says) for f in standing.over]
        parts.append(section("Over", table(("when", "what", "what was said"), rows)))
    if standing.decisions:
        rows = [(f"{d.at:%Y-%m-%d}", d.action, d.reason) for d in standing.decisions]
        parts.append(section("Decisions", table(("when", "what", "why"), rows), note="kaizen loop explain shows more."))
    parts.append(section("How to read this", paragraph(_HOW)))
    subtitle = f"Bundle {standing.version} ({standing.champion[:12]}) at revision {standing.revision}"
    return page(f"{standing.endpoint}: {_state(standing)}", *parts, subtitle=subtitle, footer=_FOOTER)


_FOOTER: Final = "Made by kaizen monitor report."


def _state(standing: EndpointStanding) -> str:
    if not standing.fired:
        return "nothing is open"
    names = ", ".join(dict.fromkeys(each.question for each in standing.fired))
    return f"{len(standing.fired)} open, {names}"


def _headline(standing: EndpointStanding) -> Html:
    worst = standing.fired[0].severity if standing.fired else None
    at_stake = max((each.at_stake for each in standing.fired if each.at_stake is not None), default=None)
    watched_to = f"{standing.watched_to:%Y-%m-%d}" if standing.watched_to else "no day yet"
    shown = [
        Card("open", str(len(standing.fired)), worst or "", tone="bad" if standing.fired else "good"),
        Card(
            "at stake", "-" if at_stake is None else f"{at_stake:+.0%}", "of the metric, above 0 is worse", tone="quiet"
        ),
        Card("false pages allowed", standing.max_false_pages, "all watching together", tone="quiet"),
        Card("watched up to", watched_to, "event time", tone="quiet"),
    ]
    return cards(shown)


def _fired(fired: Fired) -> Html:
    head = f"{fired.question}: {fired.subject}{f' where {fired.segment}' if fired.segment else ''}"
    rows = [
        ("found", f"{fired.since:%Y-%m-%d}, began probably {fired.began:%Y-%m-%d}"),
        ("effect", _effect(fired)),
        ("evidence", _evidence(fired)),
        ("to blame", ", ".join(fired.blames) or "nothing in particular"),
        ("at stake", _at_stake(fired)),
        ("done", "; ".join(f"{each.at:%Y-%m-%d} {each.what}" for each in fired.done) or "nothing yet"),
        ("finding", code(fired.finding[:12])),
    ]
    title = joined([Html("<h3>"), badge(fired.severity or "open", _TONES[fired.severity]), f" {head}", Html("</h3>")])
    return joined([title, paragraph(fired.says), table(("", ""), rows)])


def _effect(fired: Fired) -> Html | str:
    if fired.effect is None:
        return "not measured"
    if fired.matters is None:
        return f"{fired.effect:.4g}"
    least = f"; {fired.detectable:.3g} could have been seen" if fired.detectable is not None else ""
    text = f" {fired.effect:.4g}, matters from {fired.matters:.3g}{least}"
    most = max(2 * abs(fired.matters), abs(fired.effect))
    return joined([meter(abs(fired.effect), abs(fired.matters), most, label="effect"), text])


def _evidence(fired: Fired) -> str:
    if fired.evidence is None or fired.limit is None:
        return "none is needed"
    return f"{fired.evidence:,.3g}, needed {fired.limit:,.3g}"


def _at_stake(fired: Fired) -> str:
    if fired.at_stake is not None:
        return f"the metric is about {abs(fired.at_stake):.1%} {'worse' if fired.at_stake >= 0 else 'better'}"
    return "not known" if fired.impact is None else f"{fired.impact:+.4g} of the metric"


def _over_time(standing: EndpointStanding, findings: Sequence[Finding]) -> Iterator[Html]:
    lanes = {
        question.name: [
            Event(finding.end or finding.at, finding.subject if finding.verdict == "page" else "", color)
            for finding in findings
            if finding.question in (question.name, *question.others)
            and (color := _COLORS.get(finding.verdict)) is not None
        ]
        for question in QUESTIONS
    }
    lanes = {name: events for name, events in lanes.items() if events}
    lanes["decisions"] = [Event(each.at, each.action, charts.BLUE) for each in standing.decisions]
    if any(lanes.values()):
        caption = "Red pages, orange is told, green is over; the decisions of the loop in blue."
        yield figure(charts.timeline(lanes, title="What happened"), caption)
    drawn_lines = [line for question in QUESTIONS if (line := _line(question, findings)) is not None]
    if drawn_lines:
        yield columns(*drawn_lines)


def _line(question: Question, findings: Sequence[Finding]) -> Html | None:
    told = [each for each in findings if each.question == question.summary and each.estimate is not None]
    if not question.shows or len(told) < _FEWEST_POINTS:
        return None
    x = [each.end or each.at for each in told]
    y = [each.estimate or 0.0 for each in told]
    bands = all(each.low is not None and each.high is not None for each in told)
    low, high = ([each.low or 0.0 for each in told], [each.high or 0.0 for each in told]) if bands else (None, None)
    lines = [Line("measured", x, y, low, high)]
    matters = [each.matters for each in told if each.matters is not None]
    if len(matters) == len(told):
        lines.append(Line("matters from here", x, matters, quiet=True))
    return figure(charts.lines(lines, title=question.shows.capitalize(), wide=False), question.asks)


def _watched(standing: EndpointStanding) -> Html:
    rows = [
        (
            each.question,
            each.asks,
            each.how or "",
            f"{each.at:%Y-%m-%d}" if each.at else "",
            each.says or "nothing said yet",
        )
        for each in standing.watched
    ]
    return table(("question", "what it asks", "how", "last", "what it said"), rows)


def _pictures(standing: EndpointStanding, changes: Sequence[Change]) -> Html:
    is_open = {each.subject for each in standing.fired if each.question == "drift"}
    order = sorted(changes, key=lambda seen: (seen.profile.name not in is_open, -seen.distance))
    shown = []
    for seen in order:
        is_bad = seen.profile.name in is_open and seen.distance >= MATTERS
        head = [Html("<h3>"), badge(f"{seen.distance:.3f}", "bad" if is_bad else "quiet"), seen.profile.label]
        shown.append(joined([*head, Html("</h3>"), drawn(seen), paragraph(share_missing(seen))]))
    return grid(*shown)
