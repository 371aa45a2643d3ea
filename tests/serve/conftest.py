"""A server in a process of its own, reached over a real socket."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kaizen.adapters.log.segments import SegmentLog
from kaizen.core.records import Endpoint, LabelBatch, PredictionBatch
from tests.serve.small import endpoint, publish

ROOT = Path(__file__).parents[2]


class Process:
    """A running server and how to talk to it."""

    def __init__(self, folder: Path, *, tls: ssl.SSLContext | None = None, **environment: str) -> None:
        self.folder = folder
        self.tls = tls  # what to secure connections with, and check the server by
        self.popen = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", _program(environment), str(folder)],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        assert line, self.errors()
        self.port, self.grpc_port = map(int, line.split())

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Send one request; return the status and the decoded body."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        with closing(self.connection()) as connection:
            connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            text = answer.read()
        return answer.status, json.loads(text) if text[:1] in (b"{", b"[") else text

    def exchange(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send one request; return the status, the headers (names in lower case) and the body."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection that is not open yet."""
        if self.tls is not None:
            return http.client.HTTPSConnection("localhost", self.port, timeout=10, context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def raw(self, data: bytes, *, timeout_s: float = 10.0) -> bytes:
        """Send bytes, and return what comes until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as stream:
            stream.sendall(data)
            return read_all(stream)

    def wait_for(self, is_so: Callable[[dict[str, Any]], bool], timeout_s: float = 10.0) -> dict[str, Any]:
        """Return the health once it is so."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            _, health = self.ask("GET", "/healthz")
            if is_so(health):
                return dict(health)
            time.sleep(0.02)
        raise AssertionError(f"still {health}")

    def predictions(self) -> list[PredictionBatch]:
        """Return what the log has."""
        return list(SegmentLog(self.folder / "log").predictions())

    def labels(self) -> list[LabelBatch]:
        """Return what the log has."""
        return list(SegmentLog(self.folder / "log").labels())

    def errors(self) -> str:
        """Stop the process and return what it wrote to standard error."""
        self.popen.kill()
        _, errors = self.popen.communicate(timeout=10)
        return errors.decode()

    def stop(self) -> None:
        """Let go of it."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.communicate(timeout=10)


def _program(environment: Mapping[str, str]) -> str:
    return "tests.serve.several" if "WORKERS" in environment else "tests.serve.small"


def read_all(stream: socket.socket) -> bytes:
    """Return what comes until the other side closes."""
    parts = []
    while part := stream.recv(65536):
        parts.append(part)
    return b"".join(parts)


def start(
    folder: Path, record: Endpoint | None = None, *, tls: ssl.SSLContext | None = None, **environment: str
) -> Process:
    """Return a server that serves this revision."""
    publish(folder, record or endpoint(1))
    process = Process(folder, tls=tls, **environment)
    process.wait_for(lambda health: health["status"] == "ok")
    return process


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server on `sum-1` that tests share, and leave as they found it."""
    process = start(tmp_path_factory.mktemp("shared"), HEAD_S="1")
    yield process
    process.stop()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts servers that are gone when the test is."""
    started: list[Process] = []

    def begin(record: Endpoint | None = None, **environment: str) -> Process:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(start(folder, record, **environment))
        return started[-1]

    yield begin
    for process in started:
        process.stop()
