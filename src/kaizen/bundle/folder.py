"""A bundle as a folder of plain files: read and proven, with no project and no store.

folder/
  bundle.json        the record: manifest, id, public key, signature
  graph.onnx  signature.json  reference.json  rules.json  environment.json  certificate.json
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

import msgspec

from kaizen.bundle import manifest
from kaizen.bundle.load import Model
from kaizen.bundle.shelf import Shelf, session
from kaizen.bundle.verify import verify_files
from kaizen.core.errors import BundleError, SignatureError
from kaizen.core.records import Bundle


def read_folder(folder: Path, trusted: Collection[str] | None) -> tuple[Bundle, dict[str, bytes]]:
    """Return the record and the files by path, all proven to be what was signed.

    Parameters
    ----------
    trusted
        Public keys, hex, whose signatures count; None: whichever key signed it.

    Raises
    ------
    BundleError
        The folder is no bundle: a file is missing, unknown, or not a plain file.
    SignatureError
        The bundle is corrupted, unsigned, or signed by a key that is not trusted; nothing of it was parsed.
    """
    bundle = _read_record(folder)
    listed = {file.path for file in bundle.files} | {manifest.MANIFEST}
    if unknown := sorted({entry.name for entry in folder.iterdir()} - listed):
        raise BundleError(
            f"the folder has a file that its manifest does not list: {unknown[0]!r}",
            where=str(folder),
            fix="take the folder as it was exported",
        )
    keys = {bundle.public_key} if trusted is None else trusted
    return bundle, verify_files(bundle, lambda file: read_plain(folder / file.path), keys)


def load_folder(folder: Path, trusted: Collection[str] | None, shelf: Shelf | None = None) -> Model:
    """Return the model of a bundle's folder; `trusted` and errors as `read_folder`, `shelf` as of `load`."""
    bundle, files = read_folder(folder, trusted)
    return Model(bundle, session(files.pop(manifest.GRAPH), bundle.id, shelf), files)


def read_plain(path: Path) -> bytes:
    """Return the bytes of a plain file; a link or a device is refused, so nothing outside the folder is read."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path.name} is not a plain file")
        return file.read()


def _read_record(folder: Path) -> Bundle:
    where = str(folder / manifest.MANIFEST)
    try:
        data = read_plain(folder / manifest.MANIFEST)
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
