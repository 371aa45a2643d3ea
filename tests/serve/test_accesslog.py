"""The access log of a real server: a line for each answer, and nothing in it that it must not hold."""

from __future__ import annotations

import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from kaizen.core.records import Arm
from tests.serve.conftest import ROOT, Process
from tests.serve.small import ROW, endpoint
from tests.serve.test_guard import make
from tests.serve.test_lines import wait_until
from tests.serve.test_metrics import figures
from tests.serve.test_tracecontext import SPAN, TRACE

ON = '{"telemetry": {"access_log": "access.log"}}'


def lines(server: Process) -> list[dict[str, Any]]:
    """Stop the server, and return what it has told."""
    server.popen.send_signal(signal.SIGTERM)
    _, errors = server.popen.communicate(timeout=20)
    assert server.popen.returncode == 0, errors
    text = (server.folder / "access.log").read_text()
    return [told for told in map(json.loads, text.splitlines()) if told["route"] != "health"]


def test_a_line_says_what_was_asked_and_how_it_went(launch: Callable[..., Process]) -> None:
    server = launch(SERVE=ON)
    before = datetime.now(UTC)
    body = json.dumps({"rows": [ROW, ROW]}).encode()
    parent = f"00-{TRACE}-{SPAN}-00"
    _, answer = server.ask("POST", "/v1/predict?key=hidden", body, x_request_id="r-1", traceparent=parent)
    server.ask("POST", "/v1/predict", body)
    first, second = lines(server)
    at = datetime.fromisoformat(first.pop("time"))
    assert before - timedelta(seconds=1) < at < datetime.now(UTC)
    assert at.tzinfo is not None
    assert first.pop("duration_us") > 0
    assert first.pop("response_bytes") > 100
    assert first == {
        "method": "POST",
        "path": "/v1/predict",
        "route": "predict",
        "status": 200,
        "request_bytes": len(body),
        "protocol": "http/1.1",
        "peer": "127.0.0.1",
        "request_id": "r-1",
        "trace_id": TRACE,
        "endpoint": "small",
        "revision": 1,
        "arms": ["champion"],
        "rows": 2,
    }
    assert answer["id"] == "r-1"
    assert re.fullmatch(r"[0-9A-Z]{26}", second["request_id"])  # the first prediction's
    assert "trace_id" not in second


def test_it_has_no_inputs_no_queries_and_no_secrets(launch: Callable[..., Process]) -> None:
    server = launch(SERVE=ON)
    row = {**ROW, "owner": "hidden-owner"}
    server.ask("POST", "/v1/predict?token=hidden-token", {"rows": [row]}, authorization="Bearer hidden-key")
    server.ask("POST", "/v1/predict", {"rows": [{**row, "hidden-column": 1}]})
    server.ask("GET", '/"}\n{"route":"forged"}'.replace("\n", "%0a"))
    told = lines(server)
    assert [line["status"] for line in told] == [200, 400, 404]
    assert [line["route"] for line in told] == ["predict", "predict", "none"]
    assert "hidden" not in (server.folder / "access.log").read_text()


def test_every_answer_under_load_has_one_line(launch: Callable[..., Process]) -> None:
    server = launch(SERVE=ON)
    body = json.dumps({"rows": [ROW]}).encode()
    head = b"POST /v1/predict HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n" % len(body)
    many = (head + b"\r\n" + body) * 499 + head + b"connection: close\r\n\r\n" + body
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(server.raw(many, timeout_s=30))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = figures(server)
    assert found["kaizen_access_log_lines_total|outcome=dropped"] == 0
    answered = re.findall(rb'"id":"([0-9A-Z]{26})","endpoint"', b"".join(answers))
    told = [line for line in lines(server) if line["route"] == "predict"]
    assert len(answered) == 2_000
    assert sorted(line["request_id"] for line in told) == sorted(name.decode() for name in answered)


def test_what_is_no_request_and_what_fails_is_told_too(launch: Callable[..., Process]) -> None:
    arms = (Arm("sum-1", "champion", 0.5), Arm("sum-2", "challenger", 0.5))
    server = launch(endpoint(1, *arms), SERVE=ON)
    server.raw(b"nonsense\r\n\r\n")
    server.ask("POST", "/v1/predict", {"rows": [{**ROW, "width": 666}]})
    server.ask("POST", "/v1/predict", {"rows": [{**ROW, "owner": str(number)} for number in range(40)]})
    server.ask("HEAD", "/v2")
    broken, failed, split, head = lines(server)
    assert (broken["route"], broken["status"]) == ("broken", 400)
    assert (failed["status"], failed["endpoint"], failed["rows"]) == (422, "small", 1)
    assert sorted(split["arms"]) == ["challenger", "champion"]
    assert (head["method"], head["response_bytes"]) == ("HEAD", 0)


def test_calls_over_grpc_are_told(launch: Callable[..., Process]) -> None:
    server = launch(SERVE=ON, GRPC_PORT="0")
    command = [sys.executable, "-m", "tests.serve.grpc_client", f"127.0.0.1:{server.grpc_port}"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60, capture_output=True)
    told = [line for line in lines(server) if line["protocol"] == "grpc"]
    infers = [line for line in told if line["path"] == "/inference.GRPCInferenceService/ModelInfer"]
    assert {line["grpc_status"] for line in infers} >= {"OK", "NOT_FOUND", "INVALID_ARGUMENT"}
    assert {(line["status"], line["grpc_status"]) for line in told} <= {
        *((200, "OK"), (400, "INVALID_ARGUMENT"), (404, "NOT_FOUND")),
        *((400, "FAILED_PRECONDITION"), (501, "UNIMPLEMENTED"), (429, "RESOURCE_EXHAUSTED")),
    }
    good = [line for line in infers if line["grpc_status"] == "OK"]
    assert all(line["rows"] >= 1 and line["peer"] == "127.0.0.1" and line["request_id"] for line in good)
    assert {"Check", "ServerLive"} <= {line["route"] for line in told}


def test_a_log_that_was_moved_away_begins_anew(launch: Callable[..., Process]) -> None:
    server = launch(SERVE=ON)
    path = server.folder / "access.log"
    server.ask("GET", "/v2")
    wait_until(lambda: '"/v2"' in path.read_text())
    path.rename(server.folder / "access.log.1")
    server.ask("GET", "/v2/models")
    assert [line["path"] for line in lines(server)] == ["/v2/models"]


def test_a_full_disk_stops_the_lines_and_no_answer(launch: Callable[..., Process]) -> None:
    server = launch(SERVE=ON, FILE_BYTES="2000")
    assert {server.ask("GET", "/v2")[0] for _ in range(50)} == {200}
    wait_until(lambda: figures(server).get("kaizen_access_log_lines_total|outcome=dropped", 0) > 0)
    server.popen.send_signal(signal.SIGTERM)
    _, errors = server.popen.communicate(timeout=20)
    assert server.popen.returncode == 0
    assert errors.count(b"lines dropped") == 1
    assert b"Traceback" not in errors


def test_standard_output_takes_it(launch: Callable[..., Process]) -> None:
    server = launch(SERVE='{"telemetry": {"access_log": "-"}}')
    server.ask("GET", "/v2")
    server.popen.send_signal(signal.SIGTERM)
    output, _ = server.popen.communicate(timeout=20)
    assert "/v2" in [json.loads(line)["path"] for line in output.splitlines()]


def test_it_and_traces_name_the_same_trace(launch: Callable[..., Process]) -> None:
    section = {"access_log": "access.log", "traces": "http://127.0.0.1:9/v1/traces", "sample": 1}
    server = launch(SERVE=json.dumps({"telemetry": section}))
    server.ask("GET", "/v2")
    server.ask("GET", "/v2", None, traceparent=f"00-{TRACE}-{SPAN}-00")
    fresh, theirs = lines(server)
    assert re.fullmatch(r"[0-9a-f]{32}", fresh["trace_id"])
    assert theirs["trace_id"] == TRACE


def test_whom_the_guard_let_in_is_named_and_who_was_refused_is_not(launch: Callable[..., Process]) -> None:
    section = {"auth": {"api_keys": True}, "telemetry": {"access_log": "access.log"}}
    server = launch(SERVE=json.dumps(section), GRPC_PORT="0")
    key = make(server.folder, "shop", "predict")
    body = {"rows": [ROW]}
    wait_until(lambda: server.ask("POST", "/v1/predict", body, x_api_key=key)[0] == 200)
    server.ask("POST", "/v1/predict", body, x_api_key=key[:-1])
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for metadata in ((("x-api-key", key),), ()):
            with pytest.raises(grpc.RpcError):
                call(b"", metadata=metadata, timeout=10)
    told = [
        line for line in lines(server) if line["status"] != 401 or line["protocol"] == "grpc" or "principal" in line
    ]
    good, known, stranger = told[-3:]
    assert good["principal"].startswith("key:")
    assert (known["principal"], known["grpc_status"]) == (good["principal"], "NOT_FOUND")
    assert "principal" not in stranger
    assert stranger["grpc_status"] == "UNAUTHENTICATED"
    assert key not in (server.folder / "access.log").read_text()


def test_several_workers_share_a_file(launch: Callable[..., Process]) -> None:
    server = launch(SERVE=ON, WORKERS="2")
    for _ in range(40):
        server.ask("GET", "/v2")
    key = "kaizen_access_log_lines_total|outcome=written"
    wait_until(lambda: figures(server)[key] >= 40)  # each worker tells of itself once a second
    told = [line for line in lines(server) if line["path"] == "/v2"]
    assert len(told) == 40


def test_who_hangs_up_before_the_answer_is_told_of_once(launch: Callable[..., Process]) -> None:
    server = launch(endpoint(1, Arm("slow-1", "champion", 1.0)), SERVE=ON)
    body = json.dumps({"rows": [ROW] * 1500}).encode()
    head = b"POST /v1/predict HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as stream:
        stream.sendall(head + body)
        wait_until(lambda: figures(server)["kaizen_requests_waiting"] == 2)  # with the one that asks
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # its end is a reset
    wait_until(lambda: figures(server)["kaizen_requests_waiting"] == 1)
    server.ask("POST", "/v1/predict", {"rows": [ROW]})
    told = [line for line in lines(server) if line["route"] == "predict"]
    assert [line["status"] for line in told] == [499, 200]
