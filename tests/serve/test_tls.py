"""TLS and mutual TLS with real certificates: who is let in, over HTTP and gRPC, and a certificate that is renewed."""

from __future__ import annotations

import json
import os
import socket
import ssl
import time
from contextlib import closing, suppress
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization import load_pem_private_key as loaded

import kaizen
from kaizen.core.errors import ProjectError, RequestError, UnreachableError
from kaizen.serve.tls import Tls
from tests.client.test_client import awaiting, blocking
from tests.serve.authority import Authority
from tests.serve.conftest import Process, read_all, start
from tests.serve.small import ROW, expected
from tests.serve.test_guard import make

CHECK = "/grpc.health.v1.Health/Check"


def declared(pair: tuple[Path, Path], authority: Path | None = None, **more: object) -> str:
    """Return what a project file would declare."""
    told = {"cert": str(pair[0]), "key": str(pair[1])} | ({} if authority is None else {"client_ca": str(authority)})
    return json.dumps({"tls": told, **more})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "certificates").mkdir()
    return Authority(tmp_path / "certificates")


def serial(process: Process) -> int:
    """Return the number of the certificate that a new connection is shown."""
    assert process.tls is not None
    with (
        socket.create_connection(("127.0.0.1", process.port), timeout=10) as plain,
        process.tls.wrap_socket(plain, server_hostname="localhost") as stream,
    ):
        shown = stream.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


def number(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def checked(process: Process, authority: Authority, pair: tuple[Path, Path] | None = None) -> bytes:
    """Return what the health of gRPC is; raise if the connection is refused."""
    own = (None, None) if pair is None else (pair[1].read_bytes(), pair[0].read_bytes())
    credentials = grpc.ssl_channel_credentials(authority.path.read_bytes(), *own)
    with grpc.secure_channel(f"localhost:{process.grpc_port}", credentials) as channel:
        return bytes(channel.unary_unary(CHECK)(b"", timeout=5))


def test_connections_are_secured_and_both_clients_speak_it(tmp_path: Path, authority: Authority) -> None:
    token = make(tmp_path, "one", "predict", "feedback")
    process = start(
        tmp_path,
        tls=authority.client(),
        SERVE=declared(authority.issue("server"), auth={"api_keys": True}),
        GRPC_PORT="0",
    )
    try:
        url = f"https://localhost:{process.port}"
        for ask in (blocking, awaiting):
            settings = {"tls": authority.client(), "token": token, "retries": 0}
            assert ask(url, lambda client: client.predict([ROW]), **settings)[0].value == expected(ROW)
            assert ask(url, lambda client: client.feedback({"a": True}), **settings) == 1
            with pytest.raises(UnreachableError):
                ask(url, lambda client: client.predict([ROW]), token=token, retries=0)
            with pytest.raises(RequestError, match="not known") as caught:
                ask(url, lambda client: client.predict([ROW]), **settings | {"token": f"{token}x"})
            assert caught.value.status == 401
            assert token not in str(caught.value)
        assert checked(process, authority) == b"\x08\x01"
    finally:
        process.stop()


def test_what_is_not_secured_or_too_old_is_not_answered(tmp_path: Path, authority: Authority) -> None:
    process = start(tmp_path, tls=authority.client(), SERVE=declared(authority.issue("server")), GRPC_PORT="0")
    try:
        with socket.create_connection(("127.0.0.1", process.port), timeout=10) as stream:
            stream.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            with suppress(ConnectionResetError):
                assert b"HTTP" not in read_all(stream)
        old = authority.client()
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with (
            socket.create_connection(("127.0.0.1", process.port), timeout=10) as plain,
            pytest.raises((ssl.SSLError, ConnectionResetError)),
        ):
            old.wrap_socket(plain, server_hostname="localhost")
        with grpc.insecure_channel(f"localhost:{process.grpc_port}") as channel, pytest.raises(grpc.RpcError):
            channel.unary_unary(CHECK)(b"", timeout=5)
        assert process.ask("POST", "/v1/predict", {"rows": [ROW]})[0] == 200
    finally:
        written = process.errors()
    assert "Traceback" not in written


def test_with_an_authority_for_callers_only_its_own_are_let_in(tmp_path: Path, authority: Authority) -> None:
    pair, known = authority.issue("server"), authority.issue("caller")
    others = Authority(authority.folder, "others")
    stranger = others.issue("stranger")
    process = start(tmp_path, tls=authority.client(known), SERVE=declared(pair, authority.path), GRPC_PORT="0")
    try:
        assert process.ask("POST", "/v1/predict", {"rows": [ROW]})[0] == 200
        assert checked(process, authority, known) == b"\x08\x01"
        for shown in (None, stranger):
            process.tls = authority.client(shown)
            with pytest.raises((ssl.SSLError, OSError)):
                process.ask("GET", "/healthz")
            with pytest.raises(grpc.RpcError):
                checked(process, authority, shown)
        process.tls = authority.client(known)
        assert process.ask("GET", "/healthz")[0] == 200
    finally:
        written = process.errors()
    assert "Traceback" not in written


def test_a_renewed_certificate_is_shown_and_open_connections_stay(tmp_path: Path, authority: Authority) -> None:
    pair = authority.issue("server")
    process = start(tmp_path, tls=authority.client(), SERVE=declared(pair), GRPC_PORT="0")
    try:
        with closing(process.connection()) as connection:
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
            before = connection.sock
            first = number(pair[0])
            assert serial(process) == first
            authority.issue("server")  # over the old files
            second = number(pair[0])
            wait(lambda: serial(process) == second)
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200
            assert connection.sock is before
        assert second != first
        assert checked(process, authority) == b"\x08\x01"
        pem = ssl.get_server_certificate(("localhost", process.grpc_port), timeout=10)
        assert x509.load_pem_x509_certificate(pem.encode()).serial_number == second

        pair[1].write_text("not a key")  # what does not fit changes nothing
        time.sleep(2.5)
        assert serial(process) == second
        assert process.ask("GET", "/healthz")[0] == 200
    finally:
        written = process.errors()
    assert "certificate_read" in written
    assert "certificate_not_read, the old one is used still" in written
    assert "not a key" not in written


def wait(holds, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)


def test_many_rows_go_through_and_half_a_request_is_refused(tmp_path: Path, authority: Authority) -> None:
    process = start(tmp_path, tls=authority.client(), SERVE=declared(authority.issue("server")), HEAD_S="1")
    try:
        rows = [{**ROW, "width": number} for number in range(1000, 4000)]
        status, answer = process.ask("POST", "/v1/predict", {"rows": rows})
        assert status == 200, answer
        assert len(answer["predictions"]) == 3000
        assert process.tls is not None
        with (
            socket.create_connection(("127.0.0.1", process.port), timeout=10) as plain,
            process.tls.wrap_socket(plain, server_hostname="localhost") as stream,
        ):
            stream.sendall(b"POST /v1/predict HTTP/1.1\r\ncontent-length: 10\r\n\r\n{")
            assert read_all(stream).startswith(b"HTTP/1.1 408 ")
        with socket.create_connection(("127.0.0.1", process.port), timeout=10) as silent:
            assert read_all(silent) == b"", "who does not shake hands is let go"
    finally:
        process.stop()


def test_files_that_cannot_be_used_are_said_at_the_start(tmp_path: Path, authority: Authority) -> None:
    cert, key = authority.issue("server")
    _, other = authority.issue("other")
    with pytest.raises(ProjectError, match="cannot be used: KEY_VALUES_MISMATCH"):
        Tls(cert, other)
    with pytest.raises(ProjectError, match=r"cannot be read: No such file") as caught:
        Tls(tmp_path / "none.crt", key)
    assert caught.value.where.endswith("none.crt")
    with pytest.raises(ProjectError, match=r"cannot be read: No such file") as caught:
        Tls(cert, tmp_path / "none.key")
    assert caught.value.where.endswith("none.key")
    with pytest.raises(ProjectError, match="no certificate in PEM"):
        Tls(cert, key, key)
    with pytest.raises(ProjectError, match=r"cannot be read: No such file"):
        Tls(cert, key, tmp_path / "none.pem")
    secret = loaded(key.read_bytes(), None)
    encrypted = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
    key.write_bytes(encrypted)
    os.chmod(key, 0o600)
    with pytest.raises(ProjectError, match="the private key has a password"):
        Tls(cert, key)


def test_a_client_without_a_certificate_of_ours_trusts_the_systems_authorities_only(authority: Authority) -> None:
    assert kaizen.Client("http://127.0.0.1:1")._tls is None
    context = authority.client()
    assert kaizen.Client("https://127.0.0.1:1", tls=context)._tls is context
    plain = kaizen.Client("https://127.0.0.1:1")._tls
    assert plain is not None
    assert (plain.verify_mode, plain.check_hostname) == (ssl.CERT_REQUIRED, True)
