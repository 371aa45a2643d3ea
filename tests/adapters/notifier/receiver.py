"""Real servers that alerts go to, over HTTP, HTTPS and SMTP on loopback: they keep what arrives, and misbehave."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from aiosmtpd.controller import Controller


class Request(NamedTuple):
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes


class Receiver:
    """An HTTP server. `answer` is a status, or "hang", "drip", "close" (in the middle of its
    answer) and "late" (204, once it is let go)."""

    def __init__(self, certificate: tuple[str, str] | None = None) -> None:
        self.requests: list[Request] = []
        self.answer: int | str = 204
        self.says = b""
        self.headers: dict[str, str] = {}
        self.on_request: Callable[[Request], None] = lambda _: None
        self.let_go = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if certificate is None else "https"
        self.port = self._server.server_address[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[Receiver]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.let_go.set()
            self._server.shutdown()
            self._server.server_close()


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            receiver.requests.append(request)
            receiver.on_request(request)
            if receiver.answer in ("hang", "late"):
                receiver.let_go.wait(30)
            if receiver.answer == "hang":
                return
            if receiver.answer == "drip":
                while not receiver.let_go.is_set():
                    self.wfile.write(b"X")
                    time.sleep(0.1)
            elif receiver.answer == "close":
                self.wfile.write(b"HTTP/1.1 20")
                self.close_connection = True
            else:
                self.send_response(204 if receiver.answer == "late" else int(receiver.answer))
                for name, value in {**receiver.headers, "Content-Length": str(len(receiver.says))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(receiver.says)

        def handle(self) -> None:
            with suppress(OSError):  # the sender went away, as the killed do
                super().handle()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class Mailbox:
    """An SMTP server; `refuses` makes it say no to every message."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, str]] = []  # subject, text
        self.refuses = False
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        if self.refuses:
            return "554 5.7.1 no mail from you"
        mail = message_from_bytes(envelope.content, policy=policy.default)  # type: ignore[attr-defined]
        self.mails.append((str(mail["Subject"]), mail.get_body(("plain", "html")).get_content()))
        return "250 OK"

    @contextmanager
    def running(self) -> Iterator[Mailbox]:
        self._controller.start()
        try:
            yield self
        finally:
            self._controller.stop()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
