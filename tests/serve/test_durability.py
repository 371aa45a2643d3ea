"""What an answer promises, in each mode: killed over and over it was kept, and it waits for the disk where it must."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from kaizen.core.records import Arm
from tests.serve.conftest import Process, start
from tests.serve.small import ROW, endpoint
from tests.serve.test_swap import BODY, Load

MODES = ("os", "disk")


def _kill_under_load(server: Process, rounds: int, durability: str, seconds: float) -> None:
    acknowledged: set[str] = set()
    for number in range(rounds):
        load = Load(server.port, clients=6)
        time.sleep(seconds * (1 + number % 7 / 7))
        deadline = time.monotonic() + 20
        while len(load.answers) <= 10 and time.monotonic() < deadline:  # a busy machine takes its time
            time.sleep(0.01)
        server.popen.send_signal(signal.SIGKILL)
        load.join()
        server.stop()
        fresh = {answer["predictions"][0]["id"] for status, answer in load.answers if status == 200}
        assert len(fresh) > 10
        acknowledged |= fresh
        server = start(server.folder, DURABILITY=durability)
    logged = [identity for batch in server.predictions() for identity in batch.ids]
    server.stop()
    assert acknowledged <= set(logged)
    assert len(logged) == len(set(logged))


@pytest.mark.slow
@pytest.mark.parametrize("durability", MODES)
def test_killed_10_times_under_load_it_loses_nothing_it_answered(
    launch: Callable[..., Process], durability: str
) -> None:
    _kill_under_load(launch(DURABILITY=durability), 10, durability, 0.15)


@pytest.mark.slow
@pytest.mark.parametrize("durability", MODES)
def test_killed_100_times_under_load_it_loses_nothing_it_answered(
    launch: Callable[..., Process], durability: str
) -> None:
    _kill_under_load(launch(DURABILITY=durability), 100, durability, 0.15)


def _timed(server: Process, path: str, body: object) -> tuple[float, int]:
    start_s = time.monotonic()
    status, _ = server.ask("POST" if body else "GET", path, body)
    return time.monotonic() - start_s, status


@pytest.mark.parametrize(("path", "body"), [("/v1/predict", BODY), ("/v1/feedback", {"id": "a", "value": 1})])
def test_on_disk_an_answer_waits_for_the_sync_and_the_loop_does_not(
    launch: Callable[..., Process], path: str, body: object
) -> None:
    server = launch(DURABILITY="disk", SYNC_S="1")
    with ThreadPoolExecutor(2) as threads:
        answer = threads.submit(_timed, server, path, body)
        health = [_timed(server, "/healthz", None) for _ in range(20)]
        assert not answer.done()
        taken_s, status = answer.result(timeout=10)
    assert {status for _, status in health} == {200}
    assert sum(taken for taken, _ in health) < 0.8
    assert status == 200
    assert 1.0 <= taken_s < 2.0


def test_what_is_scored_during_a_sync_shares_the_next_one(launch: Callable[..., Process]) -> None:
    server = launch(DURABILITY="disk", SYNC_S="0.5")
    with ThreadPoolExecutor(12) as threads:
        taken = [threads.submit(_timed, server, "/v1/predict", BODY) for _ in range(12)]
        answers = [each.result(timeout=20) for each in taken]
    assert {status for _, status in answers} == {200}
    assert max(seconds for seconds, _ in answers) < 1.5  # one under way and the next; each its own would be 6 s
    assert _figure(server, "kaizen_log_syncs_total") == 2


def test_in_os_mode_no_answer_waits_and_the_disk_follows(launch: Callable[..., Process]) -> None:
    server = launch(DURABILITY="os", SYNC_S="1")
    for _ in range(5):
        taken_s, status = _timed(server, "/v1/predict", BODY)
        assert (status, taken_s < 0.5) == (200, True)
    assert _figure(server, "kaizen_log_syncs_total") == 0
    deadline = time.monotonic() + 10
    while not _figure(server, "kaizen_log_syncs_total"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(2.5)
    assert _figure(server, "kaizen_log_syncs_total") == 1  # nothing was appended since: the disk is left alone


def test_a_disk_that_refuses_is_503_where_answers_wait_for_it_and_counted_where_not(
    launch: Callable[..., Process],
) -> None:
    server = launch(DURABILITY="disk", SYNC_FAILS="1")
    status, answer = server.ask("POST", "/v1/predict", BODY)
    assert status == 503
    assert "it could not be logged: " in answer["error"]
    assert "the disk is gone" in answer["error"]
    assert server.ask("POST", "/v1/feedback", {"id": "a", "value": 1})[0] == 503
    assert _figure(server, "kaizen_log_sync_failures_total") == 2
    server = launch(DURABILITY="os", SYNC_FAILS="1")
    assert server.ask("POST", "/v1/predict", BODY)[0] == 200
    deadline = time.monotonic() + 10
    while not _figure(server, "kaizen_log_sync_failures_total"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_sigterm_during_a_sync_answers_what_waits_for_it(launch: Callable[..., Process]) -> None:
    arms = (Arm("sum-1", "champion", 1.0), Arm("sum-2", "shadow", 0.0))
    server = launch(endpoint(1, *arms), DURABILITY="disk", SYNC_S="1")
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(_timed, server, "/v1/predict", {"rows": [ROW]})
        while _figure(server, "kaizen_log_rows_total") == 0:
            time.sleep(0.01)
        server.popen.send_signal(signal.SIGTERM)
        assert answer.result(timeout=10)[1] == 200
    _, errors = server.popen.communicate(timeout=10)
    assert server.popen.returncode == 0
    assert b"unanswered=0" in errors
    assert b"Traceback" not in errors
    assert [batch.role for batch in server.predictions()] == ["champion", "shadow"]


def _figure(server: Process, name: str) -> float:
    lines = server.ask("GET", "/metrics")[1].decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))
