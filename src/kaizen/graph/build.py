"""Build an ONNX graph: nodes read like calls, and what is written twice is computed once.

>>> graph = Builder("twice")
>>> x = graph.input("features", np.float64, 3)
>>> graph.output("raw", graph.node("Mul", x, graph.constant(np.array([2.0]))), np.float64, 3)
>>> len(graph.to_bytes()) > 0
True
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 21
ML_OPSET = 5
IR_VERSION = 10
ML = "ai.onnx.ml"

_TYPES = {
    np.dtype(np.float64): TensorProto.DOUBLE,
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.bool_): TensorProto.BOOL,
    np.dtype(np.object_): TensorProto.STRING,
}


PACKET = 8  # doubles in the widest vector register


def whole_packets(columns: int) -> list[int]:
    """Return the positions 0 to `columns` - 1, padded with 0 to whole vector registers.

    ONNX Runtime computes Exp, Log, Sin, Cos, Tanh and Sigmoid on whole registers by a formula whose last bit
    differs from the one it takes for what is left over. Rows padded to whole registers have nothing left over,
    so an answer does not depend on how many rows stand together.
    """
    return [*range(columns), *[0] * (-columns % PACKET)]


def tensor_type(dtype: DTypeLike) -> int:
    """Return ONNX's number for a NumPy type (object stands for strings)."""
    return int(_TYPES[np.dtype(dtype)])


class Builder:
    """Collects inputs, constants, nodes and outputs, and writes them as one model.

    Equal constants and equal nodes are stored once: a calendar part that three features use is computed once.
    Names are counted, so the same calls give the same bytes.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[bytes, onnx.TensorProto] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._known: dict[bytes, tuple[str, ...]] = {}

    def input(self, name: str, dtype: DTypeLike, columns: int) -> str:
        """Declare an input of shape [n, columns] and return its name."""
        self._inputs.append(helper.make_tensor_value_info(name, tensor_type(dtype), ["n", columns]))
        return name

    def output(self, name: str, value: str, dtype: DTypeLike, columns: int | None) -> None:
        """Declare an output of shape [n, columns] (None: any number of them): the value under a name."""
        makers = [node for node in self._nodes if list(node.output) == [value]]
        if makers and not any(value in node.input for node in self._nodes):
            makers[0].output[0] = name
            self._known.clear()  # the value's old name is gone
        else:
            self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, tensor_type(dtype), ["n", columns]))

    def constant(self, values: NDArray[Any] | list[str]) -> str:
        """Store a constant (an array, or a list of strings) and return its name."""
        tensor = attribute_tensor("", values)
        key = hashlib.blake2b(tensor.SerializeToString(deterministic=True), digest_size=16).digest()
        if key not in self._constants:
            tensor.name = f"c{len(self._constants)}"
            self._constants[key] = tensor
        return str(self._constants[key].name)

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        return self.nodes(op, *inputs, outputs=1, domain=domain, **attributes)[0]

    def nodes(self, op: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> tuple[str, ...]:
        """Add a node with several outputs and return their names; an equal node is not added again."""
        node = helper.make_node(op, list(inputs), [], domain=domain, **attributes)
        key = hashlib.blake2b(node.SerializeToString(deterministic=True) + bytes([outputs]), digest_size=16).digest()
        if key not in self._known:
            names = tuple(f"v{len(self._nodes)}{'abcdefgh'[at]}" for at in range(outputs))
            node.output.extend(names)
            self._nodes.append(node)
            self._known[key] = names
        return self._known[key]

    def steady(self, op: str, value: str, columns: int) -> str:
        """Add a node of Exp, Log, Sin, Cos, Tanh or Sigmoid on [n, columns] whose bits ignore the batch size."""
        padded = self.node("Gather", value, self.constant(np.array(whole_packets(columns))), axis=1)
        return self.node("Gather", self.node(op, padded), self.constant(np.arange(columns)), axis=1)

    def to_bytes(self) -> bytes:
        """Return the model, checked; the same calls give the same bytes."""
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, initializer=list(self._constants.values())
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="kaizen")
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))


def attribute_tensor(name: str, values: NDArray[Any] | list[str]) -> onnx.TensorProto:
    """Return a tensor for an attribute such as ``keys_tensor``."""
    if isinstance(values, list):
        return helper.make_tensor(name, TensorProto.STRING, [len(values)], np.array(values, np.object_))
    return numpy_helper.from_array(np.ascontiguousarray(values), name)
