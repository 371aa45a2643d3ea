"""Spans of sampled requests, made and exported in a thread; imported only if traces are asked for.

    POST /v1/predict        server; what HTTP's (or RPC's) semantic conventions say of it
    ├── queue               from bytes read to the begin of its batch      ┐ for each batch
    ├── infer               tensors packed, the graph run                  │ that answered
    └── log                 written; on the disk, if answers wait for it   ┘ some of its rows

The loop only leaves a record, when the answer is given; times were taken on the way. What waits is bounded: behind a
collector that does not answer, records are dropped and counted.

Sources: OpenTelemetry semantic conventions 1.37, HTTP spans (stable) and RPC spans; W3C Trace Context.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from typing import Final, NamedTuple, TypeAlias

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, set_span_in_context
from opentelemetry.trace.span import TraceState
from opentelemetry.trace.status import Status, StatusCode

from kaizen.core.version import __version__
from kaizen.serve.calls import Call
from kaizen.serve.message import HUNG_UP, Request
from kaizen.serve.stages import Batch
from kaizen.serve.tracecontext import Parent, state_of

logger = logging.getLogger("kaizen.serve")

Told: TypeAlias = "dict[str, str | int | float]"
_WAITING: Final = 2048  # records
_ROUND: Final = 64  # records in one export: its encoding holds the interpreter for about a millisecond
_EVERY_S: Final = 1.0
_STOP_S: Final = 3.0
_BATCHES: Final = 16  # of one request that get spans
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_FAULTS: Final = frozenset(  # codes that are the server's fault
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)


class Record(NamedTuple):
    """A request that was answered, without its body."""

    trace_id: int
    parent: Parent | None
    state: bytes
    name: str
    attributes: Told
    fault: str  # what went wrong on the server's side
    begun_ns: int  # since 1970
    ended_ns: int
    clock_ns: int  # what `time.perf_counter_ns` lags behind the time
    rows: Told
    batches: tuple[Batch, ...]


class _Ids(IdGenerator):
    """Ids at random, but for the trace that the sampler has chosen."""

    def __init__(self) -> None:
        self.trace_id = 0
        self._random = RandomIdGenerator()

    def generate_span_id(self) -> int:
        return self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        return self.trace_id


class _Ended(SpanProcessor):
    """Keeps spans that have ended until they are exported."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


class Spans:
    """Takes sampled requests and brings their spans to a collector.

    Parameters
    ----------
    url
        Of the collector; None: where the variables ``OTEL_EXPORTER_OTLP_…`` say.
    """

    def __init__(self, url: str | None) -> None:
        logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)  # said here, once
        self._exporter = OTLPSpanExporter(endpoint=url)
        self._ids, self._ended = _Ids(), _Ended()
        resource = Resource.create(_service() | {"service.version": __version__})
        provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=resource,
            id_generator=self._ids,
            shutdown_on_exit=False,
            span_limits=SpanLimits(),
        )
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer("kaizen.serve", __version__)
        self._records: deque[Record] = deque()
        self._wake = threading.Event()
        self._stopped = False
        self._failing = False
        self.outcomes = {"exported": 0, "failed": 0, "dropped": 0}
        self._thread = threading.Thread(target=self._run, name="kaizen-spans", daemon=True)
        self._thread.start()

    def take(self, request: Request, status: int, took_ns: int, trace_id: int, parent: Parent | None) -> None:
        """Take a request that has just been answered; on the loop."""
        if len(self._records) >= _WAITING:
            self.outcomes["dropped"] += 1
            return
        self._records.append(_record(request, status, took_ns, trace_id, parent))
        if len(self._records) >= _ROUND:
            self._wake.set()

    def stop(self) -> None:
        """Export what is here, for a few seconds at most."""
        self._stopped = True
        self._wake.set()
        self._thread.join(_STOP_S)
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # which ends its pauses between attempts
        if self._thread.is_alive():
            logger.warning("traces not exported requests=%d: the collector does not answer", len(self._records))

    # In the thread

    def _run(self) -> None:
        while True:
            self._wake.wait(_EVERY_S)
            self._wake.clear()
            while self._records:
                self._export(min(len(self._records), _ROUND))
            if self._stopped:
                return

    def _export(self, count: int) -> None:
        for _ in range(count):
            self._make(self._records.popleft())
        spans, self._ended.spans = self._ended.spans, []
        result = self._exporter.export(spans)
        is_done = result is SpanExportResult.SUCCESS
        self.outcomes["exported" if is_done else "failed"] += count
        if is_done == self._failing:
            self._failing = not is_done
            logger.warning(
                "traces exported again" if is_done else "traces not exported: the collector refuses or is away"
            )

    def _make(self, record: Record) -> None:
        context = None
        if record.parent is not None:
            caller = SpanContext(
                record.parent.trace_id,
                record.parent.span_id,
                is_remote=True,
                trace_flags=TraceFlags(record.parent.flags),
                trace_state=TraceState(state_of(record.state)),
            )
            context = set_span_in_context(NonRecordingSpan(caller))
        self._ids.trace_id = record.trace_id
        root = self._tracer.start_span(
            record.name, context, SpanKind.SERVER, record.attributes | record.rows, start_time=record.begun_ns
        )
        if record.fault:
            root.set_status(Status(StatusCode.ERROR))
        for batch in record.batches[:_BATCHES]:
            self._stages(root, record, batch)
        root.end(record.ended_ns)

    def _stages(self, root: Span, record: Record, batch: Batch) -> None:
        begun, packed, run = (mark + record.clock_ns for mark in batch.marks)
        told: Told = {"kaizen.bundle": batch.bundle, "kaizen.arm": batch.arm, "kaizen.batch.rows": batch.rows}
        told["kaizen.pack_us"] = (packed - begun) // 1000
        within = set_span_in_context(root)
        stages: list[tuple[str, int, int, Told]] = [
            ("queue", record.begun_ns, begun, {}),
            ("infer", begun, run, told),
            ("log", run, batch.safe_ns + record.clock_ns, {}),
        ]
        for name, start, end, attributes in stages:
            self._tracer.start_span(name, within, attributes=attributes, start_time=start).end(end)


def _record(request: Request, status: int, took_ns: int, trace_id: int, parent: Parent | None) -> Record:
    now_ns = time.time_ns()
    name, attributes, fault = _of_rpc(request) if request.code else _of_http(request, status)
    host, port, _ = request.connection.peer
    if host:
        attributes |= {"client.address": host, "network.peer.address": host, "network.peer.port": port}
    agent = request.head.headers.get(b"user-agent")
    if agent:
        attributes["user_agent.original"] = agent.decode("latin-1")[:256]
    call = request.call
    return Record(
        trace_id=trace_id,
        parent=parent,
        state=b"" if request.trace is None else request.trace[1],
        name=name,
        attributes=attributes,
        fault=fault,
        begun_ns=now_ns - took_ns,
        ended_ns=now_ns,
        clock_ns=now_ns - took_ns - request.arrived_ns,
        rows={} if call is None else _of_call(call),
        batches=() if call is None else call.batches,
    )


def _of_http(request: Request, status: int) -> tuple[str, Told, str]:
    """Return name, attributes and fault of the span of a request over HTTP."""
    head = request.head
    method = head.method if head.method in _METHODS else "_OTHER"
    attributes: Told = {
        "http.request.method": method,
        "url.path": head.path[:512],
        "url.scheme": "https" if request.connection.peer.is_secure else "http",
        "network.protocol.version": "1.0" if head.old else "1.1",
    }
    if method == "_OTHER":
        attributes["http.request.method_original"] = head.method
    if status == HUNG_UP:
        attributes["error.type"] = "hung_up"
    else:
        attributes["http.response.status_code"] = status
    if head.route.path:
        attributes["http.route"] = head.route.path
    host, _, port = head.headers.get(b"host", b"").decode("latin-1").rpartition(":")
    if not port.isdigit() or port.endswith("]"):
        host, port = head.headers.get(b"host", b"").decode("latin-1"), ""
    if host:
        attributes["server.address"] = host.strip("[]")[:256]
    if port:
        attributes["server.port"] = int(port)
    fault = str(status) if status >= 500 else ""
    if fault:
        attributes["error.type"] = fault
    shown = "HTTP" if method == "_OTHER" else method
    return f"{shown} {head.route.path}".rstrip(), attributes, fault


def _of_rpc(request: Request) -> tuple[str, Told, str]:
    """Return name, attributes and fault of the span of a call over gRPC."""
    method = request.head.path.lstrip("/")
    attributes: Told = {
        "rpc.system.name": "grpc",
        "rpc.method": method,
        "rpc.response.status_code": request.code,
    }
    fault = request.code if request.code in _FAULTS else ""
    if fault:
        attributes["error.type"] = fault
    return method, attributes, fault


def _of_call(call: Call) -> Told:
    generation = call.generation
    told: Told = {
        "kaizen.endpoint": generation.endpoint.name,
        "kaizen.revision": generation.endpoint.revision,
        "kaizen.rows": call.rows,
    }
    if call.ids:
        told["kaizen.prediction_id"] = call.ids[0]
    if call.request_id:
        told["kaizen.request_id"] = call.request_id
    if len(call.batches) == 1:
        told |= {"kaizen.bundle": call.batches[0].bundle, "kaizen.arm": call.batches[0].arm}
    return told


def _service() -> dict[str, str]:
    """Return the name of the service, unless the variables of OpenTelemetry say one."""
    own = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {} if own else {"service.name": "kaizen"}
