"""The Open Inference Protocol, spoken by a client that nobody here wrote."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from kaizen.graph.frame import MISSING_TIME, from_batch
from kaizen.serve.oip import EXTENSIONS
from tests.serve.conftest import Process
from tests.serve.small import COLUMNS, NOON, ROW, expected

SIGNED = "a name, with signs/%é"


@pytest.fixture
def client(server: Process) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield client
    client.close()


def tensors(*, binary: bool, **changed: tuple[str, np.ndarray]) -> list[triton.InferInput]:
    """Return two rows as tensors: `ROW`, and one where all that can be missing in binary is."""
    values: dict[str, tuple[str, np.ndarray]] = {
        "width": ("FP64", np.array([3.5, np.nan if binary else 4.0])),
        SIGNED: ("INT32", np.array([2, 7], np.int32)),
        "at": ("INT64", np.array([NOON, MISSING_TIME])),
        "shop": ("BYTES", np.array(["UA", ""], object)),
        "heavy": ("BOOL", np.array([True, False])),
        "owner": ("BYTES", np.array(["N1", "né"], object)),
        **changed,
    }
    made = []
    for name, (datatype, array) in values.items():
        tensor = triton.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        made.append(tensor)
    return made


@pytest.mark.conformance(
    "Open Inference REST", "live, ready, server and model metadata, model ready, versions", client="tritonclient[http]"
)
def test_server_and_model_tell_what_they_are(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("small")
    assert client.is_model_ready("small", "1")
    assert not client.is_model_ready("other")
    told = client.get_server_metadata()
    assert (told["name"], told["extensions"]) == ("kaizen", EXTENSIONS)
    model = client.get_model_metadata("small")
    assert model["versions"] == ["1"]
    assert [tensor["name"] for tensor in model["inputs"]] == [column.name for column in COLUMNS]
    assert [t["datatype"] for t in model["inputs"]] == ["FP64", "FP64", "INT64", "BYTES", "BOOL", "BYTES"]
    assert model["outputs"][0] == {"name": "value", "datatype": "FP64", "shape": [-1]}


@pytest.mark.conformance("Open Inference REST", "infer, in JSON and with binary tensors", client="tritonclient[http]")
@pytest.mark.parametrize("binary", [True, False])
def test_rows_are_answered_and_logged_as_plain_rows_are(
    server: Process, client: triton.InferenceServerClient, binary: bool
) -> None:
    result = client.infer("small", tensors(binary=binary), request_id="mine", parameters={"unit": "u"})
    second = expected({**ROW, "width": None if binary else 4.0, SIGNED: 7, "heavy": False, "owner": "né"})
    np.testing.assert_array_equal(result.as_numpy("value"), [expected(ROW), second])
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("mine", "small", "1")
    ids = [identity.decode() for identity in result.as_numpy("prediction_id")]
    batch = next(batch for batch in server.predictions() if batch.ids == ids)
    assert batch.units == ["u", "u"]
    assert batch.requests == ["mine", "mine"]
    assert batch.at[0] == NOON
    assert batch.at[1] > NOON  # it has no time of its own: now
    frame = from_batch(batch)
    assert frame["shop"].tolist() == ["UA", ""]
    np.testing.assert_array_equal(frame["width"], [3.5, np.nan if binary else 4.0])


@pytest.mark.conformance("Open Inference REST", "infer: requested outputs, binary or not", client="tritonclient[http]")
def test_outputs_come_as_they_are_asked_for(client: triton.InferenceServerClient) -> None:
    wanted = [triton.InferRequestedOutput("value", binary_data=False)]
    result = client.infer("small", tensors(binary=True), outputs=wanted, model_version="1")
    assert result.get_response()["outputs"][0]["data"][0] == expected(ROW)
    assert len(result.get_response()["outputs"]) == 1
    compressed = client.infer("small", tensors(binary=False), request_compression_algorithm="gzip")
    assert compressed.as_numpy("value")[0] == expected(ROW)


@pytest.mark.conformance("Open Inference REST", "error bodies", client="tritonclient[http]")
@pytest.mark.parametrize(
    ("changed", "status", "says"),
    [
        ({"owner": ("BYTES", np.array(["a"], object))}, "400", r"inputs\[owner\]: expected shape \[2\], got \[1\]"),
        ({"shop": ("FP64", np.array([1.0, 2.0]))}, "400", r"inputs\[shop\]: expected datatype BYTES"),
        ({"width": ("FP64", np.array([1.0, np.inf]))}, "400", r"inputs\[width\].data\[1\]: expected a finite"),
        ({"heavy": ("INT8", np.array([1, 2], np.int8))}, "400", r"inputs\[heavy\].data\[1\]: expected true or false"),
        ({"widht": ("FP64", np.array([1.0, 2.0]))}, "400", "unknown input 'widht'; did you mean 'width'"),
        ({"width": ("FP64", np.array([1.0, 666.0]))}, "422", r"rows\[1\]: the model failed"),
        ({"at": ("BYTES", np.array(["2013-06-01", "soon"], object))}, "400", r"inputs\[at\].data\[1\]: expected micro"),
    ],
)
def test_what_is_wrong_reaches_the_client_as_its_own_error(
    client: triton.InferenceServerClient, changed: dict[str, Any], status: str, says: str
) -> None:
    with pytest.raises(InferenceServerException, match=says) as refused:
        client.infer("small", tensors(binary=True, **changed))
    assert refused.value.status() == status


@pytest.mark.conformance("Open Inference REST", "404 for a model or a version", client="tritonclient[http]")
def test_an_unknown_model_or_version_is_not_found(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="there is no model 'x y'; known: small"):
        client.get_model_metadata("x y")
    with pytest.raises(InferenceServerException, match="there is no version '7'; known: 1"):
        client.infer("small", tensors(binary=True), model_version="7")


def tensor(name: str, datatype: str, data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [1], "data": data}


def plain() -> list[dict[str, Any]]:
    return [
        tensor("width", "FP64", [3.5]),
        tensor(SIGNED, "FP64", [2]),
        {**tensor("at", "BYTES", [["2013-06-01T14:00:00+02:00"]]), "shape": [1, 1]},
        tensor("shop", "BYTES", ["UA"]),
        tensor("heavy", "BOOL", [None]),
        tensor("owner", "BYTES", [None]),
    ]


@pytest.mark.conformance("Open Inference REST", "nested and flat data, null", client="played")
def test_json_may_nest_and_say_null(server: Process) -> None:
    status, answer = server.ask("POST", "/v2/models/small/infer/", {"inputs": plain()})
    assert status == 200
    assert answer["outputs"][0]["data"] == [5.5]
    assert answer["id"] == answer["outputs"][1]["data"][0]
    assert answer["parameters"] == {"revision": 1, "bundle": "sum-1", "arm": "champion"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda body: body["inputs"].pop(), "inputs: input 'owner' is not there"),
        (lambda body: body["inputs"].append(body["inputs"][0]), "inputs: input 'width' occurs twice"),
        (lambda body: body["inputs"].clear(), "inputs: expected at least one row"),
        (lambda body: body["inputs"][0].update(shape=[]), "inputs: expected at least one row"),
        (lambda body: body["inputs"][0].update(shape=[10**30]), "inputs"),
        (lambda body: body["inputs"][0].update(data="x"), "inputs[width].data: expected a list"),
        (lambda body: body["inputs"][0].update(data=["x"]), "inputs[width].data[0]: expected a number"),
        (lambda body: body["inputs"][0].update(data=[1, 2]), "inputs[width].data: expected 1 values, got 2"),
        (lambda body: body["inputs"][0].update(parameters={"binary_data_size": 8}), "expected a size within the body"),
        (lambda body: body.update(outputs=[{"name": "x"}]), "outputs: unknown output 'x'; known: value, prediction_id"),
        (lambda body: body.update(parameters={"unit": 3}), "parameters: expected a text 'unit'"),
        (lambda body: body.pop("inputs"), "body: it lacks 'inputs'"),
    ],
)
def test_a_request_that_breaks_the_protocol_is_refused(server: Process, change: Any, says: str) -> None:
    body = {"inputs": plain()}
    change(body)
    status, answer = server.ask("POST", "/v2/models/small/infer", body)
    assert status == 400
    assert says in answer["error"]


@pytest.mark.parametrize(
    ("length", "data", "says"),
    [
        ("9999", b"", "Inference-Header-Content-Length: expected a length up to"),
        ("x", b"", "Inference-Header-Content-Length"),
        (None, struct.pack("<I", 9) + b"UA", "a value runs past the end"),
        (None, struct.pack("<I", 2) + b"\xff\xff", "is not BYTES of UTF-8"),
        (None, struct.pack("<I", 1) + b"U" + b"\1", "is not BYTES of UTF-8"),
    ],
)
def test_binary_data_that_is_torn_is_refused(server: Process, length: str | None, data: bytes, says: str) -> None:
    inputs = plain()
    inputs[3] = {**inputs[3], "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": inputs}).encode()
    headers = {"Inference_Header_Content_Length": length or str(len(head))}
    status, answer = server.ask("POST", "/v2/models/small/infer", head + data, **headers)
    assert status == 400
    assert says in answer["error"]
