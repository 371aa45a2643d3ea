"""Several workers as one server: one port, one revision, one set of figures, and nobody misses one that dies."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kaizen.core.records import Arm
from tests.serve.conftest import ROOT, Process
from tests.serve.small import ROW, endpoint, expected, publish
from tests.serve.test_swap import BODY, Load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux's /proc"),
]


def pids(server: Process) -> list[int]:
    """Return the processes of the workers, of those that are well."""
    return pids_in(server.ask("GET", "/healthz")[1])


def pids_in(health: dict[str, Any]) -> list[int]:
    return [worker["pid"] for worker in health["workers"] if "pid" in worker]


def is_everywhere(revision: int) -> Callable[[dict[str, Any]], bool]:
    return lambda health: all(worker.get("revision") == revision for worker in health["workers"])


def well(health: dict[str, Any]) -> bool:
    return health["status"] == "ok" and all(worker["status"] == "ok" for worker in health["workers"])


def figure(server: Process, name: str) -> float:
    """Return a figure of the whole server."""
    lines = server.ask("GET", "/metrics")[1].decode().splitlines()
    return float(next((line.rsplit(" ", 1)[1] for line in lines if line.startswith(name)), "0"))


def until(is_so: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text()


@pytest.fixture
def workers(launch: Callable[..., Process]) -> Process:
    """Three workers on `sum-1`."""
    return launch(WORKERS="3")


def test_connections_are_spread_until_every_worker_answers(workers: Process) -> None:
    with contextlib.ExitStack() as opened:
        asked = 0

        def ask() -> bool:
            nonlocal asked
            connection = http.client.HTTPConnection("127.0.0.1", workers.port, timeout=10)
            opened.callback(connection.close)
            connection.request("POST", "/v1/predict", BODY)
            asked += len(json.loads(connection.getresponse().read())["predictions"])
            return len(list((workers.folder / "log").glob("writer-*"))) == 2  # each has some, so each has a lane

        until(ask)  # a busy machine may keep a worker from its turn for a while
        until(lambda: figure(workers, 'kaizen_requests_total{route="predict",status="200"}') == asked)
    assert sum(len(batch.ids) for batch in workers.predictions()) == asked


def test_the_supervisor_imports_little(workers: Process) -> None:
    maps = Path(f"/proc/{workers.popen.pid}/maps").read_text()
    assert not [name for name in ("numpy", "onnxruntime", "uvloop", "sqlite", "cryptography") if name in maps]


class Timed(Load):
    """Clients that note when they asked."""

    def _ask(self) -> None:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)) as connection:
                while not self._stopped.is_set():
                    asked_s = time.monotonic()
                    connection.request("POST", "/v1/predict", BODY)
                    answer = connection.getresponse()
                    self.answers.append((answer.status, json.loads(answer.read()) | {"asked_s": asked_s}))
        except (OSError, http.client.HTTPException) as err:
            self.failures.append(err)


def test_swaps_under_load_fail_no_request_and_leave_nobody_behind(workers: Process) -> None:
    load = Timed(workers.port, clients=6)
    reported = {}
    for revision in range(2, 12):
        publish(workers.folder, endpoint(revision, Arm(f"sum-{revision}", "champion", 1.0)))
        workers.wait_for(is_everywhere(revision))
        reported[revision] = time.monotonic()
    load.stop()
    assert load.failures == []
    assert {status for status, _ in load.answers} == {200}
    for _, answer in load.answers:
        assert answer["predictions"][0]["value"] == expected(ROW, answer["revision"])
        assert answer["revision"] >= max((r for r, at_s in reported.items() if at_s <= answer["asked_s"]), default=1)
    assert len({answer["revision"] for _, answer in load.answers}) > 2


def test_fifty_swaps_under_load_with_shadows(workers: Process) -> None:
    load = Load(workers.port, clients=6)
    for revision in range(2, 52):
        arms = (Arm(f"sum-{revision}", "champion", 1.0), Arm(f"sum-{revision - 1}", "shadow", 0.0))
        publish(workers.folder, endpoint(revision, *arms))
        workers.wait_for(is_everywhere(revision))
    load.stop()
    assert load.failures == []
    assert {status for status, _ in load.answers} == {200}
    assert {answer["revision"] for _, answer in load.answers} >= {1, 51}
    for _, answer in load.answers:
        assert answer["predictions"][0]["value"] == expected(ROW, answer["revision"])


def test_a_revision_that_one_worker_cannot_load_changes_nothing_anywhere(
    launch: Callable[..., Process], tmp_path: Path
) -> None:
    trouble = tmp_path / "trouble"
    trouble.write_text("1")
    server = launch(WORKERS="3", TROUBLE=str(trouble))
    load = Load(server.port)
    publish(server.folder, endpoint(2, Arm("picky-2", "champion", 1.0)))
    health = server.wait_for(lambda health: all("problem" in worker for worker in health["workers"]))
    load.stop()
    assert load.failures == []
    assert {answer["revision"] for _, answer in load.answers} == {1}
    for worker in health["workers"]:
        assert (worker["status"], worker["revision"]) == ("degraded", 1)
        assert "revision 2 cannot be loaded by worker 1: picky: this worker has no memory left" in worker["problem"]
    trouble.unlink()
    health = server.wait_for(well, timeout_s=20)  # it is tried again by itself
    assert {worker["revision"] for worker in health["workers"]} == {2}


def test_a_worker_that_dies_of_a_revision_does_not_hold_it_up_for_ever(
    launch: Callable[..., Process], tmp_path: Path
) -> None:
    trouble = tmp_path / "trouble"
    trouble.write_text("2")
    server = launch(WORKERS="3", TROUBLE=str(trouble))
    publish(server.folder, endpoint(2, Arm("deadly-2", "champion", 1.0)))

    def is_over() -> bool:
        try:
            health = server.ask("GET", "/healthz")[1]
        except ConnectionError:  # the one that was asked is the one that died
            return False
        return well(health) and {worker["revision"] for worker in health["workers"]} == {2}

    until(is_over, timeout_s=40)
    assert not trouble.exists()
    assert "it ended while it loaded" in server.errors()


def test_one_that_is_killed_is_started_again_at_the_revision_that_serves_and_no_figure_falls(workers: Process) -> None:
    publish(workers.folder, endpoint(2, Arm("sum-2", "champion", 1.0)))
    workers.wait_for(is_everywhere(2))
    for _ in range(20):
        workers.ask("POST", "/v1/predict", BODY)
    asked = 'kaizen_requests_total{route="predict",status="200"}'
    until(lambda: figure(workers, asked) == 20)
    old, seen = pids(workers), [20.0]
    os.kill(old[1], signal.SIGKILL)
    until(lambda: seen.append(figure(workers, asked)) or (set(old) != set(pids(workers)) and len(pids(workers)) == 3))
    health = workers.wait_for(well)
    assert {worker["revision"] for worker in health["workers"]} == {2}
    assert seen == [20.0] * len(seen)
    connections = [http.client.HTTPConnection("127.0.0.1", workers.port, timeout=10) for _ in range(6)]
    for connection in connections:  # the new one answers too
        connection.request("POST", "/v1/predict", BODY)
        assert json.loads(connection.getresponse().read())["revision"] == 2
        connection.close()
    until(lambda: figure(workers, asked) == 26)
    assert "worker ended worker=1" in workers.errors()


def test_a_port_in_use_is_named(workers: Process, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.serve.several", str(tmp_path), str(workers.port)]
    environment = {**os.environ, "WORKERS": "2"}
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20
    )
    assert result.returncode != 0
    assert f"port {workers.port} is in use" in result.stderr


def test_sigterm_answers_what_was_asked_on_every_worker(launch: Callable[..., Process]) -> None:
    server = launch(endpoint(1, Arm("slow-1", "champion", 1.0)), WORKERS="2", DEADLINE_S="0")
    answers: list[int] = []
    body = {"rows": [ROW] * 1200}  # long enough for each worker to have told of it, which it does once a second
    threads = [
        threading.Thread(target=lambda: answers.append(server.ask("POST", "/v1/predict", body)[0])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    until(lambda: figure(server, "kaizen_requests_waiting") >= 5)
    server.popen.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    _, errors = server.popen.communicate(timeout=20)
    assert answers == [200] * 4
    assert server.popen.returncode == 0
    assert b"Traceback" not in errors
    assert errors.count(b"stopped unanswered=0") == 2
    assert list((server.folder / "shared").glob("server-*")) == []


def test_workers_end_when_their_supervisor_dies(workers: Process) -> None:
    processes = pids(workers)
    workers.popen.kill()
    until(lambda: all(gone(pid) for pid in processes))
    publish(workers.folder, endpoint(1))
    assert len(list((workers.folder / "shared").glob("server-*"))) == 1  # nobody was left to tidy up


def test_what_a_dead_server_left_is_swept_up_and_what_a_running_one_has_is_not(workers: Process) -> None:
    kept = set((workers.folder / "shared").glob("server-*"))
    (workers.folder / "shared" / "server-dead").mkdir()
    (workers.folder / "shared" / "server-dead" / "alive").touch()
    second = Process(workers.folder, WORKERS="1")  # a second server on the same folder, and on the same log
    try:
        second.wait_for(well)
        assert second.ask("POST", "/v1/predict", BODY)[0] == workers.ask("POST", "/v1/predict", BODY)[0] == 200
        found = set((workers.folder / "shared").glob("server-*"))
        assert kept < found
        assert workers.folder / "shared" / "server-dead" not in found
        assert all(path.stat().st_mode & 0o777 == 0o700 for path in found)
    finally:
        second.stop()


def test_it_stops_with_its_parent(workers: Process) -> None:
    processes = pids(workers)
    workers.popen.communicate(timeout=20)  # closes its standard input
    assert workers.popen.returncode == 0
    assert all(gone(pid) for pid in processes)


def test_what_cannot_be_composed_ends_the_supervisor(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.serve.several", str(tmp_path)]
    environment = {**os.environ, "WORKERS": "3", "DURABILITY": "wishful"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stderr=pipe) as supervisor:
        assert supervisor.wait(timeout=20) == 1
        _, errors = supervisor.communicate()
    assert errors.count(b"Invalid enum value 'wishful'") == 1  # the first one said so; no other was started


def test_grpc_is_answered_by_workers_on_one_port(launch: Callable[..., Process]) -> None:
    grpcclient = pytest.importorskip("tritonclient.grpc")
    server = launch(WORKERS="2", GRPC_PORT="0")
    for _ in range(4):
        with closing(grpcclient.InferenceServerClient(f"127.0.0.1:{server.grpc_port}")) as client:
            assert client.is_server_ready()
            assert client.get_model_metadata("small").name == "small"


@pytest.mark.parametrize("durability", ["os", "disk"])
def test_kill_9_of_workers_under_load_loses_nothing_acknowledged(
    launch: Callable[..., Process], durability: str
) -> None:
    server = launch(WORKERS="3", DURABILITY=durability)
    rng, ended = random.Random(0), threading.Event()
    acknowledged: list[str] = []

    def ask(client: int) -> None:
        number = 0
        while not ended.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            try:
                while not ended.is_set():
                    number += 1
                    body = json.dumps({"rows": [ROW], "ids": [f"{client}-{number}"]})
                    connection.request("POST", "/v1/predict", body)
                    answer = connection.getresponse()
                    identity = json.loads(answer.read())["predictions"][0]["id"]
                    assert answer.status == 200
                    acknowledged.append(identity)
            except (OSError, http.client.HTTPException):
                pass  # its worker was killed: another one takes the next
            finally:
                connection.close()

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        time.sleep(rng.uniform(0.1, 0.6))
        os.kill(rng.choice(pids(server)), signal.SIGKILL)
    server.wait_for(well, timeout_s=30)
    ended.set()
    for thread in threads:
        thread.join()
    server.stop()
    logged = Counter(identity for batch in server.predictions() for identity in batch.ids)
    assert len(acknowledged) > 100
    assert set(acknowledged) <= set(logged)
    assert set(logged.values()) == {1}
