"""Both clients against a real server, and against ones that fail in the ways that servers fail."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kaizen
from kaizen.client import Answer
from kaizen.core.errors import KaizenError, RequestError, UnreachableError
from tests.serve.conftest import Process, start
from tests.serve.small import ROW, expected

OK = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b"
SAID = json.dumps(
    {
        "id": "x",
        "endpoint": "e",
        "revision": 3,
        "predictions": [{"id": "x", "probability": 0.25, "bundle": "b", "arm": "champion"}],
    }
).encode()
BUSY = b'HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 16\r\n\r\n{"error": "busy"}'[:-1]
CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    b"%x\r\n%b\r\n%x;more=1\r\n%b\r\n0\r\nlate: yes\r\n\r\n" % (9, SAID[:9], len(SAID) - 9, SAID[9:])
)

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = start(tmp_path_factory.mktemp("client"))
    yield process
    process.stop()


def blocking(url: str, call: Callable[[Any], Any], **settings: Any) -> Any:
    with kaizen.Client(url, **settings) as client:
        return call(client)


def awaiting(url: str, call: Callable[[Any], Awaitable[Any]], **settings: Any) -> Any:
    async def main() -> Any:
        async with kaizen.AsyncClient(url, **settings) as client:
            return await call(client)

    return asyncio.run(main())


both = pytest.mark.parametrize("ask", [blocking, awaiting])


def at(server: Process) -> str:
    return f"http://127.0.0.1:{server.port}"


@both
def test_rows_are_answered_in_order_with_what_explains_them(server: Process, ask: Ask) -> None:
    rows = [{**ROW, "width": width, "at": datetime(2013, 6, 1, 12, tzinfo=UTC)} for width in (1, None, np.float32(2.5))]
    answers: list[Answer] = ask(at(server), lambda client: client.predict(rows, unit=["u", None, "v"]))
    assert [answer.value for answer in answers] == [expected(row) for row in rows]
    assert {(a.output, a.bundle, a.arm, a.revision) for a in answers} == {("value", "sum-1", "champion", 1)}
    batch = next(batch for batch in server.predictions() if answers[0].id in batch.ids)
    assert batch.ids == [answer.id for answer in answers]
    assert batch.units == ["u", None, "v"]


@both
def test_labels_are_taken_with_their_time(server: Process, ask: Ask) -> None:
    known = datetime(2013, 6, 2, tzinfo=UTC)
    name = ask.__name__
    assert ask(at(server), lambda client: client.feedback({f"{name}-1": True, f"{name}-2": 0.5}, at=known)) == 2
    batch = next(batch for batch in server.labels() if f"{name}-1" in batch.ids)
    assert (batch.values, batch.at) == ([1.0, 0.5], [int(known.timestamp() * 1e6)] * 2)


@both
def test_a_refusal_has_the_words_and_the_status_of_the_server(server: Process, ask: Ask) -> None:
    with pytest.raises(
        RequestError, match=r"^rows\[0\]\.width: expected a finite number or null, got \"3\"$"
    ) as caught:
        ask(at(server), lambda client: client.predict([{**ROW, "width": "3"}]))
    assert caught.value.status == 400
    with pytest.raises(RequestError, match="cannot be sent") as caught:
        ask(at(server), lambda client: client.predict([{**ROW, "width": float("nan")}]))
    with pytest.raises(RequestError) as caught:
        ask(at(server), lambda client: client.predict([{**ROW, "width": 667}]))
    assert caught.value.status == 422


@both
def test_ready_is_an_answer_and_never_an_error(server: Process, ask: Ask) -> None:
    assert ask(at(server), lambda client: client.ready()) is True
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert ask(f"http://127.0.0.1:{port}", lambda client: client.ready()) is False


@both
def test_a_server_that_is_not_there_is_said_to_be_unreachable(ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(UnreachableError, match=f"127.0.0.1:{port}: the server cannot be reached"):
        ask(f"http://127.0.0.1:{port}", lambda client: client.predict([ROW]))


@both
@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://"])
def test_an_address_that_is_none_is_refused_at_once(ask: Ask, url: str) -> None:
    with pytest.raises(KaizenError, match="no address of a server"):
        ask(url, lambda client: client.ready())


@both
def test_headers_that_would_smuggle_a_line_are_refused(ask: Ask) -> None:
    with pytest.raises(KaizenError, match="cannot be sent"):
        ask("http://127.0.0.1:1", lambda client: client.ready(), headers={"x": "a\r\nb: c"})


@contextmanager
def scripted(*answers: bytes | None) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives these answers to requests, closing behind each; None: it closes, b"": it hangs."""
    heard: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        for answer in answers:
            stream, _ = listening.accept()
            with stream:
                heard.append(_request(stream))
                if answer == b"":
                    over.wait(10)
                elif answer is not None:
                    stream.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", heard
    finally:
        over.set()
        listening.close()
        thread.join(5)


def _request(stream: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += stream.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        body += stream.recv(65536)
    return body


@both
def test_a_call_is_tried_again_with_the_same_ids(ask: Ask) -> None:
    torn = OK % (len(SAID), SAID[:20])
    with scripted(None, torn, BUSY, OK % (len(SAID), SAID)) as (url, heard):
        answers = ask(url, lambda client: client.predict([{"a": 1}]), retries=3)
    assert answers == [Answer("x", 0.25, "probability", "b", "champion", 3)]
    assert len(heard) == 4
    assert len(set(heard)) == 1, "each attempt says the same, ids included"
    assert len(json.loads(heard[0])["ids"]) == 1


@both
def test_when_all_attempts_fail_the_last_failure_is_raised(ask: Ask) -> None:
    with scripted(BUSY, BUSY) as (url, _), pytest.raises(RequestError, match="busy") as caught:
        ask(url, lambda client: client.predict([{"a": 1}]), retries=1)
    assert caught.value.status == 503


@both
def test_a_server_that_hangs_costs_no_more_than_the_timeout(ask: Ask) -> None:
    began = time.monotonic()
    with scripted(b"") as (url, _), pytest.raises(UnreachableError, match=r"no answer within 0\.3 s"):
        ask(url, lambda client: client.predict([{"a": 1}]), timeout_s=0.3)
    assert time.monotonic() - began < 2


@both
def test_answers_in_chunks_and_through_a_proxy_are_read(ask: Ask) -> None:
    with scripted(CHUNKED) as (url, _):
        assert ask(f"{url}/below/", lambda client: client.predict([{"a": 1}]))[0].value == 0.25


@both
@pytest.mark.parametrize("answer", [OK % (2, b"{}"), OK % (3, b"<a>")])
def test_an_answer_that_is_not_ours_is_said_to_be_so(ask: Ask, answer: bytes) -> None:
    with scripted(answer) as (url, _), pytest.raises(RequestError, match="no answer of kaizen"):
        ask(url, lambda client: client.predict([{"a": 1}]))


@both
def test_what_does_not_speak_http_is_unreachable(ask: Ask) -> None:
    with scripted(b"220 mail\r\n\r\n") as (url, _), pytest.raises(UnreachableError):
        ask(url, lambda client: client.predict([{"a": 1}]), retries=0)


def _connections(server: Process) -> int:
    text = server.ask("GET", "/metrics")[1].decode()
    return int(next(float(line.split()[1]) for line in text.splitlines() if line.startswith("kaizen_connections ")))


def test_a_connection_is_used_again_and_threads_share_a_client(server: Process) -> None:
    before = _connections(server)
    with kaizen.Client(at(server)) as client:
        for _ in range(5):
            client.predict([ROW])
        assert _connections(server) == before + 1
        with ThreadPoolExecutor(8) as threads:
            rows = [{**ROW, "width": width} for width in range(200)]
            answers = list(threads.map(lambda row: client.predict([row])[0].value, rows))
        assert answers == [expected(row) for row in rows]


def test_tasks_share_a_client_and_a_cancelled_call_harms_no_other(server: Process) -> None:
    async def main() -> list[float]:
        async with kaizen.AsyncClient(at(server)) as client:
            rows = [{**ROW, "width": width} for width in range(100)]
            tasks = [asyncio.create_task(client.predict([row])) for row in rows]
            await asyncio.sleep(0.001)
            for task in tasks[::2]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(each, list | asyncio.CancelledError) for each in done)
            again = await asyncio.gather(*(client.predict([row]) for row in rows))
            return [answer[0].value for answer in again]

    assert asyncio.run(main()) == [expected({**ROW, "width": width}) for width in range(100)]


def test_a_kept_connection_that_the_server_closed_is_no_failure(tmp_path: Path) -> None:
    first = start(tmp_path)
    with kaizen.Client(at(first), retries=0) as client:
        client.predict([ROW])
        client._idle[0][1].sock.shutdown(socket.SHUT_RDWR)
        assert client.predict([ROW])[0].value == expected(ROW)
    first.stop()


def test_the_client_imports_the_standard_library_only() -> None:
    code = (
        "import kaizen, sys; kaizen.Client; print([m for m in ('numpy', 'msgspec', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
