"""Takes bundles out of a project and into another: a folder of plain files (`folder.py`), checked like any load."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from kaizen.bundle import manifest
from kaizen.bundle.folder import read_folder
from kaizen.bundle.pack import version_of
from kaizen.bundle.verify import verify
from kaizen.core.errors import BundleError
from kaizen.core.ports import Blobs
from kaizen.core.records import Bundle


def export(bundle: Bundle, blobs: Blobs, folder: Path, *, trusted: Collection[str]) -> Path:
    """Write a bundle to a new folder and return it; the folder appears whole or not at all.

    Raises
    ------
    BundleError
        The folder is there already, or cannot be written.
    SignatureError
        The bundle is not what was signed.
    """
    if folder.exists():
        raise BundleError("the folder exists already", where=str(folder), fix="name one that does not exist yet")
    files = verify(bundle, blobs, trusted)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            for path, data in {**files, manifest.MANIFEST: manifest.canonical_json(bundle)}.items():
                (temporary / path).write_bytes(data)
            temporary.chmod(0o755)
            temporary.rename(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as err:
        raise BundleError(f"the folder cannot be written: {err}", where=str(folder)) from err
    return folder


def import_folder(
    folder: Path,
    *,
    blobs: Blobs,
    trusted: Collection[str],
    project: str,
    known: Sequence[Bundle],
    at: datetime,
    by: str,
) -> Bundle:
    """Store an exported bundle's files and return its record in this project; the caller keeps the record.

    The id and the signature stay the packer's. The version is the next of its name here, unless the same
    bundle is known already.

    Raises
    ------
    BundleError
        The folder is no bundle: a file is missing, unknown, or not a plain file.
    SignatureError
        The bundle is corrupted, unsigned, or signed by a key that is not trusted; nothing was stored.
    """
    bundle, files = read_folder(folder, trusted)
    for data in files.values():
        blobs.put(data)
    same = next((other for other in known if other.id == bundle.id), None)
    if same is not None:
        return same
    version = version_of(bundle.id, bundle.name, known)
    return msgspec.structs.replace(bundle, project=project, at=at, by=by, version=version, run=None, parents=())
