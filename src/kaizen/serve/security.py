"""The guard and the certificate that a project file declares under ``[serve]``, or none."""

from __future__ import annotations

import time
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kaizen.core import plugins
from kaizen.core.durations import duration, rate
from kaizen.core.serving import AuthSection, ServeSection, TlsSection
from kaizen.serve.apikeys import FILE_NAME, ApiKeys, KeyFile
from kaizen.serve.guard import Guard
from kaizen.serve.ratelimit import RateLimit
from kaizen.serve.tls import Tls

if TYPE_CHECKING:
    from kaizen.serve.tokens import Tokens

_ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")


def guard_of(section: ServeSection, *, home: Path, state: Path) -> Guard | None:
    """Return who lets requests through, None if nothing is declared.

    Parameters
    ----------
    section
        What is declared.
    home
        The folder that paths are relative to.
    state
        The folder with the file of API keys.
    """
    auth = section.auth
    if not auth.api_keys and auth.jwks is None and section.rate_limit is None:
        return None
    return Guard(
        keys=ApiKeys(KeyFile(state / FILE_NAME), time.time) if auth.api_keys else None,
        tokens=None if auth.jwks is None else _tokens(auth, auth.jwks, home),
        rate_limit=None if section.rate_limit is None else RateLimit(rate(section.rate_limit)),
    )


def tls_of(section: TlsSection, *, home: Path) -> Tls | None:
    """Return the certificate that is declared, None if none is."""
    if section.cert is None or section.key is None:
        return None
    return Tls(home / section.cert, home / section.key, None if section.client_ca is None else home / section.client_ca)


def is_open_to_strangers(section: ServeSection, host: str) -> bool:
    """Say whether whoever reaches the port from another machine is answered without being asked who he is."""
    is_asked = section.auth.api_keys or section.auth.jwks is not None or section.tls.client_ca is not None
    return not is_asked and not _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tokens(auth: AuthSection, jwks: str, home: Path) -> Tokens:
    try:
        from kaizen.serve.jwks import Jwks, is_url
        from kaizen.serve.tokens import Tokens
    except ModuleNotFoundError as err:
        raise plugins.missing(err) from err
    algorithms = auth.algorithms or _ALGORITHMS
    return Tokens(
        Jwks(jwks if is_url(jwks) else str(home / jwks), algorithms),
        issuer=auth.issuer or "",
        audience=auth.audience or "",
        algorithms=algorithms,
        leeway_s=duration(auth.leeway).total_seconds(),
    )
