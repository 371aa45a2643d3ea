"""A bare ONNX file answers rows as the runtime answers its tensors, or is refused with what to change."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from kaizen.bundle.bare import load_bare
from kaizen.bundle.told import ForeignSignature
from kaizen.core.errors import BundleError, RequestError
from kaizen.core.records import Column
from kaizen.graph.frame import feeds, from_rows

from .test_foreign import saved, tensor

FLOAT, INT64, STRING, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING, TensorProto.BOOL


def classifier(path: Path, classes: int, *, zipmap: bool, rows: Any = None) -> Path:
    """A linear classifier of two columns as scikit-learn's converter writes it."""
    weights = np.random.default_rng(3).normal(size=(classes, 2)).ravel().tolist()
    model = helper.make_node(
        "LinearClassifier", ["X"], ["label", "raw"], domain="ai.onnx.ml", post_transform="SOFTMAX",
        coefficients=weights, intercepts=[0.0] * classes, classlabels_ints=list(range(classes)),
    )  # fmt: skip
    label, given = tensor("label", INT64, [None]), [tensor("X", FLOAT, [rows, 2])]
    if not zipmap:
        model.output[1] = "probabilities"
        return saved(path, [model], given, [label, tensor("probabilities", FLOAT, [None, classes])])
    mapped = helper.make_node(
        "ZipMap", ["raw"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=list(range(classes))
    )
    kind = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
    answer = helper.make_value_info("probabilities", helper.make_sequence_type_proto(kind))
    return saved(path, [model, mapped], given, [label, answer])


def answers(model: Any, rows: list[dict[str, Any]]) -> list[float]:
    answered: list[float] = model.run(feeds(model.inputs, from_rows(model.inputs, rows))).tolist()
    return answered


def reference(path: Path, output: str, given: dict[str, Any]) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run([output], given)[0]


@pytest.mark.parametrize("zipmap", [False, True])
def test_a_classifier_gives_the_probability_of_the_second_class(tmp_path: Path, zipmap: bool) -> None:
    path = classifier(tmp_path / "m.onnx", 2, zipmap=zipmap)
    model = load_bare(path, name="m")
    values = np.random.default_rng(4).normal(size=(40, 2)).astype(np.float32)
    rows = [{"f0": float(a), "f1": float(b)} for a, b in values]
    told = reference(path, "probabilities", {"X": values})
    assert answers(model, rows) == [float(own[1]) for own in told]
    assert [column.name for column in model.inputs] == ["f0", "f1"]
    assert (model.matrix, model.matrix_datatype) == ("X", "FP32")
    assert (model.bundle.task, model.bundle.output) == ("classification", "probability")
    assert model.bundle.id == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("zipmap", [False, True])
def test_of_several_classes_one_must_be_named(tmp_path: Path, zipmap: bool) -> None:
    path = classifier(tmp_path / "m.onnx", 3, zipmap=zipmap)
    with pytest.raises(BundleError, match=r'3 columns, and one is served\n.*"positive": 0'):
        load_bare(path, name="m")
    model = load_bare(path, ForeignSignature(positive=2), name="m")
    told = reference(path, "probabilities", {"X": np.zeros((1, 2), np.float32)})[0]
    assert answers(model, [{"f0": 0.0, "f1": 0.0}]) == [float(told[2])]
    with pytest.raises(BundleError, match="no column 3"):
        load_bare(path, ForeignSignature(positive=3), name="m")


def test_a_graph_made_for_one_row_answers_many(tmp_path: Path) -> None:
    path = classifier(tmp_path / "m.onnx", 2, zipmap=False, rows=1)
    free = load_bare(classifier(tmp_path / "free.onnx", 2, zipmap=False), name="m")
    rows = [{"f0": i / 7, "f1": -i / 3} for i in range(9)]
    assert answers(load_bare(path, name="m"), rows) == pytest.approx(answers(free, rows), rel=1e-5)
    with pytest.raises(BundleError, match="takes exactly 5 rows"):
        load_bare(classifier(tmp_path / "five.onnx", 2, zipmap=False, rows=5), name="m")


def test_named_inputs_are_columns_of_their_types(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("LabelEncoder", ["colour"], ["code"], domain="ai.onnx.ml", keys_strings=["red", "blue"],
                         values_floats=[10.0, 20.0], default_float=0.0),
        helper.make_node("Cast", ["count"], ["count2"], to=FLOAT),
        helper.make_node("Cast", ["new"], ["new2"], to=FLOAT),
        helper.make_node("Sum", ["code", "count2", "new2"], ["total"]),
    ]  # fmt: skip
    given = [tensor("colour", STRING, [None]), tensor("count", INT64, [None]), tensor("new", BOOL, [None])]
    path = saved(tmp_path / "m.onnx", nodes, given, [tensor("total", FLOAT, [None])])
    model = load_bare(path, name="m")
    assert model.inputs == (Column("colour", "category"), Column("count", "number"), Column("new", "boolean"))
    assert answers(model, [{"colour": "blue", "count": 3, "new": True}, {"colour": "x", "count": 1, "new": False}]) == [
        24.0,
        1.0,
    ]
    with pytest.raises(RequestError, match=r"rows\[1\]: the graph takes no missing value in 'count'"):
        answers(model, [{"colour": "red", "count": 1, "new": True}, {"colour": "red", "count": None, "new": True}])


def test_a_signature_names_the_columns_and_the_answer(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceSum", ["X"], ["sum"], keepdims=1), helper.make_node("Neg", ["X"], ["less"])]
    path = saved(
        tmp_path / "m.onnx",
        nodes,
        [tensor("X", FLOAT, [None, None])],
        [tensor("sum", FLOAT, [None, None]), tensor("less", FLOAT, [None, None])],
    )
    with pytest.raises(BundleError, match=r"2 outputs that could be the answer \(sum, less\)"):
        load_bare(path, name="m")
    with pytest.raises(BundleError, match="does not say how many columns"):
        load_bare(path, ForeignSignature(output="less"), name="m")
    named = (Column("a", "number"), Column("b", "number"))
    model = load_bare(path, ForeignSignature(inputs=named, output="less", positive=1), name="m")
    assert answers(model, [{"a": 1.5, "b": 2.5}]) == [-2.5]
    with pytest.raises(BundleError, match=r"no output 'lss'\n.*did you mean 'less'"):
        load_bare(path, ForeignSignature(inputs=named, output="lss"), name="m")


@pytest.mark.parametrize(
    ("shape", "says"),
    [([None, 3, 8, 8], "has 4 dimensions"), ([None, 5000], "5,000 columns; at most 4,096")],
)
def test_what_is_no_row_of_columns_is_refused(tmp_path: Path, shape: list[Any], says: str) -> None:
    node = helper.make_node("Neg", ["X"], ["y"])
    path = saved(tmp_path / "m.onnx", [node], [tensor("X", FLOAT, shape)], [tensor("y", FLOAT, shape)])
    with pytest.raises(BundleError, match=says):
        load_bare(path, name="m")


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"not a graph")
    with pytest.raises(BundleError, match="not an ONNX graph"):
        load_bare(tmp_path / "m.onnx", name="m")
    with pytest.raises(BundleError, match="cannot be read"):
        load_bare(tmp_path / "none.onnx", name="m")
