"""The process as a whole: what it imports and costs, how it starts, stops and dies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kaizen.core.records import Arm
from tests.serve.conftest import ROOT, Process
from tests.serve.small import ROW, endpoint, publish
from tests.serve.test_swap import BODY

FORBIDDEN = (
    "scipy",
    "onnx",
    "duckdb",
    "sklearn",
    "pandas",
    "matplotlib",
    "rich",
    "lightgbm",
    "optuna",
    "mlflow",
    "grpc",
    "google",
)


def test_the_serving_process_imports_no_builder_and_no_learner() -> None:
    modules = "kaizen.serve.app, kaizen.bundle.load, kaizen.adapters.log.segments"
    code = f"import sys, {modules}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not set(FORBIDDEN) & set(result.stdout.split())


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads Linux's /proc")
def test_a_server_has_grpc_in_memory_only_if_it_answers_it(launch: Callable[..., Process]) -> None:
    loaded = [Path(f"/proc/{process.popen.pid}/maps").read_text() for process in (launch(), launch(GRPC_PORT="0"))]
    assert ["cygrpc" in maps for maps in loaded] == [False, True]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux's /proc")
def test_it_is_ready_within_a_second_of_cpu_and_120_mib(launch: Callable[..., Process]) -> None:
    process = Path(f"/proc/{launch().popen.pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # user and system
    peak = next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmHWM"))
    assert ticks / os.sysconf("SC_CLK_TCK") < 1.0
    assert int(peak.split()[1]) / 1024 < 120


def test_sigterm_answers_what_was_asked_and_ends_with_0(launch: Callable[..., Process]) -> None:
    server = launch(endpoint(1, Arm("slow-1", "champion", 1.0), Arm("sum-1", "shadow", 0.0)))
    answers: list[int] = []
    body = {"rows": [ROW] * 700}
    thread = threading.Thread(target=lambda: answers.append(server.ask("POST", "/v1/predict", body)[0]))
    thread.start()
    while b"kaizen_requests_waiting 2.0" not in server.ask("GET", "/metrics")[1]:
        pass
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as idle:
        server.popen.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b""
        thread.join()
    assert answers == [200]
    _, errors = server.popen.communicate(timeout=10)
    assert server.popen.returncode == 0
    assert b"Traceback" not in errors
    assert b"unanswered=0" in errors
    assert {batch.role: len(batch.ids) for batch in server.predictions()}.keys() == {"champion", "shadow"}
    assert sum(len(batch.ids) for batch in server.predictions()) == 1400


def test_it_stops_with_its_parent(launch: Callable[..., Process]) -> None:
    server = launch()
    server.popen.communicate(timeout=10)  # closes its standard input
    assert server.popen.returncode == 0


def test_a_port_in_use_is_named_with_what_to_do(server: Process, tmp_path: Path) -> None:
    publish(tmp_path, endpoint(1))
    command = [sys.executable, "-m", "tests.serve.small", str(tmp_path), str(server.port)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20)
    assert result.returncode != 0
    assert f"127.0.0.1:{server.port}: port {server.port} is in use" in result.stderr
    assert "--port" in result.stderr


def test_a_log_that_cannot_be_written_answers_503_and_nothing_else(launch: Callable[..., Process]) -> None:
    server = launch(FILE_BYTES="4096")
    answers = [server.ask("POST", "/v1/predict", BODY) for _ in range(40)]
    good = [answer for status, answer in answers if status == 200]
    bad = [answer for status, answer in answers if status != 200]
    assert good
    assert {status for status, _ in answers} == {200, 503}
    assert all("it could not be logged: " in answer["error"] for answer in bad)
    assert server.ask("POST", "/v1/feedback", {"labels": [{"id": "a" * 60, "value": 1}] * 60})[0] == 503
    assert server.ask("GET", "/healthz")[0] == 200
    server.stop()
    ids = {answer["predictions"][0]["id"] for answer in good}
    assert {identity for batch in server.predictions() for identity in batch.ids} == ids


def test_metrics_count_what_was_done(launch: Callable[..., Process]) -> None:
    server = launch()
    for _ in range(3):
        server.ask("POST", "/v1/predict", {"rows": [ROW, ROW]})
    server.ask("POST", "/v1/predict", b"{")
    server.ask("POST", "/v1/feedback", {"id": "a", "value": 1})
    figures = dict(
        line.rsplit(" ", 1)
        for line in server.ask("GET", "/metrics")[1].decode().splitlines()
        if not line.startswith("#")
    )
    assert figures['kaizen_requests_total{route="predict",status="200"}'] == "3.0"
    assert figures['kaizen_requests_total{route="predict",status="400"}'] == "1.0"
    assert figures['kaizen_rows_total{arm="champion",bundle="sum-1",endpoint="small"}'] == "6.0"
    assert figures['kaizen_request_seconds_bucket{le="+Inf",route="predict"}'] == "4.0"
    assert figures["kaizen_batch_rows_sum"] == "6.0"
    assert figures["kaizen_labels_total"] == "1.0"
    assert figures["kaizen_log_rows_total"] == "6.0"
    assert figures['kaizen_revision{endpoint="small"}'] == "1.0"
