"""The protocol, byte by byte, over a real socket."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from typing import Any

import pytest

from tests.serve.conftest import Process, read_all
from tests.serve.small import ROW, expected

BODY = json.dumps({"rows": [ROW], "ids": ["p"]}).encode()


def request(body: bytes = BODY, *, headers: str = "", path: str = "/v1/predict", last: bool = False) -> bytes:
    end = "connection: close\r\n" if last else ""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\n{headers}{end}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def bodies(answer: bytes) -> list[dict[str, Any]]:
    """Return the JSON bodies of several responses."""
    found = []
    while answer:
        head, _, rest = answer.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        found.append(json.loads(rest[:size]))
        answer = rest[size:]
    return found


def test_pipelined_requests_are_answered_in_their_order(server: Process) -> None:
    rows = [{**ROW, "width": i} for i in range(600)]
    sent = [request(json.dumps({"rows": [row], "id": str(i)}).encode()) for i, row in enumerate(rows)]
    sent.insert(7, b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
    sent.insert(20, request(b"{", headers="x-odd: 1\r\n"))
    answers = bodies(server.raw(b"".join([*sent, request(last=True)])))
    assert answers.pop(20)["error"].startswith("the body is not JSON")
    assert answers.pop(7) == {"live": True}
    assert [answer["id"] for answer in answers] == [*map(str, range(600)), "p"]
    assert [a["predictions"][0]["value"] for a in answers[:600]] == [expected(row) for row in rows]


@pytest.mark.parametrize("step", [1, 7, 64])
def test_a_request_may_come_in_pieces_and_with_a_head_that_is_known(server: Process, step: int) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = request() + request() + request(last=True)
        for i in range(0, len(data), step):
            stream.sendall(data[i : i + step])
        answers = bodies(read_all(stream))
    assert [answer["predictions"][0]["value"] for answer in answers] == [expected(ROW)] * 3


def test_a_chunked_body_is_put_together(server: Process) -> None:
    parts = [BODY[:5], BODY[5:60], BODY[60:]]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    head = b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    answers = bodies(server.raw(head + chunks + b"0\r\n\r\n" + request(last=True)))
    assert [answer["predictions"][0]["value"] for answer in answers] == [expected(ROW)] * 2


def test_a_compressed_body_is_unpacked_and_a_bomb_is_not(server: Process) -> None:
    assert server.ask("POST", "/v1/predict", gzip.compress(BODY), content_encoding="gzip")[0] == 200
    bomb = gzip.compress(b" " * (1 << 21))
    assert server.ask("POST", "/v1/predict", bomb, content_encoding="gzip")[0] == 413
    assert server.ask("POST", "/v1/predict", BODY, content_encoding="gzip")[0] == 400
    assert server.ask("POST", "/v1/predict", BODY, content_encoding="br")[0] == 415


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (b"NONSENSE\r\n\r\n", 400, "not an HTTP request"),
        (
            b"POST /v1/predict HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
            400,
            "not an HTTP request",
        ),
        (b"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", 400, "not an HTTP request"),
        (b"POST /v1/predict HTTP/1.1\r\ncontent-length: 9999999999\r\n\r\n", 413, "exceeds 1048576 bytes"),
        (b"POST /v1/predict HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", 413, "exceeds 1048576 bytes"),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n", 431, "exceed 32768 bytes"),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 40_000, 431, "exceed 32768 bytes"),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"x%d: 1\r\n" % i for i in range(101)) + b"\r\n", 431, "more than 100"),
        (b"GET /v2/health/li", 408, "did not arrive in time"),
        (b"POST /v1/predict HTTP/1.1\r\ncontent-length: 10\r\n\r\n{", 408, "did not arrive in time"),
    ],
)
def test_what_is_no_whole_request_is_refused_and_the_connection_closed(
    server: Process, data: bytes, status: int, says: str
) -> None:
    if b"chunked" in data and status == 413:
        data += (b"10000\r\n" + b" " * 65536 + b"\r\n") * 17
    answer = server.raw(data)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close\r\n" in answer
    assert says in bodies(answer)[0]["error"]
    assert server.ask("GET", "/healthz")[0] == 200


def test_a_request_that_drips_is_cut_off_and_others_are_answered_meanwhile(server: Process) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as stream:
        start = time.monotonic()
        for byte in request()[:20]:
            stream.sendall(bytes([byte]))
            assert server.ask("POST", "/v1/predict", BODY)[0] == 200
            time.sleep(0.02)
        answer = read_all(stream)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - start < 6


def test_headers_that_matter_are_answered(server: Process) -> None:
    echoed = server.raw(request(headers="X-Request-Id: abc\r\n", last=True))
    assert b"\r\nx-request-id: abc\r\n" in echoed
    assert b"connection: close" not in server.raw(request() + request(last=True)).partition(b"}]}")[0]
    old = server.raw(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert old.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in old
    head = server.raw(b"HEAD /healthz HTTP/1.1\r\nconnection: close\r\n\r\n")
    assert head.endswith(b"\r\n\r\n")
    assert b"content-length: 1" in head
    going_on = server.raw(request(headers="Expect: 100-continue\r\n", last=True))
    assert going_on.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    upgrade = b"GET /healthz HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"
    assert server.raw(upgrade + request(last=True)).count(b"HTTP/1.1 200 OK") == 2


def test_a_client_that_does_not_read_is_not_read_from_and_loses_nothing(server: Process) -> None:
    count = 1200
    data = b"GET /metrics HTTP/1.1\r\n\r\n" * (count - 1) + b"GET /metrics HTTP/1.1\r\nconnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as stream:
        sender = threading.Thread(target=stream.sendall, args=(data,))
        sender.start()
        time.sleep(0.3)
        assert server.exchange("POST", "/v1/predict", BODY)[0] == 200
        assert read_all(stream).count(b"HTTP/1.1 200 OK") == count
        sender.join()


def test_two_requests_in_one_sloppy_head_are_never_taken_for_one(server: Process) -> None:
    sloppy = b"GET /healthz HTTP/1.1\nhost: x\n\n" + request(last=False)
    again = [server.raw(sloppy + request(last=True)) for _ in range(2)]
    assert again[0].count(b"HTTP/1.1 ") == again[1].count(b"HTTP/1.1 ")
    blank = b"\r\n\r\n" + request() + b"\r\n\r\n" + request(last=True)
    assert server.raw(blank).count(b"HTTP/1.1 200 OK") == 2


def test_a_client_that_leaves_half_way_harms_nobody(server: Process) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as stream:
            stream.sendall(request() * 5 + request()[:-20])
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as stream:
        stream.sendall(request())
        stream.shutdown(socket.SHUT_WR)
        assert bodies(read_all(stream))[0]["predictions"][0]["value"] == expected(ROW)
    server.wait_for(lambda health: health["status"] == "ok")
    figures = server.ask("GET", "/metrics")[1].decode()
    assert "kaizen_requests_waiting 1.0" in figures


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "/v1/predict", 405, "use POST"),
        ("POST", "/healthz", 405, "use GET"),
        ("GET", "/qqqq", 404, "/v1/predict"),
        ("POST", "/v1/predikt", 404, "did you mean '/v1/predict'"),
        ("POST", "/v2/models/smal/infer", 404, "did you mean 'small'?"),
        ("POST", "/v2/models/small/inver", 404, "/v2/models/small/infer"),
        ("GET", "/v2/models/small/versions/9", 404, "known: 1"),
        ("GET", "/v2/models/small/infer", 405, "use POST"),
    ],
)
def test_an_unknown_route_says_what_exists(server: Process, method: str, path: str, status: int, says: str) -> None:
    found, body = server.ask(method, path)
    assert found == status
    assert says in body["error"]
