"""What traces and the access log are told of gRPC calls: each once, whatever it ended with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import grpc

from kaizen.serve.message import Head, Peer, Request, Route, Watch

Handler: TypeAlias = "Callable[[bytes, Any], Awaitable[bytes]]"

CLIENT: Final[ContextVar[str]] = ContextVar("client", default="")  # whom the guard let in
ASKED: Final[ContextVar[Request | None]] = ContextVar("asked", default=None)  # of the call under way, where it has one
_STATUSES: Final[Mapping[str, int]] = {  # of the same meaning in HTTP, by google/rpc/code.proto
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class _Caller:
    """Stands for the connection of a call that has been answered."""

    watch = None
    lost = False

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def answer(self, _request: Request, _status: int, _body: bytes, _type: bytes, _extra: bytes, /) -> None:
        raise AssertionError("it was answered by gRPC")


class Seen(Request):
    """A call as it is told of."""

    __slots__ = ("_code",)

    def __init__(self, path: str, body: bytes, arrived_ns: int, context: Any, code: str) -> None:
        own = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        headers = {key.encode(): own[key].encode("latin-1", "replace") for key in _KEPT if key in own}
        head = Head("POST", path, headers, keep_alive=True, old=False)
        head.route = Route(path.rpartition("/")[2], lambda _: None, path)
        parent = headers.get(b"traceparent")
        trace = None if parent is None else (parent, headers.get(b"tracestate", b""))
        super().__init__(_Caller(_peer(str(context.peer()))), head, body, arrived_ns, trace)
        self._code = code

    @property
    def code(self) -> str:
        return self._code

    @property
    def principal(self) -> str:
        return CLIENT.get()


_KEPT: Final = ("x-request-id", "traceparent", "tracestate", "user-agent")


def watched(path: str, handle: Handler, watch: Watch) -> Handler:
    """Return the handler of a call whose end is told."""

    async def seen(body: bytes, context: Any) -> bytes:
        arrived_ns = time.perf_counter_ns()
        size_bytes, code = 0, "INTERNAL"
        try:
            answer = await handle(body, context)
            size_bytes, code = len(answer), "OK"
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception:
            told = context.code()  # as it was aborted; of what failed otherwise gRPC says UNKNOWN
            code = told.name if isinstance(told, grpc.StatusCode) and told is not grpc.StatusCode.OK else "UNKNOWN"
            raise
        finally:
            request = Seen(path, body, arrived_ns, context, code)
            asked = ASKED.get()
            if asked is not None:
                request.call, asked.call = asked.call, None
            watch(request, _STATUSES.get(code, 500), size_bytes)
        return answer

    return seen


def tell(watch: Watch, path: str, asked: Request, context: Any, code: str, size_bytes: int) -> None:
    """Tell of a request of a stream, which has its own end."""
    request = Seen(path, asked.body, asked.arrived_ns, context, code)
    request.call, asked.call = asked.call, None
    watch(request, _STATUSES.get(code, 500), size_bytes)


def _peer(told: str) -> Peer:
    """Return address and port of a caller: of ``ipv6:%5B::1%5D:4711`` they are ``::1`` and 4711."""
    family, _, rest = unquote(told).partition(":")
    host, _, port = rest.rpartition(":")
    return Peer(host.strip("[]"), int(port)) if family in ("ipv4", "ipv6") and port.isdigit() else Peer()
