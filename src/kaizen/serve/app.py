"""The server: routes, start, drain and stop, on one screen."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import msgspec
import uvloop

from kaizen import __version__
from kaizen.core.clock import Clock, SystemClock
from kaizen.core.errors import KaizenError, RequestError
from kaizen.core.ports import Log
from kaizen.core.records import Endpoint
from kaizen.serve.aside import Aside
from kaizen.serve.commit import Commit, Durability
from kaizen.serve.feedback import Feedback
from kaizen.serve.generation import Generation, Model
from kaizen.serve.http import Connection, Limits, Listener
from kaizen.serve.message import Request, Route
from kaizen.serve.metrics import Metrics
from kaizen.serve.oip import OpenInference
from kaizen.serve.openapi import Contract
from kaizen.serve.routes import Routes
from kaizen.serve.rows import Predict, RowDecoder
from kaizen.serve.scoring import Scoring
from kaizen.serve.swap import Swap

if TYPE_CHECKING:
    from kaizen.serve.grpc import GrpcServer

logger = logging.getLogger("kaizen.serve")

_DRAIN_S: Final = 30.0


class Server:
    """Serves one endpoint over HTTP.

    Parameters
    ----------
    name
        The endpoint.
    host, port
        Where to listen; port 0 takes a free one.
    endpoint
        Returns the endpoint's newest revision, or None; called in a thread, some ten times a second.
    load
        Returns the model of a bundle's id; called in the same thread.
    log
        Where predictions and labels go; closed by the server when it stops.
    time, unit
        The columns with a row's event time and its unit; used where they are inputs.
    clock
        Tells the event time of what does not have its own.
    durability
        Where a prediction is before it is answered: with the operating system or on the disk.
    limits
        What one client may ask.
    grpc_port
        Where to listen for gRPC, which needs the extra `[grpc]`; 0 takes a free one, None leaves it out.
    deadline_s
        When a request with few rows must be answered that does not say, after it arrived; None: whenever.
    stop_with_parent
        Stop when standard input ends: its other end was held by a process that is gone.

    Examples
    --------
    ::

        Server(name=project.name, endpoint=project.endpoint, load=load, log=project.log).serve_forever()
    """

    def __init__(
        self,
        *,
        name: str,
        endpoint: Callable[[], Endpoint | None],
        load: Callable[[str], Model],
        log: Log,
        host: str = "127.0.0.1",
        port: int = 8080,
        time: str | None = None,
        unit: str | None = None,
        clock: Clock | None = None,
        durability: Durability = "os",
        limits: Limits | None = None,
        grpc_port: int | None = None,
        deadline_s: float | None = 1.0,
        stop_with_parent: bool = False,
    ) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.grpc_port = grpc_port
        self._endpoint = endpoint
        self._load = load
        self._log = log
        self._time = time
        self._unit = unit
        self._clock = clock or SystemClock()
        self._durability = durability
        self._limits = limits or Limits()
        self._deadline_s = deadline_s
        self._stop_with_parent = stop_with_parent
        self._current: tuple[Generation, RowDecoder] | None = None
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
        if ready is not None:
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
        self._swap = Swap(self._endpoint, self._load, self._switch)
        self._aside = Aside(self._reading, loop.call_soon_threadsafe)
        self._routes = self._compose()
        if self.grpc_port is not None:
            self._grpc = self._compose_grpc()
        self._listener = Listener(self._routes.resolve, self._limits)
        self._metrics = self._measure()
        try:
            self._socket = await loop.create_server(lambda: Connection(self._listener), self.host, self.port)
        except OSError as err:
            raise _cannot_listen(self.host, self.port, err) from err
        self.port = self._socket.sockets[0].getsockname()[1]
        if self._grpc is not None and self.grpc_port is not None:
            self.grpc_port = await self._grpc.start(self.host, self.grpc_port)
        self._begin_tick()
        self._swap.start()

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
        await self._loop.run_in_executor(None, self._swap.stop)
        self._thread.shutdown()
        self._reading.shutdown()
        await self._commit.close()
        self._log.close()
        logger.info("stopped endpoint=%s unanswered=%d", self.name, self._listener.waiting)

    # Inside

    def _compose(self) -> Routes:
        predict = Predict(self._serving, self.scoring, self._aside)
        self._feedback = Feedback(self._log, self._commit, self._clock, self._aside)
        protocol = OpenInference(self.name, __version__, self._serving, self.scoring, self._aside)
        contract = Contract(lambda: self._serving()[0], lambda: self._routes.listed())
        return Routes(
            self.name,
            {
                ("POST", "/v1/predict"): Route("predict", predict.handle),
                ("POST", "/v1/feedback"): Route("feedback", self._feedback.handle),
                ("GET", "/v1/schema"): Route("schema", contract.schema),
                ("GET", "/openapi.json"): Route("openapi", contract.openapi),
                ("GET", "/docs"): Route("docs", contract.docs),
                ("GET", "/healthz"): Route("health", self._health),
                ("GET", "/metrics"): Route("metrics", lambda request: self._metrics.handle(request)),
                ("GET", "/v2"): Route("server", protocol.server),
                ("GET", "/v2/health/live"): Route("live", protocol.live),
                ("GET", "/v2/health/ready"): Route("ready", protocol.ready),
                ("GET", "/v2/models"): Route("models", protocol.models),
            },
            protocol,
        )

    def _compose_grpc(self) -> GrpcServer:
        from kaizen.serve.grpc import GrpcServer  # here, for it stands on an extra

        most = self._limits.body_bytes
        aside, scoring = self._aside, self.scoring
        return GrpcServer(self.name, __version__, self._serving, scoring, aside, message_bytes=most)

    def _measure(self) -> Metrics:
        def generation() -> Generation | None:
            return None if self._current is None else self._current[0]

        every = [*self._routes.every, *([] if self._grpc is None else [self._grpc.route])]
        return Metrics(
            self.name, generation, every, self._listener, self.scoring, self._feedback, self._swap, self._commit
        )

    def _serving(self) -> tuple[Generation, RowDecoder]:
        if self._current is None:
            what = f"endpoint {self.name!r} has no revision that serves yet"
            raise RequestError(what, status=503, fix="GET /healthz says why")
        return self._current

    def _switch(self, generation: Generation) -> None:
        """Make this generation the one that answers; called in the swap's thread.

        One assignment, which is atomic: a request reads the generation once and keeps it to its end.
        """
        self._current = (generation, RowDecoder(generation.reader, self._time, self._unit, self._clock))

    def _health(self, request: Request) -> None:
        serving, problem = self._current, self._swap.problem
        status = "degraded" if problem else "ok"
        if serving is None:
            status = "starting"
        if self._draining:
            status = "draining"
        body: dict[str, Any] = {
            "status": status,
            "endpoint": self.name,
            "revision": None if serving is None else serving[0].endpoint.revision,
            "bundles": {} if serving is None else serving[0].bundles(),
            "shadow_pending": self.scoring.shadow_pending,
            "shadow_dropped": self.scoring.shadow_dropped,
            "version": __version__,
        }
        if problem:
            body["problem"] = problem
        request.reply(msgspec.json.encode(body), status=200 if status in ("ok", "degraded") else 503)

    def _tick(self) -> None:
        self._listener.tick()
        self.scoring.lag_s = max(0.0, self._loop.time() - self._tick_due)
        self._begin_tick()

    def _begin_tick(self) -> None:
        self._tick_due = self._loop.time() + 1.0
        self._ticker = self._loop.call_later(1.0, self._tick)

    def _wait_for_parent(self) -> None:
        while os.read(0, 4096):
            pass
        self._loop.call_soon_threadsafe(self.stop)


def _cannot_listen(host: str, port: int, err: OSError) -> KaizenError:
    where = f"{host}:{port}"
    if err.errno == errno.EADDRINUSE:
        fix = "stop what listens there, or choose another: kaizen serve --port PORT (0 takes a free one)"
        return KaizenError(f"port {port} is in use", where=where, fix=fix)
    if err.errno == errno.EACCES:
        return KaizenError(f"port {port} needs rights that this user lacks", where=where, fix="choose one over 1023")
    return KaizenError(f"cannot listen: {err.strerror or err}", where=where, fix="check the host and the port")
