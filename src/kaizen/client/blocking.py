"""The client that blocks, on `http.client`."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from kaizen.client.wire import (
    IDLE_CONNECTIONS,
    IDLE_S,
    Answer,
    Attempts,
    Reply,
    Row,
    Target,
    accepted,
    answers,
    feedback_body,
    prediction_body,
)
from kaizen.core.errors import KaizenError

_PIECE_BYTES = 1 << 16


class Client:
    """Asks a server; safe to share between threads, each call has a connection of its own while it lasts.

    Parameters
    ----------
    url
        Of the server, such as ``http://127.0.0.1:8080``.
    timeout_s
        For a whole call, retries included; the most that a caller waits.
    retries
        How often a call is tried again where the connection fails or the server says 429, 502, 503 or 504. Raising
        it rides out longer pauses of the server, within `timeout_s`. Nothing is counted twice.
    headers
        Sent with every request.
    token
        An API key or a token (JWT), sent with every request; it is in no message of an error.
    tls
        What an https server is checked with, and the certificate shown to it; without it the system's authorities.

    Examples
    --------
    ::

        with kaizen.Client("http://127.0.0.1:8080") as client:
            answer = client.predict([{"plan": "basic", "age": 42, "calls": 7}])[0]
            client.feedback({answer.id: True})
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 10.0,
        retries: int = 2,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._target = Target(url, headers, token)
        self._timeout_s = timeout_s
        self._retries = retries
        self._tls = (tls or ssl.create_default_context()) if self._target.secure else None
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []  # append and pop are atomic

    def predict(
        self,
        rows: Sequence[Row],
        unit: str | Sequence[str | None] | None = None,
        ids: Sequence[str] | None = None,
        *,
        at: datetime | str | None = None,
    ) -> list[Answer]:
        """Return an answer for each row, in order.

        Parameters
        ----------
        rows
            A mapping of every column to its value each; None says missing. Times may be `datetime`.
        unit
            Whom the rows are about: a text, or one for each row.
        ids
            Prediction ids, one a row; without them they are made here.
        at
            The event time of rows without one of their own.

        Raises
        ------
        RequestError
            The server refused it; `status` and its own words say why.
        UnreachableError
            The server did not answer in time, or could not be reached.
        """
        return answers(self._call("POST", "/v1/predict", prediction_body(rows, unit, ids, at)))

    def feedback(self, labels: Mapping[str, bool | float], *, at: datetime | str | None = None) -> int:
        """Tell what turned out to be true, by prediction id, and return how many labels were taken.

        `at` says when it became known; without it, now. Raises as `predict` does; all labels are taken, or none.
        """
        return accepted(self._call("POST", "/v1/feedback", feedback_body(labels, at)))

    def ready(self) -> bool:
        """Say whether the server answers predictions now; asked once, never raised."""
        try:
            self._call("GET", "/v2/health/ready", b"", retries=0)
        except KaizenError:
            return False
        return True

    def close(self) -> None:
        """Close the connections that wait; the client may be used again."""
        while self._idle:
            self._idle.pop()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: str, path: str, body: bytes, retries: int | None = None) -> Reply:
        attempts = Attempts(self._target, self._timeout_s, self._retries if retries is None else retries)
        while True:
            connection, is_used = self._connection()
            try:
                reply = self._exchange(connection, method, path, body, attempts)
            except TimeoutError as err:
                connection.close()
                raise attempts.too_slow() from err
            except (OSError, http.client.HTTPException) as err:
                connection.close()
                if not is_used:  # a kept connection may have been closed by the server: that is no failure
                    time.sleep(attempts.pause_s(attempts.unreachable(err)))
                continue
            except BaseException:
                connection.close()
                raise
            if not reply.may_pass:
                if reply.status != 200:
                    raise reply.refusal
                return reply
            time.sleep(attempts.pause_s(reply.refusal, reply.headers.get("retry-after")))

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        while self._idle:
            try:
                since, connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if time.monotonic() - since < IDLE_S:
                return connection, True
            connection.close()
        target = self._target
        if self._tls is not None:
            return http.client.HTTPSConnection(target.host, target.port, context=self._tls), False
        return http.client.HTTPConnection(target.host, target.port), False

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes, attempts: Attempts
    ) -> Reply:
        connection.timeout = attempts.remaining_s()
        if connection.sock is None:
            connection.connect()  # without Nagle's delay
        stream: socket.socket = connection.sock  # kept: http.client lets go of it where the server closes
        stream.settimeout(attempts.remaining_s())
        connection.request(method, self._target.prefix + path, body or None, self._target.headers)
        with connection.getresponse() as response:
            expected = response.length  # None: in chunks, or until the end
            pieces = []
            while piece := response.read1(_PIECE_BYTES):
                pieces.append(piece)
                if not response.isclosed():
                    stream.settimeout(attempts.remaining_s())
            content = b"".join(pieces)
            if expected is not None and len(content) < expected:  # which `read1` does not say
                raise http.client.IncompleteRead(content, expected - len(content))
            headers = {name.lower(): value for name, value in response.getheaders()}
            keep = not response.will_close and len(self._idle) < IDLE_CONNECTIONS
        if keep:
            self._idle.append((time.monotonic(), connection))
        else:
            connection.close()
        return Reply(response.status, headers, content)
