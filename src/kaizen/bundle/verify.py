"""Checks a bundle before anything in it is parsed; whatever is not proven is refused.

fields ─► id ─► trusted key ─► signature ─► every file's size and SHA-256 ─► what the graph may contain
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection

from kaizen.bundle import allowed, keys, manifest
from kaizen.core.errors import KaizenError, SignatureError
from kaizen.core.ports import Blobs
from kaizen.core.records import Bundle, File


def verify(bundle: Bundle, blobs: Blobs, trusted: Collection[str], *, without_graph: bool = False) -> dict[str, bytes]:
    """Return the files of a bundle by path, all proven to be what was signed.

    Parameters
    ----------
    bundle
        The record.
    blobs
        Where its files are.
    trusted
        Public keys, hex, whose signatures count.
    without_graph
        Leave out the graph, which is large, and which somebody has who verified it.

    Raises
    ------
    SignatureError
        The bundle is unsigned, signed by a key that is not trusted, or changed after it was signed.
    """
    skipped = (manifest.GRAPH,) if without_graph else ()
    return verify_files(bundle, lambda file: blobs.path(file.blob).read_bytes(), trusted, skipped)


def verify_files(
    bundle: Bundle, read: Callable[[File], bytes], trusted: Collection[str], skipped: Collection[str] = ()
) -> dict[str, bytes]:
    """Return the files of a bundle by path as `verify` does, read by a function of one's own."""
    where = f"bundle {bundle.name} {bundle.id[:12]}"
    check_signature(bundle, trusted)
    files = {file.path: _checked(file, read, where) for file in bundle.files if file.path not in skipped}
    for path in files.keys() & {manifest.GRAPH, manifest.LOSS}:
        allowed.check(files[path], where=f"{where}: {path}")
    return files


def check_signature(bundle: Bundle, trusted: Collection[str]) -> None:
    """Raise `SignatureError` unless a trusted key signed exactly this manifest; reads no file."""
    where = f"bundle {bundle.name} {bundle.id[:12]}"
    wrong = manifest.wrong_files(bundle.files)
    if wrong is not None:
        raise SignatureError(f"the manifest is not one of a bundle: {wrong}", where=where, fix=_FETCH)
    if manifest.identity_of(bundle) != bundle.id:
        raise SignatureError("the bundle is corrupted: its id is not that of its content", where=where, fix=_FETCH)
    if not bundle.signature:
        raise SignatureError("the bundle is unsigned", where=where, fix="pack it again in a project that has a key")
    if bundle.public_key not in trusted:
        raise SignatureError(
            f"the bundle is signed by an unknown key ({bundle.public_key or 'none'})",
            where=where,
            fix="if you know whose key it is: kaizen bundle import FOLDER --trust KEY",
        )
    if not keys.is_signed(bytes.fromhex(bundle.id), public=bundle.public_key, signature=bundle.signature):
        raise SignatureError("the bundle is corrupted: its signature is not that of its id", where=where, fix=_FETCH)


_FETCH = "get it again from where it was packed, or go back to an earlier bundle"


def _checked(file: File, read: Callable[[File], bytes], where: str) -> bytes:
    try:
        data = read(file)
    except (OSError, KaizenError) as err:
        raise SignatureError(f"{file.path} cannot be read: {err}", where=where, fix=_FETCH) from err
    if len(data) != file.size_bytes or hashlib.sha256(data).hexdigest() != file.blob:
        raise SignatureError(
            f"{file.path} is corrupted: {len(data)} bytes whose SHA-256 is not the one that was signed",
            where=where,
            fix=_FETCH,
        )
    return data
