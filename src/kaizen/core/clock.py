"""Time is a port: the wall clock in production, the rows' own time in a replay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time that decisions are made at. Thread-safe; never goes backwards."""

    def now(self) -> datetime:
        """Return the present moment, in UTC."""
        ...


class SystemClock:
    """The wall clock."""

    def now(self) -> datetime:
        """Return the present moment, in UTC."""
        return datetime.now(UTC)


class EventClock:
    """A clock that stands still until it is set: the time of the events being replayed."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """Return the moment it was last set to."""
        return self._at

    def advance(self, to: datetime) -> None:
        """Set the clock to a later moment; an earlier one is refused."""
        if to < self._at:
            raise ValueError(f"the clock stands at {self._at.isoformat()} and cannot go back to {to.isoformat()}")
        self._at = to


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(at: datetime) -> int:
    """Return microseconds since 1970 in UTC, exactly (a float second would round)."""
    return (at - EPOCH) // _MICROSECOND


def from_us(at_us: int) -> datetime:
    """Return the moment of microseconds since 1970, in UTC."""
    return EPOCH + timedelta(microseconds=at_us)
