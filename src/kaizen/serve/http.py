"""HTTP/1.1 on asyncio: framing, order, limits and time-outs; what a request means is none of its business.

    bytes ─▶ head seen before? ──yes──▶ cut out the body ─▶ Request ─▶ route.handle ─▶ request.reply ─▶ bytes
                    └──no──▶ httptools ───────▲

A client sends the same head again and again, so a head is parsed once and found again by its bytes. Answers
leave in the order of their requests, whenever they are ready. Nothing here makes a task or awaits.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from typing import Final, cast
from urllib.parse import unquote

import httptools

from kaizen.core.errors import RequestError
from kaizen.serve.compression import LONG_BYTES, WORTH_BYTES, compressed, inflated
from kaizen.serve.listener import Listener
from kaizen.serve.message import HUNG_UP, JSON, Head, Peer, Request, response
from kaizen.serve.tracecontext import Trace, joined, taken_from, without_trace

logger = logging.getLogger("kaizen.serve")

_IDENTITIES: Final = frozenset({b"x-ms-client-request-id", b"x-amzn-sagemaker-inference-id"})  # other in every request
_SMALL_BYTES: Final = 64 << 10
_UNSIZED: Final = frozenset({b"transfer-encoding", b"expect"})
_TRACE: Final = re.compile(rb"(?i)\ntrace(parent|state)")


class Connection(asyncio.Protocol):
    """One client's connection; also the parser's set of callbacks."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._limits = listener.limits
        self._heads = listener.heads
        self.watch = listener.watch
        self.peer = Peer()
        self._guard = listener.guard
        self._peer = ""
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Request] = deque()  # requests without a sent answer, oldest first
        self._between = True  # no request is half-read
        self._closing = False  # an answer that closes is on its way: what comes in is thrown away
        self.lost = False
        self._held = False  # the client does not read its answers, so nothing more is read from it
        self._heard = True  # since the last tick
        self._quiet_s = 0
        self._partial_s = 0
        self._begun = 0  # requests
        self._head_bytes = 0  # of its address and headers
        self._raw_bytes = 0  # of what came of it before it was whole
        self._body_bytes = 0
        self._arrived_ns = 0
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._head: Head | None = None
        self._raw_head = b""  # of the request being read, where it came whole
        self._body: list[bytes] = []

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless there are too many connections already."""
        self._transport = cast("asyncio.Transport", transport)
        self._listener.connections.add(self)
        if self.watch is not None:
            self.peer = _peer(transport)
        if self._guard is not None:
            self._peer = self._guard.peer(transport.get_extra_info("peername"))
        if len(self._listener.connections) > self._limits.connections:
            self._refuse(RequestError("too many connections", status=503, fix="try again in a second"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        """Forget the client; answers that are still due go nowhere."""
        self.lost = True
        if self.watch is not None:
            for request in self._queue:
                if request.answer is None:
                    self.watch(request, HUNG_UP, 0)
        self._listener.connections.discard(self)
        self._listener.waiting -= len(self._queue)
        self._listener.buffered_bytes -= self._body_bytes
        self._queue.clear()

    def eof_received(self) -> bool:
        """Keep the way back open while answers are due."""
        if self._queue and not self._closing:
            self._closing = True
            return self._transport.can_write_eof()  # TLS has no half-open connections
        return False

    def pause_writing(self) -> None:
        """Read nothing more from a client that does not read its answers."""
        self._held = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._held = False
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Take the requests out of the bytes; the answers to them come later."""
        self._heard = True
        if self._closing:
            return
        self._arrived_ns = time.perf_counter_ns()
        start = 0
        while self._between:
            blank = data.find(b"\r\n\r\n", start)
            raw = data[start : blank + 4] if blank > 0 else b""
            trace = None
            head = self._heads.get(raw)
            if head is None:
                raw, trace = without_trace(raw)
                head = None if trace is None else self._heads.get(raw)
            if head is None or len(data) < blank + 4 + head.length:
                self._raw_head = raw
                break
            end = blank + 4 + head.length
            self._begin(head, data[blank + 4 : end], trace)
            if end == len(data):
                return
            start = end
        if not self._closing:
            self._parse(data[start:] if start else data)

    # What httptools calls

    def on_message_begin(self) -> None:
        """Start a request."""
        self._begun += 1
        self._between = False
        self._partial_s = self._head_bytes = self._raw_bytes = 0
        self._url = b""
        self._headers = {}
        self._head = None
        self._body = []

    def on_url(self, url: bytes) -> None:
        """Take (a part of) the address."""
        self._url += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; of one that is repeated the last counts."""
        name = name.lower()
        if name in self._headers:
            value = joined(name, self._headers[name], value)
        self._headers[name] = value
        self._count(len(name) + len(value))
        if len(self._headers) > self._limits.headers:
            raise RequestError(f"more than {self._limits.headers} headers", status=431)

    def on_headers_complete(self) -> None:
        """Know what is asked, and refuse a body that is too large before it comes."""
        method = self._parser.get_method().decode("ascii")
        old = self._parser.get_http_version() == "1.0"
        keep_alive = self._parser.should_keep_alive()
        path = unquote(self._url.partition(b"?")[0].decode("latin-1"))
        head = Head(method, path, self._headers, keep_alive=keep_alive, old=old)
        head.query = self._url.partition(b"?")[2]
        head.route = self._listener.resolve(method, path)
        head.length = int(self._headers.get(b"content-length", 0))
        self._head = head
        if head.length > self._limits.body_bytes:
            raise self._too_large()
        if self._guard is not None and (head.length > _SMALL_BYTES or _UNSIZED & self._headers.keys()):
            self._guard.identify(head, self._peer)  # who may not ask need not send the body
        if self._headers.get(b"expect", b"").lower() == b"100-continue" and not self._queue:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body.append(body)
        self._body_bytes += len(body)
        self._listener.buffered_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes:
            raise self._too_large()
        if self._listener.buffered_bytes > self._limits.buffered_bytes:
            raise RequestError("the server holds too many half-sent requests", status=503, fix="try again in a second")

    def on_message_complete(self) -> None:
        """Hand the request over."""
        head = self._head
        if head is None:
            raise RequestError("not a request", status=400)
        self._let_go()
        self._between = True
        raw, self._raw_head = self._raw_head, b""
        body = b"".join(self._body)
        self._body = []
        trace = taken_from(head.headers)
        if not self._closing:
            self._begin(head, body, trace)
        if _is_plain(raw, head) and (self._guard is None or head.grant is not None):
            self._listener.remember(raw, head)

    # Inside

    def _begin(self, head: Head, body: bytes, trace: Trace | None) -> None:
        request = Request(self, head, body, self._arrived_ns, trace)
        self._queue.append(request)
        self._listener.waiting += 1
        if not head.keep_alive:
            self._closing = True
        try:
            if self._guard is not None:
                self._guard.admit(head, self._peer)
            if b"content-encoding" in head.headers:
                request.body = inflated(head.headers[b"content-encoding"], body, self._limits.body_bytes)
            head.route.handle(request)
        except RequestError as err:
            request.refuse(err)
        except Exception:
            logger.exception("failed route=%s request_id=%s", head.route.name, head.request_id.decode("latin-1"))
            request.refuse(RequestError("an error inside the server; its log says more", status=500))
        if len(self._queue) > self._limits.pipelined and not self.lost:
            self._transport.pause_reading()

    def answer(self, request: Request, status: int, body: bytes, content_type: bytes, extra: bytes) -> None:
        """Write an answer, behind those that were asked for before it."""
        if self.lost:
            return
        head = request.head
        if len(body) > WORTH_BYTES and status == 200 and head.encoding and b"content-encoding" not in extra:
            extra += b"content-encoding: %b\r\nvary: accept-encoding\r\n" % head.encoding
            if len(body) > LONG_BYTES:
                self._compress(request, body, content_type, extra)
                return
            body = compressed(body, head.encoding)
        last = not head.keep_alive or self._listener.draining
        if last:
            extra += b"connection: close\r\n"
        elif head.old:
            extra += b"connection: keep-alive\r\n"
        if status == 200 and content_type is JSON:
            answer = b"%b%bcontent-length: %d\r\n\r\n%b" % (self._listener.prefix, extra, len(body), body)
        else:
            answer = response(status, body, content_type, extra, self._listener.date)
        request.answer = answer if head.method != "HEAD" else answer[: -len(body) or None]
        if self._queue[0] is request:
            self._write_answers()

    def _compress(self, request: Request, body: bytes, content_type: bytes, extra: bytes) -> None:
        """Compress a long answer in a thread, and then send it."""
        done = asyncio.get_running_loop().run_in_executor(None, compressed, body, request.head.encoding)
        done.add_done_callback(lambda body: self.answer(request, 200, body.result(), content_type, extra))

    def _write_answers(self) -> None:
        queue = self._queue
        while queue and (answer := queue[0].answer) is not None:
            self._transport.write(answer)
            queue.popleft()
            self._listener.waiting -= 1
        if not queue:
            if self._closing or self._listener.draining:
                self._close()
            elif not self._held and not self._transport.is_reading():
                self._transport.resume_reading()

    def _close(self) -> None:
        # A socket closed with unread input resets, and the client may never see the answer: say "no more"
        # first, throw away what still comes, and close when the client does or at the next but one tick.
        if self._between or self.lost:
            self._transport.close()
            return
        self._closing = True
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _parse(self, data: bytes) -> None:
        begun = self._begun + self._between
        try:
            self._parser.feed_data(data)
            if self._begun <= begun and not self._between and self._head is None:  # all of it is of one head
                self._raw_bytes += len(data)
                if self._raw_bytes > self._limits.head_bytes + 4 * self._limits.headers + 64:  # what is not counted
                    self._count(self._raw_bytes)
        except httptools.HttpParserUpgrade as err:
            # Nothing is upgraded: the request was answered as it is, and the next one starts here.
            self._parser = httptools.HttpRequestParser(self)
            rest = data[err.args[0] :]
            if rest:
                self._parse(rest)
        except httptools.HttpParserCallbackError as err:
            cause = err.__context__
            self._refuse(cause if isinstance(cause, RequestError) else RequestError("not a request", status=400))
        except httptools.HttpParserError as err:
            self._refuse(RequestError(f"not an HTTP request: {err}", status=400))
        except RequestError as err:
            self._refuse(err)

    def _count(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > self._limits.head_bytes:
            raise RequestError(f"the request line and headers exceed {self._limits.head_bytes} bytes", status=431)

    def _too_large(self) -> RequestError:
        limit = self._limits.body_bytes
        return RequestError(f"the body exceeds {limit} bytes", status=413, fix="send the rows in several requests")

    def _refuse(self, error: RequestError) -> None:
        """Answer what is no request, or half of one, and close."""
        if self._closing:
            return
        head = Head("GET", "", {}, keep_alive=False, old=False)
        head.route = self._listener.broken
        request = Request(self, head, b"", time.perf_counter_ns())
        self._queue.append(request)
        self._listener.waiting += 1
        self._closing = True
        self._between = False
        self._partial_s = 0
        self._let_go()
        request.refuse(error)

    def _let_go(self) -> None:
        self._listener.buffered_bytes -= self._body_bytes
        self._body_bytes = 0

    def close_if_quiet(self) -> None:
        """Close, if no answer is due."""
        if not self._queue:
            self._transport.close()

    def tick(self) -> None:
        """Close what has been quiet, slow or stuck for too long; called once a second."""
        self._quiet_s = 0 if self._heard else self._quiet_s + 1
        self._heard = False
        if self._closing and not self._queue:
            self._partial_s += 1
            if self._partial_s > 2:
                self._transport.abort()
        elif self._held or self._between:
            if self._quiet_s > self._limits.idle_s and (self._held or not self._queue):
                self._transport.abort()
        else:
            self._partial_s += 1
            if self._partial_s > self._limits.head_s + self._body_bytes / self._limits.body_bytes_per_s:
                self._refuse(RequestError("the request did not arrive in time", status=408))


def _is_plain(raw: bytes, head: Head) -> bool:
    """Say whether these bytes are this whole head and nothing else, and frame the next request that starts so."""
    whole = raw[:1].isalpha() and len(raw) <= 2048 and raw.count(b"\n") == raw.count(b"\r\n")
    framed = not {b"transfer-encoding", b"expect", b"upgrade", b"x-request-id"} & head.headers.keys()
    framed = framed and not _IDENTITIES & head.headers.keys()
    # A trace that was not cut out is another in the next request.
    return whole and framed and head.keep_alive and not _TRACE.search(raw)


def _peer(transport: asyncio.BaseTransport) -> Peer:
    """Return the other side."""
    address = transport.get_extra_info("peername")
    host, port = (str(address[0]), int(address[1])) if isinstance(address, tuple) else ("", 0)
    return Peer(host, port, transport.get_extra_info("sslcontext") is not None)
