"""Identities: ULIDs that sort by time, and content ids that are hashes.

A record made by a durable step gets `derived`: its random part is a hash of the step's key, so a step that
is run again after a crash makes the same record, and storing it twice changes nothing.
"""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_LETTERS = (_ALPHABET * 8).encode()  # of a random byte: 256 is 8 times 32, so each is as likely
_ENCODER = msgspec.json.Encoder(order="deterministic")


def _ulid(at_ms: int, randomness: bytes) -> str:
    # 130 bits in 26 characters: 2 zero bits, 48 of time, 80 of randomness; two characters a look-up.
    value = (at_ms << 80) | int.from_bytes(randomness, "big")
    pairs = _PAIRS
    return "".join([pairs[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def ulid(at: datetime) -> str:
    """Return a fresh ULID (26 characters) for this moment."""
    return _ulid(int(at.timestamp() * 1000), os.urandom(10))


def ulids(at_ms: int, count: int) -> list[str]:
    """Return `count` fresh ULIDs for this millisecond, with one call for randomness."""
    moment = _ulid(at_ms, bytes(10))[:10]
    noise = os.urandom(16 * count).translate(_LETTERS).decode("ascii")
    return [moment + noise[i : i + 16] for i in range(0, 16 * count, 16)]


def derived(at: datetime, *key: str) -> str:
    """Return the ULID of this moment whose random part is the hash of `key`: the same key, the same id."""
    noise = hashlib.blake2b("\0".join(key).encode(), digest_size=10).digest()
    return _ulid(int(at.timestamp() * 1000), noise)


def time_of(identity: str) -> datetime:
    """Return the moment a ULID was made for."""
    value = 0
    for character in identity[:10]:
        value = value * 32 + _ALPHABET.index(character)
    return datetime.fromtimestamp(value / 1000, UTC)


def content_id(*parts: object) -> str:
    """Return the hash (blake2b, 160 bits, hex) of values in canonical form; the same values, the same id."""
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        data = part if isinstance(part, bytes) else _ENCODER.encode(part)
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
