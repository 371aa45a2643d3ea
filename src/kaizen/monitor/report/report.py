"""The report of a comparison: one self-contained HTML page, with the distributions side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kaizen.monitor.drift.change import Change
from kaizen.monitor.drift.compare import ColumnCompared, Comparison, TableRead, Together
from kaizen.monitor.report.pictures import picture
from kaizen.page.page import Card, Html, badge, cards, grid, joined, page, paragraph, section, table
from kaizen.page.small import meter, outlines, pairs

_HOW = (
    "A column pages when two keys turn: the evidence, an e-value of “nothing changed”, reaches what it needs, and the "
    "effect reaches what matters. Without a change some column has the evidence in at most 1 % of comparisons, however "
    "many there are. Grey is the reference, blue is now; missing values are left out of the pictures."
)
_MOST_IMPORTANT = 12


def html(found: Comparison, changes: Mapping[str, Sequence[Change]]) -> str:
    """Return the report as one HTML document.

    Parameters
    ----------
    changes
        The counts behind each column, as `kaizen.loop.compare.walk` gives them.
    """
    paging = [column for column in found.columns if column.page]
    others = [column for column in found.columns if not column.page and column.name in changes]
    left_out = [column for column in found.columns if column.name not in changes]
    parts = [_headline(found, paging)]
    if paging:
        parts.append(section("What changed", _table(paging), _pictures(paging, changes)))
    if found.together is not None:
        parts.append(_all_at_once(found.together))
    if others:
        note = "By how far they lie from the reference; what lies under what matters is shown all the same."
        parts.append(section("Columns that page nobody", _pictures(others, changes), note=note))
    if found.odd:
        rows = [(finding.subject, finding.says) for finding in found.odd]
        note = "Single rows and columns that are not what they were; they page nobody."
        parts.append(section("To look at", table(("column", "what it says"), rows), note=note))
    if left_out:
        parts.append(section("Not compared", table(("column", "why"), [(c.name, c.why) for c in left_out])))
    parts.append(section("How to read this", paragraph(_HOW), paragraph(_blocks(found))))
    subtitle = f"{_told(found.current)}, held against {_told(found.reference)}"
    return page(found.says, *parts, subtitle=subtitle, footer="Made by kaizen monitor report.")


def _told(read: TableRead) -> str:
    span = ""
    if read.start is not None and read.end is not None:
        span = f" from {read.start:%Y-%m-%d} to {read.end:%Y-%m-%d}"
    return f"{read.address} ({read.rows:,} rows{span})"


def _blocks(found: Comparison) -> str:
    by = f"days of {found.time!r}" if found.time else "thirty stretches of the reference's rows"
    return f"Rows that come together are alike and count for less, by how much {by} differ among themselves."


def _headline(found: Comparison, paging: Sequence[ColumnCompared]) -> Html:
    judged = [column for column in found.columns if column.limit > 0]
    shown = [
        Card("worth a page", "yes" if found.page else "no", tone="bad" if found.page else "good"),
        Card("columns changed", f"{len(paging)} of {len(judged)}", tone="quiet"),
        Card("rows", f"{found.current.rows:,}", f"reference: {found.reference.rows:,}", tone="quiet"),
    ]
    usual = sorted(column.detectable for column in judged)
    if usual:
        smallest = usual[len(usual) // 2]
        shown.append(Card("could have shown", f"{smallest:.3f}", "distance, in half of the columns", tone="quiet"))
    return cards(shown)


def _table(paging: Sequence[ColumnCompared]) -> Html:
    rows = [
        (
            column.name,
            column.why,
            meter(column.effect, column.matters, 1.0 if column.cause == "missing" else 0.833, label="effect"),
            f"{column.effect:.3f} of {column.matters:g}",
            f"{_short(column.evidence)} of {_short(column.limit)}",
        )
        for column in paging
    ]
    return table(("column", "what it says", "", "effect", "evidence"), rows, numbers=(3, 4))


def _short(evidence: float) -> str:
    return f"{evidence:,.0f}" if evidence < 1e6 else "over a million"


def _pictures(columns: Sequence[ColumnCompared], changes: Mapping[str, Sequence[Change]]) -> Html:
    shown = []
    for column in columns:
        parts = changes[column.name]
        worst = next((part for part in parts if part.profile.part == column.part), parts[0])
        head = f"<h3>{badge(f'{column.effect:.3f}', 'bad' if column.page else 'quiet')}"
        shown.append(joined([Html(head), Html(f"{_name(worst)}</h3>"), drawn(worst), paragraph(share_missing(worst))]))
    return grid(*shown)


def drawn(change: Change) -> Html:
    """Return the picture of a column's reference and of other rows."""
    seen = picture(change.profile.bins, change.profile.counts, change.counts)
    if change.profile.bins.edges is None:
        return pairs(seen.labels, seen.before, seen.now, label=change.profile.label)
    return outlines(seen.before, seen.now, seen.low, seen.high, label=change.profile.label)


def _name(change: Change) -> Html:
    return joined([change.profile.label])


def share_missing(change: Change) -> str:
    """Return how many values are missing, and how many were, for people."""
    if change.missing == change.usually_missing == 0:
        return "none missing"
    return f"missing {change.missing:.1%}, was {change.usually_missing:.1%}"


def _all_at_once(together: Together) -> Html:
    joint = together.joint
    rows = [
        (name, f"{share:.0%}") for name, share in list(joint.importance.items())[:_MOST_IMPORTANT] if share >= 0.005
    ]
    figures = [
        Card("AUC of telling them apart", f"{joint.auc:.3f}", f"matters from {together.matters:g}", tone="quiet"),
        Card("mean discrepancy", f"{joint.mmd:.4f}", f"p = {joint.mmd_p_value:.3f}", tone="quiet"),
        Card("off the usual span", f"{joint.reconstruction:.3f}", "distance of reconstruction errors", tone="quiet"),
    ]
    note = f"{together.why[0].upper()}{together.why[1:]}"
    return section("All columns together", cards(figures), table(("column", "share"), rows, numbers=(1,)), note=note)
