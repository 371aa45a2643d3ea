"""Hot swap and shadows: nothing is dropped, and an answer never depends on what is not asked for it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from kaizen.core.records import Arm
from tests.serve.conftest import Process
from tests.serve.small import ROW, endpoint, expected, publish

BODY = json.dumps({"rows": [ROW]}).encode()


class Load:
    """Clients that ask over kept connections, as fast as they are answered."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.asked: list[tuple[float, int]] = []  # when, and what revision answered
        self.failures: list[BaseException] = []
        self._port = port
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            while not self._stopped.is_set():
                at = time.monotonic()
                connection.request("POST", "/v1/predict", BODY)
                answer = connection.getresponse()
                told = json.loads(answer.read())
                self.answers.append((answer.status, told))
                self.asked.append((at, told.get("revision", 0)))
        except (OSError, http.client.HTTPException) as err:
            self.failures.append(err)
        finally:
            connection.close()

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


def test_swaps_under_load_fail_no_request_and_each_answer_fits_its_revision(launch: Callable[..., Process]) -> None:
    server = launch()
    load = Load(server.port)
    for revision in range(2, 12):
        arms = (Arm(f"sum-{revision}", "champion", 1.0), Arm(f"sum-{revision - 1}", "shadow", 0.0))
        publish(server.folder, endpoint(revision, *arms))
        server.wait_for(lambda health, wanted=revision: health["revision"] == wanted)
    load.stop()
    assert load.failures == []
    assert {status for status, _ in load.answers} == {200}
    assert {answer["revision"] for _, answer in load.answers} == set(range(1, 12))
    for _, answer in load.answers:
        assert answer["predictions"][0]["value"] == expected(ROW, answer["revision"])
        assert answer["predictions"][0]["bundle"] == f"sum-{answer['revision']}"


def test_a_revision_that_cannot_be_loaded_leaves_the_old_one_serving_and_says_so(
    launch: Callable[..., Process],
) -> None:
    server = launch()
    publish(server.folder, endpoint(2, Arm("absent-2", "champion", 1.0)))
    health = server.wait_for(lambda health: health["status"] == "degraded")
    assert health["revision"] == 1
    assert "revision 2 cannot be loaded: absent-2: the file is not there" in health["problem"]
    assert server.ask("POST", "/v1/predict", BODY)[1]["predictions"][0]["value"] == expected(ROW)
    publish(server.folder, endpoint(3, Arm("sum-3", "champion", 1.0)))
    health = server.wait_for(lambda health: health["status"] == "ok")
    assert health["revision"] == 3
    assert "problem" not in health


def test_a_shadow_is_logged_beside_the_answer_and_a_failing_one_touches_nothing(
    launch: Callable[..., Process],
) -> None:
    server = launch(endpoint(1, Arm("sum-1", "champion", 1.0), Arm("sum-2", "challenger", 0.0)))
    rows = [{**ROW, "width": i} for i in range(20)]
    _, answer = server.ask("POST", "/v1/predict", {"rows": rows, "ids": [f"s{i}" for i in range(20)]})
    assert [p["arm"] for p in answer["predictions"]] == ["champion"] * 20
    server.wait_for(lambda health: health["shadow_pending"] == 0)
    champion, shadow = server.predictions()
    assert (champion.role, shadow.role, shadow.bundle) == ("champion", "challenger", "sum-2")
    assert (shadow.ids, shadow.at, shadow.units) == (champion.ids, champion.at, champion.units)
    assert shadow.outputs == [expected(row, 2) for row in rows]
    assert (shadow.columns, shadow.numbers, shadow.strings) == ((), b"", [])
    publish(server.folder, endpoint(2, Arm("sum-1", "champion", 1.0), Arm("weak-2", "shadow", 0.0)))
    server.wait_for(lambda health: health["revision"] == 2)
    rows[7] = {**ROW, "width": 665}
    assert server.ask("POST", "/v1/predict", {"rows": rows})[0] == 200
    server.wait_for(lambda health: health["shadow_pending"] == 0)
    outputs = [value for batch in server.predictions() if batch.role == "shadow" for value in batch.outputs]
    assert sorted(outputs) == sorted(expected(row, 2) for i, row in enumerate(rows) if i != 7)
    assert "kaizen_shadow_failed_rows_total 1.0" in server.ask("GET", "/metrics")[1].decode()
