"""What `kaizen serve PATH …` serves: the folder of a bundle, an ONNX file, or a folder of these; no project needed.

churn.onnx            a graph, named churn             needs --trust: nothing proves where it comes from
bundles/churn/        an exported bundle               its signature is checked; --trust takes any signer
models/               each of the above that is in it, named as it is there
fraud=export-3/       the same under another name
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from kaizen.bundle import manifest
from kaizen.bundle.bare import load_bare
from kaizen.bundle.folder import load_folder
from kaizen.bundle.shelf import Shelf
from kaizen.bundle.told import ForeignSignature
from kaizen.core import projectfile
from kaizen.core.errors import BundleError
from kaizen.core.records import Arm, Bundle, Endpoint
from kaizen.serve.generation import Model
from kaizen.serve.models import EndpointSource
from kaizen.serve.told import told

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_GRAPH: Final = "model.onnx"  # how Triton, KServe and others call the file in a model's folder


def sources(
    paths: Sequence[str],
    *,
    trusted: Collection[str] | None,
    signature: ForeignSignature | None,
    shelf: Shelf | None = None,
) -> list[EndpointSource]:
    """Return what these paths hold, loaded once, so that what is wrong is said before anything is served.

    Parameters
    ----------
    trusted
        Public keys, hex, whose bundles are served; None: a person trusts what is there.
    shelf
        Where several workers share weights.

    Raises
    ------
    KaizenError
        A path holds nothing to serve, what it holds is not trusted or cannot be loaded, or a name occurs twice.
    """
    return [
        source(name, path, trusted=trusted, signature=signature, shelf=shelf) for name, path in _found(paths).items()
    ]


class Files:
    """The models at some paths, to be loaded by name; parameters and errors as of `sources`. Thread-safe."""

    def __init__(
        self, paths: Sequence[str], *, trusted: Collection[str] | None, signature: ForeignSignature | None
    ) -> None:
        self._paths = _found(paths)
        self._trusted = trusted
        self._signature = signature
        self._loads = dict.fromkeys(self._paths, 1)  # the first is `sources`

    def names(self) -> list[str]:
        """Return the names of all."""
        return list(self._paths)

    def source(self, name: str) -> EndpointSource:
        """Return a model as its files are now, under the next revision."""
        self._loads[name] += 1
        return source(
            name, self._paths[name], trusted=self._trusted, signature=self._signature, revision=self._loads[name]
        )


def source(
    name: str,
    path: Path,
    *,
    trusted: Collection[str] | None,
    signature: ForeignSignature | None = None,
    revision: int = 1,
    shelf: Shelf | None = None,
) -> EndpointSource:
    """Return one model, loaded; parameters and errors as of `sources`."""
    if not _NAME.fullmatch(name):
        raise BundleError(
            f"{name[:64]!r} is no name for a model: letters, digits, '.', '-' and '_'",
            where=str(path),
            fix=f"give it one: kaizen serve NAME={path}",
        )
    model = _load(name, path, trusted, signature, shelf)
    record = Endpoint(
        id=f"{name}@{revision}",
        project=name,
        at=datetime.now(UTC),
        by="",
        name=name,
        revision=revision,
        arms=(Arm(model.bundle.id, "champion", 1.0),),
        decision="",
    )
    return EndpointSource(name=name, endpoint=lambda: record, load=lambda _: model)


def only(name: str, path: Path, *, trusted: Collection[str] | None) -> EndpointSource:
    """Return the one model that is at a path or in the folder there; parameters and errors as of `sources`."""
    inside = [path] if _is_model(path) else _models_in(path)
    if len(inside) != 1:
        raise BundleError(f"there are {len(inside)} models where one is to be", where=str(path), fix=_WHAT)
    return source(name, inside[0], trusted=trusted)


def example(of: EndpointSource) -> bytes | None:
    """Return the body of a request to try, from the signature of what `source` made, None if it has no examples."""
    record = of.endpoint()
    examples, _ = told(None if record is None else of.load(record.champion.bundle))
    return msgspec.json.encode({"rows": examples[:1]}) if examples else None


def _found(paths: Sequence[str]) -> dict[str, Path]:
    """Return where the models at some paths are, by name."""
    found: dict[str, Path] = {}
    for text in paths:
        for name, path in _named(text):
            if name in found:
                raise BundleError(
                    f"two models would be named {name!r}",
                    where=str(path),
                    fix=f"give one a name: kaizen serve NAME={path}",
                )
            found[name] = path
    return found


def bundle(of: EndpointSource) -> Bundle:
    """Return the bundle of what `source` made."""
    record = of.endpoint()
    assert record is not None
    return of.load(record.champion.bundle).bundle


def _load(
    name: str, path: Path, trusted: Collection[str] | None, signature: ForeignSignature | None, shelf: Shelf | None
) -> Model:
    if (path / manifest.MANIFEST).is_file():
        return load_folder(path, trusted, shelf)
    graph = path / _GRAPH if path.is_dir() else path
    if not _is_model(path):
        raise BundleError("there is nothing to serve here", where=str(path), fix=_WHAT)
    if trusted is not None:
        raise BundleError(
            "this file is unsigned: nothing says who made it",
            where=str(graph),
            fix="if you know: kaizen serve --trust; to sign it: kaizen bundle import in a project",
        )
    return load_bare(graph, signature, name=name, shelf=shelf)


def _named(text: str) -> Iterator[tuple[str, Path]]:
    name, equals, rest = text.partition("=")
    path = Path(rest) if equals and not Path(text).exists() else Path(text)
    if not path.exists():
        raise BundleError("there is no such file or folder", where=str(path), fix=_WHAT)
    if (path / projectfile.FILE_NAME).is_file():
        raise BundleError("this is a project", where=str(path), fix=f"kaizen serve -C {path}")
    own = name if path != Path(text) else ""
    if _is_model(path):
        yield own or (path.resolve().name if path.is_dir() else path.stem), path
        return
    inside = _models_in(path)
    if not inside or (own and len(inside) > 1):
        raise BundleError("there is nothing to serve here", where=str(path), fix=_WHAT)
    for entry in inside:
        yield own or (entry.name if entry.is_dir() else entry.stem), entry


def _models_in(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if _is_model(entry)) if path.is_dir() else []


def _is_model(path: Path) -> bool:
    if path.is_dir():
        return (path / manifest.MANIFEST).is_file() or (path / _GRAPH).is_file()
    return path.suffix == ".onnx" and path.is_file()


_WHAT: Final = "name the folder of a bundle (kaizen bundle export), an .onnx file, or a folder of these"
