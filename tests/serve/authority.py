"""Who vouches for others in the tests: an issuer of tokens with a real server for its keys, and of certificates."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://issuer.test"
AUDIENCE = "kaizen"


class Issuer:
    """Has keys by their id, and signs tokens with them."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[str, Any, str]] = {}
        self.add("rsa", "RS256")
        self.add("ec", "ES256")
        self.add("ed", "EdDSA")

    def add(self, identity: str, algorithm: str) -> None:
        """Make a key."""
        if algorithm == "RS256":
            key: Any = rsa.generate_private_key(65537, 2048)
            told = RSAAlgorithm.to_jwk(key.public_key())
        elif algorithm == "ES256":
            key = ec.generate_private_key(ec.SECP256R1())
            told = ECAlgorithm.to_jwk(key.public_key())
        else:
            key = ed25519.Ed25519PrivateKey.generate()
            told = OKPAlgorithm.to_jwk(key.public_key())
        self.keys[identity] = algorithm, key, told

    def jwks(self) -> dict[str, Any]:
        """Return what it publishes."""
        return {"keys": [json.loads(told) | {"kid": name, "use": "sig"} for name, (_, _, told) in self.keys.items()]}

    def token(self, identity: str = "ec", **claims: Any) -> str:
        """Return a token that is good for a minute, some claims changed; None takes one away."""
        algorithm, key, _ = self.keys[identity]
        return jwt.encode(claimed(**claims), key, algorithm, headers={"kid": identity})


def claimed(**claims: Any) -> dict[str, Any]:
    """Return the claims of a good token, some changed; None takes one away."""
    usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "someone", "exp": int(time.time()) + 60, "scope": "predict read"}
    return {name: value for name, value in (usual | claims).items() if value is not None}


class Published:
    """A web server that tells an issuer's keys, as long as it is up."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.asked = 0
        self.status = 200
        published = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                published.asked += 1
                body = json.dumps(published.issuer.jwks()).encode()
                self.send_response(published.status)
                if published.status == 302:
                    self.send_header("location", "/elsewhere")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/keys?secret=hidden"
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(0.01), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Be gone."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def published(issuer: Issuer) -> Iterator[Published]:
    """Tell an issuer's keys."""
    server = Published(issuer)
    try:
        yield server
    finally:
        server.close()


class Authority:
    """Signs certificates, and writes them and their keys into a folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        own = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        self.cert = own.add_extension(usage, True).sign(self._key, hashes.SHA256())
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self.cert.public_bytes(Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return the paths of a certificate for this machine, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        made = self._builder(subject, key).add_extension(x509.SubjectAlternativeName(names), False)
        made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False)
        cert = made.sign(self._key, hashes.SHA256())
        paths = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        paths[0].write_bytes(cert.public_bytes(Encoding.PEM))
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return paths

    def client(self, pair: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """Return what a caller checks a server with, and the certificate that it shows."""
        context = ssl.create_default_context(cafile=str(self.path))
        if pair is not None:
            context.load_cert_chain(*pair)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )
