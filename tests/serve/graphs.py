"""A server on graphs that are swapped, for the tests; run as a program it serves a folder until standard input ends.

    python -m tests.serve.graphs FOLDER        prints its port

The folder holds `N.onnx` for each bundle's id N, `endpoint.json` and, once it serves, `log/`. Graph N answers
``a * N + b / N``, element by element, so that an answer does not depend on its batch.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import uvloop

from kaizen.adapters.log.segments import SegmentLog
from kaizen.bundle.bare import BareModel, load_bare
from kaizen.serve.app import Server
from kaizen.serve.models import EndpointSource
from tests.serve.small import newest


def write_graph(path: Path, number: int) -> None:
    """Write graph N."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.array([[number, 1 / number]], np.float32), "weights")
    nodes = [helper.make_node("Mul", ["X", "weights"], ["parts"]), helper.make_node("ReduceSum", ["parts"], ["y"])]
    nodes[1].attribute.append(helper.make_attribute("keepdims", 1))
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    nodes[1].input.append("axes")
    given = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 2])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph(nodes, "numbered", [given], [answer], initializer=[weights, axes])
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    folder = Path(sys.argv[1])

    def load(bundle: str) -> BareModel:
        return load_bare(folder / f"{bundle}.onnx", name="small")

    source = EndpointSource(name="small", endpoint=lambda: newest(folder), load=load)
    server = Server([source], port=0, log=SegmentLog(folder / "log"), stop_with_parent=True)
    server.models._every_s = 0.01  # a thousand looks of a tenth of a second would be most of the test
    uvloop.run(server.run(lambda: print(server.port, flush=True)))


if __name__ == "__main__":
    main()
