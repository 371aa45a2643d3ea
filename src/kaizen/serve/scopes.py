"""Which scope a route asks of its callers: one table for HTTP and gRPC. What is not in it is for admins.

| scope    | allows                                                                         |
|----------|--------------------------------------------------------------------------------|
| predict  | to ask for predictions                                                         |
| feedback | to tell what turned out to be true                                             |
| read     | to read schemas, documents and metadata, in which rows of the data are examples |
| metrics  | to read the figures                                                            |
| admin    | to change what serves                                                          |
| any      | what whoever is known may do: to be told that there is no such route           |
| open     | what everybody may do: to see whether the server lives                         |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from kaizen.core.errors import RequestError

Scope: TypeAlias = Literal["predict", "feedback", "read", "metrics", "admin", "any", "open"]
GIVEN: Final[tuple[Scope, ...]] = ("predict", "feedback", "read", "metrics", "admin")  # what a caller can be given

ROUTES: Final[Mapping[str, Scope]] = {
    "predict": "predict",
    "infer": "predict",
    "feedback": "feedback",
    "schema": "read",
    "openapi": "read",
    "server": "read",
    "models": "read",
    "model": "read",
    "model_ready": "read",
    "metrics": "metrics",
    "stats": "metrics",
    "model_stats": "metrics",
    "config": "read",
    "index": "read",
    "load": "admin",
    "unload": "admin",
    "unsupported": "read",
    "docs": "open",  # without a row in it where callers are asked who they are: the page asks for the key
    "health": "open",
    "live": "open",
    "ready": "open",
    "none": "any",
    "broken": "open",
    # of other platforms
    "invocations": "predict",
    "invoke": "predict",
    "v1_predict": "predict",
    "vertex_predict": "predict",
    "score": "predict",
    "version": "read",
    "v1_models": "read",
    "v1_model": "read",
    "v1_metadata": "read",
    "swagger": "read",
    "loaded": "read",
    "loaded_model": "read",
    "add_model": "admin",
    "remove_model": "admin",
    "ping": "open",
    "mlflow_health": "open",
    "vertex_health": "open",
    "alive": "open",
    "score_options": "open",
    "absent": "any",
    # gRPC, by the name of the method
    "grpc_infer": "predict",
    "ModelInfer": "predict",
    "ServerMetadata": "read",
    "ModelMetadata": "read",
    "ModelReady": "read",
    "ModelConfig": "read",
    "ModelStatistics": "metrics",
    "ModelStreamInfer": "predict",
    "RepositoryIndex": "read",
    "RepositoryModelLoad": "admin",
    "RepositoryModelUnload": "admin",
    "ServerLive": "open",
    "ServerReady": "open",
    "Check": "open",
    "Watch": "open",
    # calls that are not there, and say so
    "TraceSetting": "read",
    "LogSettings": "read",
    **{
        f"{kind}SharedMemory{verb}": "read"
        for kind in ("System", "Cuda")
        for verb in ("Status", "Register", "Unregister")
    },
}


class Grant(NamedTuple):
    """What a caller may do, as long as nothing has changed.

    Attributes
    ----------
    client
        Who it is: ``key:ID``, ``sub:NAME``, or nothing if nobody was asked.
    scopes
        What was given.
    until
        When it ends, in seconds since 1970.
    epoch
        Of the guard; a grant of another epoch is worth nothing.
    """

    client: str
    scopes: frozenset[str]
    until: float
    epoch: int = 0


def scope_of(name: str) -> Scope:
    """Return the scope that a route or a method asks for."""
    return ROUTES.get(name, "admin")


def unauthorized(what: str, *, fix: str = "", error: str = "") -> RequestError:
    """Return the error for a caller who is not known; `error` is one of RFC 6750 (2012), section 3.1."""
    challenge = b"Bearer" + (f' error="{error}"'.encode() if error else b"")
    return RequestError(what, status=401, fix=fix, headers=b"www-authenticate: %b\r\n" % challenge)


def forbidden(scope: Scope) -> RequestError:
    """Return the error for a caller who is known and lacks a scope."""
    challenge = f'www-authenticate: Bearer error="insufficient_scope", scope="{scope}"\r\n'.encode()
    what, fix = f"the scope {scope!r} is needed here", "use a key or a token that has it"
    return RequestError(what, status=403, fix=fix, headers=challenge)
