"""A worker's seat: what it got from the supervisor, and its way to it and to the other workers.

supervisor ── orders ──► thread ─► JointSwap        tally: what all workers told last
           ◄── reports ─────────── JointSwap        sockets: the port of all
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from socket import socket
from typing import Any

import msgspec

from kaizen.serve.accord import Abort, AllOpen, Begun, Commit, Open, Order, Prepare, Report
from kaizen.serve.tally import Family, Snapshot, Tally

logger = logging.getLogger("kaizen.serve")

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)


class Seat:
    """The place of one worker, made by the supervisor in the worker's own process.

    Parameters
    ----------
    worker
        Its number, from 0.
    channel
        To the supervisor.
    tally
        What the workers tell of themselves.
    sockets
        Listening, shared by all workers.
    grpc_port
        The port that all workers open for gRPC; None: none.
    folder
        Of this server alone; goes with it.
    is_late
        A revision serves already: this worker takes requests when it has it, too.
    """

    def __init__(
        self,
        *,
        worker: int,
        channel: Connection,
        tally: Tally,
        sockets: list[socket],
        grpc_port: int | None,
        folder: Path | None,
        is_late: bool,
    ) -> None:
        self.worker = worker
        self.tally = tally
        self.sockets = sockets
        self.grpc_port = grpc_port
        self.folder = folder
        self.is_late = is_late
        self._channel = channel
        self._orders: defaultdict[str, deque[Prepare | Commit | Abort]] = defaultdict(deque)
        self._sending = threading.Lock()
        self._wake: Callable[[], object] = _nothing
        self._changed: Callable[[], object] = _nothing
        self._stop: Callable[[], object] = _nothing
        self._ready: Callable[[], object] = _nothing

    @property
    def port(self) -> int:
        """The port of all workers."""
        return int(self.sockets[0].getsockname()[1])

    def begin(self, *, changed: Callable[[], object], stop: Callable[[], object]) -> None:
        """Report that what is served could be composed, and begin to listen to the supervisor.

        Parameters
        ----------
        changed
            Called when what this worker serves has changed, in any thread; so is `stop`.
        stop
            Called when the supervisor is gone.
        """
        self._changed, self._stop = changed, stop
        threading.Thread(target=self._listen, name="kaizen-seat", daemon=True).start()
        self.report(Begun())

    def wake_by(self, wake: Callable[[], None]) -> None:
        """Have this called, in any thread, when there are orders."""
        self._wake = wake

    def opened(self, ready: Callable[[], None]) -> None:
        """Report that this worker takes requests; `ready` is called, in any thread, in one worker when all do."""
        self._ready = ready
        self.report(Open())

    def orders(self, name: str) -> list[Prepare | Commit | Abort]:
        """Return the orders for an endpoint that have come since the last call."""
        waiting, found = self._orders[name], []
        while waiting:
            found.append(waiting.popleft())
        return found

    def report(self, report: Report) -> None:
        """Tell the supervisor."""
        with self._sending, contextlib.suppress(OSError):  # it is gone, which the thread hears too
            self._channel.send_bytes(_ENCODER.encode(report))

    def changed(self) -> None:
        """Note that what this worker serves, or why it does not, has changed."""
        self._changed()

    def is_due(self, connections: int) -> bool:
        """Say whether this worker, with so many connections, is to take one more: no other has fewer."""
        self.tally.count(self.worker, connections)
        others = [count for worker, count in enumerate(self.tally.counts()) if worker != self.worker]
        return all(count is None or connections <= count for count in others)

    def publish(self, health: dict[str, Any], families: list[Family]) -> None:
        """Tell the other workers how this one is."""
        self.tally.write(self.worker, Snapshot(health, families))

    def health(self) -> list[dict[str, Any]]:
        """Return how each worker is; of one that has told nothing since it was started, that it is starting."""
        found = [self.tally.read(worker) for worker in range(self.tally.workers)]
        return [
            {"worker": worker, "status": "starting"} if told is None else {"worker": worker} | told.health
            for worker, told in enumerate(found)
        ]

    def _listen(self) -> None:
        try:
            while True:
                order = _DECODER.decode(self._channel.recv_bytes())
                if isinstance(order, AllOpen):
                    self._ready()
                else:
                    self._orders[order.name].append(order)
                    self._wake()
        except (EOFError, OSError):
            logger.error("the supervisor is gone worker=%d", self.worker)  # noqa: TRY400 (there is no more to it)
            self._stop()


def _nothing() -> None:
    pass
