"""``GET /healthz``: whether this process answers, with what, and what is wrong.

| status   | means                                                            | code |
|----------|------------------------------------------------------------------|------|
| ok       | every endpoint answers with its newest revision                  | 200  |
| degraded | every endpoint answers, one of them with an older revision       | 200  |
|          | than the newest, or a worker is not well                         |      |
| starting | an endpoint has no revision that answers yet                     | 503  |
| draining | the process stops                                                | 503  |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from kaizen.core.version import __version__
from kaizen.serve.message import Request
from kaizen.serve.models import Hosted, Models
from kaizen.serve.scoring import Scoring
from kaizen.serve.seat import Seat


class Health:
    """Tells how the server is.

    Parameters
    ----------
    models
        The endpoints.
    scoring
        Whose shadows may lag behind.
    is_draining
        Says whether the process stops.
    seat
        Of a worker that tells of the others, too.
    """

    def __init__(
        self, models: Models, scoring: Scoring, is_draining: Callable[[], bool], seat: Seat | None = None
    ) -> None:
        self._models = models
        self._scoring = scoring
        self._is_draining = is_draining
        self._seat = seat

    def handle(self, request: Request) -> None:
        """Answer; of a single endpoint the facts stand on top, of several under ``endpoints`` by name."""
        body = self.facts()
        if self._seat is not None:
            _tell_of_all(body, self._seat.health())
        request.reply(msgspec.json.encode(body), status=200 if body["status"] in ("ok", "degraded") else 503)

    def facts(self) -> dict[str, Any]:
        """Return how this process is."""
        status = self._status()
        told = {hosted.name: _facts(hosted) for hosted in self._models}
        body: dict[str, Any] = {"status": status}
        body |= next(iter(told.values())) if len(told) == 1 else {"endpoints": told}
        return body | {
            "shadow_pending": self._scoring.shadow_pending,
            "shadow_dropped": self._scoring.shadow_dropped,
            "version": __version__,
        }

    def _status(self) -> str:
        if self._is_draining():
            return "draining"
        if any(hosted.generation is None for hosted in self._models.settled()):
            return "starting"
        return "degraded" if any(hosted.swap.problem for hosted in self._models) else "ok"


def _tell_of_all(body: dict[str, Any], workers: list[dict[str, Any]]) -> None:
    """Add to what one worker says how the others are; its own status stays where it does not answer itself."""
    unwell = [str(worker["worker"]) for worker in workers if worker["status"] != "ok"]
    if unwell and body["status"] == "ok":
        body["status"] = "degraded"
        body["problem"] = f"not every worker is well: {', '.join(unwell)}"
    for total in ("shadow_pending", "shadow_dropped"):
        body[total] = sum(worker.get(total, 0) for worker in workers)
    body["workers"] = [{k: v for k, v in worker.items() if k != "version"} for worker in workers]


def _facts(hosted: Hosted) -> dict[str, Any]:
    generation = hosted.generation
    facts: dict[str, Any] = {
        "endpoint": hosted.name,
        "revision": None if generation is None else generation.endpoint.revision,
        "bundles": {} if generation is None else generation.bundles(),
    }
    return facts | ({"problem": hosted.swap.problem} if hosted.swap.problem else {})
