"""A model that gains from batches, a perceptron of 64 → WIDTH → WIDTH → 1 in float32, and a server of it.

python _mlp.py FOLDER PORT        serves until SIGTERM; WIDTH, MAX_ROWS and DEADLINE_S from the environment
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from _servers import Running, free_port
from numpy.typing import NDArray

from kaizen.adapters.log.segments import SegmentLog
from kaizen.core.records import Arm, Bundle, Column, Endpoint
from kaizen.graph.run import Session
from kaizen.serve.app import Server
from kaizen.serve.models import EndpointSource

COLUMNS = tuple(Column(f"x{i}", "number") for i in range(64))
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Perceptron:
    """The model, from a graph in a file."""

    def __init__(self, path: Path) -> None:
        self._session = Session(path)
        self.inputs = COLUMNS
        self.bundle = Bundle(
            id="mlp",
            project="mlp",
            at=_NOW,
            by="benchmark",
            name="mlp",
            version=1,
            task="regression",
            run=None,
            inputs=COLUMNS,
            output="value",
            files=(),
            public_key="",
            signature="",
        )

    def run(self, feeds: Mapping[str, NDArray[Any]], /) -> NDArray[np.float64]:
        """Return one answer a row."""
        filled = {"numbers": np.nan_to_num(feeds["numbers"])}
        return np.asarray(self._session.run(filled)[:, 0], np.float64)


def write(path: Path, width: int) -> None:
    """Write the graph, with made-up weights."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    sizes = [len(COLUMNS), width, width, 1]
    nodes = [helper.make_node("Cast", ["numbers"], ["h0"], to=TensorProto.FLOAT)]
    weights = []
    for layer, (rows, columns) in enumerate(itertools.pairwise(sizes)):
        matrix = (rng.normal(size=(rows, columns)) / np.sqrt(rows)).astype(np.float32)
        weights.append(numpy_helper.from_array(matrix, f"w{layer}"))
        nodes.append(helper.make_node("MatMul", [f"h{layer}", f"w{layer}"], [f"m{layer}"]))
        last = "answer" if layer == 2 else f"h{layer + 1}"
        nodes.append(helper.make_node("Identity" if layer == 2 else "Relu", [f"m{layer}"], [last]))
    numbers = helper.make_tensor_value_info("numbers", TensorProto.DOUBLE, [None, len(COLUMNS)])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph(nodes, "mlp", [numbers], [answer], weights)
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString())


def body(rows: int = 1) -> bytes:
    """Return a request."""
    return json.dumps({"rows": [{column.name: 0.25 * i for i, column in enumerate(COLUMNS)}] * rows}).encode()


def serve(folder: Path, name: str, *, width: int, **options: str) -> Running:
    """Start a server of a new model on the server's core."""
    own = folder / name
    own.mkdir()
    write(own / "mlp.onnx", width)
    port = free_port()
    command = [sys.executable, str(Path(__file__).resolve()), str(own), str(port)]
    return Running(name, command, port, folder=folder, env={"OMP_NUM_THREADS": "1", **options})


def main() -> None:
    """Serve."""
    folder = Path(sys.argv[1])
    arms = (Arm("mlp", "champion", 1.0),)
    record = Endpoint(
        id="mlp@1", project="mlp", at=_NOW, by="benchmark", name="mlp", revision=1, arms=arms, decision="d"
    )
    server = Server(
        [EndpointSource(name="mlp", endpoint=lambda: record, load=lambda _: Perceptron(folder / "mlp.onnx"))],
        port=int(sys.argv[2]),
        log=SegmentLog(folder / "log"),
        deadline_s=float(os.environ.get("DEADLINE_S", "1")) or None,
    )

    def limit() -> None:
        server.scoring.batcher.lanes.max_rows = int(os.environ.get("MAX_ROWS", "1024"))

    server.serve_forever(limit)


if __name__ == "__main__":
    main()
