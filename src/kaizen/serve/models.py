"""The models of one process: which endpoints it serves, and which revision of each answers.

EndpointSource ─▶ Hosted ─▶ Swap: load, warm, switch ─▶ current() = the generation and its decoder
                    ▲
Models: by name ────┘   one thread looks after all of them
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kaizen.core.clock import Clock
from kaizen.core.errors import RequestError, nearest
from kaizen.core.records import Endpoint
from kaizen.serve.generation import Generation, Model
from kaizen.serve.rows import RowDecoder
from kaizen.serve.seat import Seat
from kaizen.serve.swap import JointSwap, Swap

logger = logging.getLogger("kaizen.serve")


@dataclass(frozen=True, kw_only=True)
class EndpointSource:
    """Where an endpoint comes from.

    Parameters
    ----------
    name
        By which requests name it.
    endpoint
        Returns its newest revision, or None before there is one; called in a thread, some ten times a second.
    load
        Returns the model of a bundle's id; called in the same thread.
    time, unit
        The columns with a row's event time and its unit; used where they are inputs.
    """

    name: str
    endpoint: Callable[[], Endpoint | None]
    load: Callable[[str], Model]
    time: str | None = None
    unit: str | None = None


class Hosted:
    """One endpoint as this process serves it."""

    def __init__(
        self, source: EndpointSource, clock: Clock, seat: Seat | None = None, *, refuses: bool = False
    ) -> None:
        self.name = source.name
        self.swap = (
            Swap(source.endpoint, source.load, self._switch)
            if seat is None
            else JointSwap(source.endpoint, source.load, self._switch, source.name, seat)
        )
        self._time = source.time
        self._unit = source.unit
        self._clock = clock
        self._refuses = refuses
        self._current: tuple[Generation, RowDecoder] | None = None

    @property
    def generation(self) -> Generation | None:
        """The generation that answers, None before there is one."""
        return None if self._current is None else self._current[0]

    def current(self) -> tuple[Generation, RowDecoder]:
        """Return the generation that answers and its decoder; raise a 503 before there is one."""
        if self._current is None:
            what = f"endpoint {self.name!r} has no revision that serves yet"
            raise RequestError(what, status=503, fix="GET /healthz says why")
        return self._current

    def _switch(self, generation: Generation) -> None:
        """Make this generation the one that answers; called in the thread that looks after swaps.

        One assignment, which is atomic: a request reads the generation once and keeps it to its end.
        """
        gate = generation.rowwatch if self._refuses else None
        self._current = (generation, RowDecoder(generation.reader, self._time, self._unit, self._clock, gate))


class Models:
    """The endpoints of one process, by name, and the thread that looks after their swaps.

    `get` and `only` are called on the loop; `add` and `remove` anywhere.

    Parameters
    ----------
    clock
        Tells the event time of rows that do not have one.
    every_s
        How often to look for new revisions.
    seat
        Of a worker that swaps together with others.
    refuses
        Whether rows that break a declared rule are refused.
    """

    def __init__(self, clock: Clock, *, every_s: float = 0.1, seat: Seat | None = None, refuses: bool = False) -> None:
        self._clock = clock
        self._refuses = refuses
        self._seat = seat
        self._every_s = every_s
        self._hosted: dict[str, Hosted] = {}
        self._fresh: dict[Hosted, Callable[[Hosted], None]] = {}  # what is called after the first look
        self._wake = threading.Event()
        if seat is not None:
            seat.wake_by(self._wake.set)
        self._stopped = False
        self._thread = threading.Thread(target=self._watch, name="kaizen-swap", daemon=True)

    def __iter__(self) -> Iterator[Hosted]:
        return iter(tuple(self._hosted.values()))

    def __len__(self) -> int:
        return len(self._hosted)

    def settled(self) -> list[Hosted]:
        """Return the endpoints without those that are being loaded by request, which the process is ready without."""
        return [hosted for hosted in self if hosted not in self._fresh]

    def get(self, name: str) -> Hosted:
        """Return an endpoint by its name; raise a 404 that names the nearest."""
        found = self._hosted.get(name)
        if found is None:
            what = f"there is no model {name[:64]!r}"
            raise RequestError(what, status=404, fix=nearest(name, self._hosted))
        return found

    def only(self) -> Hosted:
        """Return the one endpoint that there is, for requests that name none; raise a 404 if there are several."""
        if len(self._hosted) != 1:
            known = ", ".join(sorted(self._hosted)[:16]) or "none"
            what = f"this server has {len(self._hosted)} models, so a request names one"
            raise RequestError(what, status=404, fix=f"POST /v1/predict/NAME; known: {known}")
        return next(iter(self._hosted.values()))

    def serving(self, name: str | None) -> tuple[Generation, RowDecoder]:
        """Return what answers for an endpoint, None: for the only one; raise a 404 or, before it is ready, a 503."""
        return (self.only() if name is None else self.get(name)).current()

    def add(self, source: EndpointSource, then: Callable[[Hosted], None] | None = None) -> Hosted:
        """Take an endpoint; `then` is called in the thread once its first revision serves or has failed to."""
        hosted = Hosted(source, self._clock, self._seat, refuses=self._refuses)
        self._hosted[source.name] = hosted
        if then is not None:
            self._fresh[hosted] = then
        self._wake.set()
        return hosted

    def bring(self, source: EndpointSource, then: Callable[[Hosted], None]) -> None:
        """Take an endpoint once its first revision serves; until then, and if it never does, all stays as it is.

        `then` is called in the thread that looks after swaps.
        """
        hosted = Hosted(source, self._clock, refuses=self._refuses)

        def take(hosted: Hosted) -> None:
            if hosted.generation is not None:
                self._hosted[hosted.name] = hosted
            then(hosted)

        self._fresh[hosted] = take
        self._wake.set()

    def remove(self, name: str) -> None:
        """Let go of an endpoint; what was asked of it already is answered. Raise a 404 if there is none."""
        self._fresh.pop(self.get(name), None)
        self._hosted.pop(name, None)

    def start(self) -> None:
        """Begin to look after swaps."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking, and wait for a load that is under way."""
        self._stopped = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def _watch(self) -> None:
        while not self._stopped:
            self._wake.clear()
            self._look()
            self._wake.wait(self._every_s)

    def _look(self) -> None:  # on its own, so that nobody holds an endpoint between two looks
        for hosted in dict.fromkeys((*self, *tuple(self._fresh))):
            hosted.swap.look()
            then = self._fresh.pop(hosted, None)
            if then is not None:
                then(hosted)
