"""The client that awaits, on the streams of asyncio, with as much HTTP/1.1 as it takes."""

from __future__ import annotations

import asyncio
import ssl
import time
from asyncio import StreamReader, StreamWriter
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


class _BrokenAnswerError(OSError):
    """What came is not HTTP, or ends too early."""


class AsyncClient:
    """Asks a server; for the tasks of one event loop, each call has a connection of its own while it lasts.

    Takes what `Client` takes and answers alike. A call that is cancelled closes its connection.

    Examples
    --------
    ::

        async with kaizen.AsyncClient("http://127.0.0.1:8080") as client:
            answer = (await client.predict([{"plan": "basic", "age": 42, "calls": 7}]))[0]
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
        self._idle: list[tuple[float, StreamReader, StreamWriter]] = []

    async def predict(
        self,
        rows: Sequence[Row],
        unit: str | Sequence[str | None] | None = None,
        ids: Sequence[str] | None = None,
        *,
        at: datetime | str | None = None,
    ) -> list[Answer]:
        """Return an answer for each row, in order; see `Client.predict`."""
        return answers(await self._call("POST", "/v1/predict", prediction_body(rows, unit, ids, at)))

    async def feedback(self, labels: Mapping[str, bool | float], *, at: datetime | str | None = None) -> int:
        """Tell what turned out to be true, and return how many labels were taken; see `Client.feedback`."""
        return accepted(await self._call("POST", "/v1/feedback", feedback_body(labels, at)))

    async def ready(self) -> bool:
        """Say whether the server answers predictions now; asked once, never raised."""
        try:
            await self._call("GET", "/v2/health/ready", b"", retries=0)
        except KaizenError:
            return False
        return True

    async def close(self) -> None:
        """Close the connections that wait; the client may be used again."""
        while self._idle:
            writer = self._idle.pop()[2]
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:  # the other side was faster
                continue

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: str, path: str, body: bytes, retries: int | None = None) -> Reply:
        attempts = Attempts(self._target, self._timeout_s, self._retries if retries is None else retries)
        while True:
            used = self._kept()
            try:
                async with asyncio.timeout(attempts.remaining_s()):
                    reply = await self._exchange(used, method, path, body)
            except TimeoutError as err:
                raise attempts.too_slow() from err
            except (OSError, EOFError) as err:
                if used is None:  # a kept connection may have been closed by the server: that is no failure
                    await asyncio.sleep(attempts.pause_s(attempts.unreachable(err)))
                continue
            if not reply.may_pass:
                if reply.status != 200:
                    raise reply.refusal
                return reply
            await asyncio.sleep(attempts.pause_s(reply.refusal, reply.headers.get("retry-after")))

    def _kept(self) -> tuple[StreamReader, StreamWriter] | None:
        while self._idle:
            since, reader, writer = self._idle.pop()
            if time.monotonic() - since < IDLE_S and not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    async def _exchange(
        self, used: tuple[StreamReader, StreamWriter] | None, method: str, path: str, body: bytes
    ) -> Reply:
        target = self._target
        reader, writer = used or await asyncio.open_connection(target.host, target.port, ssl=self._tls)
        keep = False
        try:
            lines = [f"{method} {target.prefix}{path} HTTP/1.1", f"host: {target.authority}"]
            lines += [f"{name}: {value}" for name, value in target.headers.items()]
            lines += [f"content-length: {len(body)}", "", ""]
            writer.write("\r\n".join(lines).encode() + body)
            await writer.drain()
            status, headers = await _head(reader)
            content, is_whole = await _body(reader, headers)
            keep = is_whole and headers.get("connection", "").lower() != "close"
        finally:
            if keep and len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append((time.monotonic(), reader, writer))
            else:
                writer.close()
        return Reply(status, headers, content)


async def _head(reader: StreamReader) -> tuple[int, dict[str, str]]:
    """Return status and headers, names in lower case; answers that only say "go on" are passed over."""
    while True:
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
            first, *lines = raw.decode("latin-1").rstrip().split("\r\n")
            status = int(first.split(" ", 2)[1])
        except (asyncio.LimitOverrunError, ValueError, IndexError) as err:
            raise _BrokenAnswerError("what answered does not speak HTTP/1.1") from err
        if status >= 200:
            pairs = (line.partition(":") for line in lines)
            return status, {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _body(reader: StreamReader, headers: Mapping[str, str]) -> tuple[bytes, bool]:
    """Return the body, and whether the connection can be used again."""
    try:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return await _chunks(reader), True
        if "content-length" in headers:
            return await reader.readexactly(int(headers["content-length"])), True
    except (asyncio.LimitOverrunError, ValueError) as err:
        raise _BrokenAnswerError("the body of the answer is broken") from err
    return await reader.read(), False


async def _chunks(reader: StreamReader) -> bytes:
    pieces = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        pieces.append((await reader.readexactly(size + 2))[:-2])
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers
    return b"".join(pieces)
