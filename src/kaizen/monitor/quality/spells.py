"""What the quality of rows leaves behind: incidents under way, and the days that nothing is learned from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

import msgspec

from kaizen.core.records import Column
from kaizen.graph.frame import Frame
from kaizen.monitor.paging import Incident
from kaizen.monitor.quality.bad_rows import RateKind
from kaizen.stats.rates import RateDetector

TroubleKind: TypeAlias = RateKind | Literal["volume", "columns"]

HEAVY: Final = 0.1  # of a day's rows: from then on the others cannot be trusted either
_OF_ROWS: Final = frozenset(("range", "extreme", "categories", "missing", "check", "repeats"))
_DOUBTFUL: Final = frozenset(("range", "extreme", "missing"))  # kinds in which a bad row may look like a good one


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """An event day's rows, as the log has them.

    Attributes
    ----------
    day, start, end
        Its number, as `kaizen.stats.blocks.day_blocks` counts, and when it begins and ends.
    frame
        The inputs; empty on a day without rows.
    rows
        How many there are.
    expected, logged
        The columns of the signature, and those that the log carries; None: not known.
    hidden
        Columns that the log is told not to carry.
    """

    day: int
    start: datetime
    end: datetime
    frame: Frame
    rows: int
    expected: tuple[Column, ...] | None = None
    logged: tuple[Column, ...] | None = None
    hidden: frozenset[str] = frozenset()

    def begin_of(self, day: int) -> datetime:
        """Return when another day began, about."""
        return self.start - timedelta(days=self.day - day)


class Spell(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Days on which rows were bad: what nothing is learned from.

    ``heavy_from`` is the first day on which a tenth of the rows was bad, and ``last_day`` is None while it goes on.
    """

    subject: str
    kind: TroubleKind
    columns: tuple[str, ...]
    first_day: int
    last_day: int | None = None
    heavy_from: int | None = None

    @property
    def whole_from(self) -> int | None:
        """From when on all rows of a day are left out, because a bad one may look like a good one; None: never."""
        return self.heavy_from if self.kind in _DOUBTFUL else None


class Trouble(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An incident under way.

    ``began`` is when the suspicion did, ``opened`` when there was enough of it, ``heavy_from`` when so many rows of a
    day were bad that the others, the answers and the losses cannot be trusted either; ``hits``, ``rows`` and ``days``
    are of the run of good days that may end it.
    """

    subject: str
    kind: TroubleKind
    columns: tuple[str, ...]
    began: int
    opened: int
    last_bad: int
    heavy_from: int | None = None
    hits: int = 0
    rows: int = 0
    days: int = 0
    is_declared: bool = False
    finding: str = ""

    @property
    def is_of_rows(self) -> bool:
        """Whether rows are bad, not missing as a whole."""
        return self.kind in _OF_ROWS

    def after(self, day: int, share: float) -> Trouble:
        """Return the incident after a bad day, with this share of bad rows."""
        heavy = self.heavy_from if self.heavy_from is not None or share < HEAVY else day
        return msgspec.structs.replace(self, last_bad=day, heavy_from=heavy, hits=0, rows=0, days=0)

    def spell(self, last_day: int | None = None) -> Spell:
        """Return its days."""
        return Spell(
            subject=self.subject,
            kind=self.kind,
            columns=self.columns,
            first_day=self.began,
            last_day=last_day,
            heavy_from=self.heavy_from,
        )


class QualityState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is remembered from one day to the next; of shares only those that are suspicious."""

    rates: dict[str, RateDetector] = {}
    troubles: tuple[Trouble, ...] = ()
    over: tuple[Spell, ...] = ()
    accepted: tuple[str, ...] = ()  # subjects that count as normal now
    told: dict[str, int] = {}  # of rules that single rows broke: when that was said last
    recent: tuple[tuple[int, int], ...] = ()  # days and their rows
    since: int | None = None  # the first day that the next summary speaks of
    seen: int = 0  # rows since then
    bad: int = 0  # of them, those that break a rule

    @property
    def spells(self) -> tuple[Spell, ...]:
        """All days on which rows were bad, those under way included."""
        return (*self.over, *(trouble.spell() for trouble in self.troubles if trouble.is_of_rows))

    def trouble(self, subject: str) -> Trouble | None:
        """Return the incident of this subject that is under way."""
        return next((trouble for trouble in self.troubles if trouble.subject == subject), None)

    def without(self, subject: str) -> QualityState:
        """Return the state without the incident of this subject."""
        left = tuple(trouble for trouble in self.troubles if trouble.subject != subject)
        return msgspec.structs.replace(self, troubles=left)

    def taking_in(self, trouble: Trouble) -> QualityState:
        """Return the state with this incident in place of what was known of its subject."""
        troubles = (*self.without(trouble.subject).troubles, trouble)
        return msgspec.structs.replace(self, troubles=troubles)

    def heir(self) -> QualityState:
        """Return the state for a new champion: what is under way goes on, held against its own rules."""
        return msgspec.structs.replace(self, rates={}, accepted=())

    def knowing(self, subjects: Sequence[Incident], day: int) -> QualityState:
        """Return the state with the incidents that are open and that it has not heard of."""
        state = self
        for incident in subjects:
            if state.trouble(incident.subject) is None:
                subject = incident.subject
                found = Trouble(
                    subject=subject, kind="range", columns=(subject,), began=day, opened=day, last_bad=day - 1
                )
                state = state.taking_in(found)
        return state
