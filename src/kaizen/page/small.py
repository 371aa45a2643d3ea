"""Small pictures, many to a page, as SVG by hand: a hundred take milliseconds, with a plotting library seconds."""

from __future__ import annotations

from collections.abc import Sequence

from kaizen.page.page import Html, escaped

WIDTH, HEIGHT = 300, 96
_TOP, _BOTTOM = 4, 14  # room for the scale below
_LINE = 15


def outlines(before: Sequence[float], now: Sequence[float], low: str, high: str, *, label: str) -> Html:
    """Return two distributions over one scale: the first filled in grey, the second as a line in the accent's colour.

    Parameters
    ----------
    before, now
        Shares of places of one width, as many in both.
    low, high
        What stands at the ends of the scale.
    label
        What it shows, for who cannot see it.
    """
    most = max(*before, *now, 1e-12)
    step = WIDTH / max(1, len(before))
    ground = HEIGHT - _BOTTOM

    def steps(shares: Sequence[float]) -> str:
        heights = [round(ground - share / most * (ground - _TOP), 1) for share in shares]
        return " ".join(f"{at * step:.1f},{y} {(at + 1) * step:.1f},{y}" for at, y in enumerate(heights))

    return _svg(
        HEIGHT,
        label,
        f'<polygon class="was" points="0,{ground} {steps(before)} {WIDTH},{ground}"/>'
        f'<polyline class="now" points="{steps(now)}"/>'
        f'<line class="axis" x1="0" y1="{ground}" x2="{WIDTH}" y2="{ground}"/>'
        f'<text x="0" y="{HEIGHT - 2}">{escaped(low)}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 2}" text-anchor="end">{escaped(high)}</text>',
    )


def pairs(names: Sequence[str], before: Sequence[float], now: Sequence[float], *, label: str) -> Html:
    """Return two shares for each name: a grey bar and under it one in the accent's colour."""
    most = max(*before, *now, 1e-12)
    left, room = 104, WIDTH - 104 - 44
    rows = []
    for place, (name, was, is_now) in enumerate(zip(names, before, now, strict=True)):
        y = place * _LINE
        shown = name if len(name) <= 16 else name[:15] + "…"
        rows.append(
            f'<text x="{left - 6}" y="{y + 11}" text-anchor="end">{escaped(shown)}</text>'
            f'<rect class="was" x="{left}" y="{y + 2}" width="{round(was / most * room, 1)}" height="5"/>'
            f'<rect class="bar" x="{left}" y="{y + 7}" width="{round(is_now / most * room, 1)}" height="5"/>'
            f'<text x="{WIDTH}" y="{y + 11}" text-anchor="end">{is_now:.1%}</text>'
        )
    return _svg(max(1, len(names)) * _LINE + 2, label, "".join(rows))


def meter(value: float, mark: float, most: float, *, label: str) -> Html:
    """Return a bar up to a value, with a mark at what it is held against."""
    width, height = 120, 10
    at, stop = (round(min(max(x / most, 0.0), 1.0) * width, 1) for x in (mark, value))
    over = ' class="over"' if value >= mark else ' class="was"'
    return Html(
        f'<svg class="meter" role="img" aria-label="{escaped(label)}" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}"><rect class="groove" width="{width}" height="{height}" rx="2"/>'
        f'<rect{over} width="{stop}" height="{height}" rx="2"/>'
        f'<line class="mark" x1="{at}" y1="0" x2="{at}" y2="{height}"/></svg>'
    )


def _svg(height: int, label: str, content: str) -> Html:
    return Html(
        f'<svg class="small" role="img" aria-label="{escaped(label)}" viewBox="0 0 {WIDTH} {height}">{content}</svg>'
    )
