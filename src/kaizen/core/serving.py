"""How a project is served, as its file declares it: ``[serve]`` and the sections below it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from kaizen.core.durations import duration, rate
from kaizen.core.errors import ProjectError
from kaizen.core.sizes import size_bytes

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


class LogSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the prediction log may not show."""

    encrypt: str | None = None  # where the keys are: "env:NAME" or "file:PATH"
    hash: list[str] = []
    drop: list[str] = []


class TelemetrySection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is told of each request, and to whom."""

    traces: str = "off"  # or "otlp", or the address of a collector
    sample: float = 0.01  # share of the requests whose caller has not decided
    access_log: str = "off"  # or "-", or a path


class ServeSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the endpoint listens, and what an answer promises."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1  # processes that share the port and the weights
    durability: Literal["os", "disk"] = "os"
    deadline: str = "1s"  # of requests that do not say; 0s: none
    max_body: str = "64MiB"
    rate_limit: str | None = None  # of one client
    on_violation: Literal["count", "refuse"] = "count"  # what happens to a row that breaks a declared rule
    auth: AuthSection = AuthSection()
    tls: TlsSection = TlsSection()
    log: LogSection = LogSection()
    telemetry: TelemetrySection = TelemetrySection()


def check(serve: ServeSection, where: str) -> None:
    """Raise `ProjectError` for values that have the right type and still cannot be."""
    for path, wrong, value in _wrong(serve):
        shown = "" if value is None else f" (value {value!r})"
        raise ProjectError(f"{wrong}{shown}", where=f"{where}: serve{path and '.'}{path}")
    _check_pairs(serve.auth, serve.tls, where)


def _wrong(serve: ServeSection) -> Iterator[tuple[str, str, Any]]:
    """Yield the key, what is wrong with its value, and the value where it may be shown."""
    for path, read_value, value in (
        ("deadline", duration, serve.deadline),
        ("max_body", size_bytes, serve.max_body),
        ("rate_limit", rate, serve.rate_limit),
        ("auth.leeway", duration, serve.auth.leeway),
    ):
        try:
            if value is not None:
                read_value(value)
        except ValueError as err:
            yield path, str(err), value
    if not 0 <= serve.port <= 65535:
        yield "port", "a port lies between 1 and 65535, or is 0 to take a free one", serve.port
    if not 1 <= serve.workers <= 64:
        yield "workers", "a server has 1 to 64 workers, about one a core", serve.workers
    if serve.log.encrypt is not None and not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+", serve.log.encrypt):
        # The value is left out: what stands there by mistake may be the key itself.
        yield "log.encrypt", 'write where the key is: "env:NAME" or "file:PATH"', None
    if not 0 <= serve.telemetry.sample <= 1:
        yield "telemetry.sample", "a share lies between 0 and 1", serve.telemetry.sample
    if serve.telemetry.traces not in ("off", "otlp") and not re.fullmatch(
        r"https?://[^\s/]\S*", serve.telemetry.traces
    ):
        # Left out as well: an address may hold a password.
        yield "telemetry.traces", "write 'off', 'otlp' or an address such as http://127.0.0.1:4318/v1/traces", None
    if not serve.telemetry.access_log:
        yield "telemetry.access_log", "write 'off', '-' or a path", None
    for name in sorted({*serve.log.hash} & {*serve.log.drop}):
        yield "log", f"the column {name!r} is in hash as well as in drop", None


def _check_pairs(auth: AuthSection, tls: TlsSection, where: str) -> None:
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
