"""TLS: one certificate for HTTP and gRPC, read again when its file changes; connections that are open stay so.

cert, key    of the server, PEM; the certificate first, then those between it and its authority
client_ca    the authority of the callers' certificates, PEM: who has none is not let in (mutual TLS)
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from kaizen.core.errors import ProjectError

logger = logging.getLogger("kaizen.serve")


class Tls:
    """The server's certificate; `ProjectError` if the files are not what they should be.

    Parameters
    ----------
    cert, key
        The server's certificate and its private key.
    client_ca
        Whose callers are let in; None: those of everybody. A change of it needs a new start.
    """

    def __init__(self, cert: Path, key: Path, client_ca: Path | None = None) -> None:
        self._cert = cert
        self._key = key
        self._seen = self._state()
        self.context = _context(cert, key)
        self.pair = key.read_bytes(), cert.read_bytes()  # as gRPC wants them
        self.version = 0
        self.client_ca: bytes | None = None
        if client_ca is not None:
            self.client_ca = _authority(self.context, client_ca)

    def look(self) -> None:
        """Read the certificate again if a file has changed; called once a second."""
        seen = self._state()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            _context(self._cert, self._key)  # tried apart: a pair that does not fit would spoil the one in use
            self.context.load_cert_chain(self._cert, self._key, _no_password)
            self.pair = self._key.read_bytes(), self._cert.read_bytes()
        except (ProjectError, OSError) as err:
            logger.warning("certificate_not_read, the old one is used still problem=%s", str(err).replace("\n", " "))
            return
        self.version += 1
        logger.info("certificate_read")

    def _state(self) -> tuple[int, int]:
        try:
            return self._cert.stat().st_mtime_ns, self._key.stat().st_mtime_ns
        except OSError:
            return 0, 0


def _context(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, _no_password)
    except ssl.SSLError as err:
        what = f"the certificate and its key cannot be used: {err.reason or err}"
        raise ProjectError(what, where=f"{cert}, {key}", fix="both are PEM, and the key is the certificate's") from err
    except OSError as err:
        path = cert if not cert.exists() else key
        raise ProjectError(f"cannot be read: {err.strerror}", where=str(path)) from err
    return context


def _authority(context: ssl.SSLContext, path: Path) -> bytes:
    """Let in only callers whose certificate is of this authority, and return its certificate."""
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as err:
        raise ProjectError("this is no certificate in PEM", where=str(path)) from err
    except OSError as err:
        raise ProjectError(f"cannot be read: {err.strerror}", where=str(path)) from err
    context.verify_mode = ssl.CERT_REQUIRED
    return path.read_bytes()


def _no_password() -> str:
    raise ProjectError("the private key has a password", fix="store it without one, readable by the server alone")
