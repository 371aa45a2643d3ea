"""A server that is asked too much: who is answered, who is refused, how soon, and what is in the log."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from kaizen.core.records import Arm
from tests.serve.conftest import ROOT, Process, read_all
from tests.serve.small import ROW, endpoint
from tests.serve.test_metrics import figures
from tests.serve.test_oip import tensors

SLOW = endpoint(1, Arm("slow-1", "champion", 1.0))  # 1 ms a row
CRAWL = endpoint(1, Arm("crawl-1", "champion", 1.0))  # 10 ms a row
LATE = "could not be answered in time"


def ask(server: Process, body: Any, **headers: str) -> tuple[int, dict[str, str], Any]:
    """Send one request; return status, headers and body."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", "/v1/predict", json.dumps(body), named)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(answer.read())


@contextmanager
def busy(server: Process, rows: int = 100) -> Iterator[None]:
    """Keep the model at work for about so many times 10 ms."""
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(ask(server, {"rows": [ROW] * rows})[0]))
    before = figures(server)["kaizen_requests_waiting"]
    thread.start()
    while figures(server)["kaizen_requests_waiting"] == before:
        assert thread.is_alive()
    yield
    thread.join()
    assert answers == [200]


def test_a_request_says_how_long_it_may_take_and_is_refused_at_once_if_it_would_take_longer(
    launch: Callable[..., Process],
) -> None:
    server = launch(CRAWL, DEADLINE_S="30")
    with busy(server):
        status, headers, answer = ask(server, {"rows": [ROW]}, x_request_timeout_ms="100")
        assert status == 503
        assert LATE in answer["error"]
        assert int(headers["retry-after"]) >= 1
        assert ask(server, {"rows": [ROW]})[0] == 200  # by default 30 s
    assert ask(server, {"rows": [ROW]}, x_request_timeout_ms="100")[0] == 200
    for wrong in ("0", "-1", "1.5", "soon", "9" * 20):
        status, _, answer = ask(server, {"rows": [ROW]}, x_request_timeout_ms=wrong)
        assert (status, "x-request-timeout-ms" in answer["error"]) == (400, True)
    assert figures(server)["kaizen_unscored_total|reason=overload"] == 1


def test_what_may_not_wait_for_longer_than_the_servers_own_deadline_is_refused(launch: Callable[..., Process]) -> None:
    server = launch(CRAWL, DEADLINE_S="0.2")
    with busy(server):
        status, headers, answer = ask(server, {"rows": [ROW]})
        assert (status, LATE in answer["error"], "retry-after" in headers) == (503, True, True)
        assert ask(server, {"rows": [ROW]}, x_request_timeout_ms="30000")[0] == 200


def test_a_request_whose_time_is_over_before_it_is_scored_is_told_so_and_is_not_in_the_log(
    launch: Callable[..., Process],
) -> None:
    server = launch(CRAWL, DEADLINE_S="30")
    status, _, answer = ask(server, {"rows": [ROW] * 2500}, x_request_timeout_ms="1")  # it takes longer to be read
    assert (status, "its time was over" in answer["error"]) == (504, True)
    assert ask(server, {"rows": [ROW]})[0] == 200
    assert figures(server)["kaizen_unscored_total|reason=deadline"] >= 1
    assert sum(len(batch.ids) for batch in server.predictions()) == 1


@pytest.mark.conformance("Open Inference REST", "priority and timeout", client="tritonclient[http]")
def test_tritons_client_gives_priorities_and_timeouts(launch: Callable[..., Process]) -> None:
    server = launch(CRAWL, DEADLINE_S="30")
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    with busy(server):
        with pytest.raises(InferenceServerException, match=LATE):
            client.infer("small", tensors(binary=True), timeout=100_000)
        assert client.infer("small", tensors(binary=True), timeout=30_000_000, priority=1).as_numpy("value") is not None
    with pytest.raises(InferenceServerException, match=r"parameters\.priority: expected a whole number"):
        client.infer("small", tensors(binary=True), priority=-1)
    client.close()


_GRPC = """
import sys, grpc
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException
from tests.serve.grpc_client import tensors
client = triton.InferenceServerClient("127.0.0.1:{port}")
assert client.is_server_live()
print("ready", flush=True)
sys.stdin.readline()
for options in (dict(timeout=100_000), dict(client_timeout=0.1), dict(timeout=30_000_000, priority=3)):
    try:
        print(len(client.infer("small", tensors(), **options).as_numpy("value")), flush=True)
    except InferenceServerException as err:
        print(err.status(), flush=True)
"""


@pytest.mark.conformance("Open Inference gRPC", "deadlines", client="grpc")
def test_over_grpc_a_calls_own_deadline_counts(launch: Callable[..., Process]) -> None:
    server = launch(CRAWL, GRPC_PORT="0", DEADLINE_S="30")
    command = [sys.executable, "-c", _GRPC.format(port=server.grpc_port)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        with busy(server):
            client.stdin.write("\n")
            client.stdin.close()
            said = client.stdout.read().split()
    assert said[0] == "StatusCode.RESOURCE_EXHAUSTED"
    assert said[1] in ("StatusCode.RESOURCE_EXHAUSTED", "StatusCode.DEADLINE_EXCEEDED")  # ours, or the client's own
    assert said[2] == "2"


def test_a_caller_that_hung_up_is_not_scored_for(launch: Callable[..., Process]) -> None:
    server = launch(CRAWL, DEADLINE_S="30")
    body = json.dumps({"rows": [ROW] * 7}).encode()
    head = b"POST /v1/predict HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
    with busy(server):
        stream = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        stream.sendall(head + body)
        deadline = time.monotonic() + 5
        while figures(server)["kaizen_queue_rows|lane=live"] < 7:
            assert time.monotonic() < deadline
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # close with a reset
        stream.close()
    found = figures(server)
    assert found["kaizen_unscored_total|reason=cancelled"] == 1
    assert sum(len(batch.ids) for batch in server.predictions()) == 100


@pytest.mark.slow
def test_rows_that_wait_for_a_hung_disk_are_bounded(launch: Callable[..., Process]) -> None:
    server = launch(DURABILITY="disk", SYNC_S="3", DEADLINE_S="0")
    body = json.dumps({"rows": [ROW] * 500}).encode()
    head = b"POST /v1/predict HTTP/1.1\r\ncontent-length: %d\r\n%b\r\n"
    asked = [head % (len(body), b"") + body] * 89 + [head % (len(body), b"connection: close\r\n") + body]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as stream:
        sender = threading.Thread(target=stream.sendall, args=(b"".join(asked),))
        sender.start()
        answers = read_all(stream)
        sender.join()
    taken = answers.count(b"HTTP/1.1 200 OK")
    assert 1 <= taken <= 66  # 32,768 rows and one
    assert answers.count(b"HTTP/1.1 503") == 90 - taken
    assert answers.count(b"rows wait already") == 90 - taken
    assert answers.count(b"retry-after: ") == 90 - taken
    assert sum(len(batch.ids) for batch in server.predictions()) == 500 * taken
    assert figures(server)["kaizen_disk_wait_rows"] == 0


def flood(server: Process, folder: Path, rate: float, seconds: float, *options: str) -> dict[str, Any]:
    """Ask at this rate from another process; return what came of it."""
    (folder / "body.json").write_text(json.dumps({"rows": [ROW]}))
    script = str(ROOT / "benchmarks" / "_open_loop.py")
    command = [sys.executable, script, str(server.port), str(rate), str(seconds), "--body", str(folder / "body.json")]
    found = subprocess.run([*command, *options], capture_output=True, text=True, timeout=seconds + 60, check=True)
    return dict(json.loads(found.stdout))


@pytest.mark.slow
def test_at_three_times_the_capacity_it_answers_what_it_can_and_refuses_the_rest(
    launch: Callable[..., Process], tmp_path: Path
) -> None:
    server = launch(SLOW, DEADLINE_S="0.2")  # 1 ms a row, so 1,000 a second at most
    health: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            health.append(server.ask("GET", "/healthz")[0])
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    ids = tmp_path / "ids"
    found = flood(server, tmp_path, 3000, 8, "--connections", "900", "--ids", str(ids), "--deadline-ms", "400")
    over.set()
    watcher.join()
    assert found["hung"] == found["broken"] == found["unsent"] == 0
    statuses = {int(status): count for status, count in found["statuses"].items()}
    assert set(statuses) <= {200, 503, 504}
    assert sum(statuses.values()) == found["sent"] > 20_000
    assert statuses[200] > 3000
    assert statuses[503] > 3000
    assert found["refused_without_retry_after"] == 0
    assert set(health) == {200}
    assert len(health) > 50
    answered = ids.read_text().split()
    logged = [identity for batch in server.predictions() for identity in batch.ids]
    assert sorted(logged) == sorted(answered)
    assert len(set(logged)) == len(logged) == statuses[200]
