"""BentoML: one worker, adaptive batching, no access log; run by `bentoml serve`."""

from __future__ import annotations

from typing import Any

import bentoml
from orders_graph import Graph


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Orders:
    """Answers orders."""

    def __init__(self) -> None:
        self._graph = Graph()

    @bentoml.api(batchable=True, max_batch_size=64)
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """Return the probability of each row."""
        return self._graph.score(rows)
