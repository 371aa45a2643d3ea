"""Build, join and run graphs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from kaizen.core.errors import BundleError, FeatureError
from kaizen.graph.build import Builder
from kaizen.graph.join import chain
from kaizen.graph.run import Session, in_chunks


def scaled(name: str, into: str, by: float) -> bytes:
    graph = Builder("scaled")
    x = graph.input(name, np.float64, 2)
    graph.output(into, graph.node("Mul", x, graph.constant(np.array([by]))), np.float64, 2)
    return graph.to_bytes()


def test_a_chain_runs_its_graphs_in_order() -> None:
    session = Session(chain(scaled("numbers", "features", 2.0), scaled("features", "raw", 10.0)))
    assert (session.inputs, session.outputs) == (("numbers",), ("raw",))
    assert session.run({"numbers": np.array([[1.0, 2.0]])}).tolist() == [[20.0, 40.0]]


def test_graphs_that_do_not_meet_are_refused() -> None:
    with pytest.raises(BundleError, match="takes"):
        chain(scaled("numbers", "features", 2.0), scaled("other", "raw", 10.0))
    with pytest.raises(BundleError, match="already taken"):
        chain(scaled("numbers", "features", 2.0), scaled("features", "numbers", 10.0))


def test_the_same_calls_give_the_same_bytes_and_nothing_twice() -> None:
    assert scaled("a", "b", 2.0) == scaled("a", "b", 2.0)
    graph = Builder("twice")
    x = graph.input("x", np.float64, 1)
    assert graph.node("Abs", x) == graph.node("Abs", x)
    assert graph.constant(np.array([1.0])) == graph.constant(np.array([1.0]))


@pytest.mark.parametrize("op", ["Exp", "Log", "Sin", "Sigmoid", "Tanh"])
def test_steady_operations_ignore_the_batch(op: str) -> None:
    graph = Builder("steady")
    graph.output("y", graph.steady(op, graph.input("x", np.float64, 3), 3), np.float64, 3)
    session = Session(graph.to_bytes())
    x = np.exp(np.random.default_rng(0).normal(size=(301, 3)) * 2)
    whole = session.run({"x": x})
    for rows in (1, 7, 64):
        np.testing.assert_array_equal(in_chunks(session, {"x": x}, rows), whole)


def test_a_broken_graph_and_wrong_inputs_are_our_errors() -> None:
    with pytest.raises(BundleError, match="cannot be loaded"):
        Session(b"nonsense")
    with pytest.raises(FeatureError, match="cannot take these inputs"):
        Session(scaled("a", "b", 2.0)).run({"a": np.zeros((1, 3))})


def test_serving_needs_no_builder() -> None:
    code = "import sys, kaizen.graph.run, kaizen.graph.frame; sys.exit('onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_declaring_needs_neither_builder_nor_runtime() -> None:
    code = "import sys, kaizen.features; sys.exit(any(m in sys.modules for m in ('onnx', 'onnxruntime', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
