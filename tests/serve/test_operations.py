"""What a server tells of itself is what its clients saw, however it ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kaizen.core.clock import EventClock
from kaizen.core.operations import Figures, total
from kaizen.core.operations_file import OperationsFile
from kaizen.core.records import Arm
from kaizen.serve.operations import Operations, memory_bytes
from tests.serve.conftest import Process
from tests.serve.small import ROW, endpoint, publish
from tests.serve.test_swap import BODY, Load
from tests.serve.test_workers import pids, pids_in, until, well

LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux's /proc")
DAY = timedelta(days=1)


def lines(folder: Path) -> list[Figures]:
    now = datetime.now(UTC)
    told = OperationsFile(folder / "operations").read(now - DAY, now + DAY)
    assert told.damaged == 0
    return told.figures


def told(server: Process) -> Figures:
    return total(lines(server.folder))


def answered(server: Process) -> int:
    return told(server).requests.get("predict", {}).get(200, 0)


def ended(server: Process) -> Figures:
    server.popen.send_signal(signal.SIGTERM)
    server.popen.communicate(timeout=30)
    return told(server)


def test_the_lines_add_up_to_what_clients_saw(launch: Callable[..., Process]) -> None:
    server = launch(OPERATIONS_S="1")
    load = Load(server.port)
    until(lambda: len(lines(server.folder)) >= 1)
    publish(server.folder, endpoint(2, Arm("sum-2", "champion", 1.0)))
    server.wait_for(lambda health: health["revision"] == 2)
    load.stop()
    seen = Counter(status for status, _ in load.answers)
    for body, status in ((b"{", 400), ({"rows": [{**ROW, "width": 666}]}, 422), ({"rows": [ROW] * 3}, 200)):
        assert server.ask("POST", "/v1/predict", body)[0] == status
        seen[status] += 1
    assert server.ask("POST", "/v1/feedback", {"labels": [{"id": "a", "value": 1}, {"id": "b", "value": 0}]})[0] == 200
    assert server.ask("GET", "/nothing")[0] == 404
    figures = ended(server)
    assert figures.requests["predict"] == dict(seen)
    assert figures.requests["feedback"] == {200: 1}
    assert figures.requests["any"] == {404: 1}
    assert sum(figures.latency.values()) == seen[200]  # of those that were answered, and of no other
    assert figures.rows == seen[200] + 2
    assert sum(rows * count for rows, count in ((2**k, n) for k, n in figures.batches.items())) >= figures.rows
    assert sum(figures.waited.values()) >= seen[200]
    assert (figures.labels, figures.spoilt, figures.overloaded, figures.expired) == (2, 1, 0, 0)
    assert (figures.starts, figures.stops) == (1, 1)
    revisions = [each.revisions["small"] for each in lines(server.folder)]
    assert (revisions, {*revisions}) == (sorted(revisions), {1, 2})
    assert 0 < figures.busy_s <= figures.cpu_s * 1.1
    assert figures.cpu_s < figures.seconds * 2 + 1
    assert sum(figures.lag.values()) == pytest.approx(figures.seconds, abs=2)
    assert figures.memory_peak * figures.seconds * 1.1 > figures.memory_byte_s > 2**24 * (figures.seconds - 2)


def test_refusals_and_deadlines_are_told_apart(launch: Callable[..., Process]) -> None:
    server = launch(endpoint(1, Arm("crawl-1", "champion", 1.0)), DEADLINE_S="30")
    slow = threading.Thread(target=lambda: server.ask("POST", "/v1/predict", {"rows": [ROW] * 100}))
    slow.start()
    time.sleep(0.2)
    refused = [server.ask("POST", "/v1/predict", BODY, x_request_timeout_ms="50")[0] for _ in range(3)]
    slow.join()
    figures = ended(server)
    assert refused == [503] * 3
    assert figures.overloaded == 3
    assert figures.requests["predict"] == {200: 1, 503: 3}
    assert 0.9 < figures.scoring_s < 3  # 100 rows of 10 ms, in the thread
    assert figures.busy_s < figures.scoring_s


@LINUX
@pytest.mark.slow
def test_a_killed_worker_takes_with_it_only_what_came_since_its_last_line(launch: Callable[..., Process]) -> None:
    server = launch(WORKERS="3", OPERATIONS_S="1")
    load = Load(server.port, clients=6)
    until(lambda: answered(server) > 100)
    load.stop()
    until(lambda: answered(server) == len(load.answers))
    before = pids(server)
    os.kill(before[1], signal.SIGKILL)
    server.wait_for(lambda health: well(health) and before[1] not in pids_in(health), timeout_s=30)
    more = Load(server.port, clients=6)
    time.sleep(0.5)
    more.stop()
    figures = ended(server)
    assert figures.requests["predict"] == {200: len(load.answers) + len(more.answers)}
    assert (figures.starts, figures.stops) == (4, 3)


@LINUX
def test_killed_under_load_it_tells_no_more_than_was_seen_and_little_less(launch: Callable[..., Process]) -> None:
    server = launch(OPERATIONS_S="1")
    load = Load(server.port)
    until(lambda: answered(server) > 0)
    time.sleep(1.5)
    rate = len(load.answers)
    server.popen.send_signal(signal.SIGKILL)
    server.popen.wait()
    load.join()
    seen = len(load.answers)
    assert 0 < answered(server) <= seen + 4  # an answer may be counted and not arrive: one a client
    assert seen - answered(server) <= rate  # two seconds of it, at the most
    figures = told(server)
    assert (figures.starts, figures.stops) == (1, 0)


@pytest.mark.slow
def test_what_could_not_be_written_goes_with_a_later_line(launch: Callable[..., Process]) -> None:
    server = launch(OPERATIONS_S="1")
    until(lambda: answered(server) == 0 and len(lines(server.folder)) >= 1)
    operations = server.folder / "operations"
    operations.rename(server.folder / "kept")
    operations.write_text("in the way")
    for _ in range(5):
        assert server.ask("POST", "/v1/predict", BODY)[0] == 200
    time.sleep(2.5)
    operations.unlink()
    until(lambda: answered(server) == 5)
    server.popen.send_signal(signal.SIGTERM)
    _, errors = server.popen.communicate(timeout=30)
    assert errors.decode().count("figures not kept") == 1
    assert told(server).starts == 0  # which the first line had told: nothing is told twice


class Running:
    """A process that answered one more prediction each time it is asked what it did."""

    def __init__(self) -> None:
        self.rows = 0

    def total(self) -> Figures:
        self.rows += 1
        return Figures(at=0, rows=self.rows, latency={5: self.rows})


def test_a_clock_that_goes_back_changes_no_sum(tmp_path: Path) -> None:
    class Clock(EventClock):
        def now(self) -> datetime:
            return next(times)

    noon = datetime(2026, 3, 5, 12, tzinfo=UTC)
    times = iter([noon, noon, *(noon - timedelta(hours=k) for k in range(1, 20))])
    file = OperationsFile(tmp_path)
    operations, running = Operations(file, every_s=0.0), Running()
    operations.start(running.total, Clock(noon))
    for _ in range(6):
        operations.tick(0.001)
        time.sleep(0.05)
    operations.stop(operations.last())
    figures = file.read(noon - 2 * DAY, noon + DAY).figures
    assert len(figures) == 7
    assert total(figures).latency == {5: 7}
    assert sum(each.rows for each in figures) == 7
    assert 0.3 <= total(figures).seconds < 5  # of the steady clock
    assert sum(total(figures).lag.values()) == 6
    assert total(figures).memory_peak <= memory_bytes() * 2
