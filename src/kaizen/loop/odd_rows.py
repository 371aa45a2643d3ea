"""What is odd in a table beside a reference, though it is no drift: absurd values, unreadable ones, late rows, columns.

The rules are those that a project's first data suggest (`kaizen.core.rules`), read off the reference's counts; the
table is gone over once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from kaizen.core.ids import derived
from kaizen.core.records import Finding
from kaizen.core.rules import Rule, Rules
from kaizen.data import validate
from kaizen.data.columns import kind_of
from kaizen.data.rules import outside_of
from kaizen.data.validate import Violation
from kaizen.loop.pair import Pair
from kaizen.monitor.drift.change import Change
from kaizen.monitor.quality.quality import METHOD_SINGLE, SINGLE

_TOLD: Final = ("present", "new", "type", "range", "extreme", "late")  # what is missing or unknown is drift's to say


def odd_rows(
    pair: Pair, changes: Mapping[str, Sequence[Change]], at: datetime, ignore: Sequence[str] = ()
) -> list[Finding]:
    """Return a finding for each column with something odd; none of them pages.

    Parameters
    ----------
    changes
        The counts of each column that is compared, by its name.
    ignore
        Columns to leave out.
    """
    rules = {name: _rule(pair, name, changes.get(name, ())) for name in pair.old.stored if name not in ignore}
    looked_at = [name for name, rule in rules.items() if _may_be_odd(pair, rule, changes.get(name, ()))]
    kept = Rules(
        rows=pair.old.rows,
        columns=tuple(rules[name] for name in looked_at),
        task="regression",
        target="",
        time=pair.time,
        ignored=(*ignore, *(rules.keys() - set(looked_at))),
    )
    found = validate.check(pair.new.sql, pair.new.view, kept)
    return [_finding(violation, pair, at) for violation in found if violation.rule in _TOLD]


def _rule(pair: Pair, name: str, changes: Sequence[Change]) -> Rule:
    kind = pair.kind_of(name) or "category"
    bins = changes[0].profile.bins if changes else None
    if kind != "number" or bins is None or not bins.edges:
        return Rule(column=name, type=kind, seen=pair.old.filled[name] > 0)
    return Rule(column=name, type=kind, low=bins.low, high=bins.high, max_outside=outside_of(pair.old.filled[name]))


def _may_be_odd(pair: Pair, rule: Rule, changes: Sequence[Change]) -> bool:
    """Say whether the counts leave it open that a column has something odd: most have nothing, and cost no pass."""
    stored = pair.new.stored.get(rule.column)
    if stored is None or rule.column == pair.time or kind_of(stored) != kind_of(pair.old.stored[rule.column]):
        return True
    if rule.low is None:
        return False
    counts = changes[0].counts  # far below, below, …, above, far above, missing
    beyond = counts[0] + counts[1] + counts[-3] + counts[-2]
    return bool(counts[0] + counts[-2] > 0 or beyond > rule.max_outside * max(1.0, counts[:-1].sum()))


def _finding(violation: Violation, pair: Pair, at: datetime) -> Finding:
    return Finding(
        id=derived(at, "compare", pair.new.address, violation.rule, violation.column),
        project="compare",
        at=at,
        by="compare",
        question=SINGLE,
        subject=violation.column,
        method=METHOD_SINGLE,
        estimate=violation.rows / pair.new.rows,
        low=None,
        high=None,
        evidence=None,
        limit=None,
        verdict="watch",
        n=pair.new.rows,
        says=violation.says,
        blames=(violation.column,),
    )
