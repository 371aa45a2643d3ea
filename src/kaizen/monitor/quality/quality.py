"""Are the rows of a day what rows should be, and are there as many as should be? One step for each event day.

    rows ─ rules of a row ─► shares of bad rows ─┬─► e-SR: evidence ────────────┐
                                                 └─► lower bound: do they matter? ┴─► an incident of a column, a check
    rows ─ how many ─► beside four weeks ───────────────────────────────────────────► an incident of "rows"
    columns ─► beside the signature ────────────────────────────────────────────────► an incident of the column

An incident is over by itself once `CLEAN_ROWS` rows, or a week of days, are good again. What was only suggested by the
first data and goes on for `patience_days` counts as normal from then on. Single bad rows are told, and open nothing.
Nobody is paged unless the project says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from kaizen.core.records import Finding, Verdict
from kaizen.core.rules import RowRule, Rules
from kaizen.graph.batch_check import BatchCheck
from kaizen.monitor.paging import Incident, Stamp, settle
from kaizen.monitor.quality import bad_rows, log_columns, volume
from kaizen.monitor.quality.bad_rows import Day, Rate
from kaizen.monitor.quality.spells import QualityState, Rows, Trouble
from kaizen.monitor.reference import Reference
from kaizen.monitor.window import day_name
from kaizen.stats.intervals import clopper_pearson
from kaizen.stats.rates import RateDetector, detectable

QUESTION: Final = "quality"
SUMMARY: Final = "quality window"
SINGLE: Final = "quality rows"
ALL_ROWS: Final = "rows"  # the subject of how many there are
METHOD: Final = "e-SR on the share of bad rows, and its Clopper-Pearson lower bound"
METHOD_VOLUME: Final = "rows of a day beside four weeks"
METHOD_COLUMNS: Final = "columns of the log beside the signature"
METHOD_SINGLE: Final = "rules of a row"
OPENS_FROM, RESOLVES_BELOW = 0.01, 0.008  # over the share that there may be
CLEAN_ROWS: Final = 500  # of which none bad says: under 0.8 %
BETWEEN_FALSE_ALARMS: Final = 365.0  # days
_SHOWN: Final = 5
_TOLD_AGAIN: Final = 28  # days


class QualitySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits.

    Attributes
    ----------
    patience_days
        So long what only differs from the first data counts as bad.
    window_days
        How often a summary is made, and how many good days end an incident that sees few rows.
    between_days
        Between two false incidents of bad rows, on average, over all columns together.
    pages
        Whether an incident wakes somebody.
    """

    patience_days: int = 28
    window_days: int = 7
    between_days: float = BETWEEN_FALSE_ALARMS
    pages: bool = False


def assess_day(
    rules: Rules | None,
    reference: Reference,
    state: QualityState,
    today: Rows,
    incidents: tuple[Incident, ...],
    *,
    settings: QualitySettings,
    stamp: Stamp,
) -> tuple[QualityState, list[Finding], tuple[Incident, ...]]:
    """Return the state after a day, what there is to say of it, and the incidents open afterwards.

    Parameters
    ----------
    rules
        Of the champion's bundle; None: what its reference says of rows.
    reference
        What was normal: how far the rows of a day are alike.
    """
    rules = rules or bad_rows.rules_of(reference)
    open_now = [incident for incident in incidents if incident.question == QUESTION]
    judging = _Judging(state.knowing(open_now, today.day), today, incidents, settings, stamp)
    if today.rows:
        rates = bad_rows.watched(rules, reference)
        counted = bad_rows.count(rates, BatchCheck(rules), today.frame)
        judging.rates(rates, counted)
        judging.columns()
        judging.single_rows(counted)
    judging.volume(rules)
    judging.summary()
    return judging.state, judging.findings, judging.incidents


class _Judging:
    """One day's judgement, step by step."""

    def __init__(
        self,
        state: QualityState,
        today: Rows,
        incidents: tuple[Incident, ...],
        settings: QualitySettings,
        stamp: Stamp,
    ) -> None:
        self.state = state
        self.incidents = incidents
        self.findings: list[Finding] = []
        self._today = today
        self._settings = settings
        self._stamp = stamp
        self._alarm: Verdict = "page" if settings.pages else "watch"

    # Shares of bad rows

    def rates(self, rates: Sequence[Rate], counted: Day) -> None:
        """Judge each share, those of one subject together."""
        limit = self._settings.between_days * max(1, len(rates))
        by_subject: dict[str, list[Rate]] = {}
        for rate in rates:
            if rate.key in counted.hits and rate.subject not in self.state.accepted:
                by_subject.setdefault(rate.subject, []).append(rate)
        suspicious: dict[str, RateDetector] = {}
        for subject, own in by_subject.items():
            trouble = self.state.trouble(subject)
            if trouble is not None:
                self._go_on(trouble, own, counted)
                continue
            after = {rate.key: self._after(rate, counted) for rate in own}
            if not self._fires(own, after, counted, limit):
                suspicious |= {key: found for key, found in after.items() if found.evidence}
        self.state = msgspec.structs.replace(self.state, rates=suspicious)

    def _after(self, rate: Rate, counted: Day) -> RateDetector:
        before = self.state.rates.get(rate.key, RateDetector())
        hits = int(counted.hits[rate.key].sum())
        return before.update(hits * rate.worth, counted.rows * rate.worth, rate.bound, self._today.day)

    def _fires(self, rates: Sequence[Rate], after: Mapping[str, RateDetector], counted: Day, limit: float) -> bool:
        """Open an incident if both keys turn for one of these shares."""
        fired = [
            rate
            for rate in rates
            if after[rate.key].evidence >= limit and _least(rate, after[rate.key], counted) >= rate.bound + OPENS_FROM
        ]
        if not fired:
            return False
        rate = max(fired, key=lambda each: counted.share(each) - each.bound)
        detector = after[rate.key]
        finding = self._rate_finding(rate, counted, self._alarm, detector.began, detector.evidence, limit)
        self._open(
            Trouble(
                subject=rate.subject,
                kind=rate.kind,
                columns=rate.columns,
                began=detector.began,
                opened=self._today.day,
                last_bad=self._today.day,
                is_declared=rate.is_declared,
                finding=finding.id,
            ).after(self._today.day, counted.share(rate))
        )
        return True

    def _go_on(self, trouble: Trouble, rates: Sequence[Rate], counted: Day) -> None:
        """Take a day into an incident: a bad one starts the run of good days anew, a good one may end it."""
        own = next((rate for rate in rates if rate.kind == trouble.kind), rates[0])
        if any(_least(rate, None, counted) >= rate.bound for rate in rates):
            trouble = trouble.after(self._today.day, counted.share(own))
        else:
            hits, rows = trouble.hits + int(counted.hits[own.key].sum()), trouble.rows + counted.rows
            trouble = msgspec.structs.replace(trouble, hits=hits, rows=rows, days=trouble.days + 1)
        enough = trouble.rows >= CLEAN_ROWS or trouble.days >= self._settings.window_days
        if enough and trouble.hits < (own.bound + RESOLVES_BELOW) * trouble.rows:
            self._close(trouble)
            self.state = msgspec.structs.replace(self.state, over=(*self.state.over, trouble.spell(trouble.last_bad)))
            self._rate_finding(own, counted, "resolved", trouble.began, trouble=trouble)
        elif not trouble.is_declared and self._today.day - trouble.opened >= self._settings.patience_days:
            self._close(trouble)
            self.state = msgspec.structs.replace(self.state, accepted=(*self.state.accepted, trouble.subject))
            self._rate_finding(own, counted, "resolved", trouble.began)
        else:
            self.state = self.state.taking_in(trouble)

    # Columns, and how many rows

    def columns(self) -> None:
        """Judge whether the log carries the columns of the signature."""
        today = self._today
        if today.expected is None or today.logged is None:
            return
        changed = log_columns.changes(today.expected, today.logged, today.hidden)
        for trouble in [each for each in self.state.troubles if each.kind == "columns"]:
            if trouble.subject not in changed:
                self._close(trouble)
                says = f"The log carries {trouble.subject} as the signature has it."
                self._say(trouble.subject, METHOD_COLUMNS, "resolved", says, trouble.began)
        for name, says in changed.items():
            if self.state.trouble(name) is None:
                finding = self._say(name, METHOD_COLUMNS, self._alarm, says, today.day, blames=(name,))
                self._open_today(name, "columns", (name,), finding)

    def volume(self, rules: Rules) -> None:
        """Judge how many rows there are."""
        day, rows = self._today.day, self._today.rows
        judged = volume.judge(rules.flow, self.state.recent, day, rows)
        recent = [each for each in self.state.recent if each[0] < day]
        self.state = msgspec.structs.replace(self.state, recent=(*recent, (day, rows))[-volume.KEPT_DAYS :])
        trouble = self.state.trouble(ALL_ROWS)
        if judged is None or (trouble is not None and trouble.kind != "volume"):
            return
        usual = f"on {day_name(day)}, where {judged.usual:,.0f} are usual"
        evidence: dict[str, Any] = {
            "estimate": judged.ratio,
            "matters": volume.MORE if rows > judged.usual else volume.FEWER,
        }
        if judged.fires and trouble is None:
            says = f"{f'{rows:,}' if rows else 'No'} rows {usual}."
            self._open_today(
                ALL_ROWS, "volume", (), self._say(ALL_ROWS, METHOD_VOLUME, self._alarm, says, day, **evidence)
            )
        elif judged.is_usual and trouble is not None:
            self._close(trouble)
            says = f"As many rows as usual again: {rows:,} {usual}."
            self._say(ALL_ROWS, METHOD_VOLUME, "resolved", says, trouble.began, **evidence)

    # What is told and opens nothing

    def single_rows(self, counted: Day) -> None:
        """Tell of the rows that are absurd, lie far out, or break what is declared."""
        self._tally(counted)
        news = [(rule, mask) for rule, mask in counted.broken if mask.any() and self._is_news(rule)]
        if not news:
            return
        self._remember([rule for rule, _ in news])
        news.sort(key=lambda each: (each[0].kind != "extreme", -int(each[1].sum()), each[0].name))
        odd = np.logical_or.reduce([mask for _, mask in news])
        frame = self._today.frame
        parts = [_told(rule, int(mask.sum()), bad_rows.example(rule, mask, frame)) for rule, mask in news[:_SHOWN]]
        more = f", and {len(news) - _SHOWN} rules more" if len(news) > _SHOWN else ""
        of = f"{int(odd.sum())} of {counted.rows:,} rows of {day_name(self._today.day)}"
        self._finding(
            question=SINGLE,
            subject=news[0][0].name,
            method=METHOD_SINGLE,
            verdict="watch",
            says=f"{of} are odd: {'; '.join(parts)}{more}.",
            estimate=float(odd.mean()),
            blames=tuple(dict.fromkeys(rule.name for rule, _ in news)),
        )

    def _tally(self, counted: Day) -> None:
        bad = np.zeros(counted.rows, np.bool_)
        for _, mask in counted.broken:
            bad |= mask
        seen, broken = self.state.seen + counted.rows, self.state.bad + int(bad.sum())
        self.state = msgspec.structs.replace(self.state, seen=seen, bad=broken)

    def _is_news(self, rule: RowRule) -> bool:
        """Say whether single rows that break a rule are told: always what is absurd, the rest once in four weeks.

        What has an incident, or counts as normal, was told.
        """
        if rule.name in self.state.accepted or self.state.trouble(rule.name) is not None:
            return False
        last = self.state.told.get(f"{rule.kind} {rule.name}")
        is_new = last is None or self._today.day - last >= _TOLD_AGAIN
        return rule.kind == "extreme" or (is_new and (rule.is_declared or rule.kind == "range"))

    def _remember(self, told: Sequence[RowRule]) -> None:
        day = self._today.day
        recent = {key: last for key, last in self.state.told.items() if day - last < _TOLD_AGAIN}
        now = {f"{rule.kind} {rule.name}": day for rule in told}
        self.state = msgspec.structs.replace(self.state, told=recent | now)

    def summary(self) -> None:
        """Say once a window how it went."""
        state, day = self.state, self._today.day
        if state.since is None:
            self.state = state = msgspec.structs.replace(state, since=day)
        assert state.since is not None
        if day - state.since < self._settings.window_days - 1:
            return
        still = [trouble.subject for trouble in state.troubles]
        span = f"from {day_name(state.since)} to {day_name(day)}"
        says = f"Of {state.seen:,} rows {span}, {state.bad:,} break a rule."
        low, high = clopper_pearson(state.bad, state.seen)
        self._finding(
            question=SUMMARY,
            subject=ALL_ROWS,
            method=METHOD_SINGLE,
            verdict="watch" if still else "ok",
            says=f"{says} Open: {', '.join(still)}." if still else says,
            estimate=state.bad / max(1, state.seen),
            low=float(low),
            high=float(high),
            n=state.seen,
            start_day=state.since,
        )
        self.state = msgspec.structs.replace(state, since=day + 1, seen=0, bad=0)

    # Incidents and findings

    def _open(self, trouble: Trouble) -> None:
        _, self.incidents = settle(
            self.incidents, QUESTION, trouble.subject, fires=True, clean=False, at=self._today.end
        )
        self.state = self.state.taking_in(trouble)

    def _open_today(self, subject: str, kind: Any, columns: tuple[str, ...], finding: Finding) -> None:
        day = self._today.day
        self._open(
            Trouble(
                subject=subject, kind=kind, columns=columns, began=day, opened=day, last_bad=day, finding=finding.id
            )
        )

    def _close(self, trouble: Trouble) -> None:
        _, self.incidents = settle(
            self.incidents, QUESTION, trouble.subject, fires=False, clean=True, at=self._today.end
        )
        self.state = self.state.without(trouble.subject)

    def _rate_finding(
        self,
        rate: Rate,
        counted: Day,
        verdict: Verdict,
        began: int,
        evidence: float | None = None,
        limit: float | None = None,
        trouble: Trouble | None = None,
    ) -> Finding:
        hits = int(counted.hits[rate.key].sum())
        low, high = clopper_pearson(hits * rate.worth, counted.rows * rate.worth)
        days = f"From {day_name(began)} on" if began < self._today.day else f"On {day_name(began)}"
        says = f"{days}, {counted.share(rate):.1%} of the rows ({hits:,}) {rate.says}"
        shown = bad_rows.example(rate, counted.hits[rate.key], self._today.frame) if hits else ""
        says += f", such as {shown}." if shown else "."
        if verdict == "resolved" and trouble is not None:
            last = day_name(trouble.last_bad)
            says = f"Good again since {last}: {trouble.hits:,} of {trouble.rows:,} rows {rate.says}."
        elif verdict == "resolved":
            patience = f"{self._settings.patience_days} days after it was found"
            says = f"{rate.subject} counts as normal from now on, {patience}. {says}"
        return self._say(
            rate.subject,
            METHOD,
            verdict,
            says,
            began,
            estimate=counted.share(rate),
            low=float(low),
            high=float(high),
            evidence=evidence,
            limit=limit,
            matters=rate.bound + OPENS_FROM,
            detectable=detectable(counted.rows * rate.worth, rate.bound + OPENS_FROM),
            blames=rate.columns,
        )

    def _say(self, subject: str, method: str, verdict: Verdict, says: str, began: int, **evidence: Any) -> Finding:
        begin = self._today.begin_of(began)
        return self._finding(
            question=QUESTION, subject=subject, method=method, verdict=verdict, says=says, began=begin, **evidence
        )

    def _finding(self, *, start_day: int | None = None, **evidence: Any) -> Finding:
        today = self._today
        usual = {"estimate": None, "low": None, "high": None, "evidence": None, "limit": None, "n": today.rows}
        start = today.start if start_day is None else today.begin_of(start_day)
        finding = self._stamp(**{**usual, "start": start, "end": today.end, **evidence})
        self.findings.append(finding)
        return finding


def _least(rate: Rate, detector: RateDetector | None, counted: Day) -> float:
    """Return the 95 % lower bound of a share, of today's rows or since the suspicion began, whichever says more."""
    hits, rows = [counted.hits[rate.key].sum() * rate.worth], [counted.rows * rate.worth]
    if detector is not None:
        hits.append(detector.hits)
        rows.append(detector.rows)
    return float(clopper_pearson(hits, rows)[0].max())


def _told(rule: RowRule, rows: int, shown: str) -> str:
    if rule.kind == "check":
        return f"check {rule.name} ({rows})"
    if rule.kind == "missing":
        return f"{rule.name} missing ({rows})"
    return f"{rule.name} {shown} ({rows}; {rule.wants})"
