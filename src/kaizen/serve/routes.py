"""Which handler answers a method and a path; what does not exist is answered with what does.

A path may have parameters, ``/v2/models/{model}/infer``: what makes the handler is called with them. Names are looked
up when a request is handled, not here, because models come and go while heads are remembered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from kaizen.core.errors import RequestError, nearest
from kaizen.serve.message import Handler, Refusal, Request, Route

_PARAMETER: Final = re.compile(r"\{(\w+)\}")


class Routes:
    """The table of routes; `add` all of them first, then `resolve`."""

    def __init__(self) -> None:
        self._fixed: dict[tuple[str, str], Route] = {}
        self._patterns: list[tuple[str, str, re.Pattern[str], Route, Callable[..., Handler]]] = []
        self._lost = Route("none", lambda request: request.refuse(_nothing_at("/", self._paths())))
        self._by_name: dict[str, Route] = {}

    @property
    def every(self) -> list[Route]:
        """One route of each name, with the figures of all that share it."""
        return [*self._by_name.values(), self._lost]

    def add(self, method: str, path: str, name: str, handle: Handler, refusal: Refusal | None = None) -> None:
        """Answer a path; routes of one name share their figures, and how they write errors."""
        self._fixed[method, path] = self._named(name, handle, path, refusal)

    def add_pattern(
        self, method: str, path: str, name: str, make: Callable[..., Handler], refusal: Refusal | None = None
    ) -> None:
        """Answer all paths of a pattern; `make` is called with its parameters and returns the handler."""
        pieces = _PARAMETER.split(path)  # texts and names in turn
        quoted = [f"(?P<{piece}>[^/:]+)" if i % 2 else re.escape(piece) for i, piece in enumerate(pieces)]
        route = self._named(name, lambda request: request.refuse(_nothing_at(path, [])), path, refusal)
        self._patterns.append((method, path, re.compile("".join(quoted)), route, make))

    def listed(self) -> list[tuple[str, str, str]]:
        """Return method, path and name of every route, parameters in braces."""
        fixed = [(method, path, route.name) for (method, path), route in self._fixed.items()]
        return [*fixed, *((method, path, route.name) for method, path, _, route, _ in self._patterns)]

    def resolve(self, method: str, path: str) -> Route:
        """Return the route; where there is none, one that says so."""
        if method == "HEAD":
            method = "GET"
        path = path.rstrip("/") or "/"
        found = self._fixed.get((method, path))
        if found is not None:
            return found
        allowed = [other for other, known in self._fixed if known == path]
        for wanted, _, pattern, route, make in self._patterns:
            match = pattern.fullmatch(path)
            if match is not None and wanted == method:
                return _alike(route, make(**match.groupdict()), route.path)
            if match is not None:
                allowed.append(wanted)
        if allowed:
            return self._refusing(_not_allowed(method, path, ", ".join(allowed)), ", ".join(allowed))
        return self._refusing(_nothing_at(path, [_filled(known, path) for known in self._paths()]))

    def _named(self, name: str, handle: Handler, path: str, refusal: Refusal | None) -> Route:
        first = self._by_name.get(name)
        if first is not None:
            return _alike(first, handle, path)
        self._by_name[name] = Route(name, handle, path, refusal)
        return self._by_name[name]

    def _paths(self) -> list[str]:
        return sorted({path for _, path, _ in self.listed()})

    def _refusing(self, error: RequestError, allowed: str = "") -> Route:
        def handle(request: Request) -> None:
            if allowed:
                request.refuse(error, extra=f"allow: {allowed}\r\n".encode())
                return
            raise error

        return _alike(self._lost, handle, "")


def _alike(route: Route, handle: Handler, path: str) -> Route:
    """Return a route with another handler that counts in the same figures."""
    twin = Route(route.name, handle, path, route.refusal)
    twin.counts = route.counts
    return twin


def _filled(known: str, path: str) -> str:
    """Return a pattern with the parts of the path that stand where its parameters are."""
    parts = path.split("/")
    places = enumerate(known.split("/"))
    return "/".join(parts[i] if i < len(parts) and _PARAMETER.fullmatch(own) else own for i, own in places)


def _not_allowed(method: str, path: str, allowed: str) -> RequestError:
    return RequestError(f"{method} is not allowed at {path[:128]}", status=405, fix=f"use {allowed}")


def _nothing_at(path: str, known: Sequence[str]) -> RequestError:
    return RequestError(f"there is nothing at {path[:128]}", status=404, fix=nearest(path, known))
