"""Every call of Triton's client over HTTP: what is supported is right, what is not is refused in words."""

from __future__ import annotations

import gzip
import http.client
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from kaizen.core.records import Arm
from kaizen.serve.compression import WORTH_BYTES, accepted, compressed, inflated
from tests.serve.conftest import Process
from tests.serve.small import COLUMNS, ROW, endpoint, expected
from tests.serve.test_oip import plain, tensors

Client = triton.InferenceServerClient


@pytest.fixture
def client(server: Process) -> Iterator[Client]:
    client = Client(f"127.0.0.1:{server.port}")
    yield client
    client.close()


@pytest.fixture
def shelf(launch: Callable[..., Process]) -> Process:
    """A server whose models `other` and `lame` may be loaded by request, and `small` unloaded."""
    return launch(REPOSITORY="small=sum-1,other=sum-3,lame=absent-1", GRPC_PORT="0")


def refused(call: Callable[[], Any], status: str, says: str) -> None:
    with pytest.raises(InferenceServerException, match=says) as error:
        call()
    assert error.value.status() == status


WORKS: dict[str, Callable[[Client], Any]] = {
    "is_server_live": lambda client: client.is_server_live(),
    "is_server_ready": lambda client: client.is_server_ready(query_params={"verbose": 1}),
    "is_model_ready": lambda client: client.is_model_ready("small", "1", headers={"x-request-id": "mine"}),
    "get_server_metadata": lambda client: client.get_server_metadata()["extensions"],
    "get_model_metadata": lambda client: client.get_model_metadata("small")["inputs"],
    "get_model_config": lambda client: client.get_model_config("small", "1")["input"],
    "get_model_repository_index": lambda client: client.get_model_repository_index()[0]["state"] == "READY",
    "get_inference_statistics": lambda client: client.get_inference_statistics()["model_stats"],
    "infer": lambda client: client.infer("small", tensors(binary=True), priority=1, timeout=5_000_000),
    "async_infer": lambda client: client.async_infer("small", tensors(binary=True)).get_result().as_numpy("value").size,
}
ABSENT: dict[str, tuple[Callable[[Client], Any], str, str]] = {
    "load_model": (lambda client: client.load_model("small"), "409", "--allow-load"),
    "unload_model": (lambda client: client.unload_model("small"), "409", "kaizen loop"),
    "get_trace_settings": (lambda client: client.get_trace_settings("small"), "501", "traces are not set by request"),
    "update_trace_settings": (lambda client: client.update_trace_settings(settings={}), "501", "/metrics"),
    "get_log_settings": (lambda client: client.get_log_settings(), "501", "log is not set by request"),
    "update_log_settings": (lambda client: client.update_log_settings({}), "501", "log is not set by request"),
    "get_system_shared_memory_status": (
        lambda client: client.get_system_shared_memory_status("a"),
        "501",
        "no shared memory; send the data",
    ),
    "register_system_shared_memory": (
        lambda client: client.register_system_shared_memory("a", "/a", 8),
        "501",
        "no shared memory",
    ),
    "unregister_system_shared_memory": (
        lambda client: client.unregister_system_shared_memory(),
        "501",
        "no shared memory",
    ),
    "get_cuda_shared_memory_status": (lambda client: client.get_cuda_shared_memory_status(), "501", "no shared memory"),
    "register_cuda_shared_memory": (
        lambda client: client.register_cuda_shared_memory("a", b"handle", 0, 8),
        "501",
        "no shared memory",
    ),
    "unregister_cuda_shared_memory": (
        lambda client: client.unregister_cuda_shared_memory("a"),
        "501",
        "no shared memory",
    ),
}
OF_THE_CLIENT_ALONE = {
    "close", "generate_request_body", "parse_response_body", "plugin", "register_plugin", "unregister_plugin",
}  # fmt: skip


@pytest.mark.conformance("Open Inference REST", "every call that the client has", client="tritonclient[http]")
def test_every_call_that_the_client_has_is_tried_here() -> None:
    calls = {name for name in dir(Client) if not name.startswith("_")}
    assert calls == WORKS.keys() | ABSENT.keys() | OF_THE_CLIENT_ALONE


@pytest.mark.parametrize("call", WORKS)
def test_what_is_there_answers(client: Client, call: str) -> None:
    assert WORKS[call](client)


@pytest.mark.parametrize("call", ABSENT)
def test_what_is_not_there_is_refused_in_words(client: Client, call: str) -> None:
    ask, status, says = ABSENT[call]
    refused(lambda: ask(client), status, says)


def test_a_request_made_by_hand_and_a_plugin_work(server: Process, client: Client) -> None:
    body, size = Client.generate_request_body(tensors(binary=True))
    told = {"Inference_Header_Content_Length": str(size)}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request("POST", "/v2/models/small/infer", body, {k.replace("_", "-"): v for k, v in told.items()})
        answer = connection.getresponse()
        length = int(answer.headers["Inference-Header-Content-Length"])
        result = Client.parse_response_body(answer.read(), header_length=length)
    assert result.as_numpy("value")[0] == expected(ROW)
    assert result.as_numpy("prediction_id").size == 2


@pytest.mark.conformance(
    "Open Inference REST", "gzip and deflate, of requests and of answers", client="tritonclient[http]"
)
@pytest.mark.parametrize("asking", ["gzip", "deflate", None])
@pytest.mark.parametrize("answering", ["gzip", "deflate", None])
def test_bodies_are_compressed_both_ways(client: Client, asking: str | None, answering: str | None) -> None:
    many = [triton.InferInput(given.name(), [2000], given.datatype()) for given in tensors(binary=True)]
    for own, given in zip(many, tensors(binary=True), strict=True):
        kind = object if given.datatype() == "BYTES" else triton_dtype(given.datatype())
        values = {"BYTES": "x", "BOOL": True}.get(given.datatype(), 7)
        own.set_data_from_numpy(np.full(2000, values, kind))
    result = client.infer("small", many, request_compression_algorithm=asking, response_compression_algorithm=answering)
    assert result.as_numpy("value").tolist() == [14.0] * 2000
    assert len(set(result.as_numpy("prediction_id").tolist())) == 2000


def triton_dtype(datatype: str) -> Any:
    return {"FP64": np.float64, "INT32": np.int32, "INT64": np.int64, "BOOL": np.bool_}[datatype]


def headed(server: Process, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        connection.request("POST", "/v1/predict", body, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()


@pytest.mark.parametrize("rows", [1, 50, 3000])
def test_an_answer_is_compressed_if_asked_for_and_worth_it(server: Process, rows: int) -> None:
    body = json.dumps({"rows": [ROW] * rows}).encode()
    _, plainly, whole = headed(server, body)
    assert "content-encoding" not in plainly
    _, headers, answer = headed(server, body, Accept_Encoding="br, gzip;q=0.8")
    is_long = len(whole) > WORTH_BYTES
    assert (headers.get("content-encoding") == "gzip") is is_long
    assert headers.get("vary") == ("accept-encoding" if is_long else None)
    values = json.loads(gzip.decompress(answer) if is_long else answer)["predictions"]
    assert [given["value"] for given in values] == [expected(ROW)] * rows


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        (None, b""),
        (b"", b""),
        (b"identity", b""),
        (b"gzip", b"gzip"),
        (b"deflate, GZIP", b"gzip"),
        (b"br;q=1.0, deflate;q=0.5", b"deflate"),
        (b"gzip;q=0", b""),
        (b"gzip; q=0.000, *", b"deflate"),
        (b"*", b"gzip"),
        (b"gzip;q=0.1", b"gzip"),
    ],
)
def test_which_encoding_a_client_accepts(header: bytes | None, encoding: bytes) -> None:
    assert accepted(header) == encoding


def test_deflate_is_the_format_of_zlib() -> None:
    body = b"a" * 5000
    assert zlib.decompress(compressed(body, b"deflate")) == body
    assert inflated(b"gzip", compressed(body, b"gzip"), 5000) == body


@pytest.mark.conformance("Open Inference REST", "statistics", client="tritonclient[http]")
def test_figures_are_those_of_a_version(launch: Callable[..., Process]) -> None:
    server = launch(endpoint(1, Arm("sum-1", "champion", 0.5), Arm("sum-2", "challenger", 0.5)), BESIDE="other=sum-3")
    server.wait_for(lambda health: health["status"] == "ok")
    with closing(Client(f"127.0.0.1:{server.port}")) as client:
        for version, times in (("1", 3), ("2", 1)):
            for _ in range(times):
                client.infer("small", tensors(binary=True), model_version=version)
        refused(
            lambda: client.infer(
                "small", tensors(binary=True, width=("FP64", np.array([1.0, 666.0]))), model_version="2"
            ),
            "422",
            "the model failed",
        )
        told = client.get_inference_statistics()["model_stats"]
        one = client.get_inference_statistics("small", "2")["model_stats"]
        refused(lambda: client.get_inference_statistics("small", "9"), "404", "there is no version '9'")
        refused(lambda: client.get_inference_statistics("nobody"), "404", "there is no model 'nobody'")
    assert [(each["name"], each["version"]) for each in told] == [("small", "1"), ("small", "2"), ("other", "3")]
    assert one == [told[1]]
    assert [each["inference_count"] for each in told] == [6, 2, 0]
    assert [each["execution_count"] for each in told] == [3, 1, 0]
    first, second = (each["inference_stats"] for each in told[:2])
    assert (first["success"]["count"], first["fail"]["count"]) == (3, 0)
    assert (second["success"]["count"], second["fail"]["count"]) == (1, 1)
    stages = [first[name] for name in ("queue", "compute_input", "compute_infer", "compute_output")]
    assert all(stage["count"] == 3 and stage["ns"] > 0 for stage in stages)
    assert sum(stage["ns"] for stage in stages) >= first["success"]["ns"] * 0.5
    assert [size["batch_size"] for size in told[0]["batch_stats"]] == [2]
    assert told[0]["batch_stats"][0]["compute_infer"]["count"] == 3
    assert told[0]["last_inference"] > 1_600_000_000_000
    assert told[2]["last_inference"] == 0


def test_figures_go_on_where_a_revision_keeps_the_version(launch: Callable[..., Process]) -> None:
    from tests.serve.small import publish

    server = launch()
    server.ask("POST", "/v1/predict", {"rows": [ROW]})
    publish(server.folder, endpoint(2, Arm("sum-1", "champion", 0.5), Arm("sum-2", "challenger", 0.5)))
    server.wait_for(lambda health: health["revision"] == 2)
    told = server.ask("GET", "/v2/models/small/stats")[1]["model_stats"]
    assert [each["inference_count"] for each in told] == [1, 0]


@pytest.mark.conformance("Open Inference REST", "model configuration", client="tritonclient[http]")
def test_the_configuration_is_in_tritons_form(server: Process) -> None:
    status, told = server.ask("GET", "/v2/models/small/versions/1/config")
    assert status == 200
    assert (told["platform"], told["backend"], told["max_batch_size"]) == ("onnxruntime_onnx", "onnxruntime", 0)
    assert [given["name"] for given in told["input"]] == [column.name for column in COLUMNS]
    assert told["input"][3] == {"name": "shop", "data_type": "TYPE_STRING", "dims": [-1]}
    assert told["output"][0] == {"name": "value", "data_type": "TYPE_FP64", "dims": [-1]}
    assert server.ask("GET", "/v2/models/small/versions/9/config")[0] == 404


@pytest.mark.conformance("Open Inference REST", "repository: index, load, unload", client="tritonclient[http]")
def test_models_are_loaded_and_unloaded_by_request(shelf: Process) -> None:
    with closing(Client(f"127.0.0.1:{shelf.port}")) as client:
        states = {each["name"]: (each["state"], each["reason"]) for each in client.get_model_repository_index()}
        assert states == {
            "small": ("READY", ""),
            "other": ("UNAVAILABLE", "unloaded"),
            "lame": ("UNAVAILABLE", "unloaded"),
        }
        assert not client.is_model_ready("other")
        client.load_model("other")
        assert client.is_model_ready("other")
        assert client.infer("other", tensors(binary=True)).as_numpy("value")[0] == expected(ROW, 3.0)
        assert [each["name"] for each in shelf.ask("POST", "/v2/repository/index", {"ready": True})[1]] == [
            "small",
            "other",
        ]
        client.unload_model("small")
        client.unload_model("small")
        assert not client.is_model_ready("small")
        refused(lambda: client.infer("small", tensors(binary=True)), "404", "there is no model 'small'")
        assert shelf.ask("POST", "/v1/predict", {"rows": [ROW]})[1]["endpoint"] == "other"
        client.load_model("small")
        assert client.infer("small", tensors(binary=True)).as_numpy("value")[0] == expected(ROW)


def test_a_model_that_does_not_load_says_why_and_harms_none(shelf: Process) -> None:
    with closing(Client(f"127.0.0.1:{shelf.port}")) as client:
        refused(lambda: client.load_model("lame"), "400", "the file is not there")
        index = {each["name"]: each for each in client.get_model_repository_index()}
        assert index["lame"]["state"] == "UNAVAILABLE"
        assert "the file is not there" in index["lame"]["reason"]
        assert shelf.ask("GET", "/healthz")[1]["status"] == "ok"
        (shelf.folder / "lame.bundle").write_text("sum-9")
        client.load_model("lame")
        assert client.infer("lame", tensors(binary=True)).as_numpy("value")[0] == expected(ROW, 9.0)


def test_a_model_is_loaded_again_as_it_is_now_without_a_pause(shelf: Process) -> None:
    with closing(Client(f"127.0.0.1:{shelf.port}")) as client:
        (shelf.folder / "small.bundle").write_text("absent-1")
        refused(lambda: client.load_model("small"), "400", "the file is not there")
        assert client.infer("small", tensors(binary=True)).as_numpy("value")[0] == expected(ROW)
        (shelf.folder / "small.bundle").write_text("sum-4")
        client.load_model("small")
        assert client.get_model_metadata("small")["versions"] == ["4"]
        assert client.infer("small", tensors(binary=True)).as_numpy("value")[0] == expected(ROW, 4.0)


@pytest.mark.parametrize(
    ("verb", "body", "status", "says"),
    [
        ("load", {"parameters": {"file:1/model.onnx": "AAAA"}}, 400, "no model is taken by upload"),
        ("load", {"parameters": {"config": "{}"}}, 400, "configuration is its signature"),
        ("load", {"parameters": {"colour": 1}}, 400, "parameters.colour: unknown parameter"),
        ("load", {"parameters": []}, 400, "parameters: expected an object"),
        ("load", b"{", 400, "the body is not JSON"),
        ("unload", {"parameters": {"unload_dependents": 3}}, 400, "expected true or false"),
        ("unload", {"parameters": {"unload_dependents": True}}, 200, ""),
        ("unload", b"", 200, ""),
    ],
)
def test_what_a_repository_is_asked_must_be_what_it_knows(
    shelf: Process, verb: str, body: Any, status: int, says: str
) -> None:
    found, answer = shelf.ask("POST", f"/v2/repository/models/other/{verb}", body)
    assert found == status
    assert says in (answer["error"] if status != 200 else "")
    assert shelf.ask("POST", f"/v2/repository/models/nobody/{verb}")[0] == 404


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 200), (b" ", 200), ({}, 200), ({"ready": False}, 200), ({"ready": 1}, 400), (b"[]", 400)]
)
def test_an_index_may_be_asked_with_an_empty_body(server: Process, body: Any, status: int) -> None:
    assert server.ask("POST", "/v2/repository/index", body)[0] == status


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sequence_id": 7, "sequence_start": True}, "there are no sequences"),
        ({"outputs": [triton.InferRequestedOutput("value", class_count=2)]}, "classes are not ranked"),
    ],
)
def test_what_a_request_cannot_have_is_refused_in_words(client: Client, options: Any, says: str) -> None:
    refused(lambda: client.infer("small", tensors(binary=True), **options), "400", says)


def test_data_in_shared_memory_is_refused_in_words(client: Client) -> None:
    given = tensors(binary=True)
    given[0].set_shared_memory("a", 16)
    refused(lambda: client.infer("small", given), "400", r"inputs\[width\]: there is no shared memory; send the data")
    wanted = triton.InferRequestedOutput("value")
    wanted.set_shared_memory("a", 16)
    refused(lambda: client.infer("small", tensors(binary=True), outputs=[wanted]), "400", "there is no shared memory")


@pytest.mark.conformance("Open Inference REST", "FP16 and BF16", client="played")
@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_comes_in_binary_only(server: Process, datatype: str) -> None:
    inputs = plain()
    inputs[0] = {"name": "width", "datatype": datatype, "shape": [1], "data": [3.5]}
    status, answer = server.ask("POST", "/v2/models/small/infer", {"inputs": inputs})
    assert (status, f"{datatype} has no form in JSON" in answer["error"]) == (400, True)
    data = struct.pack("<e", 3.5) if datatype == "FP16" else struct.pack("<f", 3.5)[2:]
    inputs[0] = {"name": "width", "datatype": datatype, "shape": [1], "parameters": {"binary_data_size": 2}}
    head = json.dumps({"inputs": inputs}).encode()
    told = {"Inference_Header_Content_Length": str(len(head))}
    status, answer = server.ask("POST", "/v2/models/small/infer", head + data, **told)
    assert (status, answer["outputs"][0]["data"]) == (200, [5.5])


@pytest.mark.conformance(
    "Open Inference REST", "no content type, trailing slash, quoted names, echoed ids", client="played"
)
def test_small_things_of_the_protocol(server: Process) -> None:
    status, answer = server.ask("POST", "/v2/models/sm%61ll/infer/?a=b", {"inputs": plain(), "id": "mine"})
    assert (status, answer["id"]) == (200, "mine")
    asked = json.dumps({"inputs": plain()}).encode()
    raw = server.raw(
        b"POST /v2/models/small/infer HTTP/1.1\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(asked) + asked
    )
    assert raw.startswith(b"HTTP/1.1 200 OK")
    status, answer = server.ask("POST", "/v2/models/small/infer", b"{")
    assert (status, answer) == (400, {"error": "the body is not JSON: it ends too early"})
    status, answer = server.ask("POST", "/v2/models/small/infer", b"\0\0", Inference_Header_Content_Length="0")
    assert (status, "this one has 6" in answer["error"]) == (400, True)
