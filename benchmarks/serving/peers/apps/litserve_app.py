"""LitServe: one worker, batches of what waits, its fast queue. It reads the annotations, so they are no strings."""

import os
from typing import Any

import litserve
from orders_graph import Graph


class Orders(litserve.LitAPI):
    """Answers orders, one row a request."""

    def setup(self, device: str) -> None:  # noqa: ARG002 (LitServe's signature)
        """Load the graph."""
        self._graph = Graph()

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the row."""
        row: dict[str, Any] = request["rows"][0]
        return row

    def batch(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Keep rows as they are."""
        return inputs

    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """Return the probability of each row."""
        return self._graph.score(rows)

    def unbatch(self, output: list[float]) -> list[float]:
        """Give each request its own."""
        return output

    def encode_response(self, output: float) -> dict[str, float]:
        """Return the body."""
        return {"probability": output}


if __name__ == "__main__":
    api = Orders(max_batch_size=64, batch_timeout=0.0)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
