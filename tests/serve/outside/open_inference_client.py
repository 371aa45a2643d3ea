"""The protocol's generated clients: `python open_inference_client.py PORT GRPC_PORT`; prints what came of each call."""

from __future__ import annotations

import json
import sys
from typing import Any

import grpc
from open_inference.grpc.protocol import ModelInferRequest, ModelMetadataRequest, ModelReadyRequest, ServerLiveRequest
from open_inference.grpc.service import GRPCInferenceServiceStub
from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.errors import BadRequestError, NotFoundError
from open_inference.openapi.types import InferenceRequest, RequestInput, TensorData

VALUES: dict[str, tuple[str, list[Any]]] = {
    "width": ("FP64", [3.5]),
    "a name, with signs/%é": ("FP64", [2.0]),
    "at": ("BYTES", ["2013-06-01T12:00:00Z"]),
    "shop": ("BYTES", ["UA"]),
    "heavy": ("BOOL", [True]),
    "owner": ("BYTES", ["N1"]),
}
FIELDS = {"FP64": "fp64_contents", "BYTES": "bytes_contents", "BOOL": "bool_contents"}


def rest(port: str) -> dict[str, Any]:
    client = OpenInferenceClient(base_url=f"http://127.0.0.1:{port}")
    inputs = [
        RequestInput(name=name, shape=[1], datatype=datatype, data=TensorData(__root__=values))
        for name, (datatype, values) in VALUES.items()
    ]
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness("small")
    client.check_model_version_readiness("small", "1")
    answer = client.model_infer("small", request=InferenceRequest(id="mine", inputs=inputs))
    pinned = client.model_version_infer("small", "1", request=InferenceRequest(inputs=inputs))
    calls = {
        "server": client.read_server_metadata().name,
        "versions": client.read_model_metadata("small").versions,
        "inputs": [given.name for given in client.read_model_version_metadata("small", "1").inputs or []],
        "id": answer.id,
        "value": answer.outputs[0].data.__root__,
        "pinned": pinned.outputs[0].data.__root__,
    }
    try:
        client.model_infer("small", request=InferenceRequest(inputs=inputs[:-1]))
    except BadRequestError as err:
        calls["error"] = dict(err.body)["error"]
    try:
        client.check_model_readiness("nobody")
    except NotFoundError:
        calls["absent"] = True
    return calls


def rpc(port: str) -> dict[str, Any]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = GRPCInferenceServiceStub(channel)
        request = ModelInferRequest(model_name="small", id="mine")
        for name, (datatype, values) in VALUES.items():
            tensor = request.inputs.add(name=name, datatype=datatype, shape=[1])
            encoded = [value.encode() if isinstance(value, str) else value for value in values]
            getattr(tensor.contents, FIELDS[datatype]).extend(encoded)
        answer = stub.ModelInfer(request, timeout=20)
        metadata = stub.ModelMetadata(ModelMetadataRequest(name="small"), timeout=20)
        calls = {
            "live": stub.ServerLive(ServerLiveRequest(), timeout=20).live,
            "ready": stub.ModelReady(ModelReadyRequest(name="small", version="1"), timeout=20).ready,
            "inputs": [given.name for given in metadata.inputs],
            "properties": sorted(metadata.properties),
            "id": answer.id,
            "value": list(answer.outputs[0].contents.fp64_contents),
        }
        try:
            stub.ModelReady(ModelReadyRequest(name="nobody"), timeout=20)
        except grpc.RpcError as err:
            calls["absent"] = err.code().name
    return calls


if __name__ == "__main__":
    print(json.dumps({"rest": rest(sys.argv[1]), "grpc": rpc(sys.argv[2])}))
