"""Loads a bundle to answer rows: verified first, parsed after.

The serving process stands on this file, so it needs no builder of graphs, no scipy and no DuckDB.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.bundle import manifest
from kaizen.bundle.shelf import Shelf
from kaizen.bundle.verify import verify
from kaizen.core.ports import Blobs
from kaizen.core.records import Bundle, Column
from kaizen.core.rules import Rules
from kaizen.graph.frame import Frame, feeds
from kaizen.graph.rows import Row, RowReader
from kaizen.graph.run import Session


class Model:
    """A verified bundle, ready to answer. Thread-safe.

    Attributes
    ----------
    bundle
        The record.
    session
        The graph.
    files
        The other files of the bundle by path, verified: `signature.json`, `reference.json` and so on.
    """

    def __init__(self, bundle: Bundle, session: Session, files: Mapping[str, bytes]) -> None:
        self.bundle = bundle
        self.session = session
        self.files = files
        self._reader = RowReader(bundle.inputs)

    @property
    def inputs(self) -> tuple[Column, ...]:
        """The raw columns of a row."""
        return self.bundle.inputs

    def run(self, tensors: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Return the answers to rows packed as tensors (see `kaizen.graph.frame.feeds`)."""  # (rows,)
        return self.session.run(tensors)[:, 0]

    def predict(self, frame: Frame) -> NDArray[np.float64]:
        """Return the answers to the rows of a frame."""  # (rows,)
        return self.run(feeds(self.inputs, frame))

    def predict_rows(self, rows: Sequence[Row]) -> list[float]:
        """Return the answers to rows in the wire form; `RequestError` names the row and column that is wrong."""
        if not rows:
            return []
        answers: list[float] = self.run(self._reader.feeds(rows)).tolist()
        return answers

    def signature(self) -> manifest.Signature:
        """Return the columns, the answer, and rows to try."""
        return msgspec.json.decode(self.files[manifest.SIGNATURE], type=manifest.Signature)

    def rules(self) -> Rules | None:
        """Return what must hold for a row, None if the bundle does not say."""
        found = self.files.get(manifest.RULES)
        return None if found is None else msgspec.json.decode(found, type=Rules)


def load(bundle: Bundle, blobs: Blobs, trusted: Collection[str], shelf: Shelf | None = None) -> Model:
    """Return the model of a bundle.

    Parameters
    ----------
    trusted
        Public keys, hex, whose signatures count (`kaizen.bundle.keys.trusted`).
    shelf
        Where the processes of one server share the weights of what they load.

    Raises
    ------
    SignatureError
        The bundle is corrupted, unsigned, or signed by a key that is not trusted; nothing of it was parsed.
    BundleError
        The graph stands on something outside itself and ONNX, or the runtime cannot run it.
    """
    shared = None
    if shelf is not None:
        shared = shelf.graph(bundle.id, lambda: verify(bundle, blobs, trusted)[manifest.GRAPH])
    files = verify(bundle, blobs, trusted, without_graph=shared is not None)
    session = Session(files.pop(manifest.GRAPH)) if shared is None else Session(shared, is_optimized=True)
    return Model(bundle, session, files)
