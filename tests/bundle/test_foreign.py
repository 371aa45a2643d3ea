"""ONNX files from elsewhere: wrapped so that they are served like our own, or refused with what to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from kaizen.bundle import keys, manifest
from kaizen.bundle.foreign import import_onnx, wrap
from kaizen.bundle.load import Model, load
from kaizen.bundle.told import ForeignSignature, read_signature
from kaizen.core.errors import BundleError
from kaizen.core.records import Column

from .conftest import AT, FolderBlobs

NUMBERS = (Column("a", "number"), Column("b", "number"))


def saved(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: Any = ()) -> Path:
    graph = helper.make_graph(nodes, "theirs", inputs, outputs, initializer=list(constants))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save_model(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


def tensor(name: str, kind: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A logistic regression as scikit-learn's converter writes it: label and probabilities of one float tensor."""
    model = helper.make_node(
        "LinearClassifier", ["X"], ["label", "probabilities"], domain="ai.onnx.ml", post_transform="LOGISTIC",
        coefficients=[-1.0, 2.0, 1.0, -2.0], intercepts=[-0.5, 0.5], classlabels_ints=[0, 1],
    )  # fmt: skip
    outputs = [tensor("label", TensorProto.INT64, [None]), tensor("probabilities", TensorProto.FLOAT, [None, 2])]
    return saved(tmp_path / "classifier.onnx", [model], [tensor("X", TensorProto.FLOAT, [None, 2])], outputs)


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """One input a column, of four types; a flat one, an integer one, and a constant listed among the inputs."""
    nodes = [
        helper.make_node("LabelEncoder", ["colour"], ["code"], domain="ai.onnx.ml", keys_strings=["red", "blue"],
                         values_floats=[10.0, 20.0], default_float=0.0),
        helper.make_node("Reshape", ["price", "column"], ["price2"]),
        helper.make_node("Cast", ["count"], ["count2"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["day"], ["day2"], to=TensorProto.FLOAT),
        helper.make_node("Sum", ["code", "price2", "count2", "day2"], ["total"]),
    ]  # fmt: skip
    inputs = [
        tensor("colour", TensorProto.STRING, [None, 1]),
        tensor("price", TensorProto.DOUBLE, [None]),
        tensor("count", TensorProto.INT32, ["n", 1]),
        tensor("day", TensorProto.INT64, ["n", 1]),
        tensor("column", TensorProto.INT64, [2]),
    ]
    nodes[1:1] = [helper.make_node("Cast", ["price"], ["price1"], to=TensorProto.FLOAT)]
    nodes[2].input[0] = "price1"
    constant = helper.make_tensor("column", TensorProto.INT64, [2], [-1, 1])
    return saved(tmp_path / "named.onnx", nodes, inputs, [tensor("total", TensorProto.FLOAT, [None, 1])], [constant])


def packed(path: Path, signature: ForeignSignature, folder: Path, task: Any) -> Model:
    keys.create(folder / "keys")
    blobs = FolderBlobs(folder / "blobs")
    key = keys.load(folder / "keys")
    bundle = import_onnx(
        path, signature, task=task, name="theirs", project="p", blobs=blobs, key=key, known=(), at=AT, by="test"
    )
    return load(bundle, blobs, {key.public})


def test_a_classifier_of_one_tensor_answers_with_the_positive_class(classifier: Path, tmp_path: Path) -> None:
    model = packed(classifier, ForeignSignature(inputs=NUMBERS), tmp_path, "classification")
    rows = [{"a": 1.0, "b": 0.25}, {"a": -3.0, "b": 1.0}]
    expected = [1 / (1 + np.exp(-(row["a"] - 2 * row["b"] + 0.5))) for row in rows]
    np.testing.assert_allclose(model.predict_rows(rows), expected, rtol=1e-5)
    assert model.bundle.output == "probability"
    certificate = json.loads(model.files[manifest.CERTIFICATE])
    assert certificate["method"] == "no trained model to compare with"
    assert manifest.REFERENCE not in model.files


def test_the_other_class_can_be_asked_for(classifier: Path, tmp_path: Path) -> None:
    one = packed(classifier, ForeignSignature(inputs=NUMBERS, positive=0), tmp_path, "classification")
    row = [{"a": 1.0, "b": 0.25}]
    np.testing.assert_allclose(one.predict_rows(row), [1 / (1 + np.exp(1.0))], rtol=1e-6)


def test_named_inputs_of_every_type_become_columns(named: Path, tmp_path: Path) -> None:
    columns = (
        Column("day", "time"),
        Column("price", "number"),
        Column("colour", "category"),
        Column("count", "number"),
    )
    model = packed(named, ForeignSignature(inputs=columns), tmp_path, "regression")
    row = {"colour": "blue", "price": 1.5, "count": 3, "day": 100}
    assert model.predict_rows([row, {**row, "colour": "green"}]) == [124.5, 104.5]


def test_columns_can_be_read_off_named_inputs(named: Path) -> None:
    wrapped = wrap(named, ForeignSignature(), task="regression")
    assert [(column.name, column.type) for column in wrapped.inputs] == [
        ("colour", "category"),
        ("price", "number"),
        ("count", "number"),
        ("day", "number"),
    ]
    assert wrap(named, ForeignSignature(), task="regression") == wrapped


def test_what_cannot_be_known_is_asked_for(classifier: Path, named: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="has 2 columns, whose names it does not say"):
        wrap(classifier, ForeignSignature(), task="classification")
    with pytest.raises(BundleError, match="reads 2 columns and the signature names 1"):
        wrap(classifier, ForeignSignature(inputs=NUMBERS[:1]), task="classification")
    with pytest.raises(BundleError, match="takes only numbers"):
        wrap(classifier, ForeignSignature(inputs=(NUMBERS[0], Column("c", "category"))), task="classification")
    with pytest.raises(BundleError, match="no output 'probability'") as caught:
        wrap(classifier, ForeignSignature(inputs=NUMBERS, output="probability"), task="classification")
    assert "probabilities" in caught.value.fix
    with pytest.raises(BundleError, match="no column 2"):
        wrap(classifier, ForeignSignature(inputs=NUMBERS, positive=2), task="classification")
    with pytest.raises(BundleError, match="no input 'prices'") as caught:
        wrap(named, ForeignSignature(inputs=(Column("prices", "number"),)), task="regression")
    assert "price" in caught.value.fix
    wrong = tuple(Column(name, "number") for name in ("colour", "price", "count", "day"))
    with pytest.raises(BundleError, match="'colour' does not take a number"):
        wrap(named, ForeignSignature(inputs=wrong), task="regression")


def test_answers_that_are_no_probabilities_are_refused(named: Path) -> None:
    signature = ForeignSignature(examples=({"colour": "red", "price": 1.0, "count": 1, "day": 1},))
    with pytest.raises(BundleError, match="13 is no probability"):
        wrap(named, signature, task="classification")


def test_a_graph_of_one_row_only_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("ReduceSum", ["X"], ["y"])
    one, answer = tensor("X", TensorProto.FLOAT, [None, 2]), tensor("y", TensorProto.FLOAT, [1, 1])
    path = saved(tmp_path / "one.onnx", [node], [one], [answer])
    with pytest.raises(BundleError, match=r"an answer of shape \(1, 1\) to 2 rows"):
        wrap(path, ForeignSignature(inputs=NUMBERS), task="regression")


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x80\x04not a graph")
    with pytest.raises(BundleError, match="not an ONNX graph"):
        wrap(tmp_path / "model.onnx", ForeignSignature(), task="regression")
    with pytest.raises(BundleError, match="cannot be read"):
        wrap(tmp_path / "none.onnx", ForeignSignature(), task="regression")


def test_a_signature_file_is_read_and_its_mistakes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "signature.json"
    path.write_bytes(msgspec.json.encode({"inputs": [{"name": "a", "type": "number"}], "positive": 0}))
    assert read_signature(path) == ForeignSignature(inputs=NUMBERS[:1], positive=0)
    path.write_text('{"inputs": [{"name": "a", "type": "float"}]}')
    with pytest.raises(BundleError, match=r"\$\.inputs\[0\]\.type"):
        read_signature(path)
