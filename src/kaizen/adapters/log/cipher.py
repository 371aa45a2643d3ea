"""A log at rest: AES-256-GCM, a key for each segment, a number for each frame.

    keys      one 32-byte secret a line, hex or base64; the first writes, all read, the last one makes hashes
    header    magic "kzlog" 00 · version 2 · key id 8 bytes · salt 32 bytes · crc u32 of what is before it
    segment   HKDF-SHA256(secret, salt, "kaizen log segment" 00 lane/name) ─► the segment's key
    frame     nonce: its number in the segment, from 0; associated data: its header; the tag is behind the payload

A nonce never repeats under one key. NIST SP 800-38D, section 8.2.1, allows nonces that are counted instead of
drawn (96 bits: a fixed field, here zero, and a counter), and then sets no limit of 2^32 messages a key (8.3). What
it asks for is that one key has one counter. It has: the key belongs to a salt, the salt is 32 random bytes drawn
when the segment begins, and whoever drew it is the only one who ever writes under it. A counter is not taken up
again after a restart, a torn tail, or a write that failed, for the bytes of the frame that was lost may have been
seen; a new segment begins, with a new salt. (A virtual machine that is copied while it runs and goes on twice
breaks this, as it breaks every counter.)

The number is nowhere stored, so a frame cannot be swapped, left out or repeated in the middle; the header is
authenticated with it; the file's name and lane are part of the key, so no segment can take another's place. Frames
cut off at the end look like a crash, and a segment that is deleted is not there: those two are not found out. Of the
rows themselves a header shows how many they are, their kind, their size, and from when to when.

Sources: NIST SP 800-38D (2007); RFC 5869 (HKDF).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import zlib
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kaizen.adapters.log.frames import SEALED_HEADER, SEALED_MAGIC, TAG_BYTES, damage
from kaizen.adapters.log.lanes import known_as
from kaizen.core.errors import StoreError

_DECLARED = "kaizen.toml: serve.log.encrypt"
_MAKE = "a key is 32 random bytes: openssl rand -hex 32"


class Key(NamedTuple):
    """A secret of 32 bytes, and by what a segment names it: the first 8 bytes of its SHA-256."""

    id: bytes
    secret: bytes


class Keyring:
    """The keys of a log, newest first.

    Parameters
    ----------
    keys
        At least one; the first writes, any of them reads.
    where
        Where they come from, for errors.
    """

    def __init__(self, keys: tuple[Key, ...], where: str) -> None:
        self._keys = keys
        self.where = where

    def begin(self, name: str) -> tuple[bytes, Cipher]:
        """Return the header of a segment that begins under this file name, and what seals its frames."""
        key, salt = self._keys[0], os.urandom(32)
        start = SEALED_HEADER.pack(SEALED_MAGIC, key.id, salt, 0)[:-4]
        return start + zlib.crc32(start).to_bytes(4, "little"), Cipher(key, salt, name)

    def opening(self, header: bytes, path: Path) -> Cipher:
        """Return what opens the frames behind this header; `StoreError` if its key is not here."""
        _, identity, salt, crc = SEALED_HEADER.unpack(header)
        if zlib.crc32(header[:-4]) != crc:
            raise damage(str(path), 0)
        key = next((key for key in self._keys if key.id == identity), None)
        if key is None:
            raise StoreError(
                f"is encrypted with the key {identity.hex()}, which is not among those of {self.where}",
                where=str(path),
                fix="add that key as a further line; the first line writes, all of them read",
            )
        return Cipher(key, salt, known_as(path))

    def is_outdated(self, cipher: Cipher) -> bool:
        """Say whether what this cipher sealed would be sealed with a newer key today."""
        return cipher.key_id != self._keys[0].id

    def hash_secret(self) -> bytes:
        """Return what columns are hashed with: it follows from the oldest key, so that a new one changes no hash."""
        return _derived(self._keys[-1].secret, b"", b"kaizen log hash")


class Cipher:
    """Seals the frames of one segment in order, or opens them by their number."""

    def __init__(self, key: Key, salt: bytes, name: str) -> None:
        self.key_id = key.id
        self._gcm = AESGCM(_derived(key.secret, salt, b"kaizen log segment\0" + name.encode()))
        self._next = 0

    def seal(self, header: bytes, payload: bytes) -> bytes:
        """Return the payload of the next frame, encrypted, and its tag; the number is used up, whatever follows."""
        number = self._next
        self._next = number + 1
        return self._gcm.encrypt(number.to_bytes(12, "big"), payload, header)

    def open(self, number: int, header: bytes | memoryview, payload: bytes | memoryview) -> bytes | None:
        """Return the payload of the frame with this number, or None if it is not what was sealed."""
        if len(payload) < TAG_BYTES:
            return None
        try:
            return self._gcm.decrypt(number.to_bytes(12, "big"), payload, header)
        except InvalidTag:
            return None


def read_keys(source: str, folder: Path) -> Keyring:
    """Return the keys behind ``env:NAME`` or ``file:PATH`` (relative to the folder).

    Raises
    ------
    StoreError
        There is nothing, or a line is no key. The error never quotes what it read.
    """
    kind, _, name = source.partition(":")
    text = os.environ.get(name) if kind == "env" else _file(folder / name)
    where = f"the environment variable {name}" if kind == "env" else f"the file {name}"
    if not text or not text.strip():
        raise StoreError(f"{where}, which should hold the log's key, is not set or empty", where=_DECLARED, fix=_MAKE)
    found = [_secret(line) for line in text.split()]
    for number, secret in enumerate(found, 1):
        if secret is None:
            what = f"line {number} of {where} is not a key: neither 64 hexadecimal digits nor base64 of 32 bytes"
            raise StoreError(what, where=_DECLARED, fix=_MAKE)
    return Keyring(tuple(Key(hashlib.sha256(each).digest()[:8], each) for each in found if each is not None), where)


def unreadable(path: Path) -> StoreError:
    """Return the error for an encrypted segment where no key is declared."""
    return StoreError(
        "is encrypted, and the project file declares no key",
        where=str(path),
        fix='write encrypt = "env:NAME" or "file:PATH" under [serve.log]',
    )


def forged(path: Path, number: int) -> StoreError:
    """Return the error for a frame whose checksum is right and whose tag is not."""
    return StoreError(
        f"frame {number} is not what was written there: it was changed, moved or put in",
        where=str(path),
        fix="restore the file from a backup under its own name, or move it away to go on without its rows",
    )


def _file(path: Path) -> str | None:
    try:
        return path.read_text("ascii")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else "it is no text"
        raise StoreError(f"the file {path} cannot be read: {reason}", where=_DECLARED, fix=_MAKE) from err


def _secret(line: str) -> bytes | None:
    if re.fullmatch(r"[0-9a-fA-F]{64}", line):
        return bytes.fromhex(line)
    try:
        found = base64.b64decode(line.replace("-", "+").replace("_", "/").rstrip("=") + "=", validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if len(found) == 32 else None


def _derived(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(secret)
