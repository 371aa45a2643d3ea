"""KServe's own clients, REST and gRPC: `python kserve_client.py PORT GRPC_PORT`; prints what came of each call."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

VALUES = {
    "width": ("FP64", np.array([3.5, 4.0])),
    "a name, with signs/%é": ("INT32", np.array([2, 7], np.int32)),
    "at": ("INT64", np.array([1_370_088_000_000_000, 0])),
    "shop": ("BYTES", np.array(["UA", ""], object)),
    "heavy": ("BOOL", np.array([True, False])),
    "owner": ("BYTES", np.array(["N1", "né"], object)),
}


def request(*, binary: bool, without: str = "") -> InferRequest:
    inputs = []
    for name, (datatype, values) in VALUES.items():
        if name != without:
            inputs.append(InferInput(name, list(values.shape), datatype))
            inputs[-1].set_data_from_numpy(values, binary_data=binary)
    return InferRequest(model_name="small", infer_inputs=inputs, request_id="mine")


def told(answer: Any) -> dict[str, Any]:
    outputs = {output.name: output.as_numpy().tolist() for output in answer.outputs}
    return {"id": answer.id, "version": answer.model_version, "value": outputs["value"], "names": sorted(outputs)}


async def rest(port: str) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}"
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
        calls: dict[str, Any] = {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model_ready": await client.is_model_ready(url, "small"),
            "other_ready": await client.is_model_ready(url, "nobody"),
            "json": told(await client.infer(url, request(binary=False), model_name="small")),
            "binary": told(await client.infer(url, request(binary=True), model_name="small")),
        }
        try:
            await client.infer(url, request(binary=False, without="owner"), model_name="small")
        except httpx.HTTPStatusError as err:
            calls["error"] = str(err)
    return calls


async def rpc(port: str) -> dict[str, Any]:
    async with InferenceGRPCClient(f"127.0.0.1:{port}", retries=0) as client:
        calls: dict[str, Any] = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model_ready": await client.is_model_ready("small"),
            "binary": told(await client.infer(request(binary=True))),
        }
        try:
            await client.infer(request(binary=True, without="owner"))
        except grpc.RpcError as err:
            calls["error"] = f"{err.code().name}: {err.details()}"
    return calls


async def main() -> None:
    print(json.dumps({"rest": await rest(sys.argv[1]), "grpc": await rpc(sys.argv[2])}))


if __name__ == "__main__":
    asyncio.run(main())
