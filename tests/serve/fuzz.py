"""What must hold for any bytes: the parser of HTTP and each decoder. hypothesis and atheris bring the bytes.

Whatever comes, a target ends in an answer or in a `RequestError`; any other exception is a mistake of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Final

from kaizen.core.clock import SystemClock
from kaizen.core.errors import RequestError
from kaizen.core.records import LabelBatch, PredictionBatch
from kaizen.serve.aside import Aside
from kaizen.serve.commit import Commit
from kaizen.serve.feedback import Feedback
from kaizen.serve.generation import Generation
from kaizen.serve.http import Connection
from kaizen.serve.listener import Limits, Listener
from kaizen.serve.message import Head, Request, Route
from kaizen.serve.models import EndpointSource, Models
from kaizen.serve.nolog import NoLog
from kaizen.serve.oip import OpenInference
from kaizen.serve.rows import Predict
from tests.serve.small import SmallModel, endpoint

LIMITS: Final = Limits(body_bytes=4096, head_bytes=1024, headers=16, pipelined=8)


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False
        self.reading = True

    def write(self, data: Any) -> None:
        assert not self.closed, "written after it was closed"
        self.sent += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.reading = False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading


class Framed(Connection):
    """A connection whose answers to HEAD say that they are empty, so that a stream of answers can be cut."""

    def answer(self, request: Request, status: int, body: bytes, content_type: bytes, extra: bytes) -> None:
        super().answer(request, status, b"" if request.head.method == "HEAD" else body, content_type, extra)


class Now(Executor):
    """Does at once what is handed over."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as err:
            done.set_exception(err)
        return done


def echo(request: Request) -> None:
    """Answer with what was understood."""
    head = request.head
    request.reply(b"%b %b %d %b" % (head.method.encode(), head.path.encode(), len(request.body), request.body))


def talk(parts: list[bytes]) -> list[tuple[int, bytes]]:
    """Return the answers, status and body, to bytes that arrive in these parts."""
    listener = Listener(lambda method, path: Route("echo", echo), LIMITS)
    connection, wire = Framed(listener), Wire()
    connection.connection_made(wire)
    for part in parts:
        if not wire.closed:
            connection.data_received(part)
    connection.connection_lost(None)
    assert listener.waiting == 0
    assert listener.buffered_bytes == 0
    assert not listener.connections
    return answers(wire.sent)


def answers(sent: bytes) -> list[tuple[int, bytes]]:
    """Return the responses in a stream, which must be whole; interim ones are left out."""
    found = []
    while sent:
        head, end, sent = sent.partition(b"\r\n\r\n")
        assert end, "a response without an end of its head"
        first, *lines = head.split(b"\r\n")
        assert first.startswith(b"HTTP/1.1 "), first
        status = int(first.split(b" ")[1])
        if status == 100:
            continue
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        length = int(headers[b"content-length"])
        assert len(sent) >= length, "a response shorter than it says"
        found.append((status, sent[:length]))
        sent = sent[length:]
    return found


class Decoders:
    """Every decoder of a body, over a small model, without a socket."""

    def __init__(self) -> None:
        models = Models(SystemClock())
        hosted = models.add(
            EndpointSource(name="small", endpoint=lambda: endpoint(1), load=SmallModel, time="at", unit="owner")
        )
        hosted.swap.look()
        log = Kept()
        commit = Commit(log, "os", lambda *_: None, lambda call, *told: call(*told))
        aside = Aside(Now(), lambda call, *told: call(*told))
        taken = Taken()
        self.targets: dict[str, Callable[[Request], None]] = {
            "rows": Predict(models.serving, taken, aside).handle,  # type: ignore[arg-type]
            "infer": OpenInference("0", models, taken, aside).infer("small"),  # type: ignore[arg-type]
            "feedback": Feedback(log, commit, SystemClock(), aside).handle,
        }

    def give(self, target: str, body: bytes, headers: dict[bytes, bytes] | None = None) -> int:
        """Return the status that a body is answered with; 0 if its rows were taken to be scored."""
        head = Head("POST", "/", headers or {}, keep_alive=True, old=False)
        head.route = Route(target, self.targets[target])
        said = Said()
        request = Request(said, head, body, 0)
        try:
            self.targets[target](request)
        except RequestError as err:
            request.refuse(err)
        assert said.status != 500, body
        return said.status


class Said:
    """Keeps the status of an answer."""

    status = 0
    lost = False
    watch = None
    peer = None

    def answer(self, _request: Request, status: int, _body: bytes, _type: bytes, _extra: bytes, /) -> None:
        self.status = status


class Taken:
    """Takes calls in place of scoring, and checks what the decoder promised."""

    def shed(self, request: Request, generation: Generation, deadline_ns: int | None) -> None:
        assert deadline_ns is None or deadline_ns > request.arrived_ns

    def submit(self, call: Any, inputs: Any, pinned: Any = None) -> None:
        assert call.rows == sum(chunk.rows for chunk in inputs) > 0
        generation: Generation = call.generation
        for chunk in inputs:
            feeds = generation.reader.pack([chunk])
            assert {len(tensor) for tensor in feeds.values()} == {chunk.rows}


class Kept(NoLog):
    """Checks what is appended."""

    def append(self, batch: PredictionBatch | LabelBatch) -> None:
        assert isinstance(batch, LabelBatch)
        assert len(batch.ids) == len(batch.values) == len(batch.at) > 0


DECODERS: Final = Decoders()


def http(data: bytes) -> None:
    """Any bytes, whole and cut in two and byte by byte, give the same answers."""
    whole = talk([data])
    middle = len(data) // 2
    assert talk([data[:middle], data[middle:]]) == whole
    if len(data) <= 256:
        assert talk([data[i : i + 1] for i in range(len(data))]) == whole


def infer(data: bytes) -> None:
    """Any body, with any claim of how much of it is JSON."""
    DECODERS.give("infer", data)
    if data:
        length = b"%d" % (data[0] * len(data) // 256)
        DECODERS.give("infer", data[1:], {b"inference-header-content-length": length})


def feedback(data: bytes) -> None:
    """Any body, as JSON and as lines of it."""
    DECODERS.give("feedback", data)
    DECODERS.give("feedback", data, {b"content-type": b"application/x-ndjson"})


def rows(data: bytes) -> None:
    """Any body."""
    DECODERS.give("rows", data)


def grpc(data: bytes) -> None:
    """Any message: parsed, its contents read, its columns built."""
    from kaizen.serve.grpc_inference import asked_of, parsed
    from kaizen.serve.grpc_messages import messages
    from kaizen.serve.oip import call_of, outputs_of

    try:
        asked, contents = asked_of(parsed(messages()["ModelInferRequest"], data))
        generation, decoder = SERVING
        outputs_of(asked, generation.output)
        head = Head("POST", "/", {}, keep_alive=True, old=False)
        call_of(Request(Said(), head, b"", 0), generation, decoder, asked, contents, lambda call: None)
    except RequestError:
        pass


def _serving() -> Any:
    models = Models(SystemClock())
    models.add(EndpointSource(name="small", endpoint=lambda: endpoint(1), load=SmallModel)).swap.look()
    return models.serving("small")


SERVING: Final = _serving()
TARGETS: Final = {"http": http, "rows": rows, "infer": infer, "feedback": feedback, "grpc": grpc}
