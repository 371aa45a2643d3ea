"""What the connections of one server share: limits, routes, parsed heads, the date, and what is done once a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from kaizen.core.errors import RequestError
from kaizen.serve.guard import Guard
from kaizen.serve.message import Head, Request, Route, Watch, error_body


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may ask of the process."""

    body_bytes: int = 64 << 20
    head_bytes: int = 32 << 10
    headers: int = 100
    head_s: int = 10  # for a whole head
    idle_s: int = 75  # between requests; for an answer to be read
    body_bytes_per_s: int = 16 << 10  # slower than this, after `head_s`, is too slow
    buffered_bytes: int = 512 << 20  # half-sent bodies of all connections together
    connections: int = 10_000
    pipelined: int = 256  # requests of one connection that wait for their answers


class Open(Protocol):
    """A connection, as far as it concerns the others."""

    def tick(self) -> None:
        """Close what has been quiet, slow or stuck for too long."""
        ...

    def close_if_quiet(self) -> None:
        """Close, if no answer is due."""
        ...


class Listener:
    """The connections of one server, and what they share.

    Parameters
    ----------
    resolve
        Gives the route of a method and a path; called once for each distinct head.
    limits
        What one client may ask.
    guard
        Who may ask it; None: everybody.
    watch
        Who is told of each answer.
    """

    def __init__(
        self,
        resolve: Callable[[str, str], Route],
        limits: Limits,
        guard: Guard | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.resolve = resolve
        self.limits = limits
        self.guard = guard
        self.watch = watch
        self.connections: set[Open] = set()
        self.heads: dict[bytes, Head] = {}
        self.broken = Route("broken", _refuse_broken)
        self.buffered_bytes = 0
        self.waiting = 0  # requests without an answer yet
        self.draining = False
        self.tick()

    def tick(self) -> None:
        """Do what is due once a second: the date, and the time-outs."""
        self.date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()
        self.prefix = b"HTTP/1.1 200 OK\r\ndate: %b\r\ncontent-type: application/json\r\n" % self.date
        for connection in tuple(self.connections):
            connection.tick()

    def drain(self) -> None:
        """Answer what is here, take nothing more: each connection closes behind its last answer."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.close_if_quiet()

    def remember(self, raw: bytes, head: Head) -> None:
        """Keep a parsed head for the next request with the same bytes."""
        if len(self.heads) >= 1024:
            self.heads.clear()
        self.heads[raw] = head


def _refuse_broken(request: Request) -> None:
    request.reply(error_body(RequestError("not a request")), status=400)
