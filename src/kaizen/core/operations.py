"""What a server process tells of its own work: the figures of a span of time, which add up to those of longer ones.

    process 1   ─10 s─┬─10 s─┬─10 s─┬ …      one `Figures` each: what was counted since the one before
    process 2   ──┬─10 s─┬─10 s─┬ …          sums of them are those of minutes, days and whole servers

All of it adds up (`total`), but for the time, the revision and the peak of memory, of which the last and the
largest count. Figures of the past are merged, never averaged, so a quantile of a day is that of its requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec


class Figures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one process, or several together, did in a span of time. What is 0 or empty is left out on the disk.

    Histograms (``latency``, ``waited``, ``batches``, ``lag``) count by power of two: what is under bucket k has
    ``int.bit_length`` k, that is, it lies from 2**(k-1) to 2**k - 1. Times in them are microseconds.
    """

    at: int  # the end of the span: microseconds since 1970, UTC, by the wall clock
    seconds: float = 0.0  # how long it is by the steady clock; of several processes, the sum
    starts: int = 0  # processes that began
    stops: int = 0  # and that ended as they should: what is between the two was killed, or runs
    revisions: dict[str, int] = {}  # by endpoint: the one that answers
    requests: dict[str, dict[int, int]] = {}  # answered, by scope of the route (`predict`, `feedback`, …) and status
    overloaded: int = 0  # of those for predictions: refused, for they could not have been answered in time
    expired: int = 0  # given up, for their time was over before their turn
    cancelled: int = 0  # given up by who asked
    latency: dict[int, int] = {}  # of predictions that were answered (200), from bytes read to answer
    waited: dict[int, int] = {}  # from asked to the begin of the batch
    batches: dict[int, int] = {}  # by their rows
    rows: int = 0  # predictions made for somebody
    labels: int = 0
    spoilt: int = 0  # parts of requests at which the model failed
    unlogged: int = 0  # batches that could not be written to the log, or brought to the disk
    lag: dict[int, int] = {}  # how late the event loop came to its ticks, one a second
    busy_s: float = 0.0  # the event loop's thread ran
    starved_s: float = 0.0  # it would have run, and got no core
    scoring_s: float = 0.0  # the scoring thread ran a batch
    cpu_s: float = 0.0  # of all threads
    memory_byte_s: float = 0.0  # resident memory times how long it was held
    memory_peak: int = 0  # bytes, of one process


_LAST: Final = frozenset({"at", "revisions", "memory_peak"})
_SUMS: Final = tuple(name for name in Figures.__struct_fields__ if name not in _LAST)


def total(parts: Iterable[Figures]) -> Figures:
    """Return several spans, or processes, as one.

    >>> both = total([Figures(at=5, rows=2, latency={3: 1}), Figures(at=9, rows=1, latency={3: 1, 4: 1})])
    >>> both.at, both.rows, both.latency
    (9, 3, {3: 2, 4: 1})
    """
    at = peak = 0
    revisions: dict[str, int] = {}
    sums: dict[str, Any] = {}
    for part in parts:
        at, peak = max(at, part.at), max(peak, part.memory_peak)
        for name, revision in part.revisions.items():
            revisions[name] = max(revision, revisions.get(name, 0))
        for name in _SUMS:
            value = getattr(part, name)
            if value:
                sums[name] = _added(sums.get(name), value)
    return Figures(at=at, revisions=revisions, memory_peak=peak, **sums)


def since(now: Figures, before: Figures) -> Figures:
    """Return what was counted between two totals of one process."""
    sums = {name: _less(getattr(now, name), getattr(before, name)) for name in _SUMS}
    return msgspec.structs.replace(now, **sums)


def _added(one: Any, other: Any) -> Any:
    if not isinstance(other, dict):
        return other + (one or 0)
    both = dict(one or {})
    for key, value in other.items():
        both[key] = _added(both.get(key), value)
    return both


def _less(now: Any, before: Any) -> Any:
    """Return the difference; of counts by key, without those that stayed as they were."""
    if not isinstance(now, dict):
        return now - (before or 0)
    fresh = {key: _less(value, (before or {}).get(key)) for key, value in now.items()}
    return {key: value for key, value in fresh.items() if value}
