"""Asks at a fixed rate, whatever comes of it: an open loop, with its figures by status, as one line of JSON.

    python _open_loop.py PORT RATE SECONDS --body FILE [--path P] [--connections N] [--header "K: V"] [--ids FILE]

Requests are due at random times (a Poisson process), and a latency counts from when a request was due, not from
when it was sent: a server that stalls is charged for all that it kept from being sent. A request for which no
connection is free is `unsent`. The standard library only, one thread, raw sockets.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import select
import socket
import time
from pathlib import Path
from typing import Any

_ID = re.compile(rb'"predictions":\[\{"id":"([^"]+)"')
_LENGTH = re.compile(rb"\ncontent-length: (\d+)", re.IGNORECASE)
_GRACE_S = 10.0  # for answers after the last request


class Client:
    """Connections that each have one request under way, or none."""

    def __init__(self, port: int, request: bytes, connections: int) -> None:
        self.port = port
        self.request = request
        self.epoll = select.epoll()
        self.idle: list[socket.socket] = []
        self.open: dict[int, socket.socket] = {}
        self.due: dict[int, float] = {}  # by connection
        self.partial: dict[int, bytes] = {}
        self.answers: list[tuple[int, float, bool]] = []  # status, latency, whether it says when to come again
        self.ids: list[str] = []
        self.broken = 0
        for _ in range(connections):
            self.connect()

    def connect(self) -> None:
        """Open a connection more."""
        stream = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.settimeout(0.0)
        self.epoll.register(stream.fileno(), select.EPOLLIN)
        self.open[stream.fileno()] = stream
        self.idle.append(stream)

    def send(self, due: float) -> bool:
        """Ask, if a connection is free."""
        if not self.idle:
            return False
        stream = self.idle.pop()
        self.due[stream.fileno()] = due
        stream.send(self.request)
        return True

    def poll(self, timeout_s: float) -> None:
        """Take the answers that are there, or come in this time."""
        for number, _ in self.epoll.poll(max(0.0, timeout_s)):
            try:
                data = self.open[number].recv(65536)
            except OSError:
                data = b""
            if data:
                self._take(number, self.partial.pop(number, b"") + data)
            else:
                self._lose(number)

    def _take(self, number: int, data: bytes) -> None:
        head, blank, body = data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not blank or length is None or len(body) < int(length[1]):
            self.partial[number] = data
            return
        status = int(head[9:12])
        self.answers.append((status, time.perf_counter() - self.due.pop(number), b"retry-after:" in head))
        found = _ID.search(body) if status == 200 else None
        if found:
            self.ids.append(found[1].decode())
        self.idle.append(self.open[number])

    def _lose(self, number: int) -> None:
        self.epoll.unregister(number)
        self.open.pop(number).close()
        self.partial.pop(number, None)
        self.broken += number in self.due
        self.due.pop(number, None)


def main() -> None:
    """Ask, and print what came of it."""
    asked = _arguments()
    body = Path(asked.body).read_bytes()
    lines = [f"POST {asked.path} HTTP/1.1", "host: x", "content-type: application/json", *asked.header]
    request = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body
    client = Client(asked.port, request, asked.connections)
    rng = random.Random(1)
    sent = unsent = 0
    start = due = time.perf_counter()
    while due < start + asked.seconds:
        due += rng.expovariate(asked.rate)
        client.poll(0)
        while (left_s := due - time.perf_counter()) > 0:
            client.poll(left_s)
        if client.send(due):
            sent += 1
        else:
            unsent += 1
    end = time.perf_counter()
    while client.due and time.perf_counter() < end + _GRACE_S:
        client.poll(0.1)
    print(json.dumps(_figures(client, sent, unsent, end - start, asked.deadline_ms / 1000)))
    if asked.ids:
        Path(asked.ids).write_text("\n".join(client.ids))


def _figures(client: Client, sent: int, unsent: int, seconds: float, deadline_s: float) -> dict[str, Any]:
    took: dict[int, list[float]] = {}
    for status, latency, _ in client.answers:
        took.setdefault(status, []).append(latency)
    return {
        "sent": sent,
        "unsent": unsent,
        "seconds": seconds,
        "hung": len(client.due),
        "broken": client.broken,
        "statuses": {status: len(each) for status, each in took.items()},
        "good": sum(1 for latency in took.get(200, []) if latency <= deadline_s),
        "latency_ms": {status: [1000 * _quantile(each, q) for q in (0.5, 0.99)] for status, each in took.items()},
        "refused_without_retry_after": sum(1 for status, _, says in client.answers if status == 503 and not says),
    }


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("rate", type=float, help="requests a second")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--body", required=True, help="a file")
    parser.add_argument("--path", default="/v1/predict")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--deadline-ms", type=float, default=1000.0, help="later answers are of no use")
    parser.add_argument("--ids", help="a file for the ids of the predictions that came")
    return parser.parse_args()


if __name__ == "__main__":
    main()
