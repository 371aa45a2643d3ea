"""A client that nobody here wrote, in a process of its own: makes calls over gRPC and prints what came of each.

python -m tests.serve.grpc_client ADDRESS      prints one JSON object, outcome by the name of the call
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as triton
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from kaizen.graph.frame import MISSING_TIME
from tests.serve.small import NOON

SIGNED = "a name, with signs/%é"


def tensors(drop: str = "", **changed: tuple[str, np.ndarray]) -> list[triton.InferInput]:
    """Return the two rows of `test_oip.tensors`, some columns changed."""
    values: dict[str, tuple[str, np.ndarray]] = {
        "width": ("FP64", np.array([3.5, np.nan])),
        SIGNED: ("INT32", np.array([2, 7], np.int32)),
        "at": ("INT64", np.array([NOON, MISSING_TIME])),
        "shop": ("BYTES", np.array(["UA", ""], object)),
        "heavy": ("BOOL", np.array([True, False])),
        "owner": ("BYTES", np.array(["N1", "né"], object)),
        **changed,
    }
    made = []
    for name, (datatype, data) in values.items():
        if name != drop:
            made.append(triton.InferInput(name, list(data.shape), datatype))
            made[-1].set_data_from_numpy(data)
    return made


def typed(**fields: Any) -> Any:
    """Return a request with typed contents, of one row."""
    request = service_pb2.ModelInferRequest(model_name="small")
    for name, datatype, content in (
        ("width", "FP32", {"fp32_contents": [0.1]}),
        (SIGNED, "UINT8", {"uint_contents": [2]}),
        ("at", "BYTES", {"bytes_contents": [b"2013-06-01T12:00:00Z"]}),
        ("shop", "BYTES", {"bytes_contents": [b"UA"]}),
        ("heavy", "BOOL", {"bool_contents": [True]}),
        ("owner", "BYTES", {"bytes_contents": [fields.pop("owner", b"N1")]}),
    ):
        tensor = request.inputs.add(name=name, datatype=datatype, shape=[1])
        for field, values in content.items():
            getattr(tensor.contents, field).extend(values)
    request.parameters["unit"].string_param = "u-1"
    request.parameters["at"].int64_param = NOON
    request.MergeFrom(service_pb2.ModelInferRequest(**fields))
    return request


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a call gives, or the code and the words of its error."""
    try:
        return call()
    except InferenceServerException as err:
        return {"code": str(err.status()).removeprefix("StatusCode."), "says": err.message()}
    except grpc.RpcError as err:
        return {"code": err.code().name, "says": err.details()}


def inferred(client: triton.InferenceServerClient, inputs: list[triton.InferInput], **options: Any) -> Any:
    result = client.infer("small", inputs, **options)
    response = result.get_response()
    return {
        "names": [tensor.name for tensor in response.outputs],
        "is_raw": bool(response.raw_output_contents),
        "value": None if result.as_numpy("value") is None else result.as_numpy("value").tolist(),
        "ids": [value.decode() for value in result.as_numpy("prediction_id").tolist()],
        "id": response.id,
        "version": response.model_version,
        "parameters": {name: MessageToDict(value) for name, value in response.parameters.items()},
    }


def main() -> None:
    address = sys.argv[1]
    client = triton.InferenceServerClient(address)
    channel = grpc.insecure_channel(address)
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

    def raw(method: str, body: bytes = b"") -> list[int]:
        return list(channel.unary_unary(method)(body, timeout=10))

    prediction_id = [triton.InferRequestedOutput("prediction_id")]
    wrong: dict[str, Callable[[], Any]] = {
        "shape": lambda: inferred(client, tensors(owner=("BYTES", np.array(["a"], object)))),
        "datatype": lambda: inferred(client, tensors(shop=("FP64", np.array([1.0, 2.0])))),
        "infinite": lambda: inferred(client, tensors(width=("FP64", np.array([1.0, np.inf])))),
        "name": lambda: inferred(client, tensors(widht=("FP64", np.array([1.0, 2.0])))),
        "absent": lambda: inferred(client, tensors("owner")),
        "choked": lambda: inferred(client, tensors(width=("FP64", np.array([1.0, 666.0])))),
        "output": lambda: inferred(client, tensors(), outputs=[triton.InferRequestedOutput("x")]),
        "model": lambda: client.infer("x y", tensors()),
        "version": lambda: inferred(client, tensors(), model_version="7"),
        "metadata_of_none": lambda: MessageToDict(client.get_model_metadata("x y")),
        "not_utf8": lambda: MessageToDict(stub.ModelInfer(typed(owner=b"\xff"))),
        "mixed": lambda: MessageToDict(stub.ModelInfer(typed(raw_input_contents=[b"x"] * 6))),
        "few": lambda: MessageToDict(stub.ModelInfer(typed(raw_input_contents=[b"x"]))),
        "torn": lambda: raw("/inference.GRPCInferenceService/ModelInfer", b"\x0a\xff"),
        "large": lambda: raw("/inference.GRPCInferenceService/ModelInfer", b"\x00" * (2 << 20)),
        "load": lambda: client.load_model("small"),
        "unload": lambda: client.unload_model("small"),
        "no_method": lambda: raw("/inference.GRPCInferenceService/Nothing"),
        "no_service": lambda: raw("/grpc.health.v1.Health/Check", b"\x0a\x01x"),
    }
    right: dict[str, Callable[[], Any]] = {
        "live": client.is_server_live,
        "ready": client.is_server_ready,
        "model_ready": lambda: client.is_model_ready("small", "1"),
        "server": lambda: client.get_server_metadata(as_json=True),
        "metadata": lambda: client.get_model_metadata("small", as_json=True),
        "index": lambda: client.get_model_repository_index(as_json=True),
        "index_elsewhere": lambda: raw("/inference.model_repository.ModelRepositoryService/RepositoryIndex"),
        "health": lambda: raw("/grpc.health.v1.Health/Check"),
        "infer": lambda: inferred(client, tensors(), request_id="ours"),
        "pinned": lambda: inferred(client, tensors(), model_version="1", compression_algorithm="gzip"),
        "named": lambda: inferred(client, tensors(), headers={"x-request-id": "theirs"}, outputs=prediction_id),
        "large_one": lambda: inferred(client, [tensor_of(9_000, name) for name in ("width", SIGNED, *OTHERS)]),
        "typed": lambda: MessageToDict(stub.ModelInfer(typed())),
    }
    print(json.dumps({name: outcome(call) for name, call in (right | wrong).items()}))


OTHERS = {"at": ("INT64", NOON), "shop": ("BYTES", "UA"), "heavy": ("BOOL", True), "owner": ("BYTES", "N1")}


def tensor_of(rows: int, name: str) -> triton.InferInput:
    """Return a column of many rows: `width` counts them from 1000, the others stand still."""
    datatype, value = OTHERS.get(name, ("FP64", 0.0))
    data = np.full(rows, value, object if datatype == "BYTES" else None)
    tensor = triton.InferInput(name, [rows], datatype)
    tensor.set_data_from_numpy(np.arange(1000.0, 1000.0 + rows) if name == "width" else data)
    return tensor


if __name__ == "__main__":
    main()
