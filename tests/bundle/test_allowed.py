"""What a graph may contain: standard operators in one file; everything else is refused before a runtime sees it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from kaizen.bundle import allowed
from kaizen.core.errors import BundleError


def graph_of(*nodes: onnx.NodeProto, initializers: tuple[onnx.TensorProto, ...] = ()) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["n", 1])
    y = helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["n", 1])
    return helper.make_model(helper.make_graph(list(nodes), "g", [x], [y], initializer=list(initializers)))


def external() -> onnx.TensorProto:
    tensor = helper.make_tensor("w", TensorProto.DOUBLE, [1], [1.0])
    tensor.ClearField("double_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return tensor


def test_a_graph_of_standard_operators_is_allowed() -> None:
    weights = helper.make_tensor("w", TensorProto.DOUBLE, [1], [1.0])
    scaler = helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0])
    graph = graph_of(scaler, helper.make_node("Mul", ["s", "w"], ["y"]), initializers=(weights,))
    allowed.check(graph.SerializeToString(), where="here")


def test_an_operator_of_another_domain_is_refused_even_inside_a_branch() -> None:
    custom = helper.make_node("Shell", ["x"], ["y"], domain="com.example")
    branch = helper.make_graph([custom], "then", [], [])
    hidden = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    for node in (custom, hidden):
        with pytest.raises(BundleError, match=r"'Shell' of the domain 'com\.example' is not one of ONNX"):
            allowed.check(graph_of(node).SerializeToString(), where="here")


def test_a_tensor_in_another_file_is_refused_wherever_it_hides() -> None:
    mul = helper.make_node("Mul", ["x", "w"], ["y"])
    constant = helper.make_node("Constant", [], ["w"], value=external())
    for graph in (graph_of(mul, initializers=(external(),)), graph_of(constant, mul)):
        with pytest.raises(BundleError, match="lies in another file"):
            allowed.check(graph.SerializeToString(), where="here")


def test_a_cut_off_graph_is_refused() -> None:
    data = graph_of(helper.make_node("Identity", ["x"], ["y"])).SerializeToString()
    with pytest.raises(BundleError, match="not an ONNX graph"):
        allowed.check(data[:-5], where="here")
    with pytest.raises(BundleError, match="not an ONNX graph"):
        allowed.check(b"", where="here")


@given(st.binary(max_size=200))
def test_noise_is_refused_and_never_crashes(data: bytes) -> None:
    with pytest.raises(BundleError, match="graph"):
        allowed.check(data, where="here")


def test_large_constants_are_skipped_not_read() -> None:
    big = onnx.numpy_helper.from_array(np.zeros(1_000_000), "w")
    graph = graph_of(helper.make_node("Mul", ["x", "w"], ["y"]), initializers=(big,))
    allowed.check(graph.SerializeToString(), where="here")
