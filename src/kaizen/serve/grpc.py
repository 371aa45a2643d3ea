"""The Open Inference Protocol v2 over gRPC: the same calls, batches and log as REST, on the same event loop.

    ModelInfer ─▶ Infer (oip.py) ─▶ Call ─▶ Scoring ─▶ logged ─▶ ModelInferResponse

The handlers take and give raw bytes; `grpc_messages.py` makes the messages. Imported only if a gRPC port is asked for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from kaizen.core.errors import KaizenError, OverloadError, RequestError
from kaizen.serve.aside import Aside
from kaizen.serve.calls import Call
from kaizen.serve.deadline import HEADER
from kaizen.serve.generation import LiveArm
from kaizen.serve.grpc_guard import address_of, credentials, head_of
from kaizen.serve.grpc_messages import messages
from kaizen.serve.grpc_watch import ASKED, CLIENT, watched
from kaizen.serve.guard import Guard
from kaizen.serve.message import Head, Peer, Request, Route, Watch
from kaizen.serve.models import Models
from kaizen.serve.oip import (
    EXTENSIONS,
    PREDICTION_ID,
    Infer,
    Wanted,
    answer_of,
    call_of,
    metadata,
    outputs_of,
    pinned,
    values_of,
)
from kaizen.serve.reader import Inputs
from kaizen.serve.scoring import Scoring
from kaizen.serve.tensors import Tensor, output
from kaizen.serve.tls import Tls

logger = logging.getLogger("kaizen.serve")

SERVICE: Final = "inference.GRPCInferenceService"
_REPOSITORY: Final = "inference.model_repository.ModelRepositoryService"
_HEALTH: Final = "grpc.health.v1.Health"
_CONCURRENT: Final = 1024  # calls under way; more are answered RESOURCE_EXHAUSTED by gRPC itself
_DAY_S: Final = 86_400
_CODES: Final[Mapping[int, grpc.StatusCode]] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_CONTENTS: Final[Mapping[str, str]] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_BY_DECISION: Final = "what serves is changed by decisions, not by calls: kaizen experiment, kaizen loop"

Handler: TypeAlias = "Callable[[bytes, Any], Awaitable[bytes]]"


class GrpcServer:
    """Answers gRPC on a port of its own.

    Parameters
    ----------
    version
        Of this server.
    models
        The endpoints.
    scoring
        Where calls go.
    aside
        Reads large messages.
    message_bytes
        The longest message taken and sent.
    guard, tls
        Who may call, and the certificate.
    watch
        Who is told of each answer.
    """

    def __init__(
        self,
        version: str,
        models: Models,
        scoring: Scoring,
        aside: Aside,
        *,
        message_bytes: int,
        guard: Guard | None = None,
        tls: Tls | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.route = Route("grpc_infer", lambda _: None)
        self._version = version
        self._models = models
        self._scoring = scoring
        self._aside = aside
        self._message_bytes = message_bytes
        self._guard = guard
        self._tls = tls
        self._watch = watch
        self._messages = messages()
        self._server: Any = None

    async def start(self, host: str, port: int, *, is_shared: bool = False) -> int:
        """Open the port, 0 for a free one, and return it; raise `KaizenError` if it cannot be had.

        A port that is shared is open in other workers of this server as well, and the kernel deals the connections.
        """
        options = [
            ("grpc.max_receive_message_length", self._message_bytes),
            ("grpc.max_send_message_length", self._message_bytes),
            ("grpc.so_reuseport", int(is_shared)),  # else a second server would take half of the calls without a word
        ]
        self._server = grpc.aio.server(options=options, maximum_concurrent_rpcs=_CONCURRENT)
        self._server.add_generic_rpc_handlers(tuple(self._services()))
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        fix = "stop what listens there, or choose another: kaizen serve --grpc-port PORT (0 takes a free one)"
        try:
            if self._tls is None:
                bound = int(self._server.add_insecure_port(address))
            else:
                bound = int(self._server.add_secure_port(address, credentials(self._tls)))
        except RuntimeError as err:
            raise KaizenError("gRPC cannot listen there", where=address, fix=fix) from err
        if not bound:
            raise KaizenError("gRPC cannot listen there", where=address, fix=fix)
        await self._server.start()
        return bound

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, and return when those under way are answered or the time is over."""
        await self._server.stop(grace_s)

    # The services

    def _services(self) -> list[Any]:
        repository = {
            "RepositoryIndex": self._answering("RepositoryIndexRequest", self._index),
            "RepositoryModelLoad": _refusing(grpc.StatusCode.FAILED_PRECONDITION, _BY_DECISION),
            "RepositoryModelUnload": _refusing(grpc.StatusCode.FAILED_PRECONDITION, _BY_DECISION),
        }
        inference = {
            "ServerLive": self._answering("ServerLiveRequest", self._live),
            "ServerReady": self._answering("ServerReadyRequest", self._ready),
            "ServerMetadata": self._answering("ServerMetadataRequest", self._about),
            "ModelReady": self._answering("ModelReadyRequest", self._model_ready),
            "ModelMetadata": self._answering("ModelMetadataRequest", self._model),
            "ModelInfer": self._infer,
            "ModelStatistics": _refusing(grpc.StatusCode.UNIMPLEMENTED, "the figures are at GET /metrics over HTTP"),
        }
        health = {"Check": self._answering("HealthCheckRequest", self._check)}
        services = {SERVICE: inference | repository, _REPOSITORY: repository, _HEALTH: health}
        if self._guard is not None:
            services = {
                service: {name: self._guarded(name, handle) for name, handle in methods.items()}
                for service, methods in services.items()
            }
        if self._watch is not None:  # around the guard: who was refused is told of too
            services = {
                service: {name: watched(f"/{service}/{name}", handle, self._watch) for name, handle in methods.items()}
                for service, methods in services.items()
            }
        return [
            grpc.method_handlers_generic_handler(
                service, {method: grpc.unary_unary_rpc_method_handler(handle) for method, handle in methods.items()}
            )
            for service, methods in services.items()
        ]

    def _guarded(self, name: str, handle: Handler) -> Handler:
        """Return the handler of a call for those who may make it."""
        guard, route = self._guard, Route(name, lambda _: None)

        async def admitted(body: bytes, context: Any) -> bytes:
            try:
                if guard is not None:
                    head = head_of(context, route)
                    guard.admit(head, guard.peer(address_of(context)))
                    CLIENT.set("" if head.grant is None else head.grant.client)
            except RequestError as err:
                error = err
            else:
                return await handle(body, context)
            await context.abort(code_of(error), _says(error))
            raise AssertionError  # abort raises

        return admitted

    def _answering(self, name: str, answer: Callable[[Any], Any]) -> Handler:
        """Return the handler of a call that is answered at once."""
        kind = self._messages[name]

        async def handle(body: bytes, context: Any) -> bytes:
            try:
                return bytes(answer(_parsed(kind, body)).SerializeToString())
            except Exception as err:
                error = _told(err, name)
            await context.abort(code_of(error), _says(error))
            raise AssertionError  # abort raises

        return handle

    def _live(self, _asked: Any) -> Any:
        return self._messages["ServerLiveResponse"](live=True)

    def _ready(self, _asked: Any) -> Any:
        return self._messages["ServerReadyResponse"](ready=self._is_ready())

    def _about(self, _asked: Any) -> Any:
        return self._messages["ServerMetadataResponse"](name="kaizen", version=self._version, extensions=EXTENSIONS)

    def _model_ready(self, asked: Any) -> Any:
        hosted = self._models.get(asked.name)
        if hosted.generation is not None:
            pinned(hosted.generation, asked.version or None)
        return self._messages["ModelReadyResponse"](ready=hosted.generation is not None)

    def _model(self, asked: Any) -> Any:
        generation, _ = self._models.serving(asked.name)
        pinned(generation, asked.version or None)
        return self._messages["ModelMetadataResponse"](**metadata(generation))

    def _index(self, asked: Any) -> Any:
        response = self._messages["RepositoryIndexResponse"]()
        for hosted in self._models:
            for arm in () if hosted.generation is None else hosted.generation.arms:
                response.models.add(name=hosted.name, version=str(arm.bundle.version), state="READY")
            if hosted.generation is None and not asked.ready:
                response.models.add(name=hosted.name, state="UNAVAILABLE", reason="no revision serves yet")
        return response

    def _check(self, asked: Any) -> Any:
        if asked.service not in ("", SERVICE, _REPOSITORY, _HEALTH):
            raise RequestError(f"there is no service {asked.service[:64]!r}", status=404)
        return self._messages["HealthCheckResponse"](status=1 if self._is_ready() else 2)

    def _is_ready(self) -> bool:
        return all(hosted.generation is not None for hosted in self._models)

    # Inference

    async def _infer(self, body: bytes, context: Any) -> bytes:
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        request = _Rpc(_Once(done), self._head(context), body, time.perf_counter_ns())
        if self._watch is not None:
            ASKED.set(request)
        try:
            self._aside.run(request, lambda: self._decode(request), lambda taken: self._scoring.submit(*taken))
        except Exception as err:  # a call that is never answered would be worse
            request.refuse(_told(err, self.route.name))
        answer = await done
        if request.error is not None:
            await context.abort(code_of(request.error), _says(request.error), _push_back(request.error))
        return answer

    def _head(self, context: Any) -> Head:
        own = [value for key, value in context.invocation_metadata() or () if key == "x-request-id"]
        headers = {b"x-request-id": own[0].encode("latin-1", "replace")} if own else {}
        left_s = context.time_remaining()
        if left_s is not None and left_s < _DAY_S:
            headers[HEADER] = b"%d" % max(1, left_s * 1000)
        head = Head("POST", f"/{SERVICE}/ModelInfer", headers, keep_alive=True, old=False)
        head.route = self.route
        return head

    def _decode(self, request: Request) -> tuple[Call, list[Inputs], LiveArm | None]:
        message = _parsed(self._messages["ModelInferRequest"], request.body)
        generation, decoder = self._models.serving(message.model_name)
        arm = pinned(generation, message.model_version or None)
        asked, data = _asked(message)
        wanted = outputs_of(asked, generation.output)
        is_raw = bool(message.raw_input_contents) or any(binary for _, binary in wanted)
        names = [name for name, _ in wanted]

        def finish(call: Call) -> None:
            call.request.reply(self._answer(call, message.id or None, names, is_raw=is_raw))

        return *call_of(request, generation, decoder, asked, data, finish), arm

    def _answer(self, call: Call, own_id: str | None, names: list[str], *, is_raw: bool) -> bytes:
        told = answer_of(call, own_id)
        parameters = told.pop("parameters")
        response = self._messages["ModelInferResponse"](**told)
        for name, value in parameters.items():
            field = "string_param" if isinstance(value, str) else "int64_param"
            setattr(response.parameters[name], field, value)
        for name in names:
            datatype, values = values_of(call, name)
            tensor = response.outputs.add(name=name, datatype=datatype, shape=[call.rows])
            if is_raw:
                response.raw_output_contents.append(output(name, datatype, values, binary=True)[1])
            elif name == PREDICTION_ID:
                tensor.contents.bytes_contents.extend([value.encode() for value in values])
            else:
                tensor.contents.fp64_contents.extend(values)
        return bytes(response.SerializeToString())


class _Rpc(Request):
    """A call as the batcher knows requests; it keeps the error, whose kind says the status code."""

    __slots__ = ("error",)

    def __init__(self, connection: _Once, head: Head, body: bytes, arrived_ns: int) -> None:
        super().__init__(connection, head, body, arrived_ns)
        self.error: KaizenError | None = None

    def refuse(self, error: KaizenError, *, extra: bytes = b"") -> None:
        self.error = error
        super().refuse(error, extra=extra)


class _Once:
    """Takes the one answer of a call; a caller that has gone away leaves it untaken."""

    watch = None  # calls are watched further out: see `grpc_watch`
    peer = Peer()

    def __init__(self, done: asyncio.Future[bytes]) -> None:
        self._done = done

    def answer(self, _request: Request, _status: int, body: bytes, _type: bytes, _extra: bytes, /) -> None:
        if not self._done.done():
            self._done.set_result(body)

    @property
    def lost(self) -> bool:
        """Whether the caller has cancelled the call."""
        return self._done.cancelled()


def code_of(error: KaizenError) -> grpc.StatusCode:
    """Return the status code of an error."""
    if isinstance(error, OverloadError):
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    status = error.status if isinstance(error, RequestError) else 500
    return _CODES.get(status, grpc.StatusCode.INTERNAL)


def _says(error: KaizenError) -> str:
    return str(error).replace("\n  → ", "; ")[:1000]  # it travels in a header, of which there are 8 KiB


def _push_back(error: KaizenError) -> tuple[tuple[str, str], ...]:
    """Return when clients that try again of themselves may do so."""
    return (("grpc-retry-pushback-ms", f"{error.retry_after_s}000"),) if isinstance(error, OverloadError) else ()


def _told(err: Exception, route: str) -> KaizenError:
    """Return what a caller is told of an error: ours as it is, of any other no more than that there was one."""
    if isinstance(err, RequestError):
        return err
    logger.error("failed route=%s", route, exc_info=err)
    return RequestError("an error inside the server; its log says more", status=500)


def _refusing(code: grpc.StatusCode, why: str) -> Handler:
    async def handle(_body: bytes, context: Any) -> bytes:
        await context.abort(code, why)
        raise AssertionError  # abort raises

    return handle


def _parsed(kind: Any, body: bytes) -> Any:
    try:
        return kind.FromString(body)
    except DecodeError as err:
        raise RequestError("the message is not of this protocol") from err


def _asked(message: Any) -> tuple[Infer, list[memoryview | None]]:
    """Return what a message asks, and the raw content of each input, None for typed content."""
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        what = f"expected one content for each of {len(message.inputs)} inputs, got {len(raw)}"
        raise RequestError(what, where="raw_input_contents")
    tensors = []
    for told in message.inputs:
        tensor = Tensor(told.name, told.datatype, list(told.shape))
        if not raw:
            tensor.data = _typed(told)
        elif told.HasField("contents"):
            raise RequestError("raw and typed contents do not mix", where=f"inputs[{told.name[:64]}].contents")
        tensors.append(tensor)
    outputs = [Wanted(told.name, _parameters(told.parameters)) for told in message.outputs]
    asked = Infer(tensors, message.id or None, outputs, _parameters(message.parameters))
    return asked, [memoryview(content) for content in raw] or [None] * len(tensors)


def _typed(told: Any) -> list[Any]:
    where = f"inputs[{told.name[:64]}].contents"
    if told.datatype == "FP16":
        raise RequestError("FP16 has no typed contents", where=where, fix="use raw_input_contents")
    field = _CONTENTS.get(told.datatype)
    values = list(getattr(told.contents, field)) if field else []
    if field != "bytes_contents":
        return values
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as err:
        raise RequestError("expected UTF-8", where=where) from err


def _parameters(told: Any) -> dict[str, Any]:
    chosen = {name: value.WhichOneof("parameter_choice") for name, value in told.items()}
    return {name: getattr(told[name], field) for name, field in chosen.items() if field}
