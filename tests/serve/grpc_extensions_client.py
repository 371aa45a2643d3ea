"""Every call of Triton's client over gRPC, in a process of its own; prints what came of each.

python -m tests.serve.grpc_extensions_client ADDRESS      prints one JSON object, outcome by the name of the call
"""

from __future__ import annotations

import json
import queue
import sys
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as triton
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2

from tests.serve.grpc_client import inferred, outcome, tensors

REPOSITORY = "/inference.model_repository.ModelRepositoryService"


def asynchronous(client: triton.InferenceServerClient) -> Any:
    answers: queue.Queue[Any] = queue.Queue()
    client.async_infer("small", tensors(), lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=10)
    if error is not None:
        raise error
    return result.as_numpy("value").tolist()


def stream(client: triton.InferenceServerClient, count: int) -> Any:
    """Send requests without waiting, every third of them wrong, and return what comes, in order."""
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(count):
        value = "x" if number % 3 == 2 else 0.0
        width = np.array([number, 0.0]) if value == 0.0 else np.array([666.0, 0.0])
        client.async_stream_infer("small", tensors(width=("FP64", width)), request_id=str(number))
    told = [answers.get(timeout=20) for _ in range(count)]
    client.stop_stream()
    return [result.get_response().id if error is None else error.message() for result, error in told]


def repository(address: str, client: triton.InferenceServerClient) -> Any:
    """Load and unload through both services."""
    channel = grpc.insecure_channel(address)

    def call(method: str, name: str) -> Any:
        request = service_pb2.RepositoryModelLoadRequest(model_name=name).SerializeToString()
        return list(channel.unary_unary(f"{REPOSITORY}/{method}")(request, timeout=10))

    def index() -> Any:
        models = client.get_model_repository_index(as_json=True)["models"]
        return {model["name"]: model["state"] for model in models}

    seen = [index()]
    client.load_model("other")
    seen += [index(), client.is_model_ready("other")]
    client.unload_model("other")
    seen += [client.is_model_ready("small"), call("RepositoryModelLoad", "other"), index()]
    seen += [call("RepositoryModelUnload", "other"), index()]
    return seen


def main() -> None:
    address = sys.argv[1]
    client = triton.InferenceServerClient(address)
    calls: dict[str, Callable[[], Any]] = {
        "infer": lambda: inferred(
            client, tensors(), priority=1, timeout=5_000_000, client_timeout=10, compression_algorithm="deflate"
        )["value"],
        "async_infer": lambda: asynchronous(client),
        "async_stream_infer": lambda: stream(client, 30),
        "get_model_config": lambda: client.get_model_config("small", "1", as_json=True)["config"],
        "get_inference_statistics": lambda: client.get_inference_statistics("small", as_json=True)["model_stats"],
        "no_statistics": lambda: client.get_inference_statistics("nobody"),
        "repository": lambda: repository(address, client),
        "load_model": lambda: client.load_model("lame"),
        "load_unknown": lambda: client.load_model("nobody"),
        "load_files": lambda: client.load_model("other", config="{}", files={"file:1/model.onnx": b"AAAA"}),
        "load_config": lambda: client.load_model("other", config="{}"),
        "sequence": lambda: inferred(client, tensors(), sequence_id=3, sequence_start=True),
        "classes": lambda: inferred(client, tensors(), outputs=[triton.InferRequestedOutput("value", class_count=2)]),
        "get_trace_settings": lambda: client.get_trace_settings(),
        "update_trace_settings": lambda: client.update_trace_settings("small", {"trace_rate": "1"}),
        "get_log_settings": lambda: client.get_log_settings(),
        "update_log_settings": lambda: client.update_log_settings({"log_info": True}),
        "get_system_shared_memory_status": lambda: client.get_system_shared_memory_status(),
        "register_system_shared_memory": lambda: client.register_system_shared_memory("a", "/a", 8),
        "unregister_system_shared_memory": lambda: client.unregister_system_shared_memory("a"),
        "get_cuda_shared_memory_status": lambda: client.get_cuda_shared_memory_status(),
        "register_cuda_shared_memory": lambda: client.register_cuda_shared_memory("a", b"", 0, 8),
        "unregister_cuda_shared_memory": lambda: client.unregister_cuda_shared_memory("a"),
    }
    told = {name: outcome(call) for name, call in calls.items()}
    told["calls"] = [name for name in dir(client) if not name.startswith("_")]
    stub = grpc.insecure_channel(address).unary_unary("/inference.GRPCInferenceService/ModelStatistics")
    told["all_statistics"] = MessageToDict(service_pb2.ModelStatisticsResponse.FromString(stub(b"", timeout=10)))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
