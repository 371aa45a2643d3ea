"""Pages escape text, stand alone, and are the same bytes for the same content."""

from __future__ import annotations

from datetime import datetime, timedelta
from html.parser import HTMLParser

import numpy as np

from kaizen.page import charts, page


class _Tags(HTMLParser):
    """Checks that every tag that is opened is closed, in order."""

    VOID = frozenset({"meta", "path", "use", "image", "rect", "circle", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_text_from_outside_cannot_become_markup() -> None:
    """In every part that takes text."""
    evil = "<script>alert('x')</script>"
    made = page.page(
        evil,
        page.section(evil, page.paragraph(evil), page.table((evil,), [(evil,)]), note=evil),
        page.cards([page.Card(evil, evil, evil)]),
        page.block(evil),
        page.badge(evil),
        page.code(evil),
        page.figure(charts.bars([charts.Bar(evil, 1.0)], title=evil), evil),
        subtitle=evil,
        footer=evil,
    )
    assert "<script" not in made
    assert made.count("&lt;script&gt;") >= 12


def test_a_page_is_whole_and_stands_alone() -> None:
    """Tags close, and nothing is fetched."""
    made = page.page("Title", page.section("Part", page.figure(_every_chart()["lines"])))
    parser = _Tags()
    parser.feed(made)
    assert parser.open == []
    assert 'src="' not in made
    assert "@import" not in made
    assert "url(http" not in made


def _every_chart() -> dict[str, page.Html]:
    rng = np.random.default_rng(0)
    scores = rng.random(300)
    start = datetime(2024, 3, 1)
    days = [start + timedelta(days=day) for day in range(40)]
    event = charts.Event(days[10], "promote $5", charts.GREEN)
    band = [float(value) for value in rng.random(40)]
    return {
        "calibration": charts.calibration(charts.Reliability([0.1, 0.7], [0.2, 0.6], [0.1, 0.5], [0.3, 0.7]), scores),
        "curves": charts.curves([charts.Line("AUC", [0, 1], [0, 1])], title="ROC", x="x", y="y", diagonal=True),
        "bars": charts.bars([charts.Bar("a", 0.4, 0.3, 0.5), charts.Bar("b", 0.1, quiet=True)], title="Bars"),
        "lines": charts.lines([charts.Line("loop", days, band, band, band), charts.Line("b", days, band, quiet=True)],
                              title="Days", events=[event]),
        "months": charts.lines([charts.Line("loop", ["2024-01", "2024-02"], [1.0, 2.0])], title="Months"),
        "histogram": charts.histogram({"a": scores, "b": scores + 1}, title="Scores", x="score"),
        "density": charts.density(scores, scores + 0.1, title="Density", x_label="x", y_label="y"),
        "trials": charts.trials([("a", 0.5), ("b", None)], title="Trials", y="loss", higher_is_better=False),
        "timeline": charts.timeline({"Findings": [event], "Decisions": []}, title="What happened"),
    }  # fmt: skip


def test_charts_are_the_same_bytes_again() -> None:
    """No date, no random names."""
    assert _every_chart() == _every_chart()


def test_charts_take_the_ink_of_the_page() -> None:
    """Legible on light and on dark; and they scale."""
    for chart in _every_chart().values():
        assert chart.startswith("<svg role=")
        assert "currentColor" in chart
        assert "#0a0b0c" not in chart
        assert "<metadata" not in chart
        assert ' width="' not in chart[: chart.index(">")]


def test_nothing_to_show_is_no_error() -> None:
    """A story may have no events, and a sample may be constant."""
    assert "<svg" in charts.timeline({"Findings": []}, title="Nothing")
    assert "<svg" in charts.histogram({"a": np.zeros(5)}, title="Same", x="x")
    assert "<svg" in charts.lines([], title="None")
