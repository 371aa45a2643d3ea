"""The Open Inference Protocol over gRPC, spoken by a client that nobody here wrote, in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from kaizen.core.errors import DeadlineError, KaizenError, OverloadError, RequestError
from kaizen.core.records import Arm
from kaizen.serve.grpc import code_of
from kaizen.serve.grpc_messages import messages
from tests.serve.conftest import ROOT, Process, start
from tests.serve.small import COLUMNS, NOON, ROW, endpoint, expected
from tests.serve.test_oip import tensor

SIGNED = "a name, with signs/%é"
INFER = "/inference.GRPCInferenceService/ModelInfer"
_SAME = """
from tritonclient.grpc import model_config_pb2 as configuration
from tritonclient.grpc import service_pb2 as theirs
from kaizen.serve.grpc_messages import messages

def told(descriptor):
    return {(f.name, f.number, f.type, f.is_repeated) for f in descriptor.fields}

configs = {"Specific": configuration.ModelVersionPolicy.Specific}
nested = configs | {"TensorMetadata": theirs.ModelMetadataResponse.TensorMetadata,
          "InferTensor": theirs.ModelInferRequest.InferInputTensor,
          "InferRequestedOutput": theirs.ModelInferRequest.InferRequestedOutputTensor,
          "ModelIndex": theirs.RepositoryIndexResponse.ModelIndex}
for name, ours in messages().items():
    if not name.startswith("Health"):
        other = (nested.get(name) or getattr(theirs, name, None) or getattr(configuration, name)).DESCRIPTOR
        left = told(ours.DESCRIPTOR) - told(other)
        assert {field[0] for field in left} <= {"properties"}, (name, left)
assert told(theirs.ModelInferResponse.InferOutputTensor.DESCRIPTOR) == told(messages()["InferTensor"].DESCRIPTOR)
"""
_CLIENT = """
import sys
import tritonclient.grpc as triton
from tests.serve.grpc_client import OTHERS, SIGNED, tensor_of

client = triton.InferenceServerClient("127.0.0.1:{port}")
assert client.is_server_live()
print("asked", flush=True)
result = client.infer("small", [tensor_of(1400, name) for name in ("width", SIGNED, *OTHERS)])
print(len(result.as_numpy("value")), "answered", flush=True)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = start(tmp_path_factory.mktemp("grpc"), GRPC_PORT="0")
    yield process
    process.stop()


@pytest.fixture(scope="module")
def outcomes(served: Process) -> dict[str, Any]:
    """What came of each call of `grpc_client`."""
    command = [sys.executable, "-m", "tests.serve.grpc_client", f"127.0.0.1:{served.grpc_port}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_our_messages_are_the_clients_and_both_live_in_one_process() -> None:
    done = subprocess.run([sys.executable, "-c", _SAME], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.conformance(
    "Open Inference gRPC", "ServerLive, ServerReady, ServerMetadata, ModelReady", client="tritonclient[grpc]"
)
def test_it_tells_what_it_is(outcomes: dict[str, Any]) -> None:
    assert outcomes["live"] is outcomes["ready"] is outcomes["model_ready"] is True
    assert outcomes["server"]["name"] == "kaizen"
    assert outcomes["health"] == [8, 1]  # status: SERVING
    assert outcomes["index"] == {"models": [{"name": "small", "version": "1", "state": "READY"}]}
    assert bytes(outcomes["index_elsewhere"]) == b"\n\x11\n\x05small\x12\x011\x1a\x05READY"


@pytest.mark.conformance("Open Inference gRPC", "ModelMetadata", client="tritonclient[grpc]")
def test_its_metadata_is_that_of_rest(served: Process, outcomes: dict[str, Any]) -> None:
    metadata = outcomes["metadata"]
    _, rest = served.ask("GET", "/v2/models/small")
    rest.pop("properties")  # an extension of ours, which this client's messages do not have
    assert [given["name"] for given in metadata["inputs"]] == [column.name for column in COLUMNS]
    for given in (*metadata["inputs"], *metadata["outputs"]):
        given["shape"] = [int(size) for size in given["shape"]]
    assert metadata == rest


@pytest.mark.conformance("Open Inference gRPC", "ModelInfer, raw contents", client="tritonclient[grpc]")
def test_raw_tensors_are_answered_raw(outcomes: dict[str, Any]) -> None:
    answer = outcomes["infer"]
    assert answer["value"] == [expected(ROW), 7.0 - 2]
    assert answer["names"] == ["value", "prediction_id"]
    assert answer["is_raw"]
    assert (answer["id"], answer["version"]) == ("ours", "1")
    expectation = {"revision": {"int64Param": "1"}, "bundle": {"stringParam": "sum-1"}}
    assert answer["parameters"] == expectation | {"arm": {"stringParam": "champion"}}
    assert outcomes["pinned"]["value"] == answer["value"]
    assert (outcomes["named"]["names"], outcomes["named"]["id"]) == (["prediction_id"], "theirs")


def test_a_call_that_is_read_in_the_thread_is_answered_in_order(outcomes: dict[str, Any]) -> None:
    assert outcomes["large_one"]["value"] == [1000.0 + row + 1 - 2 for row in range(9_000)]


@pytest.mark.conformance("Open Inference gRPC", "ModelInfer, typed contents", client="grpc")
def test_typed_contents_are_answered_typed_and_as_rest_does_to_the_bit(
    served: Process, outcomes: dict[str, Any]
) -> None:
    answer = outcomes["typed"]
    values, ids = (output["contents"] for output in answer["outputs"])
    assert "rawOutputContents" not in answer
    assert set(ids) == {"bytesContents"}
    as_float32 = 0.10000000149011612
    columns = {"width": ("FP64", as_float32), SIGNED: ("FP64", 2), "heavy": ("BOOL", True)}
    columns |= {"at": ("INT64", NOON), "shop": ("BYTES", "UA"), "owner": ("BYTES", "N1")}
    body = {"inputs": [tensor(name, datatype, [value]) for name, (datatype, value) in columns.items()]}
    _, rest = served.ask("POST", "/v2/models/small/infer", body)
    assert values["fp64Contents"] == rest["outputs"][0]["data"]


@pytest.mark.conformance("Open Inference gRPC", "status codes", client="tritonclient[grpc]")
@pytest.mark.parametrize(
    ("call", "code", "says"),
    [
        ("shape", "INVALID_ARGUMENT", "inputs[owner]: expected shape [2], got [1]"),
        ("datatype", "INVALID_ARGUMENT", "inputs[shop]: expected datatype BYTES"),
        ("infinite", "INVALID_ARGUMENT", "inputs[width].data[1]: expected a finite"),
        ("name", "INVALID_ARGUMENT", "unknown input 'widht'; did you mean 'width'"),
        ("absent", "INVALID_ARGUMENT", "inputs: input 'owner' is not there"),
        ("choked", "INVALID_ARGUMENT", "rows[1]: the model failed"),
        ("output", "INVALID_ARGUMENT", "outputs: unknown output 'x'; known: value, prediction_id"),
        ("model", "NOT_FOUND", "there is no model 'x y'; known: small"),
        ("version", "NOT_FOUND", "there is no version '7'; known: 1"),
        ("metadata_of_none", "NOT_FOUND", "there is no model 'x y'"),
        ("not_utf8", "INVALID_ARGUMENT", "inputs[owner].contents: expected UTF-8"),
        ("mixed", "INVALID_ARGUMENT", "inputs[width].contents: raw and typed contents do not mix"),
        ("few", "INVALID_ARGUMENT", "raw_input_contents: expected one content for each of 6 inputs, got 1"),
        ("torn", "INVALID_ARGUMENT", "the message is not of this protocol"),
        ("large", "RESOURCE_EXHAUSTED", "larger than max"),
        ("load", "FAILED_PRECONDITION", "in a project what serves is changed by decisions"),
        ("unload", "FAILED_PRECONDITION", "in a project what serves is changed by decisions"),
        ("no_method", "UNIMPLEMENTED", ""),
        ("no_service", "NOT_FOUND", "there is no service 'x'"),
    ],
)
def test_what_is_wrong_has_a_status_code_and_says_what(
    outcomes: dict[str, Any], call: str, code: str, says: str
) -> None:
    assert outcomes[call]["code"] == code
    assert says in outcomes[call]["says"]


def test_predictions_are_in_the_log_and_counted(served: Process, outcomes: dict[str, Any]) -> None:
    batches = served.predictions()
    logged = {identity: batch for batch in batches for identity in batch.ids}
    for call in ("infer", "pinned", "named", "large_one"):
        assert set(outcomes[call]["ids"]) <= set(logged)
    assert logged[outcomes["infer"]["ids"][0]].requests == ["ours", "ours"]
    typed = logged[outcomes["typed"]["id"]]
    assert (typed.units, typed.at, typed.bundle) == (["u-1"], [NOON], "sum-1")
    _, figures = served.ask("GET", "/metrics")
    assert b'kaizen_requests_total{route="grpc_infer",status="200"} 5.0' in figures


def test_before_a_revision_serves_it_is_live_and_not_ready(tmp_path: Path) -> None:
    process = Process(tmp_path, GRPC_PORT="0")
    try:
        with grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel:
            assert channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=10) == b"\x08\x01"
            assert channel.unary_unary("/inference.GRPCInferenceService/ServerReady")(b"", timeout=10) == b""
            assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10) == b"\x08\x02"
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(INFER)(b"\n\x05small", timeout=10)
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    finally:
        process.stop()


def test_sigterm_answers_the_calls_under_way_and_ends_with_0(launch: Callable[..., Process]) -> None:
    server = launch(endpoint(1, Arm("slow-1", "champion", 1.0)), GRPC_PORT="0")
    code = _CLIENT.format(port=server.grpc_port)
    client = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    assert client.stdout.readline() == "asked\n"
    while server.ask("GET", "/metrics")[1].count(b'kaizen_queue_rows{lane="bulk"} 0.0'):
        pass
    server.popen.send_signal(signal.SIGTERM)
    answered, _ = client.communicate(timeout=20)
    assert answered == "1400 answered\n"
    _, errors = server.popen.communicate(timeout=10)
    assert server.popen.returncode == 0
    assert b"Traceback" not in errors
    assert sum(len(batch.ids) for batch in server.predictions()) == 1400


def test_a_caller_that_gives_up_harms_nobody(launch: Callable[..., Process]) -> None:
    server = launch(endpoint(1, Arm("slow-1", "champion", 1.0)), GRPC_PORT="0")
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        with pytest.raises(grpc.RpcError) as late:
            channel.unary_unary(INFER)(rows_of(400), timeout=0.1)
        assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        answer = messages()["ModelInferResponse"].FromString(channel.unary_unary(INFER)(rows_of(1), timeout=10))
    assert list(answer.outputs[0].contents.fp64_contents) == [0.0]
    server.popen.send_signal(signal.SIGTERM)
    _, errors = server.popen.communicate(timeout=10)
    assert (server.popen.returncode, b"Traceback" in errors) == (0, False)
    assert sum(len(batch.ids) for batch in server.predictions()) == 401  # it was scored, so it is in the log


def rows_of(count: int) -> bytes:
    """Return a request of empty rows."""
    request = messages()["ModelInferRequest"](model_name="small")
    for column in COLUMNS:
        is_text = column.type in ("category", "text", "time")
        given = request.inputs.add(name=column.name, datatype="BYTES" if is_text else "FP64", shape=[count])
        field = given.contents.bytes_contents if is_text else given.contents.fp64_contents
        field.extend([b"" if is_text else 0.0] * count)
    return bytes(request.SerializeToString())


def test_a_port_in_use_is_named_with_what_to_do(served: Process, tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "tests.serve.small", str(tmp_path)],
        cwd=ROOT,
        env={"GRPC_PORT": str(served.grpc_port), "PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert process.returncode != 0
    assert f"127.0.0.1:{served.grpc_port}: gRPC cannot listen there" in process.stderr
    assert "--grpc-port" in process.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OverloadError("full"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (DeadlineError("over"), grpc.StatusCode.DEADLINE_EXCEEDED),
        (RequestError("not yet", status=503), grpc.StatusCode.UNAVAILABLE),
        (RequestError("ours", status=500), grpc.StatusCode.INTERNAL),
        (KaizenError("ours"), grpc.StatusCode.INTERNAL),
    ],
)
def test_an_error_has_one_code(error: KaizenError, code: grpc.StatusCode) -> None:
    assert code_of(error) == code
