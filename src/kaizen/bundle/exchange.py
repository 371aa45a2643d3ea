"""Takes bundles out of a project and into another: a folder of plain files, checked like any load.

folder/
  bundle.json        the record: manifest, id, public key, signature
  graph.onnx  signature.json  reference.json  environment.json  certificate.json
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from kaizen.bundle import manifest
from kaizen.bundle.pack import version_of
from kaizen.bundle.verify import verify, verify_files
from kaizen.core.errors import BundleError, SignatureError
from kaizen.core.ports import Blobs
from kaizen.core.records import Bundle, File


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
    bundle = _read_record(folder)
    listed = {file.path for file in bundle.files} | {manifest.MANIFEST}
    if unknown := sorted({entry.name for entry in folder.iterdir()} - listed):
        raise BundleError(
            f"the folder has a file that its manifest does not list: {unknown[0]!r}",
            where=str(folder),
            fix="import the folder as it was exported",
        )
    files = verify_files(bundle, lambda file: _plain_file(folder, file), trusted)
    for data in files.values():
        blobs.put(data)
    same = next((other for other in known if other.id == bundle.id), None)
    if same is not None:
        return same
    version = version_of(bundle.id, bundle.name, known)
    return msgspec.structs.replace(bundle, project=project, at=at, by=by, version=version, run=None, parents=())


def _read_record(folder: Path) -> Bundle:
    where = str(folder / manifest.MANIFEST)
    try:
        data = _read_plain(folder / manifest.MANIFEST)
    except FileNotFoundError as err:
        raise BundleError("this is not the folder of a bundle", where=where, fix="kaizen bundle export ID") from err
    except OSError as err:
        raise BundleError(f"cannot be read: {err}", where=where) from err
    try:
        bundle = msgspec.json.decode(data, type=Bundle)
    except msgspec.DecodeError as err:
        raise BundleError(f"the manifest is not one of a bundle: {err}", where=where) from err
    wrong = manifest.wrong_files(bundle.files)
    if wrong is not None:
        raise SignatureError(f"the manifest is not one of a bundle: {wrong}", where=where)
    return bundle


def _plain_file(folder: Path, file: File) -> bytes:
    return _read_plain(folder / file.path)


def _read_plain(path: Path) -> bytes:
    """Return the bytes of a plain file; a link or a device is refused, so nothing outside the folder is read."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path.name} is not a plain file")
        return file.read()
