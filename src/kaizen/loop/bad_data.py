"""What bad data forbids: retrainings that it explains, and rows that nothing is learned from.

a trigger on a column whose rows were bad      held, until two windows have passed since
rows that are absurd or break what is declared left out of a retraining
rows of the days on which a column was bad     left out: the bad ones, or all where a bad one may look like a good one
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.ids import derived
from kaizen.core.project import Project
from kaizen.core.records import Finding, Step
from kaizen.core.rules import RowRule, Rules
from kaizen.graph.batch_check import BatchCheck
from kaizen.loop.history import Answers
from kaizen.loop.journal import Journal
from kaizen.monitor.quality.repeats import repeated
from kaizen.monitor.quality.spells import QualityState, Spell
from kaizen.monitor.reference import OUTPUT
from kaizen.monitor.window import day_name
from kaizen.stats.blocks import day_blocks

LEFT_OUT: Final = "retraining rows"
_WINDOWS: Final = 2  # after so many, one began and ended after the bad days


def explains(spells: Sequence[Spell], trigger: str, subject: str, *, day: int, window_days: int) -> Spell | None:
    """Return the bad days that explain why a trigger fired, None where its cause may be real.

    A drift of a column is explained by bad rows of that column; a drift of the answers, and a loss of performance, by
    so many bad rows that answers cannot be trusted. They explain it until a window without them was judged.
    """
    for spell in spells:
        is_near = spell.last_day is None or day <= spell.last_day + _WINDOWS * window_days
        of_answers = trigger == "performance" or (trigger == "drift" and subject == OUTPUT)
        if is_near and (subject in spell.columns if not of_answers else spell.heavy_from is not None):
            return spell
    return None


def said(spell: Spell) -> str:
    """Return what was bad and when, for people."""
    if spell.last_day is None:
        return f"bad data: {spell.subject} since {day_name(spell.first_day)}"
    days = f"from {day_name(spell.first_day)} to {day_name(spell.last_day)}"
    return f"bad data: {spell.subject} {days}, and no whole window has passed since"


class _Watch(msgspec.Struct, frozen=True):
    quality: QualityState = QualityState()


class _State(msgspec.Struct, frozen=True):
    watch: _Watch = _Watch()


class _Turn(msgspec.Struct, frozen=True):
    state: _State = _State()


def spells(project: Project) -> tuple[Spell, ...]:
    """Return the bad days that the newest turn of the loop knows of."""
    steps = project.records.find(Step, where={"name": "turn"}, newest_first=True, limit=1)
    return Journal(project).result(steps[0], _Turn).state.watch.quality.spells if steps else ()


class Sieve:
    """Leaves out rows that nothing is learned from, and counts why.

    Parameters
    ----------
    rules
        What must hold for a row; None: nothing is known.
    bad_days
        The days on which rows were bad.
    time_zone
        Of the days.
    """

    def __init__(self, rules: Rules | None, bad_days: Sequence[Spell], time_zone: str) -> None:
        self._check = None if rules is None else BatchCheck(rules)
        self._bad_days = bad_days
        self._time_zone = time_zone
        self.reasons: Counter[str] = Counter()  # a row may be left out for several
        self.rows = 0
        self.left_out = 0

    def good(self, answered: Answers) -> NDArray[np.bool_]:
        """Return which rows may be learned from, (rows,)."""
        bad = np.zeros(len(answered.ids), np.bool_)
        masks = [] if self._check is None else [(rule, mask) for _, rule, mask in self._check.masks(answered.frame)]
        for rule, mask in masks:
            if rule.is_declared or rule.kind == "extreme":
                self._leave_out(bad, mask, _named(rule))
        days = day_blocks(answered.at, self._time_zone) if self._bad_days else np.empty(0, np.int64)
        for spell in self._bad_days:
            self._leave_out(bad, self._of_spell(spell, days, answered, masks), said(spell).partition(", and")[0])
        self.rows += len(bad)
        self.left_out += int(bad.sum())
        return ~bad

    def _leave_out(self, bad: NDArray[np.bool_], mask: NDArray[np.bool_], why: str) -> None:
        if mask.any():
            self.reasons[why] += int(mask.sum())
            bad |= mask

    def _of_spell(
        self,
        spell: Spell,
        days: NDArray[np.int64],
        answered: Answers,
        masks: Sequence[tuple[RowRule, NDArray[np.bool_]]],
    ) -> NDArray[np.bool_]:
        within = days >= spell.first_day
        if spell.last_day is not None:
            within &= days <= spell.last_day
        if spell.kind == "repeats":
            return within & repeated({**answered.frame, "": days})
        bad = np.zeros(len(days), np.bool_)
        for rule, mask in masks:
            if rule.name == spell.subject and (rule.kind == "check") == (spell.kind == "check"):
                bad |= mask
        if spell.kind == "missing" and spell.subject in answered.frame and self._check is not None:
            bad |= self._check.missing(spell.subject, answered.frame)
        if spell.whole_from is not None:
            bad |= days >= spell.whole_from
        return within & bad

    def finding(self, project: Project, at: datetime, asked: str) -> Finding | None:
        """Return how many rows were left out and why, None if all were good."""
        if not self.left_out:
            return None
        why = "; ".join(f"{reason} ({rows:,})" for reason, rows in self.reasons.most_common(5))
        return Finding(
            id=derived(at, project.name, LEFT_OUT, asked),
            project=project.name,
            at=at,
            by="loop",
            parents=(asked,),
            question=LEFT_OUT,
            subject="rows",
            method="rules of a row, and the days on which they were broken",
            estimate=self.left_out / self.rows,
            low=None,
            high=None,
            evidence=None,
            limit=None,
            verdict="watch",
            n=self.rows,
            says=f"Of {self.rows:,} logged rows with labels {self.left_out:,} are left out: {why}.",
        )


def _named(rule: RowRule) -> str:
    return f"check {rule.name}" if rule.kind == "check" else f"{rule.name} {rule.kind}"
