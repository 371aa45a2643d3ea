"""Hot swap: a new revision is loaded and warmed beside the old one, and then switched to in one step.

Requests in flight finish on the generation they started with. A revision that cannot be loaded changes nothing:
the old one goes on serving, the problem is told, and loading is tried again every few seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from kaizen.core.errors import KaizenError
from kaizen.core.records import Endpoint
from kaizen.serve.accord import Abort, Commit, Failed, Prepare, Prepared, Report, Saw
from kaizen.serve.generation import Generation, Model, prepare

logger = logging.getLogger("kaizen.serve")

_RETRY_S: Final = 3.0


class Swap:
    """Follows an endpoint's revisions; `look` is called again and again, always in one and the same thread.

    Parameters
    ----------
    endpoint
        Returns the newest revision, or None before there is one.
    load
        Returns the model of a bundle's id.
    switch
        Is handed each new generation; returns when it serves.
    """

    def __init__(
        self,
        endpoint: Callable[[], Endpoint | None],
        load: Callable[[str], Model],
        switch: Callable[[Generation], None],
    ) -> None:
        self._endpoint = endpoint
        self._load = load
        self._switch = switch
        self._generation: Generation | None = None
        self._failed: tuple[int, float] = (0, 0.0)  # the revision that did not load, and when to try again
        self._load_ms = 0.0
        self.problem = ""  # why the newest revision does not serve
        self.swaps = 0
        self.failures = 0

    def look(self) -> None:
        """Bring the newest revision, if it is another than the one that serves; never raises."""
        newest = self._newest()
        current = self._generation
        if newest is None or (current is not None and newest.revision == current.endpoint.revision):
            return
        revision, again = self._failed
        if revision != newest.revision or time.monotonic() >= again:
            self._bring(newest)

    def _newest(self) -> Endpoint | None:
        """Return the newest revision, None if there is none or none can be read."""
        try:
            newest = self._endpoint()
        except Exception as err:  # a store that cannot be read now may be read in a moment; serving goes on
            self._tell(f"the endpoint's revision cannot be read: {err}")
            return None
        current = self._generation
        if newest is None or (current is not None and newest.revision == current.endpoint.revision):
            self.problem = ""
        return newest

    def _bring(self, newest: Endpoint) -> None:
        generation = self._prepared(newest)
        if isinstance(generation, Generation):
            self._take(generation)
            return
        self._failed = (newest.revision, time.monotonic() + _RETRY_S)
        self._tell(f"revision {newest.revision} cannot be loaded: {generation}")

    def _prepared(self, newest: Endpoint) -> Generation | str:
        """Return a revision, warm, or why it cannot be had."""
        start = time.perf_counter()
        try:
            generation = prepare(newest, self._load, {} if self._generation is None else self._generation.models)
        except Exception as err:  # whatever a foreign model does while it loads, the old revision goes on
            self.failures += 1
            return str(err) if isinstance(err, KaizenError) else f"{type(err).__name__}: {err}"
        self._load_ms = (time.perf_counter() - start) * 1000
        return generation

    def _take(self, generation: Generation) -> None:
        self._switch(generation)
        self._generation = generation
        self.swaps += 1
        self.problem = ""
        logger.info(
            "serving endpoint=%s revision=%d bundles=%s load_ms=%d",
            generation.endpoint.name,
            generation.endpoint.revision,
            ",".join(f"{role}:{bundle}" for role, bundle in generation.bundles().items()),
            self._load_ms,
        )

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            logger.error("not swapped problem=%s", problem)
        self.problem = problem


class Peers(Protocol):
    """What a worker is to the others: it hears the supervisor's orders and reports to it."""

    def orders(self, name: str) -> list[Prepare | Commit | Abort]:
        """Return the orders for an endpoint that have come since the last call."""
        ...

    def report(self, report: Report) -> None:
        """Tell the supervisor."""
        ...

    def changed(self) -> None:
        """Note that what this worker serves, or why it does not, has changed."""
        ...


class JointSwap(Swap):
    """Follows an endpoint's revisions together with the other workers of a server: see `kaizen.serve.accord`.

    Parameters
    ----------
    name
        The endpoint.
    peers
        The way to the others.
    """

    def __init__(
        self,
        endpoint: Callable[[], Endpoint | None],
        load: Callable[[str], Model],
        switch: Callable[[Generation], None],
        name: str,
        peers: Peers,
    ) -> None:
        super().__init__(endpoint, load, switch)
        self._name = name
        self._peers = peers
        self._seen = 0  # the newest revision that the supervisor was told of
        self._held: tuple[int, Generation] | None = None  # prepared, and in which epoch

    def look(self) -> None:
        """Do what was ordered since the last look, and report a new revision; never raises."""
        for order in self._peers.orders(self._name):
            self._obey(order)
        newest = self._newest()
        if newest is not None and newest.revision > self._seen:
            self._seen = newest.revision
            self._peers.report(Saw(self._name, newest))

    def _obey(self, order: Prepare | Commit | Abort) -> None:
        if isinstance(order, Prepare):
            self._held = None
            generation = self._prepared(order.endpoint)
            if isinstance(generation, Generation):
                self._held = (order.epoch, generation)
                self._peers.report(Prepared(self._name, order.epoch))
            else:
                self._peers.report(Failed(self._name, order.epoch, generation))
            return
        held, self._held = self._held, None
        if isinstance(order, Abort):
            self._tell(order.reason)
        elif held is not None and held[0] == order.epoch:
            self._take(held[1])
        self._peers.changed()
