"""Ports: bound once, and, where there are several workers, accepted from by all of them.

    supervisor   bind ─ listen ─┬─ worker 1   accepts if it has no more connections than any other,
                                ├─ worker 2   else steps back for a millisecond and accepts then
                                └─ …

One queue of connections is shared, so none is lost when a worker ends, and a second server on the same port is
told that it is in use. With a socket for each worker (SO_REUSEPORT) the kernel would deal connections by a hash.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

from kaizen.core.errors import KaizenError

logger = logging.getLogger("kaizen.serve")

_BACKLOG: Final = 1024
_STEP_BACK_S: Final = 0.001
_EXHAUSTED_S: Final = 0.5


def bind(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets on each address of a host, all with one port; 0 takes a free one.

    Raises
    ------
    KaizenError
        The port cannot be had.
    """
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            opened.append(socket.socket(family, kind, protocol))
            opened[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                opened[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened[-1].bind((address[0], port, *address[2:]))
            opened[-1].listen(_BACKLOG)
            opened[-1].settimeout(0)
            port = opened[0].getsockname()[1]
    except OSError as err:
        for each in opened:
            each.close()
        raise cannot_listen(host, port, err) from err
    return opened


def reserve(host: str, port: int) -> socket.socket:
    """Return a socket that holds a port for processes that each open it with SO_REUSEPORT, as gRPC does.

    Raises
    ------
    KaizenError
        The port cannot be had.
    """
    bind_once = bind(host, port)[0]  # fails where another server has it, which sharing would not
    address = bind_once.getsockname()
    bind_once.close()
    holder = socket.socket(bind_once.family, socket.SOCK_STREAM)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(address)
    except OSError as err:
        holder.close()
        raise cannot_listen(host, port, err) from err
    return holder


class Door:
    """Accepts connections from sockets that other processes accept from as well.

    Parameters
    ----------
    sockets
        Listening, not blocking.
    protocol
        Makes the protocol of a connection.
    is_due
        Says whether this worker is to take a connection, for no other has fewer.
    tls, handshake_s
        How connections are encrypted, if they are, and how long agreeing on it may take.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        protocol: Callable[[], asyncio.Protocol],
        is_due: Callable[[], bool],
        *,
        tls: ssl.SSLContext | None,
        handshake_s: float,
    ) -> None:
        self._tls = tls
        self._handshake_s = None if tls is None else handshake_s
        self._sockets = sockets
        self._protocol = protocol
        self._is_due = is_due
        self._loop = asyncio.get_running_loop()
        self._welcoming: set[asyncio.Task[object]] = set()
        self._closed = False
        for each in sockets:
            self._watch(each)

    def close(self) -> None:
        """Accept nothing more."""
        self._closed = True
        for each in self._sockets:
            self._loop.remove_reader(each)
            each.close()

    def _watch(self, listening: socket.socket) -> None:
        if not self._closed:
            self._loop.add_reader(listening, self._knocked, listening)

    def _knocked(self, listening: socket.socket) -> None:
        if self._is_due():
            self._accept(listening)
        else:  # whoever is due has woken up as well; if it is stuck, we take it
            self._loop.remove_reader(listening)
            self._loop.call_later(_STEP_BACK_S, self._insist, listening)

    def _insist(self, listening: socket.socket) -> None:
        if not self._closed:
            self._watch(listening)
            self._accept(listening)

    def _accept(self, listening: socket.socket) -> None:
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # another worker was quicker
            return
        except OSError as err:
            self._exhausted(listening, err)
            return
        connection.settimeout(0)
        welcome = self._loop.create_task(self._welcome(connection))
        self._welcoming.add(welcome)
        welcome.add_done_callback(self._welcoming.discard)

    async def _welcome(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._protocol, connection, ssl=self._tls, ssl_handshake_timeout=self._handshake_s
            )
        except OSError:  # gone already
            connection.close()

    def _exhausted(self, listening: socket.socket, err: OSError) -> None:
        logger.error("cannot accept reason=%s again_s=%.1f", err.strerror or err, _EXHAUSTED_S)
        self._loop.remove_reader(listening)
        self._loop.call_later(_EXHAUSTED_S, self._watch, listening)


def cannot_listen(host: str, port: int, err: OSError) -> KaizenError:
    """Return the error for a port that cannot be had."""
    where = f"{host}:{port}"
    if err.errno == errno.EADDRINUSE:
        fix = "stop what listens there, or choose another: kaizen serve --port PORT (0 takes a free one)"
        return KaizenError(f"port {port} is in use", where=where, fix=fix)
    if err.errno == errno.EACCES:
        return KaizenError(f"port {port} needs rights that this user lacks", where=where, fix="choose one over 1023")
    return KaizenError(f"cannot listen: {err.strerror or err}", where=where, fix="check the host and the port")
