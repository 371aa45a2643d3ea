"""What the protocol hands to a route and gets back: a parsed head, a request, the bytes of a response."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

import msgspec

from kaizen.core.errors import KaizenError, OverloadError, RequestError
from kaizen.serve.compression import accepted
from kaizen.serve.scopes import Grant, Scope, scope_of
from kaizen.serve.tracecontext import Trace

if TYPE_CHECKING:
    from kaizen.serve.calls import Call

REASONS: Final[Mapping[int, bytes]] = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    409: b"Conflict",
    411: b"Length Required",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    507: b"Insufficient Storage",
}
HUNG_UP: Final = 499  # nobody is there to take the answer: told to who watches, never sent
JSON: Final = b"application/json"
# What a client sends with a request to find again in its answer, and the line there.
_ECHOED: Final = (
    (b"x-request-id", b"x-request-id: %.128b\r\n"),
    (b"x-ms-client-request-id", b"x-ms-client-request-id: %.128b\r\n"),
    (b"x-amzn-sagemaker-custom-attributes", b"X-Amzn-SageMaker-Custom-Attributes: %.1024b\r\n"),
)
_BUCKETS: Final = 32  # latencies by power of two of microseconds: 1 us to 35 minutes

Handler: TypeAlias = "Callable[[Request], None]"
Refusal: TypeAlias = "Callable[[KaizenError, int], tuple[bytes, bytes, bytes]]"
"""Writes an error with its status as a route's protocol has it: body, content type, whole header lines."""
Watch: TypeAlias = "Callable[[Request, int, int], None]"  # request, status, bytes of the answer's body


class Counts:
    """The figures of a route's answers, by status: how many took how long, by `int.bit_length` of microseconds.

    One list a status, and nothing else, is what an answer costs; how many there were is its sum.
    """

    __slots__ = ("latencies", "spent_us")

    def __init__(self) -> None:
        self.latencies: dict[int, list[int]] = {}
        self.spent_us = 0

    def first(self, status: int) -> list[int]:
        """Return the list of a status that was never answered before."""
        self.latencies[status] = found = [0] * _BUCKETS
        return found

    @property
    def statuses(self) -> dict[int, int]:
        """How many answers had each status."""
        return {status: sum(buckets) for status, buckets in self.latencies.items()}

    @property
    def buckets(self) -> list[int]:
        """How many answers of all statuses took how long."""
        return [sum(bucket) for bucket in zip([0] * _BUCKETS, *self.latencies.values(), strict=True)]


class Route:
    """A handler, the scope that it asks of callers, how its errors are written, and the figures of its answers."""

    __slots__ = ("counts", "handle", "name", "path", "refusal", "scope")

    def __init__(self, name: str, handle: Handler, path: str = "", refusal: Refusal | None = None) -> None:
        self.name = name
        self.path = path  # parameters in braces; none: it answers for what is not there
        self.scope: Scope = scope_of(name)
        self.handle = handle
        self.refusal = refusal  # None: as `error_body` does
        self.counts = Counts()


class Head:
    """The request line and headers, parsed; a client sends the same head again and again, so they are kept."""

    __slots__ = (
        "echo", "encoding", "grant", "headers", "keep_alive", "length", "method", "old", "path", "query", "request_id",
        "route",
    )  # fmt: skip

    def __init__(self, method: str, path: str, headers: dict[bytes, bytes], *, keep_alive: bool, old: bool) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.keep_alive = keep_alive
        self.old = old  # HTTP/1.0, which closes unless told otherwise
        self.query = b""  # behind the "?"
        self.request_id = headers.get(b"x-request-id", b"")[:128]
        self.echo = b"".join([line % headers[name] for name, line in _ECHOED if name in headers])
        self.encoding = accepted(headers.get(b"accept-encoding"))  # in which it takes long answers
        self.length = 0
        self.grant: Grant | None = None  # what the guard found out, if there is one
        self.route: Route


class Peer(NamedTuple):
    """The other side of a connection, as far as it is known."""

    address: str = ""
    port: int = 0
    is_secure: bool = False


class Answers(Protocol):
    """Takes the answers of a connection and sends them in the order of its requests."""

    @property
    def lost(self) -> bool:
        """Whether nobody is there to take them any more."""
        ...

    @property
    def watch(self) -> Watch | None:
        """Who is told of each answer."""
        ...

    @property
    def peer(self) -> Peer:
        """The other side, where somebody watches."""
        ...

    def answer(self, request: Request, status: int, body: bytes, content_type: bytes, extra: bytes, /) -> None:
        """Send this answer once those before it are sent; `extra` is whole header lines."""
        ...


class Request:
    """One request and its place in the order of its connection's answers."""

    __slots__ = ("answer", "arrived_ns", "body", "call", "connection", "head", "trace")

    def __init__(
        self, connection: Answers, head: Head, body: bytes, arrived_ns: int, trace: Trace | None = None
    ) -> None:
        self.connection = connection
        self.head = head
        self.body = body
        self.arrived_ns = arrived_ns
        self.trace = trace
        self.call: Call | None = None  # for who watches, if somebody does
        self.answer: bytes | None = None

    @property
    def code(self) -> str:
        """The name of its gRPC status; none: it is asked over HTTP."""
        return ""

    @property
    def principal(self) -> str:
        """Whom the guard let in, if it has asked."""
        grant = self.head.grant
        return "" if grant is None else grant.client

    def reply(self, body: bytes, *, status: int = 200, content_type: bytes = JSON, extra: bytes = b"") -> None:
        """Send the answer when those before it on this connection are sent; `extra` is whole header lines."""
        head = self.head
        counts = head.route.counts
        spent_us = (time.perf_counter_ns() - self.arrived_ns) // 1000
        latencies = counts.latencies.get(status) or counts.first(status)
        latencies[min(spent_us.bit_length(), _BUCKETS - 1)] += 1
        counts.spent_us += spent_us
        if head.echo:
            extra += head.echo
        connection = self.connection
        connection.answer(self, status, body, content_type, extra)
        if connection.watch is not None and not connection.lost:  # which has been told already
            connection.watch(self, status, len(body))

    def refuse(self, error: KaizenError, *, extra: bytes = b"") -> None:
        """Send an error as the answer."""
        status = error.status if isinstance(error, RequestError) else 500
        if status == 503:
            extra += b"retry-after: %d\r\n" % (error.retry_after_s if isinstance(error, OverloadError) else 1)
        if isinstance(error, RequestError):
            extra += error.headers
        write = self.head.route.refusal
        if write is None:
            self.reply(error_body(error), status=status, extra=extra)
            return
        body, content_type, more = write(error, status)
        self.reply(body, status=status, content_type=content_type, extra=extra + more)


def error_body(error: KaizenError) -> bytes:
    """Return the body of an error: `{"error": "<what, where, what to do>"}`, as the Open Inference Protocol has it."""
    return msgspec.json.encode({"error": sentence(error)})


def sentence(error: KaizenError) -> str:
    """Return an error on one line: what, where, what to do."""
    return str(error).replace("\n  → ", "; ")


def response(status: int, body: bytes, content_type: bytes, extra: bytes, date: bytes) -> bytes:
    """Return the bytes of a response."""
    return b"HTTP/1.1 %d %b\r\ndate: %b\r\ncontent-type: %b\r\n%bcontent-length: %d\r\n\r\n%b" % (
        status,
        REASONS[status],
        date,
        content_type,
        extra,
        len(body),
        body,
    )
