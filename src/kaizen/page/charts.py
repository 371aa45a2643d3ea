"""Charts as inline SVG: one style, the page's own ink, the same bytes for the same data.

Text and axes are drawn in ``currentColor``, so that a chart is legible on a light and on a dark page.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from kaizen.page.page import Html, escaped

Array: TypeAlias = NDArray[np.float64]
Position: TypeAlias = float | str | date | datetime

BLUE, ORANGE, GREEN, PURPLE, RED, GREY = "#3a86c8", "#e07b39", "#2a9d78", "#9a6fd0", "#d64f63", "#8b95a5"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, RED, GREY)

_INK = "#0a0b0c"  # stands for currentColor until the SVG is written
_FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "kaizen",
    "font.family": ["DejaVu Sans"],
    "font.size": 10.0,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GREY,
    "grid.alpha": 0.22,
    "grid.linewidth": 0.7,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 2.0,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


@dataclass(frozen=True, eq=False)
class Line:
    """A series: y over x, with an optional band."""

    name: str
    x: Sequence[Position]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    quiet: bool = False  # drawn thin and dashed, such as a baseline


@dataclass(frozen=True)
class Event:
    """Something that happened: when, what it is called, and the colour of its kind."""

    at: date | datetime | float
    label: str = ""
    color: str = GREY


@dataclass(frozen=True, eq=False)
class Bar:
    """A figure with an optional interval; `quiet` draws it in grey."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    quiet: bool = False


@dataclass(frozen=True, eq=False)
class Reliability:
    """What a calibration chart shows, one entry a bin in every sequence."""

    predicted: Sequence[float]
    observed: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def calibration(bins: Reliability, scores: Array, *, title: str = "Calibration") -> Html:
    """Return observed rate over predicted probability, above the histogram of the scores."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 5.2), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1.0))
        above.plot([0, 1], [0, 1], color=GREY, linestyle=(0, (4, 3)), linewidth=1.2)
        observed = np.asarray(bins.observed)
        reach = np.clip(np.abs(np.vstack((observed - np.asarray(bins.low), np.asarray(bins.high) - observed))), 0, None)
        above.errorbar(
            bins.predicted, observed, yerr=reach, color=BLUE, marker="o", markersize=5, linewidth=1.6, elinewidth=1.3
        )
        above.set(ylabel="share that came true", xlim=(0, 1), ylim=(0, 1), title=title)
        below.hist(scores, bins=40, range=(0, 1), color=BLUE, alpha=0.65)
        below.set(xlabel="predicted probability", ylabel="rows")
        below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        return _svg(figure, title)


def curves(
    lines: Sequence[Line], *, title: str, x: str, y: str, diagonal: bool = False, level: float | None = None
) -> Html:
    """Return curves in the unit square, such as ROC (with its diagonal) or precision over recall (with a level)."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 5.2), layout="constrained")
        axes = figure.subplots()
        if diagonal:
            axes.plot([0, 1], [0, 1], color=GREY, linestyle=(0, (4, 3)), linewidth=1.2)
        if level is not None:
            axes.axhline(level, color=GREY, linestyle=(0, (4, 3)), linewidth=1.2)
        for index, line in enumerate(lines):
            _draw(axes, line, _color(index, line.quiet), dots=False)
        axes.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.01), title=title)
        axes.legend(loc="lower right" if diagonal else "upper right")
        return _svg(figure, title)


def bars(
    items: Sequence[Bar],
    *,
    title: str,
    x: str = "",
    reference: float | None = None,
    from_zero: bool = True,
    narrow: bool = False,
) -> Html:
    """Return horizontal bars with intervals, the first on top; `reference` is a vertical line to compare with.

    Without `from_zero` figures are points on a scale that need not begin at 0, for figures whose differences
    matter and whose zero does not.
    """
    with mpl.rc_context(_STYLE | {"axes.grid.axis": "x"}):
        figure = Figure(figsize=(5.6 if narrow else 10.4, 1.15 + 0.32 * max(len(items), 2)), layout="constrained")
        axes = figure.subplots()
        places = np.arange(len(items))[::-1]
        for place, item in zip(places, items, strict=True):
            color = GREY if item.quiet else BLUE
            if from_zero:
                axes.barh(place, item.value, height=0.66, color=color, alpha=0.85)
            else:
                axes.plot([item.value], [place], marker="o", markersize=6.5, color=color)
            if item.low is not None and item.high is not None:
                ink = _INK if from_zero else color
                axes.plot([item.low, item.high], [place, place], color=ink, linewidth=1.6, solid_capstyle="butt")
        if reference is not None:
            axes.axvline(reference, color=ORANGE, linewidth=1.3, linestyle=(0, (4, 3)))
        axes.set_yticks(places, [_short(item.label) for item in items])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set(xlabel=x, title=title, ylim=(-0.7, len(items) - 0.3))
        return _svg(figure, title)


def lines(
    series: Sequence[Line],
    *,
    title: str,
    y: str = "",
    x: str = "",
    events: Sequence[Event] = (),
    wide: bool = True,
) -> Html:
    """Return series over time, numbers or named steps such as months, with events as vertical marks."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10.4 if wide else 5.6, 4.0), layout="constrained")
        axes = figure.subplots()
        for index, line in enumerate(series):
            _draw(axes, line, _color(index, line.quiet), dots=len(line.x) <= 40)
        for event in events:
            at: Any = event.at
            axes.axvline(at, color=event.color, linewidth=1.2, linestyle=(0, (2, 2)), alpha=0.9)
            if event.label:
                axes.annotate(
                    _short(event.label),
                    (at, 1.0),
                    xycoords=("data", "axes fraction"),
                    xytext=(3, -3),
                    rotation=90,
                    textcoords="offset points",
                    va="top",
                    ha="left",
                    fontsize=8.5,
                    color=event.color,
                )
        _dated(axes, [value for line in series for value in line.x])
        axes.set(xlabel=x, ylabel=y)
        axes.set_title(title, pad=30 if len(series) > 1 else 10)
        if len(series) > 1:
            axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=4, borderaxespad=0.3, handlelength=1.6)
        return _svg(figure, title)


def histogram(samples: Mapping[str, Array], *, title: str, x: str, bins: int = 50) -> Html:
    """Return the share of rows by value, one outline a sample; the outermost 0.5 % on each side are left out."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 5.2), layout="constrained")
        axes = figure.subplots()
        everything = np.concatenate([np.asarray(values, dtype=np.float64) for values in samples.values()])
        low, high = np.quantile(everything, (0.005, 0.995)) if len(everything) else (0.0, 1.0)
        edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
        for index, (name, values) in enumerate(samples.items()):
            count, _ = np.histogram(values, edges)
            axes.stairs(count / max(len(values), 1), edges, fill=True, color=PALETTE[index % 6], alpha=0.45, label=name)
        axes.set(xlabel=x, ylabel="share of rows", title=title)
        if len(samples) > 1:
            axes.legend()
        return _svg(figure, title)


def density(x: Array, y: Array, *, title: str, x_label: str, y_label: str) -> Html:
    """Return how many rows lie where, with the diagonal on which x equals y."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 5.2), layout="constrained")
        axes = figure.subplots()
        both = np.concatenate((x, y))
        low, high = (float(value) for value in np.quantile(both, (0.002, 0.998)))
        span = (low, high if high > low else low + 1.0)
        axes.hexbin(x, y, gridsize=34, extent=(*span, *span), mincnt=1, bins="log", cmap="viridis", linewidths=0.1)
        axes.plot(span, span, color=ORANGE, linestyle=(0, (4, 3)), linewidth=1.3)
        axes.set(xlabel=x_label, ylabel=y_label, title=title, xlim=span, ylim=span)
        return _svg(figure, title)


def trials(scores: Sequence[tuple[str, float | None]], *, title: str, y: str, higher_is_better: bool) -> Html:
    """Return the score of each trial, coloured by its algorithm, and the best so far."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10.4, 3.6), layout="constrained")
        axes = figure.subplots()
        figures = np.array([math.nan if score is None else score for _, score in scores])
        so_far = (np.fmax if higher_is_better else np.fmin).accumulate(figures)
        axes.step(np.arange(1, len(figures) + 1), so_far, where="post", color=GREY, linewidth=1.4, label="best so far")
        for index, name in enumerate(dict.fromkeys(name for name, _ in scores)):
            mine = np.array([name == other for other, _ in scores])
            axes.plot(
                np.flatnonzero(mine) + 1, figures[mine], "o", color=PALETTE[index % 6], markersize=6.5, label=name
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="trial", ylabel=y)
        axes.set_title(title, pad=30)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=6, borderaxespad=0.3, handlelength=1.6)
        return _svg(figure, title)


def timeline(lanes: Mapping[str, Sequence[Event]], *, title: str) -> Html:
    """Return what happened when, one lane a kind; labels are written where they do not run into each other."""
    with mpl.rc_context(_STYLE | {"axes.grid.axis": "x"}):
        figure = Figure(figsize=(10.4, 1.1 + 0.62 * max(len(lanes), 1)), layout="constrained")
        axes = figure.subplots()
        places = np.arange(len(lanes))[::-1]
        moments: list[Any] = sorted(event.at for events in lanes.values() for event in events)
        span = (moments[-1] - moments[0]) if len(moments) > 1 else None
        for place, events in zip(places, lanes.values(), strict=True):
            axes.axhline(place, color=GREY, alpha=0.3, linewidth=0.8)
            last: Any = None
            for event in sorted(events, key=lambda event: event.at):
                at: Any = event.at
                axes.plot([at], [place], "o", color=event.color, markersize=7.5)
                room = last is None or span is None or (at - last) > span * (0.012 + 0.0085 * len(event.label))
                if event.label and room:
                    axes.annotate(
                        event.label, (at, place), xytext=(0, 8), textcoords="offset points", ha="center", fontsize=8.5
                    )
                    last = at
        axes.set_yticks(places, list(lanes))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.04)
        axes.set(ylim=(-0.6, len(lanes) - 0.3), title=title)
        _dated(axes, moments)
        return _svg(figure, title)


def _draw(axes: Axes, line: Line, color: str, *, dots: bool) -> None:
    style: dict[str, Any] = {"linestyle": (0, (4, 2)), "linewidth": 1.4} if line.quiet else {}
    positions: Any = list(line.x)
    if dots and not line.quiet:
        style |= {"marker": "o", "markersize": 4.5}
    axes.plot(positions, line.y, color=color, label=line.name, **style)
    if line.low is not None and line.high is not None:
        axes.fill_between(positions, line.low, line.high, color=color, alpha=0.16, linewidth=0)


def _dated(axes: Axes, values: Sequence[Any]) -> None:
    if any(isinstance(value, date) for value in values):
        locator: Any = dates.AutoDateLocator
        formatter: Any = dates.ConciseDateFormatter
        axes.xaxis.set_major_locator(ticks := locator(minticks=4, maxticks=10))
        axes.xaxis.set_major_formatter(formatter(ticks))


def _color(index: int, quiet: bool) -> str:  # noqa: FBT001 - a property of the line, passed on
    return GREY if quiet else PALETTE[index % len(PALETTE)]


def _short(text: str, most: int = 34) -> str:
    # matplotlib reads "$" as the start of mathematics.
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return cut.replace("$", r"\$")


def _svg(figure: Figure, label: str) -> Html:
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[A-Za-z.]+_[0-9_]+"', "", text)  # names of matplotlib's own that would repeat on the page
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = text.replace("<svg", f'<svg role="img" aria-label="{escaped(label)}"', 1)
    return Html(text.replace(_INK, "currentColor").replace("'DejaVu Sans'", _FAMILY))
