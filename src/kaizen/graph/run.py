"""Run a graph: a thin layer over ONNX Runtime that is single-threaded, quiet, and never imports the builder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from kaizen.core.errors import BundleError, FeatureError

_FATAL = 4  # what is wrong is raised, so the runtime need not print it


class Session:
    """A loaded graph. Thread-safe; answers do not depend on which rows stand together in a batch.

    Parameters
    ----------
    graph
        The bytes of an ONNX model, or its file.
    output
        Which output `run` returns; None: the first.
    is_optimized
        The file is one of `optimize`: it is run as it is, with its weights mapped from the file beside it.

    Raises
    ------
    BundleError
        The graph cannot be loaded.
    """

    def __init__(self, graph: bytes | Path, output: str | None = None, *, is_optimized: bool = False) -> None:
        options = _options()
        if is_optimized:  # a second pass could find more to fuse, and answers would no longer be those of the first
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = _load(graph, options)
        self.inputs: tuple[str, ...] = tuple(node.name for node in self._session.get_inputs())
        self.outputs: tuple[str, ...] = tuple(node.name for node in self._session.get_outputs())
        self._first_output = list(self.outputs[:1]) if output is None else [output]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Return the output, (rows, columns), of these inputs; raise `FeatureError` if they do not fit."""
        try:
            answer: NDArray[Any] = self._session.run(self._first_output, feeds)[0]
        except Exception as err:
            raise FeatureError(f"the graph cannot take these inputs: {_first_line(err)}") from err
        return answer

    def shapes(self) -> dict[str, tuple[str, tuple[int | None, ...]]]:
        """Return type and shape of every input and output; None stands for any number of rows."""
        nodes = [*self._session.get_inputs(), *self._session.get_outputs()]
        return {n.name: (n.type, tuple(d if isinstance(d, int) else None for d in n.shape)) for n in nodes}


def optimize(graph: bytes, path: Path, *, dense_bytes: int) -> None:
    """Write what the runtime makes of a graph: a file, and beside it the weights from `dense_bytes` on.

    The weights are stored as they are and in the order in which the kernels of this machine read them, so a session
    on the file copies neither; the kernel maps the pages once for all processes. Answers are the same, to the bit.

    Raises
    ------
    BundleError
        The graph cannot be loaded, or the files cannot be written.
    """
    options = _options()
    options.optimized_model_filepath = str(path)
    for key, value in (
        ("session.optimized_model_external_initializers_file_name", f"{path.name}.weights"),
        ("session.optimized_model_external_initializers_min_size_in_bytes", str(dense_bytes)),
        ("session.save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry(key, value)
    _load(graph, options)


def in_chunks(session: Session, feeds: Mapping[str, NDArray[Any]], rows: int = 16_384) -> NDArray[Any]:
    """Return the output for any number of rows, computed `rows` at a time so that memory stays small."""
    total = max((len(tensor) for tensor in feeds.values()), default=0)
    parts = [
        session.run({name: tensor[start : start + rows] for name, tensor in feeds.items()})
        for start in range(0, max(total, 1), rows)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _load(graph: bytes | Path, options: onnxruntime.SessionOptions) -> Any:
    source, where = (graph, "") if isinstance(graph, bytes) else (str(graph), str(graph))
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as err:  # the runtime has an exception class for each of its status codes
        raise BundleError(f"the graph cannot be loaded: {_first_line(err)}", where=where) from err


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0]
