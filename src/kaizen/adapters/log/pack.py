"""Sealed segments of an encrypted log, packed: 256 KiB of frames at a time are deflated, then encrypted as one.

    00000001.packed   header · origin frames · frames of predictions · frames of labels

It is an encrypted segment like any other and is read as one (`scan.py`), under a salt of its own and the newest key;
no byte of it is ever on the disk in plain, for nothing but `Cipher.seal` makes what is written. Why not Parquet:
docs/adr/0009.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from kaizen.adapters.log import frames
from kaizen.adapters.log.lanes import known_as

if TYPE_CHECKING:
    from kaizen.adapters.log.cipher import Cipher, Keyring
    from kaizen.adapters.log.scan import RawSegment

_FRAME_BYTES = 1 << 18  # before they are deflated: what a scan of a short range has to inflate at least


def pack(path: Path, raw: RawSegment, keys: Keyring) -> None:
    """Write a segment's rows to a file that is there whole or not at all."""
    header, cipher = keys.begin(known_as(path))
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(header)
        for frame in _frames(raw, cipher):
            file.write(frame)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _frames(raw: RawSegment, cipher: Cipher) -> Iterator[bytes]:
    for origin in raw.origins:
        yield frames.frame_bytes(frames.ORIGIN, frames.PLAIN, (0, 0, 0), msgspec.msgpack.encode(origin), cipher)
    for kind in frames.NAMES:
        for spread, deflated in _lots(raw, kind):
            yield frames.frame_bytes(kind, frames.PACKED, spread, deflated, cipher)


def _lots(raw: RawSegment, kind: int) -> Iterator[tuple[tuple[int, int, int], bytes]]:
    """Yield (rows, first, last event time) and the deflated bytes of frames of a kind, so many that they fill one."""
    inner, spreads = bytearray(), []
    for form, spread, payload in raw.plain_frames(kind):
        if form == frames.PACKED:  # it was packed before, with an older key
            yield spread, payload
            continue
        # No checksum: the frame around it has one, and a tag.
        inner += frames.HEADER.pack(0, frames.MARK, kind, frames.PLAIN, len(payload), *spread) + payload
        spreads.append(spread)
        if len(inner) >= _FRAME_BYTES:
            yield _together(spreads), zlib.compress(inner)
            inner, spreads = bytearray(), []
    if spreads:
        yield _together(spreads), zlib.compress(inner)


def _together(spreads: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    rows, low, high = zip(*spreads, strict=True)
    return sum(rows), min(low), max(high)
