"""API keys: made here, shown once, kept as hashes in a file, looked up by their id.

    kz_ek3v7pqa_x5o2…  =  kz_  +  id (8 characters)  +  _  +  secret (40 characters, 200 random bits)

A password needs a slow hash because it can be guessed. A secret of 200 random bits cannot, however fast the hash is,
so SHA-256 of the whole key is enough: whoever reads the file has no key, and a check costs a microsecond.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import logging
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from kaizen.core.errors import ConflictError, NotFoundError, StoreError, nearest
from kaizen.serve.scopes import Grant, unauthorized

logger = logging.getLogger("kaizen.serve")

FILE_NAME: Final = "api-keys.json"
PREFIX: Final = b"kz_"
_ID_CHARACTERS: Final = 8
_NO_DIGEST: Final = bytes(32)


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of a key: all but the key."""

    id: str
    name: str
    sha256: str  # of the whole key, hex
    scopes: tuple[str, ...]
    at: datetime
    expires: datetime | None = None


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: list[ApiKey]


class KeyFile:
    """The keys of a project, in a file that only its owner may read or write.

    Parameters
    ----------
    path
        Of the file; it is made with the first key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[ApiKey]:
        """Return the keys, oldest first, none if there is no file; `StoreError` if it is damaged or not private."""
        try:
            data, mode = self.path.read_bytes(), stat.S_IMODE(self.path.stat().st_mode)
        except FileNotFoundError:
            return []
        except OSError as err:
            raise StoreError(f"the keys cannot be read: {err.strerror}", where=str(self.path)) from err
        if mode & 0o077:
            what, fix = f"the keys are open to other users (mode {mode:04o})", f"chmod 600 {self.path}"
            raise StoreError(what, where=str(self.path), fix=fix)
        try:
            return msgspec.json.decode(data, type=_Kept).keys
        except msgspec.MsgspecError as err:
            fix = "restore it from a backup, or delete it and make new keys"
            raise StoreError(f"the file of the keys is damaged: {err}", where=str(self.path), fix=fix) from err

    def add(self, name: str, scopes: Sequence[str], *, at: datetime, expires: datetime | None = None) -> str:
        """Make a key and return it, the only time that it is seen; `ConflictError` if the name is taken."""
        with self._alone():
            keys = self.read()
            if name in {key.name for key in keys}:
                fix = f"choose another name, or take that one back: kaizen key revoke {name}"
                raise ConflictError(f"there is a key {name!r} already", where=str(self.path), fix=fix)
            taken = {key.id for key in keys}
            identity = next(fresh for fresh in iter(lambda: _random(5), "") if fresh not in taken)
            token = f"{PREFIX.decode()}{identity}_{_random(25)}"
            digest = hashlib.sha256(token.encode()).hexdigest()
            key = ApiKey(id=identity, name=name, sha256=digest, scopes=tuple(scopes), at=at, expires=expires)
            self._write([*keys, key])
        return token

    def revoke(self, which: str) -> ApiKey:
        """Take a key back, by its name or its id, and return what was kept of it; `NotFoundError` if there is none."""
        with self._alone():
            keys = self.read()
            found = next((key for key in keys if which in (key.name, key.id)), None)
            if found is None:
                fix = nearest(which, [key.name for key in keys]) if keys else "kaizen key add NAME makes one"
                raise NotFoundError(f"there is no key {which[:64]!r}", where=str(self.path), fix=fix)
            self._write([key for key in keys if key is not found])
        return found

    def _write(self, keys: list[ApiKey]) -> None:
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".api-keys-")  # mkstemp makes it mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(_Kept(keys))) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        except BaseException:
            os.unlink(temporary)
            raise

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from changing the file meanwhile."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


class ApiKeys:
    """The keys as a server knows them; follows the file.

    Parameters
    ----------
    file
        Of the keys; read here, so what is wrong with it is said at the start.
    now
        Tells the time, in seconds since 1970.
    """

    def __init__(self, file: KeyFile, now: Callable[[], float]) -> None:
        self._file = file
        self._now = now
        self._seen = _state(file.path)
        self._known = _by_id(file.read())
        self._problem = ""

    def __len__(self) -> int:
        return len(self._known)

    def look(self) -> bool:
        """Read the file again if it has changed, and say whether it had; a file that cannot be read changes nothing."""
        seen = _state(self._file.path)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self._known = _by_id(self._file.read())
        except StoreError as err:
            logger.warning("keys_not_read, the old ones are good still problem=%s", str(err).replace("\n", " "))
            return False
        logger.info("keys_read keys=%d", len(self._known))
        return True

    def identify(self, credential: bytes) -> Grant:
        """Return who this is; raise a 401 if nobody."""
        start = len(PREFIX)
        identity = credential[start : start + _ID_CHARACTERS]
        digest, grant = self._known.get(identity, (_NO_DIGEST, None))
        is_right = hmac.compare_digest(hashlib.sha256(credential).digest(), digest)
        if grant is None or not is_right:
            _refuse("the key is not known", "make one: kaizen key add NAME")
        if grant.until <= self._now():
            _refuse("the key has expired", "make another: kaizen key add NAME")
        return grant


def _refuse(what: str, fix: str) -> NoReturn:
    raise unauthorized(what, fix=fix, error="invalid_token")


def _by_id(keys: Sequence[ApiKey]) -> dict[bytes, tuple[bytes, Grant]]:
    return {
        key.id.encode(): (
            bytes.fromhex(key.sha256),
            Grant(f"key:{key.id}", frozenset(key.scopes), inf if key.expires is None else key.expires.timestamp()),
        )
        for key in keys
    }


def _state(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when the file does, None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _random(size_bytes: int) -> str:
    return base64.b32encode(secrets.token_bytes(size_bytes)).decode().lower()
