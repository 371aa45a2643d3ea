"""Calls over gRPC that go on: whether the server answers, told at each change, and inferences one behind the other.

    Health/Watch        status ─▶ SERVING ─▶ … at each change, until the caller goes or the server stops
    ModelStreamInfer    requests ─▶ calls, up to 256 under way ─▶ answers, in the order of the requests

A stream does not end for a request that is wrong: its answer has the error's words.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

_UNDER_WAY: Final = 256  # requests of one stream whose answers are not sent
_LOOK_S: Final = 0.1
_SERVING, _NOT_SERVING, _UNKNOWN = 1, 2, 3


class Streams:
    """Answers these calls, until `stop`.

    Parameters
    ----------
    messages
        The class of each message by its name.
    services
        The names whose health is told; "" is the server's.
    is_ready
        Whether every model answers.
    infer
        Begins a call with the bytes of a request; the answer comes later, or an error's words.
    """

    def __init__(
        self,
        messages: Mapping[str, Any],
        services: frozenset[str],
        is_ready: Callable[[], bool],
        infer: Callable[[bytes, Any], asyncio.Future[bytes | str]],
    ) -> None:
        self._messages = messages
        self._services = services
        self._is_ready = is_ready
        self._infer = infer
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End what goes on: watchers are told, streams answer what they have taken."""
        self._stopping.set()

    async def watch(self, body: bytes, _context: Any) -> AsyncIterator[bytes]:
        """Give the health of a service, now and at each change."""
        service = self._messages["HealthCheckRequest"].FromString(body).service
        told = 0
        while not self._stopping.is_set():
            status = self._status(service)
            if status != told:
                told = status
                yield self._health(status)
            await self._pause()
        yield self._health(_NOT_SERVING)

    async def stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """Give the answer to each request."""
        taken: asyncio.Queue[asyncio.Future[bytes | str] | None] = asyncio.Queue()
        room = asyncio.Semaphore(_UNDER_WAY)
        reading = asyncio.ensure_future(self._read(requests, context, taken, room))
        stopping = asyncio.ensure_future(self._stopping.wait())
        stopping.add_done_callback(lambda _: taken.put_nowait(None))
        try:
            while (call := await taken.get()) is not None:
                yield self._answer(await call)
                room.release()
        finally:
            reading.cancel()
            stopping.cancel()
            while not taken.empty():
                if (call := taken.get_nowait()) is not None:
                    call.cancel()  # nobody waits for it any more

    async def _read(
        self,
        requests: AsyncIterator[bytes],
        context: Any,
        taken: asyncio.Queue[asyncio.Future[bytes | str] | None],
        room: asyncio.Semaphore,
    ) -> None:
        try:
            async for body in requests:
                await room.acquire()
                taken.put_nowait(self._infer(body, context))
        finally:
            taken.put_nowait(None)

    def _answer(self, answer: bytes | str) -> bytes:
        response = self._messages["ModelStreamInferResponse"]()
        if isinstance(answer, str):
            response.error_message = answer
        else:
            response.infer_response.MergeFromString(answer)
        return bytes(response.SerializeToString())

    def _status(self, service: str) -> int:
        if service not in self._services:
            return _UNKNOWN
        return _SERVING if self._is_ready() else _NOT_SERVING

    def _health(self, status: int) -> bytes:
        return bytes(self._messages["HealthCheckResponse"](status=status).SerializeToString())

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), _LOOK_S)
        except TimeoutError:
            return
