"""Who may ask a server, as the project file declares it: ``[serve.auth]`` and ``[serve.tls]``."""

from __future__ import annotations

from typing import Literal

import msgspec

from kaizen.core.errors import ProjectError

Signature = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class AuthSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who may ask: whoever shows an API key of the project, or a token of this issuer."""

    api_keys: bool = False
    jwks: str | None = None  # a file, or an https URL
    issuer: str | None = None
    audience: str | None = None
    algorithms: list[Signature] = []  # none: RS256, ES256, EdDSA
    leeway: str = "30s"


class TlsSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The certificate of the server, and whose callers it lets in."""

    cert: str | None = None
    key: str | None = None
    client_ca: str | None = None


def check(auth: AuthSection, tls: TlsSection, where: str) -> None:
    """Raise `ProjectError` for keys that say something together with others only."""
    needs = [
        ("auth.jwks", auth.jwks, "auth.issuer", auth.issuer),
        ("auth.jwks", auth.jwks, "auth.audience", auth.audience),
        ("auth.issuer", auth.issuer, "auth.jwks", auth.jwks),
        ("auth.audience", auth.audience, "auth.jwks", auth.jwks),
        ("tls.cert", tls.cert, "tls.key", tls.key),
        ("tls.key", tls.key, "tls.cert", tls.cert),
        ("tls.client_ca", tls.client_ca, "tls.cert", tls.cert),
    ]
    for key, value, other, there in needs:
        if value is not None and not there:
            what, fix = f"it needs serve.{other} beside it", "see docs/serve-security.md"
            raise ProjectError(what, where=f"{where}: serve.{key}", fix=fix)
