"""The Open Inference Protocol v2 over gRPC: the same calls, batches and log as REST, on the same event loop.

    ModelInfer ─▶ Infer (oip.py) ─▶ Call ─▶ Scoring ─▶ logged ─▶ ModelInferResponse

The handlers take and give raw bytes; `grpc_messages.py` makes the messages. Imported only if a gRPC port is asked for.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import grpc

from kaizen.core.errors import KaizenError, OverloadError, RequestError
from kaizen.serve.aside import Aside
from kaizen.serve.calls import Call
from kaizen.serve.deadline import HEADER
from kaizen.serve.generation import LiveArm
from kaizen.serve.grpc_extensions import GrpcExtensions, absent
from kaizen.serve.grpc_guard import address_of, credentials, head_of
from kaizen.serve.grpc_inference import answered, asked_of, parsed
from kaizen.serve.grpc_messages import messages
from kaizen.serve.grpc_streams import Streams
from kaizen.serve.grpc_watch import ASKED, CLIENT, tell, watched
from kaizen.serve.guard import Guard
from kaizen.serve.message import Head, Peer, Request, Route, Watch
from kaizen.serve.models import Models
from kaizen.serve.oip import (
    EXTENSIONS,
    call_of,
    metadata,
    outputs_of,
    pinned,
)
from kaizen.serve.reader import Inputs
from kaizen.serve.repository import Catalogue
from kaizen.serve.scoring import Scoring
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
    409: grpc.StatusCode.FAILED_PRECONDITION,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
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
    catalogue
        What may be loaded by request.
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
        catalogue: Catalogue,
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
        self._extensions = GrpcExtensions(self._messages, models, scoring, catalogue)
        services = frozenset({"", SERVICE, _REPOSITORY, _HEALTH})
        self._streams = Streams(self._messages, services, self._is_ready, self._inferred)
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
        self._streams.stop()
        await self._server.stop(grace_s)

    # The services

    def _services(self) -> list[Any]:
        repository = {
            name: self._answering(f"{name}Request", answer) for name, answer in self._extensions.repository().items()
        }
        extensions = {
            name: self._answering(f"{name}Request", answer) for name, answer in self._extensions.inference().items()
        }
        extensions |= {name: _refusing(grpc.StatusCode.UNIMPLEMENTED, why) for name, why in absent().items()}
        inference = {
            "ServerLive": self._answering("ServerLiveRequest", self._live),
            "ServerReady": self._answering("ServerReadyRequest", self._ready),
            "ServerMetadata": self._answering("ServerMetadataRequest", self._about),
            "ModelReady": self._answering("ModelReadyRequest", self._model_ready),
            "ModelMetadata": self._answering("ModelMetadataRequest", self._model),
            "ModelInfer": self._infer,
        }
        health = {"Check": self._answering("HealthCheckRequest", self._check)}
        services = {SERVICE: inference | extensions | repository, _REPOSITORY: repository, _HEALTH: health}
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
        streams = {
            SERVICE: {"ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self._stream)},
            _HEALTH: {"Watch": grpc.unary_stream_rpc_method_handler(self._streams.watch)},
        }
        return [
            grpc.method_handlers_generic_handler(
                service,
                {method: grpc.unary_unary_rpc_method_handler(handle) for method, handle in methods.items()}
                | streams.get(service, {}),
            )
            for service, methods in services.items()
        ]

    def _guarded(self, name: str, handle: Handler) -> Handler:
        """Return the handler of a call for those who may make it."""

        async def admitted(body: bytes, context: Any) -> bytes:
            try:
                self._admit(name, context)
            except RequestError as err:
                error = err
            else:
                return await handle(body, context)
            await context.abort(code_of(error), _says(error))
            raise AssertionError  # abort raises

        return admitted

    def _admit(self, name: str, context: Any) -> None:
        if self._guard is not None:
            head = head_of(context, Route(name, lambda _: None))
            self._guard.admit(head, self._guard.peer(address_of(context)))
            CLIENT.set("" if head.grant is None else head.grant.client)

    def _answering(self, name: str, answer: Callable[[Any], Any]) -> Handler:
        """Return the handler of a call that is answered at once."""
        kind = self._messages[name]

        async def handle(body: bytes, context: Any) -> bytes:
            try:
                response = answer(parsed(kind, body))
                if inspect.isawaitable(response):
                    response = await response
                return bytes(response.SerializeToString())
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

    def _check(self, asked: Any) -> Any:
        if asked.service not in ("", SERVICE, _REPOSITORY, _HEALTH):
            raise RequestError(f"there is no service {asked.service[:64]!r}", status=404)
        return self._messages["HealthCheckResponse"](status=1 if self._is_ready() else 2)

    def _is_ready(self) -> bool:
        return all(hosted.generation is not None for hosted in self._models)

    # Inference

    async def _infer(self, body: bytes, context: Any) -> bytes:
        request, done = self._begin(body, context)
        answer = await done
        if request.error is not None:
            await context.abort(code_of(request.error), _says(request.error), _push_back(request.error))
        return answer

    async def _stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        try:
            self._admit("ModelStreamInfer", context)
        except RequestError as err:
            error = err
        else:
            async for answer in self._streams.stream(requests, context):
                yield answer
            return
        await context.abort(code_of(error), _says(error))

    def _inferred(self, body: bytes, context: Any) -> asyncio.Future[bytes | str]:
        """Begin a call of a stream; what comes of it is an answer or an error's words."""
        request, done = self._begin(body, context, is_streamed=True)

        async def answer() -> bytes | str:
            message = await done
            if self._watch is not None:
                code = grpc.StatusCode.OK if request.error is None else code_of(request.error)
                tell(self._watch, f"/{SERVICE}/ModelStreamInfer", request, context, code.name, len(message))
            return message if request.error is None else _says(request.error)

        return asyncio.ensure_future(answer())

    def _begin(self, body: bytes, context: Any, *, is_streamed: bool = False) -> tuple[_Rpc, asyncio.Future[bytes]]:
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        request = _Rpc(_Once(done), self._head(context), body, time.perf_counter_ns())
        if self._watch is not None and not is_streamed:
            ASKED.set(request)
        try:
            if is_streamed:
                self._admit("ModelInfer", context)
            self._aside.run(request, lambda: self._decode(request), lambda taken: self._scoring.submit(*taken))
        except Exception as err:  # a call that is never answered would be worse
            request.refuse(_told(err, self.route.name))
        return request, done

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
        message = parsed(self._messages["ModelInferRequest"], request.body)
        generation, decoder = self._models.serving(message.model_name)
        arm = pinned(generation, message.model_version or None)
        asked, data = asked_of(message)
        wanted = outputs_of(asked, generation.output)
        is_raw = bool(message.raw_input_contents) or any(binary for _, binary in wanted)
        names = [name for name, _ in wanted]

        def finish(call: Call) -> None:
            call.request.reply(
                answered(self._messages["ModelInferResponse"], call, message.id or None, names, is_raw=is_raw)
            )

        return *call_of(request, generation, decoder, asked, data, finish), arm


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
