"""One revision for all workers: who says what, and when everybody switches.

    worker      Saw r+1 ─┐      ┌─ Prepare ─► loads, warms ─ Prepared ─┐      ┌─ Commit ─► switches
    supervisor           └──────┴──────────────── all have ────────────┴──────┘
                                                  one Failed, or died: Abort to all, and again in a while

A worker switches only when every worker could: before the last one is warm nobody answers with the new revision.
One that cannot load it, or dies of it, rolls it back everywhere. A worker that is started anew is brought to the
revision that serves before it takes requests, and then takes part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from kaizen.core.records import Endpoint

_RETRY_S: Final = 3.0
_RETRY_MOST_S: Final = 60.0


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """To a worker: load and warm this revision, and keep it beside the one that serves."""

    name: str
    epoch: int
    endpoint: Endpoint


class Commit(msgspec.Struct, frozen=True, tag=True):
    """To a worker: answer with what was prepared in this epoch."""

    name: str
    epoch: int


class Abort(msgspec.Struct, frozen=True, tag=True):
    """To a worker: drop what was prepared in this epoch; why."""

    name: str
    epoch: int
    reason: str


class AllOpen(msgspec.Struct, frozen=True, tag=True):
    """To one worker: all take requests now; say that the server is ready."""


class Begun(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: what is served could be composed."""


class Open(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: this worker takes requests."""


class Saw(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: this is an endpoint's newest revision."""

    name: str
    endpoint: Endpoint


class Prepared(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: loaded and warm."""

    name: str
    epoch: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: not loaded; why."""

    name: str
    epoch: int
    reason: str


Order: TypeAlias = Prepare | Commit | Abort | AllOpen
Report: TypeAlias = Begun | Open | Saw | Prepared | Failed


class Accord:
    """The supervisor's side of one endpoint's swaps: what it hears it answers with orders.

    Parameters
    ----------
    name
        The endpoint.
    tell
        Sends a worker an order; orders to one worker arrive in their order, or it is dead.
    now
        A monotonic clock, in seconds.
    """

    def __init__(self, name: str, tell: Callable[[int, Order], None], now: Callable[[], float]) -> None:
        self._name = name
        self._tell = tell
        self._now = now
        self._epoch = 0
        self._members: set[int] = set()  # workers with the committed revision, or any before there is one
        self._joining: dict[int, tuple[int, Endpoint]] = {}  # those that are brought to it: epoch, and what they load
        self._rejoin: dict[int, float] = {}  # those that failed to, and when to try again
        self._newest: Endpoint | None = None
        self._pending: tuple[int, Endpoint] | None = None
        self._waiting: set[int] = set()  # members that have not answered in the pending epoch
        self._again = 0.0
        self._failures = 0  # of the newest revision, one after the other
        self.committed: Endpoint | None = None

    def joined(self, worker: int) -> None:
        """Take a worker that was started."""
        if self.committed is not None:
            self._bring(worker, self.committed)
            return
        self._members.add(worker)
        self._ask(worker)
        self._begin_if_due()

    def left(self, worker: int) -> None:
        """Forget a worker that ended."""
        self._members.discard(worker)
        self._joining.pop(worker, None)
        self._rejoin.pop(worker, None)
        if worker in self._waiting:
            self._abort(worker, "it ended while it loaded")

    def saw(self, endpoint: Endpoint) -> None:
        """Note an endpoint's revision; only a newer one than any before counts."""
        if self._newest is None or endpoint.revision > self._newest.revision:
            self._newest = endpoint
            self._failures, self._again = 0, 0.0
            self._begin_if_due()

    def prepared(self, worker: int, epoch: int) -> None:
        """Note that a worker is warm; whoever is the last makes all switch."""
        if self._joining.get(worker, (0,))[0] == epoch:
            self._has_joined(worker, epoch)
        elif self._pending is not None and self._pending[0] == epoch:
            self._waiting.discard(worker)
            if not self._waiting:
                self._commit(*self._pending)

    def failed(self, worker: int, epoch: int, reason: str) -> None:
        """Note that a worker could not load."""
        if self._joining.get(worker, (0,))[0] == epoch:
            _, endpoint = self._joining.pop(worker)
            self._rejoin[worker] = self._now() + _RETRY_S
            self._tell(worker, Abort(self._name, epoch, _said(endpoint, worker, reason)))
        elif self._pending is not None and self._pending[0] == epoch:
            self._abort(worker, reason)

    def tick(self) -> None:
        """Try again what is due; called a few times a second."""
        for worker, due in tuple(self._rejoin.items()):
            if self.committed is not None and self._now() >= due:
                del self._rejoin[worker]
                self._bring(worker, self.committed)
        self._begin_if_due()

    def _begin_if_due(self) -> None:
        newest = self._newest
        if newest is None or self._pending is not None or not self._members or self._now() < self._again:
            return
        if self.committed is not None and newest.revision <= self.committed.revision:
            return
        self._epoch += 1
        self._pending = (self._epoch, newest)
        for worker in sorted(self._members):
            self._ask(worker)

    def _ask(self, worker: int) -> None:
        if self._pending is not None:
            epoch, endpoint = self._pending
            self._waiting.add(worker)
            self._tell(worker, Prepare(self._name, epoch, endpoint))

    def _commit(self, epoch: int, endpoint: Endpoint) -> None:
        self.committed, self._pending = endpoint, None
        self._failures = 0
        for worker in sorted(self._members):
            self._tell(worker, Commit(self._name, epoch))
        self._begin_if_due()

    def _abort(self, worker: int, reason: str) -> None:
        if self._pending is None:
            return
        (epoch, endpoint), self._pending = self._pending, None
        self._waiting.clear()
        for member in sorted(self._members):
            self._tell(member, Abort(self._name, epoch, _said(endpoint, worker, reason)))
        if self._newest is endpoint:  # else there is a newer one already, which may be better
            self._again = self._now() + min(_RETRY_S * 2**self._failures, _RETRY_MOST_S)
            self._failures += 1
        self._begin_if_due()

    def _bring(self, worker: int, endpoint: Endpoint) -> None:
        self._epoch += 1
        self._joining[worker] = (self._epoch, endpoint)
        self._tell(worker, Prepare(self._name, self._epoch, endpoint))

    def _has_joined(self, worker: int, epoch: int) -> None:
        _, endpoint = self._joining.pop(worker)
        if self.committed is not None and endpoint is not self.committed:  # the others went on meanwhile
            self._bring(worker, self.committed)
            return
        self._tell(worker, Commit(self._name, epoch))
        self._members.add(worker)
        self._ask(worker)
        self._begin_if_due()


def _said(endpoint: Endpoint, worker: int, reason: str) -> str:
    return f"revision {endpoint.revision} cannot be loaded by worker {worker}: {reason}"
