"""Which handler answers a method and a path; what does not exist is answered with what does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from kaizen.core.errors import RequestError, nearest
from kaizen.serve.message import Handler, Request, Route
from kaizen.serve.oip import OpenInference, no_model

_MODELS: Final = "/v2/models/"


class Routes:
    """The table of routes.

    Parameters
    ----------
    name
        The endpoint, which is the only model.
    fixed
        Routes by method and path.
    protocol
        Answers the paths with a model and a version in them.
    """

    def __init__(self, name: str, fixed: Mapping[tuple[str, str], Route], protocol: OpenInference) -> None:
        self._name = name
        self._fixed = fixed
        self._models = _MODELS + name
        self._paths = sorted({path for _, path in fixed})
        self._protocol = protocol
        self._infer = Route("infer", protocol.infer(None))
        self._model = Route("model", protocol.model(None))
        self._ready = Route("model_ready", protocol.model_ready(None))
        self._lost = Route("none", lambda request: request.refuse(_nothing_at("/", self._paths)))
        self.every = [*fixed.values(), self._infer, self._model, self._ready, self._lost]

    def listed(self) -> list[tuple[str, str, str]]:
        """Return method, path and name of every route that resolves, the endpoint's name and `{version}` in it."""
        bases = (self._models, f"{self._models}/versions/{{version}}")
        return [
            *((method, path, route.name) for (method, path), route in self._fixed.items()),
            *(
                (method, base + end, route.name)
                for base in bases
                for method, end, route in (
                    ("GET", "", self._model),
                    ("GET", "/ready", self._ready),
                    ("POST", "/infer", self._infer),
                )
            ),
        ]

    def resolve(self, method: str, path: str) -> Route:
        """Return the route; where there is none, one that says so."""
        if method == "HEAD":
            method = "GET"
        path = path.rstrip("/") or "/"
        found = self._fixed.get((method, path))
        if found is not None:
            return found
        if path.startswith(_MODELS):
            return self._of_model(method, path)
        allowed = [other for other, known in self._fixed if known == path]
        if allowed:
            return self._refusing(_not_allowed(method, path, ", ".join(allowed)), allowed[0])
        return self._refusing(_nothing_at(path, [*self._paths, self._models]))

    def _of_model(self, method: str, path: str) -> Route:
        name, _, rest = path[len(_MODELS) :].partition("/")
        version: str | None = None
        if rest.startswith("versions/"):
            version, _, rest = rest.removeprefix("versions/").partition("/")
        if name != self._name:
            return self._refusing(no_model(name, self._name))
        known = {
            "": ("GET", self._model, self._protocol.model),
            "ready": ("GET", self._ready, self._protocol.model_ready),
            "infer": ("POST", self._infer, self._protocol.infer),
        }.get(rest)
        if known is None:
            return self._refusing(_nothing_at(path, [f"{self._models}{end}" for end in ("", "/ready", "/infer")]))
        wanted, route, make = known
        if method != wanted:
            return self._refusing(_not_allowed(method, path, wanted), wanted)
        return route if version is None else _alike(route, make(version))

    def _refusing(self, error: RequestError, allowed: str = "") -> Route:
        def handle(request: Request) -> None:
            if allowed:
                request.refuse(error, extra=f"allow: {allowed}\r\n".encode())
                return
            raise error

        return _alike(self._lost, handle)


def _alike(route: Route, handle: Handler) -> Route:
    """Return a route with another handler that counts in the same figures."""
    twin = Route(route.name, handle)
    twin.counts = route.counts
    return twin


def _not_allowed(method: str, path: str, allowed: str) -> RequestError:
    return RequestError(f"{method} is not allowed at {path[:128]}", status=405, fix=f"use {allowed}")


def _nothing_at(path: str, known: Sequence[str]) -> RequestError:
    return RequestError(f"there is nothing at {path[:128]}", status=404, fix=nearest(path, known))
