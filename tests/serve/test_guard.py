"""Who may ask for what: every route and every call with every scope, over real sockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from typing import Any

import grpc
import pytest

from kaizen import __version__
from kaizen.core.durations import rate
from kaizen.core.errors import RequestError
from kaizen.serve.apikeys import ApiKeys, KeyFile
from kaizen.serve.app import Server
from kaizen.serve.grpc import GrpcServer
from kaizen.serve.guard import Guard
from kaizen.serve.message import Head, Route
from kaizen.serve.models import EndpointSource
from kaizen.serve.ratelimit import RateLimit
from kaizen.serve.scopes import GIVEN, ROUTES, scope_of
from tests.serve.authority import AUDIENCE, ISSUER, Issuer, published
from tests.serve.conftest import Process, start
from tests.serve.small import ROW, SmallModel, endpoint, expected
from tests.serve.test_ratelimit import Clock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ASKED = {"rows": [ROW]}
LOCKED = json.dumps({"auth": {"api_keys": True}})


def make(folder: Path, name: str, *scopes: str, expires: datetime | None = None) -> str:
    """Make a key in the folder of a server."""
    return KeyFile(folder / "api-keys.json").add(name, scopes, at=datetime.now(UTC), expires=expires)


def listed() -> list[tuple[str, str, str]]:
    """Return every route that a server resolves."""

    async def main() -> list[tuple[str, str, str]]:
        source = EndpointSource(name="small", endpoint=lambda: endpoint(1), load=SmallModel)
        server = Server([source], log=None, port=0)
        await server.start()
        try:
            return server._routes.listed()
        finally:
            await server.drain()

    return asyncio.run(main())


@pytest.fixture(scope="module")
def keys(locked: Process) -> dict[str, str]:
    """A key for each scope, and one for all."""
    made = {scope: make(locked.folder, scope, scope) for scope in GIVEN}
    made["all"] = make(locked.folder, "all", *GIVEN)
    locked.wait_for(lambda _: locked.ask("GET", "/v2", x_api_key=made["all"])[0] == 200)
    return made


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server that asks for keys, over HTTP and gRPC."""
    process = start(tmp_path_factory.mktemp("locked"), SERVE=LOCKED, GRPC_PORT="0")
    yield process
    process.stop()


def test_every_route_and_call_is_in_the_table_and_what_is_not_is_for_admins() -> None:
    names = {name for _, _, name in listed()} | {path.rpartition("/")[2] for path in calls()}
    assert names <= set(ROUTES), f"say in serve/scopes.py what scope is asked for at {names - set(ROUTES)}"
    assert scope_of("a route of tomorrow") == "admin"
    assert Route("a route of tomorrow", lambda _: None).scope == "admin"


def test_what_is_open_tells_no_more_than_that_the_server_lives() -> None:
    opened = {name for name, scope in ROUTES.items() if scope == "open"}
    assert opened == {
        *("docs", "health", "live", "ready", "broken", "ServerLive", "ServerReady", "Check", "Watch"),
        *("alive", "ping", "mlflow_health", "vertex_health", "score_options"),
    }


def test_every_route_lets_in_whoever_has_its_scope_and_nobody_else(locked: Process, keys: dict[str, str]) -> None:
    for method, pattern, name in listed():
        path = pattern.replace("{model}", "small").replace("{version}", "1").replace("{label}", "champion")
        body = None if method == "GET" else ASKED
        scope = scope_of(name)
        bare, answer = locked.ask(method, path, body)
        assert bare == (200 if scope == "open" else 401), (path, answer)
        for held, key in keys.items():
            status, answer = locked.ask(method, path, body, x_api_key=key)
            if scope in (held, "open", "any") or held == "all":
                refused = {"load": 409, "unload": 409, "unsupported": 501}.get(name)  # for everybody alike
                assert status in ((200, 400, 501) if refused is None else (refused,)), (path, held, answer)
            else:
                assert (status, f"the scope '{scope}' is needed here" in str(answer)) == (403, True), (path, held)


def test_who_is_not_known_is_not_told_which_routes_there_are(locked: Process, keys: dict[str, str]) -> None:
    for method, path in (("GET", "/v1/nothing"), ("GET", "/v1/predict"), ("DELETE", "/v1/predict"), ("GET", "/x")):
        assert locked.ask(method, path)[0] == 401
        assert locked.ask(method, path, x_api_key=keys["feedback"])[0] in (404, 405)


def challenge(process: Process, data: bytes) -> tuple[int, str, bytes]:
    """Return status, challenge and body of an answer."""
    head, _, body = process.raw(data).partition(b"\r\n\r\n")
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return int(head.split()[1]), lines.get(b"www-authenticate", b"").decode(), body


def test_a_refusal_says_what_to_show(locked: Process, keys: dict[str, str]) -> None:
    start = "GET /v2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    for header, status, says in (
        ("", 401, "bearer"),
        ("authorization: Basic eDp5\r\n", 401, "bearer"),
        ("authorization: Bearer\r\n", 401, "bearer"),
        ("authorization: Bearer  \r\n", 401, "bearer"),
        ("x-api-key: \r\n", 401, "bearer"),
        ("x-api-key: kz_aaaaaaaa_b\r\n", 401, 'bearer error="invalid_token"'),
        (f"x-api-key: {keys['predict']}\r\n", 403, 'bearer error="insufficient_scope", scope="read"'),
        (f"x-api-key: {keys['read']}\r\n", 200, ""),
        (f"authorization: bearer {keys['read']}\r\n", 200, ""),
    ):
        found = challenge(locked, f"{start}{header}\r\n".encode())
        assert found[:2] == (status, says), header
        assert set(json.loads(found[2])) == ({"error"} if status != 200 else {"name", "version", "extensions"})


@pytest.mark.parametrize("header", ["content-length: 1000000\r\n", "transfer-encoding: chunked\r\n"])
@pytest.mark.parametrize("more", ["", "expect: 100-continue\r\n"])
def test_who_is_not_known_need_not_send_the_body(locked: Process, header: str, more: str) -> None:
    data = f"POST /v1/predict HTTP/1.1\r\nhost: x\r\n{header}{more}\r\n".encode()
    answer = locked.raw(data)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert b"100 Continue" not in answer


def test_pipelined_requests_are_judged_one_by_one(locked: Process, keys: dict[str, str]) -> None:
    body = json.dumps(ASKED).encode()

    def one(header: str, end: str = "") -> bytes:
        return f"POST /v1/predict HTTP/1.1\r\n{header}{end}content-length: {len(body)}\r\n\r\n".encode() + body

    good, bad = f"x-api-key: {keys['predict']}\r\n", f"x-api-key: {keys['read']}\r\n"
    answer = locked.raw(b"".join([one(good), one(""), one(good), one(bad), one(good, "connection: close\r\n")]))
    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [200, 401, 200, 403, 200]


def test_a_key_that_is_taken_back_is_good_no_more_on_an_open_connection(locked: Process) -> None:
    token = make(locked.folder, "short", "predict")
    with closing(locked.connection()) as connection:  # the same head again and again: the server remembers it

        def ask() -> int:
            connection.request("POST", "/v1/predict", json.dumps(ASKED), {"x-api-key": token})
            answer = connection.getresponse()
            answer.read()
            return answer.status

        assert waited(ask, 200) == 200
        assert [ask() for _ in range(3)] == [200] * 3
        KeyFile(locked.folder / "api-keys.json").revoke("short")
        assert waited(ask, 401) == 401
        assert [ask() for _ in range(3)] == [401] * 3


def test_a_key_ends_on_an_open_connection_too(locked: Process) -> None:
    token = make(locked.folder, "ending", "read", expires=datetime.now(UTC) + timedelta(seconds=2.5))
    with closing(locked.connection()) as connection:

        def ask() -> int:
            connection.request("GET", "/v2", headers={"x-api-key": token})
            answer = connection.getresponse()
            answer.read()
            return answer.status

        assert waited(ask, 200) == 200
        assert waited(ask, 401) == 401


def waited(ask: Callable[[], int], status: int) -> int:
    """Return the status once it is this one, or whatever it is in the end."""
    deadline = time.monotonic() + 20
    found = ask()
    while found != status and time.monotonic() < deadline:
        time.sleep(0.05)
        found = ask()
    return found


def test_the_page_shows_no_row_before_the_key_is_told(locked: Process, keys: dict[str, str]) -> None:
    for path, document in (("/docs", "openapi.json"), ("/docs/small", "../openapi/small")):
        status, page = locked.ask("GET", path)
        assert status == 200
        facts = json.loads(page.decode().partition('id="facts">')[2].partition("</script>")[0])
        assert facts["locked"] is True
        assert facts["document"] == document
        assert set(facts) == {"locked", "document", "predict"}
        assert b"sum-1" not in page
        assert str(ROW["shop"]).encode() not in page.partition(b'id="facts">')[2].partition(b"</script>")[0]
    assert locked.ask("GET", "/docs/%3Cscript%3E")[1].count(b"<script") == 2
    told = locked.ask("GET", "/openapi.json", x_api_key=keys["read"])[1]
    assert told["components"]["schemas"]["Row"]["examples"] == [ROW]
    assert {"title", "version", "summary"} <= set(told["info"])
    assert "value" in told["components"]["schemas"]["Answer"]["properties"]


def test_the_document_says_what_each_route_asks_for(locked: Process, keys: dict[str, str]) -> None:
    told = locked.ask("GET", "/openapi.json", x_api_key=keys["read"])[1]
    assert told["components"]["securitySchemes"]["key"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    assert told["paths"]["/v1/predict"]["post"]["security"] == [{"bearer": ["predict"]}, {"key": ["predict"]}]
    assert told["paths"]["/healthz"]["get"]["security"] == []
    assert told["security"] == []


def test_where_nobody_is_asked_the_document_says_so(server: Process) -> None:
    told = server.ask("GET", "/openapi.json")[1]
    assert "securitySchemes" not in told["components"]
    assert "security" not in told["paths"]["/v1/predict"]["post"]


# gRPC


def calls() -> list[str]:
    """Return the path of every call."""
    server: Any = GrpcServer(__version__, *[None] * 4, message_bytes=1)  # type: ignore[list-item]
    return [path for handler in server._services() for path in handler._method_handlers]


def called(process: Process, path: str, **metadata: str) -> grpc.StatusCode:
    """Return the code of a call with an empty message."""
    with grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel:
        try:
            pairs = [(name.replace("_", "-"), value) for name, value in metadata.items()]
            channel.unary_unary(path)(b"", timeout=10, metadata=pairs)
        except grpc.RpcError as err:
            return err.code()
    return grpc.StatusCode.OK


def test_every_call_lets_in_whoever_has_its_scope_and_nobody_else(locked: Process, keys: dict[str, str]) -> None:
    unknown, lacking = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
    paths = [path for path in calls() if path != "/grpc.health.v1.Health/Watch"]  # never ends, for everybody alike
    assert len(paths) == 24
    for path in paths:
        scope = scope_of(path.rpartition("/")[2])
        assert (called(locked, path) == unknown) == (scope != "open"), path
        assert (called(locked, path, x_api_key="kz_aaaaaaaa_b") == unknown) == (scope != "open"), path
        for held, key in keys.items():
            code = called(locked, path, authorization=f"Bearer {key}")
            assert (code == lacking) == (scope not in (held, "open") and held != "all"), (path, held)
            assert code != unknown


def test_calls_are_limited_too(tmp_path: Path) -> None:
    process = start(tmp_path, SERVE=json.dumps({"rate_limit": "3/1h"}), GRPC_PORT="0")
    try:
        path = "/inference.GRPCInferenceService/ServerMetadata"
        codes = [called(process, path) for _ in range(5)]
        assert codes == [grpc.StatusCode.OK] * 3 + [grpc.StatusCode.RESOURCE_EXHAUSTED] * 2
        assert called(process, "/grpc.health.v1.Health/Check") == grpc.StatusCode.OK
        assert process.ask("GET", "/v2")[0] == 429, "one client has one bucket, whatever it speaks"
    finally:
        process.stop()


# Rates


def test_each_client_has_a_bucket_and_health_is_free(tmp_path: Path) -> None:
    one, other = (make(tmp_path, name, "predict") for name in ("one", "other"))
    process = start(tmp_path, SERVE=json.dumps({"auth": {"api_keys": True}, "rate_limit": "3/1h"}))
    try:
        assert [process.ask("POST", "/v1/predict", ASKED, x_api_key=one)[0] for _ in range(5)] == [200] * 3 + [429] * 2
        assert process.ask("POST", "/v1/predict", ASKED, x_api_key=other)[0] == 200
        assert process.ask("GET", "/healthz")[0] == 200
        assert [process.ask("GET", "/v2", x_api_key=f"kz_{n}")[0] for n in range(5)] == [401] * 3 + [429] * 2
        assert process.ask("POST", "/v1/predict", ASKED, x_api_key=other)[0] == 200, "who is known is not held up"
        with closing(process.connection()) as connection:
            connection.request("POST", "/v1/predict", json.dumps(ASKED), {"x-api-key": one})
            answer = connection.getresponse()
            assert "too many requests of this client" in json.loads(answer.read())["error"]
            assert 0 < int(answer.headers["retry-after"]) <= 1200
    finally:
        process.stop()


def head(scope: str, **headers: str) -> Head:
    """Return the head of a request for a route with this scope."""
    told = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    made = Head("GET", "/", told, keep_alive=True, old=False)
    made.route = Route({"read": "server", "open": "live"}[scope], lambda _: None)
    return made


def test_what_was_found_out_is_kept_until_something_changes(tmp_path: Path) -> None:
    file, clock = KeyFile(tmp_path / "api-keys.json"), Clock()
    clock.now = NOW.timestamp()
    token = file.add("one", ("read",), at=NOW, expires=NOW + timedelta(hours=1))
    guard = Guard(keys=ApiKeys(file, clock), now=clock)
    asked = head("read", x_api_key=token)
    guard.admit(asked, "")
    first = asked.grant
    guard.admit(asked, "")
    guard.tick()
    guard.admit(asked, "")
    assert asked.grant is first
    file.add("two", ("read",), at=NOW)
    guard.tick()
    guard.admit(asked, "")
    assert asked.grant is not first
    assert asked.grant is not None
    assert (asked.grant.client, asked.grant.scopes) == (f"key:{token[3:11]}", {"read"})
    clock.now += 3601
    with pytest.raises(RequestError, match="the key has expired"):
        guard.admit(asked, "")
    assert asked.grant is None


def test_without_keys_and_tokens_only_the_rate_is_looked_at() -> None:
    clock = Clock()
    guard = Guard(rate_limit=RateLimit(rate("2/1s"), now=clock))
    assert not guard.is_locked
    asked = head("read")
    for _ in range(2):
        guard.admit(asked, "ip:a")
    with pytest.raises(RequestError, match="too many requests") as caught:
        guard.admit(asked, "ip:a")
    assert caught.value.status == 429
    guard.admit(asked, "ip:b")
    for _ in range(9):
        guard.admit(head("open"), "ip:a")
    assert asked.grant is not None
    assert asked.grant.until == inf


# Tokens, and what is written down


def test_tokens_and_keys_are_taken_beside_each_other_and_no_secret_is_told(tmp_path: Path) -> None:
    issuer = Issuer()
    key = make(tmp_path, "one", "predict", "read")
    with published(issuer) as server:
        auth = {"api_keys": True, "jwks": server.url, "issuer": ISSUER, "audience": AUDIENCE}
        process = start(tmp_path, SERVE=json.dumps({"auth": auth}))
        try:
            good, lacking = issuer.token(), issuer.token("rsa", scope="feedback")
            late, foreign = issuer.token("ed", exp=1000), Issuer().token()
            process.wait_for(lambda _: process.ask("GET", "/v2", authorization=f"Bearer {good}")[0] == 200)
            bodies = []
            for credential, status in (
                (key, 200), (good, 200), (lacking, 403), (late, 401), (foreign, 401),
                (key[:-1], 401), (good[:-3], 401), (f"{good} ", 200),
            ):  # fmt: skip
                for path, body in (("/v1/predict", ASKED), ("/v1/predict/small", ASKED)):
                    found, answer = process.ask("POST", path, body, authorization=f"Bearer {credential}")
                    assert found == status, (credential, answer)
                    bodies.append(json.dumps(answer))
            choking = {"rows": [{**ROW, "width": 666}]}
            for path, body, status in (
                ("/v1/predict", choking, 422),
                ("/v1/predict", b"{", 400),
                ("/v2/models/small/infer", {"inputs": []}, 400),
                (f"/v1/nothing?key={key}", {}, 404),
                ("/v1/feedback", {}, 403),
            ):
                found, answer = process.ask("POST", path, body, x_api_key=key)
                assert found == status, answer
                bodies.append(json.dumps(answer))
            process.raw(f"GET /v2 HTTP/1.1\r\nx-api-key: {key}\r\nx: \x00\r\n\r\n".encode())
            KeyFile(tmp_path / "api-keys.json").revoke("one")
            process.wait_for(lambda _: process.ask("GET", "/v2", x_api_key=key)[0] == 401)
            status, answer = process.ask("POST", "/v1/predict", ASKED, authorization=f"Bearer {good}")
            assert answer["predictions"][0]["value"] == expected(ROW)
        finally:
            written = process.errors()
    assert "jwks_read" in written
    assert "keys_read keys=0" in written
    for secret in (key, key[12:], good, good.split(".")[2], lacking, late, foreign, "hidden"):
        assert secret not in written
        assert not [body for body in bodies if secret in body]
