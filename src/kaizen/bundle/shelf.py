"""The shelf of a server with several workers: graphs that one of them verified, with weights that all of them map.

    SHELF/<bundle>/graph.onnx             what the runtime made of the graph
    SHELF/<bundle>/graph.onnx.weights     its dense weights, mapped by each worker, in memory once
    SHELF/<bundle>.apart                  has no dense weights worth it: each worker loads the bundle by itself
    SHELF/<bundle>.lock                   held by the worker that is at it

The folder belongs to one running server and goes with it: what lies there was verified by this server and is never
taken over by another. Only its user may enter it.
"""

from __future__ import annotations

import fcntl
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kaizen.bundle import manifest
from kaizen.bundle.allowed import fields
from kaizen.core.errors import BundleError
from kaizen.graph.run import Session, optimize

logger = logging.getLogger("kaizen.bundle")

DENSE_BYTES: Final = 64 << 10  # a tensor from here on is worth a mapping
LEAST_BYTES: Final = 1 << 20  # dense weights of a graph that are worth a file
_MODEL_GRAPH, _GRAPH_TENSOR = 7, 5  # field numbers of onnx/onnx.proto


class Shelf:
    """Keeps the graphs of verified bundles where several processes can map them. Safe between processes.

    Parameters
    ----------
    folder
        Of the server; there already, and empty when it starts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def graph(self, key: str, verified: Callable[[], bytes]) -> Path | None:
        """Return the file of a bundle's graph, for a session that is told `is_optimized`; None: nothing to share.

        The first process that asks makes the file, the others wait for it; if it dies, the next one makes it.

        Parameters
        ----------
        key
            The bundle's id.
        verified
            Returns the graph's bytes once they are proven; what it raises is passed on.
        """
        place, apart = self._folder / key / manifest.GRAPH, self._folder / f"{key}.apart"
        with self._held(key):
            if not place.exists() and not apart.exists() and not self._made(verified(), place):
                apart.touch()
        return place if place.exists() else None

    def _made(self, graph: bytes, place: Path) -> bool:
        if dense_bytes(graph) < LEAST_BYTES:
            return False
        draft = place.parent.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)  # of a process that died at it
        try:
            draft.mkdir()
            optimize(graph, draft / place.name, dense_bytes=DENSE_BYTES)
            draft.rename(place.parent)
        except (BundleError, OSError) as err:  # a full disk, say: it is only memory that is lost by that
            logger.warning("weights not shared bundle=%s reason=%s", place.parent.name, err)
            shutil.rmtree(draft, ignore_errors=True)
            return False
        return True

    @contextmanager
    def _held(self, key: str) -> Iterator[None]:
        with (self._folder / f"{key}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def session(graph: bytes, key: str, shelf: Shelf | None, output: str | None = None) -> Session:
    """Return a session on a verified graph, with its weights shared where there is a shelf and it is worth it."""
    shared = None if shelf is None else shelf.graph(key, lambda: graph)
    return Session(graph, output) if shared is None else Session(shared, output, is_optimized=True)


def dense_bytes(graph: bytes) -> int:
    """Return how large the dense weights of a checked graph are: its initializers from `DENSE_BYTES` on."""
    models = (value for field, value in fields(memoryview(graph)) if field == _MODEL_GRAPH)
    tensors = (
        len(value)
        for model in models
        if isinstance(model, memoryview)
        for field, value in fields(model)
        if field == _GRAPH_TENSOR and isinstance(value, memoryview)
    )
    return sum(size for size in tensors if size >= DENSE_BYTES)
