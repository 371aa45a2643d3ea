"""Five minutes under mixed load: everything is answered, and memory stays flat.

`SOAK_S` in the environment makes it shorter or longer.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kaizen.core.records import Arm
from tests.serve.conftest import Process
from tests.serve.small import ROW, endpoint, publish

SECONDS = float(os.environ.get("SOAK_S", "300"))
MIB = 1 << 20


class Mixed(threading.Thread):
    """One client that does what many do: asks, sends labels, asks wrongly, hangs up, reconnects."""

    def __init__(self, port: int, seed: int, until: float) -> None:
        super().__init__()
        self.port = port
        self.random = random.Random(seed)
        self.until = until
        self.statuses: dict[int, int] = {}
        self.failures: list[str] = []

    def run(self) -> None:
        while time.monotonic() < self.until:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            try:
                for _ in range(self.random.randrange(1, 2000)):
                    self._ask(connection)
                    if time.monotonic() > self.until:
                        break
            except (OSError, http.client.HTTPException) as err:
                self.failures.append(repr(err))
            connection.close()
            self._hang_up()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        rows = [{**ROW, "width": self.random.uniform(0, 600)} for _ in range(self.random.choice((1, 1, 1, 8, 700)))]
        path, body = self.random.choice(
            [
                ("/v1/predict", {"rows": rows}),
                ("/v1/predict", {"rows": rows, "unit": f"u{self.random.randrange(10**6)}"}),
                ("/v1/feedback", {"id": f"i{self.random.randrange(10**9)}", "value": 1}),
                ("/v1/predict", {"rows": [{**ROW, "width": 666}]}),  # the model chokes on it
                ("/v1/predict", {"rows": [{"width": "x"}]}),
                (f"/none/{self.random.randrange(10**9)}", {}),
            ]
        )
        # A header of its own in every request, as a traced client sends: heads are not kept for ever.
        headers = {"x-request-id": f"r{self.random.randrange(10**9)}", "x-own": f"{self.random.randrange(10**9)}"}
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        response.read()
        self.statuses[response.status] = self.statuses.get(response.status, 0) + 1

    def _hang_up(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as half:
            half.sendall(b"POST /v1/predict HTTP/1.1\r\ncontent-length: 100000\r\n\r\n{")


def resident_bytes(process: int) -> int:
    """Return how much of a process is in memory."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_memory_is_flat_and_all_is_answered(launch: Callable[..., Process]) -> None:
    # Quiet, for nobody reads the pipe of its errors meanwhile.
    server = launch(endpoint(1, Arm("sum-1", "champion", 1.0), Arm("sum-2", "shadow", 0.0)), LOG_LEVEL="CRITICAL")
    until = time.monotonic() + SECONDS
    clients = [Mixed(server.port, seed, until) for seed in range(3)]
    for client in clients:
        client.start()
    sizes: list[int] = []
    revision = 1
    while time.monotonic() < until:
        time.sleep(SECONDS / 60)
        revision += 1
        publish(server.folder, endpoint(revision, Arm(f"sum-{1 + revision % 2}", "champion", 1.0)))
        sizes.append(resident_bytes(server.popen.pid))
    for client in clients:
        client.join()
    assert [client.failures for client in clients] == [[], [], []]
    statuses = {status for client in clients for status in client.statuses}
    assert statuses == {200, 400, 404, 422}
    third = len(sizes) // 3
    early, late = sorted(sizes[third : 2 * third]), sorted(sizes[2 * third :])
    assert late[third // 2] - early[third // 2] < 8 * MIB, [size // MIB for size in sizes]
    health = server.wait_for(lambda health: health["revision"] == revision)
    assert health["status"] == "ok"
