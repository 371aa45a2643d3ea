"""The server: routes, start, drain and stop, on one screen."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

import uvloop

from kaizen.core.clock import Clock, SystemClock
from kaizen.core.errors import RequestError
from kaizen.core.ports import Log
from kaizen.core.version import __version__
from kaizen.serve.aside import Aside
from kaizen.serve.commit import Commit, Durability
from kaizen.serve.feedback import Feedback
from kaizen.serve.guard import Guard
from kaizen.serve.health import Health
from kaizen.serve.http import Connection
from kaizen.serve.intake import Intake
from kaizen.serve.listen import Door, cannot_listen
from kaizen.serve.listener import Limits, Listener
from kaizen.serve.message import Request
from kaizen.serve.models import EndpointSource, Models
from kaizen.serve.nolog import NoLog
from kaizen.serve.oip import OpenInference
from kaizen.serve.oip_extensions import UNSUPPORTED, Extensions, unsupported
from kaizen.serve.openapi import Contract
from kaizen.serve.pathloader import LoadPath, PathLoader
from kaizen.serve.platforms import Platforms
from kaizen.serve.repository import Catalogue, Repository, RepositoryRoutes
from kaizen.serve.routes import Routes
from kaizen.serve.rows import Predict
from kaizen.serve.scoring import Scoring
from kaizen.serve.seat import Seat
from kaizen.serve.tally import Family
from kaizen.serve.telemetry import Telemetry
from kaizen.serve.tls import Tls

if TYPE_CHECKING:
    from kaizen.serve.grpc import GrpcServer
    from kaizen.serve.metrics import Metrics

logger = logging.getLogger("kaizen.serve")

_DRAIN_S: Final = 30.0


class Server:
    """Serves endpoints over HTTP.

    Parameters
    ----------
    endpoints
        What to serve.
    host, port
        Where to listen; port 0 takes a free one.
    log
        Where predictions and labels go; closed by the server when it stops. None: nothing is kept.
    clock
        Tells the event time of what does not have its own.
    durability
        Where a prediction is before it is answered: with the operating system or on the disk.
    limits
        What one client may ask.
    guard
        Who may ask for what; None: everybody for everything.
    tls
        The certificate that connections are secured with; None: they are not.
    telemetry
        Traces and the access log; None: neither.
    grpc_port
        Where to listen for gRPC, which needs the extra `[grpc]`; 0 takes a free one, None leaves it out.
    repository
        Models that requests may load and unload by name; None: what serves is not changed by request.
    deadline_s
        When a request with few rows must be answered that does not say, after it arrived; None: whenever.
    stop_with_parent
        Stop when standard input ends: its other end was held by a process that is gone.
    seat
        Of one of several workers (`kaizen.serve.workers`): where it listens, and how it keeps step with the others.
    load_path
        Returns the model that a path holds, under a name: lets models be loaded by request. None: nobody may.
    predict_route, health_route
        Further paths that answer, chosen by the platform that runs this (Vertex AI).
    on_violation
        Whether a row that breaks a declared rule of its bundle is answered and counted, or refused.

    Examples
    --------
    ::

        source = EndpointSource(name=project.name, endpoint=project.endpoint, load=load)
        Server([source], log=project.log).serve_forever()
    """

    def __init__(
        self,
        endpoints: Iterable[EndpointSource],
        *,
        log: Log | None,
        host: str = "127.0.0.1",
        port: int = 8080,
        clock: Clock | None = None,
        durability: Durability = "os",
        limits: Limits | None = None,
        guard: Guard | None = None,
        tls: Tls | None = None,
        telemetry: Telemetry | None = None,
        grpc_port: int | None = None,
        repository: Repository | None = None,
        deadline_s: float | None = 1.0,
        stop_with_parent: bool = False,
        seat: Seat | None = None,
        load_path: LoadPath | None = None,
        predict_route: str | None = None,
        health_route: str | None = None,
        on_violation: Literal["count", "refuse"] = "count",
    ) -> None:
        self._seat = seat
        self.host = host
        self.port = port
        self.grpc_port = grpc_port
        self._keeps_log = log is not None
        self._log: Log = log or NoLog()
        self._clock = clock or SystemClock()
        self.models = Models(self._clock, seat=seat, refuses=on_violation == "refuse")
        for source in endpoints:
            self.models.add(source)
        self._durability = durability
        self._limits = limits or Limits()
        self._repository = repository
        self._deadline_s = deadline_s
        self._guard = guard
        self._tls = tls
        self._telemetry = telemetry
        self._stop_with_parent = stop_with_parent
        self._load_path = load_path
        self._path_loader: PathLoader | None = None
        self._named_routes = {"predict_route": predict_route, "health_route": health_route}
        self._draining = False
        self._grpc: GrpcServer | None = None

    def serve_forever(self, ready: Callable[[], None] | None = None) -> None:
        """Serve until SIGTERM, SIGINT or `stop`, then finish what is under way; `ready`: see `run`."""
        uvloop.run(self.run(ready))

    async def run(self, ready: Callable[[], None] | None = None) -> None:
        """Serve until stopped; `ready` is called once the port is open.

        Raises
        ------
        KaizenError
            The port cannot be had.
        """
        await self.start()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        if self._stop_with_parent:
            threading.Thread(target=self._wait_for_parent, name="kaizen-parent", daemon=True).start()
        if self._seat is not None:
            self._seat.opened(ready or (lambda: None))
        elif ready is not None:
            ready()
        await self._stopped.wait()
        await self.drain()

    async def start(self) -> None:
        """Open the port and begin to load; requests are answered 503 until the first revision is ready."""
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._stopped = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kaizen-score")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="kaizen-read")
        self._commit = Commit(self._log, self._durability, loop.call_later, loop.call_soon_threadsafe)
        self.scoring = Scoring(
            self._log,
            self._commit,
            self._clock,
            loop.call_soon,
            loop.call_soon_threadsafe,
            loop.call_later,
            self._thread,
            deadline_s=self._deadline_s,
        )
        self._aside = Aside(self._reading, loop.call_soon_threadsafe)
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="kaizen-load")
        self._catalogue = Catalogue(self.models, self._repository, self._loading, loop.call_soon_threadsafe)
        self._watch = None if self._telemetry is None else self._telemetry.start(loop.call_later)
        self.scoring.is_watched = self._watch is not None
        self._routes = self._compose()
        if self.grpc_port is not None:
            self._grpc = self._compose_grpc()
        self._listener = Listener(self._routes.resolve, self._limits, self._guard, self._watch)
        if self._guard is not None:
            self._guard.tick()
        if self._seat is None:
            await self._open()
            self.models.start()
        else:
            await self._open_together(self._seat)
        self._begin_tick()

    def stop(self) -> None:
        """Begin to stop; safe to call again."""
        self._stopped.set()

    async def drain(self) -> None:
        """Take nothing more, answer what was asked, score what shadows still owe, and close the log."""
        self._draining = True
        self._socket.close()
        await asyncio.sleep(0.05)  # what is in the sockets' buffers was sent to us and is answered
        self._listener.drain()
        deadline = self._loop.time() + _DRAIN_S
        if self._grpc is not None:
            await self._grpc.stop(_DRAIN_S)
        while (self._listener.waiting or not self.scoring.batcher.is_idle) and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        self._ticker.cancel()
        if self._path_loader is not None:
            await self._loop.run_in_executor(None, self._path_loader.close)
        await self._loop.run_in_executor(None, self.models.stop)
        self._thread.shutdown()
        self._reading.shutdown()
        self._loading.shutdown(cancel_futures=True)
        await self._commit.close()
        self._log.close()
        if self._telemetry is not None:
            await self._loop.run_in_executor(None, self._telemetry.stop)
        logger.info("stopped unanswered=%d", self._listener.waiting)

    # Inside

    async def _open(self) -> None:
        try:
            server = await self._loop.create_server(
                lambda: Connection(self._listener),
                self.host,
                self.port,
                ssl=None if self._tls is None else self._tls.context,
                ssl_handshake_timeout=None if self._tls is None else self._limits.head_s,
            )
        except OSError as err:
            raise cannot_listen(self.host, self.port, err) from err
        self._socket: asyncio.Server | Door = server
        self.port = server.sockets[0].getsockname()[1]
        if self._grpc is not None and self.grpc_port is not None:
            self.grpc_port = await self._grpc.start(self.host, self.grpc_port)

    async def _open_together(self, seat: Seat) -> None:
        """Open the port of all workers; one that is started while others serve opens it when it serves too."""
        seat.begin(
            changed=lambda: self._loop.call_soon_threadsafe(self._publish),
            stop=lambda: self._loop.call_soon_threadsafe(self.stop),
        )
        self.models.start()
        while seat.is_late and any(each.generation is None for each in self.models) and not self._stopped.is_set():
            await asyncio.sleep(0.02)
        connections = self._listener.connections
        self._publish()
        self._socket = Door(
            seat.sockets,
            lambda: Connection(self._listener),
            lambda: seat.is_due(len(connections)),
            tls=None if self._tls is None else self._tls.context,
            handshake_s=self._limits.head_s,
        )
        self.port = seat.port
        if self._grpc is not None and seat.grpc_port is not None:
            self.grpc_port = await self._grpc.start(self.host, seat.grpc_port, is_shared=True)

    def _publish(self) -> None:
        """Tell the other workers how this one is."""
        if self._seat is not None:
            self._seat.tally.count(self._seat.worker, len(self._listener.connections))
            self._seat.publish({"pid": os.getpid()} | self._health.facts(), self._metrics.families())

    def _together(self) -> list[Family]:
        assert self._seat is not None
        self._publish()  # first, or a worker that is asked next would tell of less
        return self._seat.tally.figures()

    def _compose(self) -> Routes:
        routes = Routes()
        self._rows(routes)
        self._open_inference(routes)
        self._health = Health(self.models, self.scoring, lambda: self._draining, self._seat)
        contract = Contract(self.models, routes.listed, is_locked=self._guard is not None and self._guard.is_locked)
        for path, name, make in (
            ("/openapi.json", "openapi", contract.openapi),
            ("/v1/schema", "schema", contract.schema),
            ("/docs", "docs", contract.docs),
        ):
            routes.add("GET", path, name, make())
            routes.add_pattern("GET", f"{path.removesuffix('.json')}/{{model}}", name, make)
        routes.add("GET", "/healthz", "health", self._health.handle)
        self._platforms(routes, contract)
        routes.add("GET", "/metrics", "metrics", lambda request: self._metrics.handle(request))
        return routes

    def _rows(self, routes: Routes) -> None:
        predict = Predict(self.models.serving, self.scoring, self._aside)
        self._feedback = Feedback(self._log, self._commit, self._clock, self._aside)
        routes.add("POST", "/v1/predict", "predict", predict.handle)
        routes.add_pattern("POST", "/v1/predict/{model}", "predict", predict.of)
        routes.add("POST", "/v1/feedback", "feedback", self._feedback.handle if self._keeps_log else _refuse_labels)

    def _open_inference(self, routes: Routes) -> None:
        protocol = OpenInference(__version__, self.models, self.scoring, self._aside)
        routes.add("GET", "/v2", "server", protocol.server)
        routes.add("GET", "/v2/health/live", "live", protocol.live)
        routes.add("GET", "/v2/health/ready", "ready", protocol.ready)
        routes.add("GET", "/v2/models", "models", protocol.models)
        for base in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            routes.add_pattern("GET", base, "model", protocol.model)
            routes.add_pattern("GET", f"{base}/ready", "model_ready", protocol.model_ready)
            routes.add_pattern("POST", f"{base}/infer", "infer", protocol.infer)
        self._open_inference_extensions(routes)

    def _open_inference_extensions(self, routes: Routes) -> None:
        extensions, repository = Extensions(self.models, self.scoring), RepositoryRoutes(self._catalogue)
        routes.add("GET", "/v2/models/stats", "stats", extensions.statistics())
        for base in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            routes.add_pattern("GET", f"{base}/stats", "model_stats", extensions.statistics)
            routes.add_pattern("GET", f"{base}/config", "config", extensions.configuration)
        routes.add("POST", "/v2/repository/index", "index", repository.index)
        routes.add_pattern("POST", "/v2/repository/models/{model}/load", "load", repository.load)
        routes.add_pattern("POST", "/v2/repository/models/{model}/unload", "unload", repository.unload)
        for method, path, handle in unsupported():
            routes.add_pattern(method, path, UNSUPPORTED, lambda handle=handle, **_: handle)

    def _platforms(self, routes: Routes, contract: Contract) -> None:
        if self._load_path is not None:
            loop = self._loop
            self._path_loader = PathLoader(self.models, self._load_path, loop.call_soon_threadsafe, loop.call_later)
        intake = Intake(self.models.serving, self.scoring, self._aside, self._clock)
        Platforms(self.models, intake, self._path_loader, **self._named_routes).add(routes, contract.openapi())

    def _compose_grpc(self) -> GrpcServer:
        from kaizen.serve.grpc import GrpcServer  # here, for it stands on an extra

        most = self._limits.body_bytes
        return GrpcServer(
            __version__,
            self.models,
            self.scoring,
            self._aside,
            self._catalogue,
            message_bytes=most,
            guard=self._guard,
            tls=self._tls,
            watch=self._watch,
        )

    @cached_property
    def _metrics(self) -> Metrics:
        from kaizen.serve.metrics import Metrics  # here, for it costs 5 MiB, and not every server is asked

        every = [*self._routes.every, *([] if self._grpc is None else [self._grpc.route])]
        together = None if self._seat is None else self._together
        return Metrics(
            self.models,
            every,
            self._listener,
            self.scoring,
            self._feedback,
            self._commit,
            together=together,
            telemetry=self._telemetry,
        )

    def _tick(self) -> None:
        self._listener.tick()
        if self._guard is not None:
            self._guard.tick()
        if self._tls is not None:
            self._tls.look()
        self._publish()
        self.scoring.lag_s = max(0.0, self._loop.time() - self._tick_due)
        self._begin_tick()

    def _begin_tick(self) -> None:
        self._tick_due = self._loop.time() + 1.0
        self._ticker = self._loop.call_later(1.0, self._tick)

    def _wait_for_parent(self) -> None:
        while os.read(0, 4096):
            pass
        self._loop.call_soon_threadsafe(self.stop)


def _refuse_labels(_: Request) -> None:
    what = "this server keeps no log, so labels have nowhere to go"
    raise RequestError(what, status=501, fix="start it with --log FOLDER")
