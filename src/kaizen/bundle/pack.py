"""Packs a graph with what proves it: signature, reference, environment and certificate, under one signed id.

    graph.onnx         numbers, times, strings -> the answer
    signature.json     columns, answer, rows to try
    reference.json     what the monitors hold the stream against (not for a graph from elsewhere)
    rules.json         what must hold for a row (nor this)
    environment.json   versions and code revision
    certificate.json   what was compared with the trained model, and the outcome

Nothing here depends on the time: the same parts give the same files, the same id and the same signature.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaizen.bundle import allowed, manifest
from kaizen.bundle.certify import Certificate
from kaizen.bundle.environment import Environment
from kaizen.bundle.keys import SigningKey
from kaizen.bundle.told import Example
from kaizen.core.clock import from_us
from kaizen.core.errors import BundleError, KaizenError
from kaizen.core.ports import Blobs
from kaizen.core.records import Bundle, Column, File, Seen, Task
from kaizen.core.rules import Rules
from kaizen.graph.frame import MISSING_TIME, Frame, feeds, from_rows, grouped, rows_of
from kaizen.graph.run import Session

MOST_VALUES = 64
"""So many values of a category are told to callers."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What goes into a bundle.

    Parameters
    ----------
    graph
        ONNX, whole: the groups of `inputs` to the answer, double (n, 1).
    task, inputs, output
        What is asked, the raw columns, and the name of the answer: ``probability`` or ``value``.
    certificate
        Of this very graph.
    environment
        Where it was made.
    reference
        The monitors' reference as JSON; None if there is none.
    rules
        What must hold for a row; None if nothing is known.
    examples
        Rows in the wire form that a caller can try.
    seen
        Ranges and categories of the rows that the model was made from; what callers are told, never enforced.
    """

    graph: bytes
    task: Task
    inputs: tuple[Column, ...]
    output: str
    certificate: Certificate
    environment: Environment
    reference: bytes | None = None
    rules: Rules | None = None
    examples: tuple[Example, ...] = ()
    seen: tuple[Seen, ...] = ()


def pack(
    parts: Parts,
    *,
    name: str,
    project: str,
    blobs: Blobs,
    key: SigningKey,
    known: Sequence[Bundle],
    at: datetime,
    by: str,
    run: str | None = None,
    parents: Sequence[str] = (),
) -> Bundle:
    """Store the parts as blobs and return the signed record; the caller keeps the record.

    Parameters
    ----------
    known
        The project's bundles: the new one gets the next version of its name, and content that was packed
        before keeps its version.

    Raises
    ------
    BundleError
        The certificate failed or is of another graph, or the graph does not do what the parts say.
    """
    where = f"bundle {name}"
    _check_certificate(parts, where)
    _check_graph(parts, where)
    files = tuple(_stored(path, data, blobs) for path, data in sorted(_contents(parts).items()))
    identity = manifest.identity(name=name, task=parts.task, inputs=parts.inputs, output=parts.output, files=files)
    return Bundle(
        id=identity,
        project=project,
        at=at,
        by=by,
        parents=tuple(parents),
        name=name,
        version=version_of(identity, name, known),
        task=parts.task,
        run=run,
        inputs=parts.inputs,
        output=parts.output,
        files=files,
        public_key=key.public,
        signature=key.sign(bytes.fromhex(identity)),
    )


def version_of(identity: str, name: str, known: Sequence[Bundle]) -> int:
    """Return the version that this content has, or the next of its name."""
    named = [bundle for bundle in known if bundle.name == name]
    same = next((bundle.version for bundle in named if bundle.id == identity), None)
    return same or 1 + max((bundle.version for bundle in named), default=0)


def examples_of(columns: Sequence[Column], frame: Frame, count: int = 3) -> tuple[Example, ...]:
    """Return the first rows of a frame in the wire form."""
    rows = range(min(count, rows_of(frame)))
    return tuple({column.name: _plain(column, frame[column.name][row]) for column in columns} for row in rows)


def seen_of(columns: Sequence[Column], frame: Frame) -> tuple[Seen, ...]:
    """Return what the rows of a frame have in each column: ranges of numbers and times, values of categories.

    Left out are texts, columns in which everything is missing, and categories that occur once: whoever reaches the
    server can read this, and what occurs once may name somebody.
    """
    found = (_seen(column, frame[column.name]) for column in columns)
    return tuple(seen for seen in found if seen is not None)


def _seen(column: Column, values: NDArray[Any]) -> Seen | None:
    if column.type == "category":
        tallies = Counter(str(value) for value in values if value)
        ranked = sorted((v for v in tallies if tallies[v] > 1), key=lambda value: (-tallies[value], value))
        told = tuple(ranked[:MOST_VALUES])
        return Seen(column.name, values=told, is_all=len(told) == len(tallies)) if told else None
    if column.type not in ("number", "time"):
        return None
    known = values[values != MISSING_TIME] if column.type == "time" else values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = (_plain(column, value) for value in (known.min(), known.max()))
    return Seen(column.name, low=low, high=high)


def _plain(column: Column, value: Any) -> float | int | str | bool | None:
    if column.type in ("category", "text"):
        return str(value) or None
    if column.type == "time":
        return None if value == MISSING_TIME else from_us(int(value)).isoformat()
    if np.isnan(value):
        return None
    return bool(value) if column.type == "boolean" else float(value)


def _check_certificate(parts: Parts, where: str) -> None:
    certificate = parts.certificate
    if certificate.graph != hashlib.sha256(parts.graph).hexdigest():
        raise BundleError("the certificate is of another graph", where=where, fix="certify the graph that is packed")
    if not certificate.passed:
        raise BundleError(
            f"the graph does not answer as the trained model does: {certificate.says}",
            where=where,
            fix="nothing was packed; learn with another algorithm ([learn] algorithms) and report the failure",
        )


def _check_graph(parts: Parts, where: str) -> None:
    """Raise unless the graph is allowed, reads the groups of its columns, and answers its own examples."""
    allowed.check(parts.graph, where=f"{where}: {manifest.GRAPH}")
    session = Session(parts.graph)
    groups = grouped(parts.inputs)
    if unknown := sorted(set(session.inputs) - set(groups)):
        raise BundleError(
            f"the graph reads {', '.join(unknown)}, which its columns do not give ({', '.join(groups)})", where=where
        )
    for index, example in enumerate(parts.examples):
        try:
            tensors = feeds(parts.inputs, from_rows(parts.inputs, [example]))
        except KaizenError as err:
            raise BundleError(f"example {index} does not fit the columns: {err}", where=where) from err
        if not np.isfinite(session.run(tensors)).all():
            raise BundleError(f"the answer to example {index} is no finite number", where=where)


def _contents(parts: Parts) -> Mapping[str, bytes]:
    signature = manifest.Signature(
        task=parts.task, inputs=parts.inputs, output=parts.output, examples=parts.examples, seen=parts.seen
    )
    contents = {
        manifest.GRAPH: parts.graph,
        manifest.SIGNATURE: manifest.canonical_json(signature),
        manifest.ENVIRONMENT: manifest.canonical_json(parts.environment),
        manifest.CERTIFICATE: manifest.canonical_json(parts.certificate),
    }
    if parts.reference is not None:
        contents[manifest.REFERENCE] = parts.reference
    if parts.rules is not None:
        contents[manifest.RULES] = manifest.canonical_json(parts.rules)
    return contents


def _stored(path: str, data: bytes, blobs: Blobs) -> File:
    return File(path=path, blob=blobs.put(data), size_bytes=len(data))
