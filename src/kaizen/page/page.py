"""Self-contained HTML pages, escaped by construction: text is escaped, only `Html` is taken as it is.

>>> str(paragraph("5 < 7 & more"))
'<p>5 &lt; 7 &amp; more</p>'
>>> "<table>" in page("Report", section("Figures", table(("metric", "value"), [("auc", "0.71")])))
True
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Tone: TypeAlias = Literal["plain", "good", "bad", "quiet"]


class Html(str):
    """Markup that needs no escaping, because a function of this package made it."""

    __slots__ = ()


Text: TypeAlias = "str | Html"


@dataclass(frozen=True)
class Card:
    """A key figure: what it is, its value, and a line beneath it."""

    label: str
    value: str
    note: str = ""
    tone: Tone = "plain"


def escaped(text: Text) -> Html:
    """Return text as markup; markup comes back as it is."""
    return text if isinstance(text, Html) else Html(html.escape(text))


def page(title: str, *parts: Html, subtitle: str = "", footer: str = "", language: str = "en") -> str:
    """Return the whole document: no script, no font, no image from elsewhere; light, dark and on paper."""
    lead = f'<p class="lead">{escaped(subtitle)}</p>' if subtitle else ""
    foot = f"<footer>{escaped(footer)}</footer>" if footer else ""
    return (
        f'<!doctype html>\n<html lang="{html.escape(language)}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{escaped(title)}</h1>{lead}</header>\n{joined(parts)}\n{foot}\n</main>\n</body>\n</html>\n"
    )


def section(title: str, *parts: Html, note: Text = "") -> Html:
    """Return a titled part of the page; the note is a sentence under the title."""
    said = f'<p class="note">{escaped(note)}</p>' if note else ""
    return Html(f"<section><h2>{escaped(title)}</h2>{said}{joined(parts)}</section>")


def cards(items: Iterable[Card]) -> Html:
    """Return key figures side by side."""
    shown = [
        f'<div class="card {card.tone}"><span class="label">{escaped(card.label)}</span>'
        f'<span class="value">{escaped(card.value)}</span><span class="under">{escaped(card.note)}</span></div>'
        for card in items
    ]
    return Html(f'<div class="cards">{"".join(shown)}</div>')


def table(header: Sequence[Text], rows: Iterable[Sequence[Text]], *, numbers: Iterable[int] = ()) -> Html:
    """Return a table; the columns in `numbers` are set to the right in figures of one width."""
    right = frozenset(numbers)
    head = "".join(_cell("th", index, text, right) for index, text in enumerate(header))
    body = "".join(
        f"<tr>{''.join(_cell('td', index, text, right) for index, text in enumerate(row))}</tr>" for row in rows
    )
    return Html(f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>')


def figure(chart: Html, caption: Text = "") -> Html:
    """Return a chart with the sentence that says how to read it."""
    said = f"<figcaption>{escaped(caption)}</figcaption>" if caption else ""
    return Html(f"<figure>{chart}{said}</figure>")


def columns(*parts: Html) -> Html:
    """Return parts side by side where the window is wide enough."""
    return Html(f'<div class="columns">{"".join(f"<div>{part}</div>" for part in parts)}</div>')


def grid(*parts: Html) -> Html:
    """Return many small parts, as many beside each other as the window has room for."""
    return Html(f'<div class="grid">{"".join(f"<div>{part}</div>" for part in parts)}</div>')


def paragraph(text: Text) -> Html:
    """Return a paragraph."""
    return Html(f"<p>{escaped(text)}</p>")


def badge(text: str, tone: Tone = "plain") -> Html:
    """Return a word on a coloured ground, such as a verdict."""
    return Html(f'<span class="badge {tone}">{escaped(text)}</span>')


def code(text: str) -> Html:
    """Return text in a fixed-width face, such as an id."""
    return Html(f"<code>{escaped(text)}</code>")


def block(text: str) -> Html:
    """Return lines as they are, such as commands."""
    return Html(f"<pre>{escaped(text)}</pre>")


def joined(parts: Iterable[Text]) -> Html:
    """Return the parts one after the other."""
    return Html("".join(escaped(part) for part in parts))


def _cell(tag: str, index: int, text: Text, right: frozenset[int]) -> str:
    kind = ' class="number"' if index in right else ""
    return f"<{tag}{kind}>{escaped(text)}</{tag}>"


_STYLE = """
:root{color-scheme:light dark;--ink:#1d2430;--soft:#5b6676;--line:#dfe3ea;--paper:#f6f7f9;--sheet:#ffffff;
--blue:#2f74b5;--good:#1f8a63;--bad:#c23b4e;--wash:#eef2f7}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ee;--soft:#9aa5b4;--line:#303846;--paper:#12161c;
--sheet:#1a2028;--blue:#6db1ee;--good:#4fc298;--bad:#f07f8e;--wash:#232b36}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;-webkit-font-smoothing:antialiased}
main{max-width:1120px;margin:0 auto;padding:44px 28px 64px}
header{margin-bottom:28px}
h1{font-size:30px;line-height:1.2;letter-spacing:-.015em;margin:0 0 6px}
h2{font-size:19px;letter-spacing:-.005em;margin:0 0 6px}
p{margin:0 0 12px;max-width:76ch}
.lead{font-size:17px;color:var(--soft)}
.note{color:var(--soft);font-size:15px;margin-bottom:16px}
section{background:var(--sheet);border:1px solid var(--line);border-radius:12px;padding:22px 24px;margin:0 0 20px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(172px,1fr));gap:12px;margin:0 0 20px}
section .cards{margin:4px 0 18px}
.card{background:var(--sheet);border:1px solid var(--line);border-radius:12px;padding:14px 16px;display:flex;
flex-direction:column;gap:2px;border-top:3px solid var(--blue)}
section .card{background:var(--wash);border-color:transparent;border-top-color:var(--blue)}
.card.good{border-top-color:var(--good)}.card.bad{border-top-color:var(--bad)}.card.quiet{border-top-color:var(--line)}
.card .label{font-size:13px;color:var(--soft)}
.card .value{font-size:25px;font-weight:650;letter-spacing:-.02em;font-variant-numeric:tabular-nums;line-height:1.25}
.card .under{font-size:13px;color:var(--soft);font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;margin:0 0 12px}
table{border-collapse:collapse;width:100%;font-size:14.5px}
th{font-weight:600;text-align:left;color:var(--soft);font-size:13px;border-bottom:1px solid var(--line);
padding:6px 14px 6px 0;white-space:nowrap}
td{border-bottom:1px solid var(--line);padding:7px 14px 7px 0;vertical-align:top}
td:first-child,td code{white-space:nowrap}
tbody tr:last-child td{border-bottom:0}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
figure{margin:6px 0 14px;color:var(--ink)}
figure svg{display:block;width:100%;height:auto;max-width:100%}
figcaption{font-size:14px;color:var(--soft);max-width:76ch;margin-top:4px}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(380px,1fr));gap:8px 32px;align-items:start}
.columns>div{min-width:0}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(236px,1fr));gap:20px 24px;align-items:start;
margin:6px 0 12px}
.grid>div{min-width:0}
.grid h3{font-size:14px;margin:0 0 2px;overflow-wrap:anywhere;display:flex;gap:6px;align-items:baseline}
.grid p{font-size:13px;line-height:1.4;color:var(--soft);margin:2px 0 0}
svg.small{display:block;width:100%;height:auto;font:9px system-ui,sans-serif;color:var(--soft)}
svg.small text{fill:currentColor}
svg .was{fill:var(--line);stroke:none}svg .bar{fill:var(--blue)}svg .now{fill:none;stroke:var(--blue);stroke-width:1.6}
svg .axis{stroke:var(--line)}svg .groove{fill:var(--wash)}svg .over{fill:var(--bad)}
svg .mark{stroke:var(--ink);stroke-width:1.5}
svg.meter{vertical-align:middle}
.badge{display:inline-block;border-radius:999px;padding:1px 10px;font-size:13px;font-weight:600;background:var(--wash);
color:var(--blue)}
.badge.good{color:var(--good)}.badge.bad{color:var(--bad)}.badge.quiet{color:var(--soft)}
code,pre{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
code{background:var(--wash);border-radius:5px;padding:1px 5px;overflow-wrap:anywhere}
pre{background:var(--wash);border-radius:8px;padding:12px 14px;overflow-x:auto;margin:0 0 12px}
footer{color:var(--soft);font-size:13px;margin-top:28px}
@media (max-width:480px){.columns{grid-template-columns:1fr}main{padding:24px 14px}}
@media print{body{background:#fff}main{max-width:none;padding:0}section{break-inside:avoid;border-color:#ccc}}
"""
