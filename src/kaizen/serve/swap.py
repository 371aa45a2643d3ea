"""Hot swap: a new revision is loaded and warmed beside the old one, and then switched to in one step.

Requests in flight finish on the generation they started with. A revision that cannot be loaded changes nothing:
the old one goes on serving, the problem is told, and loading is tried again every few seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from kaizen.core.errors import KaizenError
from kaizen.core.records import Endpoint
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
        self.problem = ""  # why the newest revision does not serve
        self.swaps = 0
        self.failures = 0

    def look(self) -> None:
        """Bring the newest revision, if it is another than the one that serves; never raises."""
        try:
            newest = self._endpoint()
        except Exception as err:  # a store that cannot be read now may be read in a moment; serving goes on
            self._tell(f"the endpoint's revision cannot be read: {err}")
            return
        current = self._generation
        if newest is None or (current is not None and newest.revision == current.endpoint.revision):
            self.problem = ""
            return
        revision, again = self._failed
        if revision != newest.revision or time.monotonic() >= again:
            self._bring(newest)

    def _bring(self, newest: Endpoint) -> None:
        start = time.perf_counter()
        try:
            generation = prepare(newest, self._load, {} if self._generation is None else self._generation.models)
        except Exception as err:  # whatever a foreign model does while it loads, the old revision goes on
            self.failures += 1
            self._failed = (newest.revision, time.monotonic() + _RETRY_S)
            reason = str(err) if isinstance(err, KaizenError) else f"{type(err).__name__}: {err}"
            self._tell(f"revision {newest.revision} cannot be loaded: {reason}")
            return
        self._switch(generation)
        self._generation = generation
        self.swaps += 1
        self.problem = ""
        logger.info(
            "serving endpoint=%s revision=%d bundles=%s load_ms=%d",
            newest.name,
            newest.revision,
            ",".join(f"{role}:{bundle}" for role, bundle in generation.bundles().items()),
            (time.perf_counter() - start) * 1000,
        )

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            logger.error("not swapped problem=%s", problem)
        self.problem = problem
