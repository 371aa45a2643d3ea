"""What the guard and the certificate need of gRPC: a call's head, its caller's address, a port's credentials."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import grpc

from kaizen.serve.message import Head, Route
from kaizen.serve.tls import Tls

_NAMES = ("authorization", "x-api-key")


def head_of(context: Any, route: Route) -> Head:
    """Return the head of a call as the guard reads it."""
    metadata = context.invocation_metadata() or ()
    headers = {key.encode(): value.encode() for key, value in metadata if key in _NAMES and isinstance(value, str)}
    head = Head("POST", "", headers, keep_alive=True, old=False)
    head.route = route
    return head


def address_of(context: Any) -> tuple[str] | None:
    """Return the host that a call comes from, as a socket says it: of ``ipv6:%5B::1%5D:4711`` it is ``::1``."""
    family, _, rest = unquote(str(context.peer())).partition(":")
    host = rest.rpartition(":")[0].strip("[]")
    return (host,) if family in ("ipv4", "ipv6") else None


def credentials(tls: Tls) -> Any:
    """Return the credentials of a port; each new connection is given the certificate of that moment."""
    used = tls.version

    def changed() -> Any:
        nonlocal used
        if used == tls.version:
            return None
        used = tls.version
        return configuration()

    def configuration() -> Any:
        return grpc.ssl_server_certificate_configuration([tls.pair], root_certificates=tls.client_ca)

    return grpc.dynamic_ssl_server_credentials(
        configuration(), changed, require_client_authentication=tls.client_ca is not None
    )
