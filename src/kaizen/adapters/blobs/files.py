"""Blobs as files, named by the hash of their content.

blobs/3a/3a7bd3e2…     a blob: read-only, brought to the disk before it got this name
blobs/incoming/…       what is being written, or was when a process died
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kaizen.core.errors import NotFoundError, StoreError
from kaizen.core.ids import file_hash

_KEY = re.compile("[0-9a-f]{64}")
_CHUNK = 1 << 20
_STALE_S = 3600.0  # a draft that nobody has written to for so long is a dead process's


class FileBlobs:
    """Blobs in a folder. Safe between threads and processes; the contract is `kaizen.core.ports.Blobs`.

    Parameters
    ----------
    folder
        Where the blobs are; made with the first `put`.

    Examples
    --------
    >>> blobs = FileBlobs(tempfile.mkdtemp())
    >>> key = blobs.put(b"kaizen")
    >>> blobs.path(key).read_bytes()
    b'kaizen'
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._is_swept = False

    def put(self, data: bytes | Path) -> str:
        """Store bytes, or a file's bytes (a piece at a time), and return their SHA-256.

        When this returns the blob is on the disk under its name; whatever happens before, no other name but a
        draft's has any of it.
        """
        try:
            if isinstance(data, Path):
                return self._put_file(data)
            key = hashlib.sha256(data).hexdigest()
            if not self._has(key, len(data)):
                with self._draft() as (draft, fd):
                    _write(fd, data)
                    self._keep(draft, fd, key)
        except OSError as err:
            raise _unstored(data, self.folder, err) from err
        return key

    def path(self, key: str, *, verified: bool = False) -> Path:
        """Return the file of this blob; with `verified`, after reading it and comparing the hash.

        Raises
        ------
        NotFoundError
            If there is no such blob.
        StoreError
            If its bytes are no longer those that were put, or cannot be read.
        """
        path = self._place(key)
        if not _KEY.fullmatch(key) or not path.is_file():
            raise NotFoundError(f"there is no blob {key!r}", where=str(self.folder))
        if verified:
            self._verify(path, key)
        return path

    def _verify(self, path: Path, key: str) -> None:
        fix = "restore it from a backup, or delete it and run again what made it"
        try:
            found = file_hash(path)
        except OSError as err:
            raise StoreError(f"the blob cannot be read: {err}", where=str(path), fix=fix) from err
        if found != key:
            raise StoreError(f"the blob is damaged: its bytes hash to {found}", where=str(path), fix=fix)

    def _place(self, key: str) -> Path:
        return self.folder / key[:2] / key

    def _has(self, key: str, size_bytes: int) -> bool:
        try:
            return self._place(key).stat().st_size == size_bytes
        except FileNotFoundError:
            return False

    def _put_file(self, source: Path) -> str:
        """Hash and copy in one pass, so that the name fits the bytes even if the file changes meanwhile."""
        digest, size = hashlib.sha256(), 0
        with source.open("rb") as file, self._draft() as (draft, fd):
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                _write(fd, chunk)
            key = digest.hexdigest()
            if not self._has(key, size):
                self._keep(draft, fd, key)
        return key

    @contextmanager
    def _draft(self) -> Iterator[tuple[Path, int]]:
        """Give a file to write to, which is gone afterwards unless it was kept."""
        incoming = self.folder / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        self._sweep(incoming)
        fd, name = tempfile.mkstemp(dir=incoming)
        draft = Path(name)
        try:
            yield draft, fd
        finally:
            os.close(fd)
            draft.unlink(missing_ok=True)

    def _keep(self, draft: Path, fd: int, key: str) -> None:
        os.fchmod(fd, 0o444)
        os.fsync(fd)
        place = self._place(key)
        place.parent.mkdir(exist_ok=True)
        draft.replace(place)
        _sync_folder(place.parent)

    def _sweep(self, incoming: Path) -> None:
        """Delete, once, what dead processes left."""
        if self._is_swept:
            return
        self._is_swept = True
        oldest = time.time() - _STALE_S
        for draft in incoming.iterdir():
            try:
                if draft.stat().st_mtime < oldest:
                    draft.unlink()
            except FileNotFoundError:
                continue  # another process was faster


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _unstored(data: bytes | Path, folder: Path, err: OSError) -> StoreError:
    what = f"the file {data} was not stored" if isinstance(data, Path) else f"{len(data)} bytes were not stored"
    return StoreError(
        f"{what}: {err}",
        where=str(folder),
        fix="check that it exists, that the folder may be written to and that its disk has space",
    )
