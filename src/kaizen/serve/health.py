"""``GET /healthz``: whether this process answers, with what, and what is wrong.

| status   | means                                                            | code |
|----------|------------------------------------------------------------------|------|
| ok       | every endpoint answers with its newest revision                  | 200  |
| degraded | every endpoint answers, one of them with an older revision       | 200  |
| starting | an endpoint has no revision that answers yet                     | 503  |
| draining | the process stops                                                | 503  |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from kaizen import __version__
from kaizen.serve.message import Request
from kaizen.serve.models import Hosted, Models
from kaizen.serve.scoring import Scoring


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
    """

    def __init__(self, models: Models, scoring: Scoring, is_draining: Callable[[], bool]) -> None:
        self._models = models
        self._scoring = scoring
        self._is_draining = is_draining

    def handle(self, request: Request) -> None:
        """Answer; of a single endpoint the facts stand on top, of several under ``endpoints`` by name."""
        status = self._status()
        told = {hosted.name: _facts(hosted) for hosted in self._models}
        body: dict[str, Any] = {"status": status}
        body |= next(iter(told.values())) if len(told) == 1 else {"endpoints": told}
        body |= {
            "shadow_pending": self._scoring.shadow_pending,
            "shadow_dropped": self._scoring.shadow_dropped,
            "version": __version__,
        }
        request.reply(msgspec.json.encode(body), status=200 if status in ("ok", "degraded") else 503)

    def _status(self) -> str:
        if self._is_draining():
            return "draining"
        if any(hosted.generation is None for hosted in self._models.settled()):
            return "starting"
        return "degraded" if any(hosted.swap.problem for hosted in self._models) else "ok"


def _facts(hosted: Hosted) -> dict[str, Any]:
    generation = hosted.generation
    facts: dict[str, Any] = {
        "endpoint": hosted.name,
        "revision": None if generation is None else generation.endpoint.revision,
        "bundles": {} if generation is None else generation.bundles(),
    }
    return facts | ({"problem": hosted.swap.problem} if hosted.swap.problem else {})
