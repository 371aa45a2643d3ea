"""Every call of Triton's client over gRPC, and calls that go on; in processes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from kaizen.core.records import Arm
from kaizen.serve.grpc_messages import messages
from tests.serve.conftest import ROOT, Process, start
from tests.serve.small import ROW, endpoint, expected, publish
from tests.serve.test_grpc import rows_of
from tests.serve.test_oip_extensions import ABSENT

STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
WATCH = "/grpc.health.v1.Health/Watch"
SERVING, NOT_SERVING, UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"
ELSEWHERE = {
    "close", "is_model_ready", "is_server_live", "is_server_ready", "get_model_metadata", "get_server_metadata",
    "get_model_repository_index", "unload_model", "start_stream", "stop_stream", "plugin", "register_plugin",
    "unregister_plugin",
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What came of each call of `grpc_extensions_client`."""
    folder = tmp_path_factory.mktemp("grpc")
    process = start(folder, GRPC_PORT="0", REPOSITORY="small=sum-1,other=sum-3,lame=absent-1")
    command = [sys.executable, "-m", "tests.serve.grpc_extensions_client", f"127.0.0.1:{process.grpc_port}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    yield json.loads(done.stdout)
    process.stop()


@pytest.mark.conformance("Open Inference gRPC", "every call that the client has", client="tritonclient[grpc]")
def test_every_call_that_the_client_has_is_tried(outcomes: dict[str, Any]) -> None:
    assert set(outcomes["calls"]) <= outcomes.keys() | ELSEWHERE


@pytest.mark.conformance(
    "Open Inference gRPC", "ModelInfer, ModelStreamInfer, compression", client="tritonclient[grpc]"
)
def test_inferences_answer_however_they_are_asked(outcomes: dict[str, Any]) -> None:
    assert outcomes["infer"] == outcomes["async_infer"] == [expected(ROW), 5.0]
    told = outcomes["async_stream_infer"]
    assert [answer for place, answer in enumerate(told) if place % 3 != 2] == [str(n) for n in range(30) if n % 3 != 2]
    assert all("rows[0]: the model failed" in answer for answer in told[2::3])


@pytest.mark.conformance("Open Inference gRPC", "ModelConfig", client="tritonclient[grpc]")
def test_the_configuration_is_in_tritons_form(outcomes: dict[str, Any]) -> None:
    config = outcomes["get_model_config"]
    assert (config["name"], config["platform"], config["backend"]) == ("small", "onnxruntime_onnx", "onnxruntime")
    assert config["version_policy"] == {"specific": {"versions": ["1"]}}
    assert config["input"][3] == {"name": "shop", "data_type": "TYPE_STRING", "dims": ["-1"]}
    assert config["parameters"]["revision"] == {"string_value": "1"}


@pytest.mark.conformance("Open Inference gRPC", "ModelStatistics", client="tritonclient[grpc]")
def test_figures_are_those_of_a_version(outcomes: dict[str, Any]) -> None:
    (told,) = outcomes["get_inference_statistics"]
    assert (told["name"], told["version"]) == ("small", "1")
    assert told["inference_count"] == str(2 + 2 + 20 * 2)
    assert told["inference_stats"]["success"]["count"] == "22"
    assert told["inference_stats"]["fail"]["count"] == "10"
    assert int(told["inference_stats"]["compute_infer"]["ns"]) > 0
    assert sum(int(size["compute_infer"]["count"]) for size in told["batch_stats"]) == int(told["execution_count"])
    assert outcomes["no_statistics"]["code"] == "NOT_FOUND"
    assert [each["name"] for each in outcomes["all_statistics"]["modelStats"]] == ["small"]


@pytest.mark.conformance("Open Inference gRPC", "repository calls of both services", client="tritonclient[grpc]")
def test_models_are_loaded_and_unloaded_through_both_services(outcomes: dict[str, Any]) -> None:
    off = {"small": "READY", "other": "UNAVAILABLE", "lame": "UNAVAILABLE"}
    on = off | {"other": "READY"}
    assert outcomes["repository"] == [off, on, True, True, [], on, [], off]


@pytest.mark.parametrize(
    ("call", "code", "says"),
    [
        ("load_model", "INVALID_ARGUMENT", "the file is not there"),
        ("load_unknown", "NOT_FOUND", "there is no model 'nobody' in the repository"),
        ("load_files", "INVALID_ARGUMENT", "no model is taken by upload"),
        ("load_config", "INVALID_ARGUMENT", "a model's configuration is its signature"),
        ("sequence", "INVALID_ARGUMENT", "there are no sequences"),
        ("classes", "INVALID_ARGUMENT", "classes are not ranked"),
        *((call, "UNIMPLEMENTED", says) for call, (_, status, says) in ABSENT.items() if status == "501"),
    ],
)
def test_what_is_not_there_is_refused_in_words(outcomes: dict[str, Any], call: str, code: str, says: str) -> None:
    assert outcomes[call]["code"] == code
    assert says in outcomes[call]["says"]


@pytest.mark.conformance("Open Inference gRPC", "grpc.health.v1: Check, Watch", client="grpc")
def test_a_watcher_is_told_of_each_change_and_of_the_end(launch: Callable[..., Process]) -> None:
    server = launch(GRPC_PORT="0", REPOSITORY="small=sum-1,slow=slow-1")
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        watch = channel.unary_stream(WATCH)
        told = watch(b"", timeout=60)
        assert next(told) == SERVING
        stranger = watch(b"\x0a\x01x", timeout=60)
        assert next(stranger) == UNKNOWN
        server.popen.send_signal(signal.SIGTERM)
        assert list(told) == [NOT_SERVING]
        assert list(stranger) == [NOT_SERVING]
    _, errors = server.popen.communicate(timeout=20)
    assert (server.popen.returncode, b"Traceback" in errors) == (0, False)


def test_a_watcher_sees_the_first_revision_come(tmp_path: Any) -> None:
    process = Process(tmp_path, GRPC_PORT="0")
    try:
        with grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel:
            told = channel.unary_stream(WATCH)(b"", timeout=60)
            assert next(told) == NOT_SERVING
            publish(tmp_path, endpoint(1))
            assert next(told) == SERVING
            told.cancel()
    finally:
        process.stop()


def test_a_stream_that_is_open_when_the_server_stops_is_answered_and_ended(launch: Callable[..., Process]) -> None:
    server = launch(endpoint(1, Arm("slow-1", "champion", 1.0)), GRPC_PORT="0")
    over = threading.Event()

    def requests() -> Iterator[bytes]:
        for _ in range(20):
            yield rows_of(20)
        over.wait(30)

    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        answers = channel.stream_stream(STREAM)(requests(), timeout=60)
        first = messages()["ModelStreamInferResponse"].FromString(next(answers))
        assert list(first.infer_response.outputs[0].contents.fp64_contents) == [0.0] * 20
        server.popen.send_signal(signal.SIGTERM)
        rest = list(answers)
        over.set()
    _, errors = server.popen.communicate(timeout=20)
    assert (server.popen.returncode, b"Traceback" in errors) == (0, False)
    answered = sum(len(batch.ids) for batch in server.predictions())
    assert answered >= 20 * (1 + len(rest))


def test_a_stream_whose_caller_goes_harms_nobody(launch: Callable[..., Process]) -> None:
    server = launch(endpoint(1, Arm("slow-1", "champion", 1.0)), GRPC_PORT="0")
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        answers = channel.stream_stream(STREAM)(iter([rows_of(50)] * 20), timeout=60)
        next(answers)
        answers.cancel()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        assert len(list(channel.stream_stream(STREAM)(iter([rows_of(1)] * 3), timeout=30))) == 3
        torn = list(channel.stream_stream(STREAM)(iter([b"\x0a\xff"]), timeout=30))
    assert b"the message is not of this protocol" in torn[0]
    server.popen.send_signal(signal.SIGTERM)
    _, errors = server.popen.communicate(timeout=20)
    assert (server.popen.returncode, b"Traceback" in errors) == (0, False), errors
