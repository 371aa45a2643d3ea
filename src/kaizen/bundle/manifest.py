"""What the id of a bundle is a hash of, and so what its signature covers.

    id        = hash(format, name, task, inputs, output, files with their SHA-256 and size)
    signature = Ed25519(private key, id)

The version, the run, the times and the project are the record's, not the manifest's: the same content packed
again has the same id, whenever and by whomever it is packed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from kaizen.core.ids import content_id
from kaizen.core.records import Bundle, Column, File, Seen, Task

FORMAT = 1
GRAPH = "graph.onnx"
SIGNATURE = "signature.json"
REFERENCE = "reference.json"
RULES = "rules.json"
ENVIRONMENT = "environment.json"
CERTIFICATE = "certificate.json"
MANIFEST = "bundle.json"
REQUIRED = frozenset({GRAPH, SIGNATURE, ENVIRONMENT, CERTIFICATE})
KNOWN = REQUIRED | {REFERENCE, RULES}

_ENCODER = msgspec.json.Encoder(order="deterministic")
_HASH = re.compile(r"[0-9a-f]{64}")


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller must know: the columns a row has, what comes back, and rows to try (`signature.json`).

    ``seen`` is empty in bundles of older versions and of graphs from elsewhere.
    """

    task: Task
    inputs: tuple[Column, ...]
    output: str
    examples: tuple[dict[str, float | int | str | bool | None], ...] = ()
    seen: tuple[Seen, ...] = ()


def identity(*, name: str, task: Task, inputs: Sequence[Column], output: str, files: Sequence[File]) -> str:
    """Return the id of a bundle: the hash of its manifest, whatever the order of the files."""
    ordered = sorted(files, key=lambda file: file.path)
    return content_id(FORMAT, name, task, tuple(inputs), output, tuple(ordered))


def identity_of(bundle: Bundle) -> str:
    """Return the id that the bundle's own fields give; a bundle that was changed has another `id`."""
    return identity(name=bundle.name, task=bundle.task, inputs=bundle.inputs, output=bundle.output, files=bundle.files)


def canonical_json(value: object) -> bytes:
    """Return the JSON of a value for people and for hashing: keys in order, indented, one line feed at the end."""
    return msgspec.json.format(_ENCODER.encode(value), indent=2) + b"\n"


def wrong_files(files: Sequence[File]) -> str | None:
    """Say what is wrong with the list of files of a bundle, or None: names are fixed, so no path can lead astray."""
    paths = [file.path for file in files]
    for path in paths:
        if path not in KNOWN:
            return f"it lists the unknown file {path!r}"
        if paths.count(path) > 1:
            return f"it lists {path} twice"
    for path in sorted(REQUIRED):
        if path not in paths:
            return f"it has no {path}"
    for file in files:
        if not _HASH.fullmatch(file.blob):
            return f"{file.path} has no SHA-256 ({file.blob!r})"
    return None
