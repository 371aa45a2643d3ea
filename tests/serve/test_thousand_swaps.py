"""A thousand swaps under load: nothing fails, and every answer can be computed again from the bundle that it names."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from kaizen.adapters.log.segments import SegmentLog
from kaizen.core.records import Arm
from tests.serve.graphs import write_graph
from tests.serve.small import endpoint, publish

SWAPS, GRAPHS = 1000, 60


class Client(threading.Thread):
    """Asks about two random rows at a time over one connection until it is stopped."""

    def __init__(self, port: int, seed: int) -> None:
        super().__init__()
        self.port = port
        self.random = random.Random(seed)
        self.rows: list[tuple[float, float]] = []
        self.answers: list[dict[str, Any]] = []
        self.revisions: list[int] = []
        self.failures: list[str] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        while not self.stopped.is_set():
            rows = [(self.random.uniform(-9, 9), self.random.uniform(-9, 9)) for _ in range(2)]
            body = json.dumps({"rows": [{"f0": a, "f1": b} for a, b in rows]})
            try:
                connection.request("POST", "/v1/predict", body)
                response = connection.getresponse()
                told = json.loads(response.read())
            except (OSError, http.client.HTTPException) as err:
                self.failures.append(repr(err))
                return
            if response.status != 200:
                self.failures.append(str(told))
                continue
            self.rows += rows
            self.answers += told["predictions"]
            self.revisions += [told["revision"]] * 2
        connection.close()


def revision(number: int) -> Any:
    """Return a revision: every third has two arms that answer."""
    champion = str(1 + number % GRAPHS)
    if number % 3:
        return endpoint(number, Arm(champion, "champion", 1.0))
    return endpoint(number, Arm(champion, "champion", 0.7), Arm(str(1 + (number + 7) % GRAPHS), "challenger", 0.3))


@pytest.mark.slow
def test_every_answer_under_a_thousand_swaps_is_that_of_the_bundle_it_names(tmp_path: Path) -> None:
    for number in range(1, GRAPHS + 1):
        write_graph(tmp_path / f"{number}.onnx", number)
    publish(tmp_path, revision(1))
    command = [sys.executable, "-m", "tests.serve.graphs", str(tmp_path)]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port = int(server.stdout.readline())
        wait_for(port, 1)
        clients = [Client(port, seed) for seed in range(4)]
        for client in clients:
            client.start()
        for number in range(2, SWAPS + 2):
            publish(tmp_path, revision(number))
            wait_for(port, number)
        for client in clients:
            client.stopped.set()
            client.join()
        server.stdin.close()
        assert server.wait(30) == 0

    assert [client.failures for client in clients] == [[]] * 4
    graphs = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in tmp_path.glob("*.onnx")}
    assert {answer["bundle"] for client in clients for answer in client.answers} == set(graphs)
    for client in clients:
        assert len(client.answers) > SWAPS
        assert client.revisions == sorted(client.revisions)
        for identity, path in graphs.items():
            places = [i for i, answer in enumerate(client.answers) if answer["bundle"] == identity]
            rows = np.array([client.rows[i] for i in places], np.float32).reshape(-1, 2)
            offline = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            again = offline.run(None, {"X": rows})[0][:, 0]
            assert again.tolist() == [client.answers[i]["value"] for i in places]

    logged = {
        i: v
        for batch in SegmentLog(tmp_path / "log").predictions()
        for i, v in zip(batch.ids, batch.outputs, strict=True)
    }
    told = {answer["id"]: answer["value"] for client in clients for answer in client.answers}
    assert {i: logged[i] for i in told} == told


def wait_for(port: int, wanted: int) -> None:
    """Return when this revision answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        connection.request("GET", "/healthz")
        told = json.loads(connection.getresponse().read())
        if told["revision"] == wanted:
            connection.close()
            return
        time.sleep(0.005)
    raise AssertionError(f"still {told}")
