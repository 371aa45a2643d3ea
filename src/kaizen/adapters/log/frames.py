"""The bytes of the log: frames in segments.

    segment   magic "kzlog" 00 · version u16 · frame · frame · …
    frame     crc u32 · mark c1 c1 · kind u8 · form u8 · length u32 · rows u32 · min_at i64 · max_at i64 · payload
    payload   origin:       [endpoint, revision, bundle, role, columns], msgpack
              predictions:  [origin number, ids, at, units, outputs, propensity, latency_us, requests,
                             numbers, times, strings]
              labels:       [ids, values, at]

All integers are little-endian. The crc (CRC-32) covers everything after itself, so a frame is whole or it is
not. The times in the header let a reader find its way without decoding a payload. What all rows of an arm
share is written once a segment, as an origin frame, and referred to by number (0 for the segment's first): a
frame of one row stays small. The mark is a byte that neither msgpack nor UTF-8 ever writes, twice: what a
reader looks for to tell a torn tail (nothing whole follows) from damage in the middle (something does).

Version 2 is an encrypted segment: a longer header, and payloads that `cipher.py` seals; frames are as above. The
form is 0, or 1 in a segment that was packed (`pack.py`): its payload is then frames of one kind, deflated.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from kaizen.core.errors import StoreError
from kaizen.core.records import Column, LabelBatch, PredictionBatch, Role

Batch: TypeAlias = PredictionBatch | LabelBatch

MAGIC = b"kzlog\0\x01\0"
SEALED_MAGIC = b"kzlog\0\x02\0"
TAG_BYTES = 16  # what AES-GCM adds to a payload
MARK = b"\xc1\xc1"
HEADER = struct.Struct("<I2sBBIIqq")
SEALED_HEADER = struct.Struct("<8s8s32sI")  # of an encrypted segment
ORIGIN, PREDICTIONS, LABELS = 0, 1, 2
NAMES = {PREDICTIONS: "predictions", LABELS: "labels"}
PLAIN, PACKED = 0, 1

_SEGMENT = re.compile(r"\d{8}\.(log|packed|predictions\.parquet|labels\.parquet)")
_CRC = struct.Struct("<I")
_ENCODER = msgspec.msgpack.Encoder()


def segment_path(folder: Path, number: int) -> Path:
    """Return the path of a raw segment; they count from 1 without a gap."""
    return folder / f"{number:08d}.log"


def parquet_path(folder: Path, number: int, kind: int) -> Path:
    """Return the path of the rows of a kind in a compacted segment."""
    return folder / f"{number:08d}.{NAMES[kind]}.parquet"


def packed_path(folder: Path, number: int) -> Path:
    """Return the path of a compacted segment of an encrypted log."""
    return folder / f"{number:08d}.packed"


def newest_segment(folder: Path) -> int:
    """Return the number of the segment that is, or was last, appended to; 0 before the first."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return 0
    except OSError as err:
        raise StoreError(f"cannot be read: {err}", where=str(folder)) from err
    return max((int(name[:8]) for name in names if _SEGMENT.fullmatch(name)), default=0)


class Origin(msgspec.Struct, frozen=True, array_like=True):
    """What all rows of an arm share."""

    endpoint: str
    revision: int
    bundle: str
    role: Role
    columns: tuple[Column, ...]


class Predictions(msgspec.Struct, frozen=True, array_like=True):
    """The payload of a frame of predictions."""

    origin: int
    ids: list[str]
    at: list[int]
    units: list[str | None]
    outputs: list[float]
    propensity: list[float]
    latency_us: list[int]
    requests: list[str | None]
    numbers: bytes
    times: bytes
    strings: list[str]

    def batch(self, origin: Origin) -> PredictionBatch:
        """Return the batch that was appended."""
        return PredictionBatch(
            endpoint=origin.endpoint,
            revision=origin.revision,
            bundle=origin.bundle,
            role=origin.role,
            ids=self.ids,
            at=self.at,
            units=self.units,
            outputs=self.outputs,
            propensity=self.propensity,
            latency_us=self.latency_us,
            requests=self.requests,
            columns=origin.columns,
            numbers=self.numbers,
            times=self.times,
            strings=self.strings,
        )


decode_origin = msgspec.msgpack.Decoder(Origin).decode
decode_predictions = msgspec.msgpack.Decoder(Predictions).decode
decode_labels = msgspec.msgpack.Decoder(LabelBatch).decode


class Sealer(Protocol):
    """Encrypts the payloads of a segment's frames, in their order; `cipher.Cipher`."""

    def seal(self, header: bytes, payload: bytes) -> bytes:
        """Return the payload encrypted and authenticated with its header, `TAG_BYTES` longer."""
        ...


class Frame(NamedTuple):
    """Where a frame's payload is in the bytes that were read, and what its header says."""

    kind: int
    form: int
    start: int
    end: int
    rows: int
    low: int
    high: int


def write_into(
    buffer: bytearray, offset: int, kind: int, at: Sequence[int], payload: object, sealer: Sealer | None = None
) -> None:
    """Write a frame into the buffer at this offset and cut the buffer off behind it."""
    start = offset + HEADER.size
    _ENCODER.encode_into(payload, buffer, start)
    rows = len(at)
    if rows == 1:
        low = high = at[0]
    else:
        low, high = (min(at), max(at)) if at else (0, 0)
    length = len(buffer) - start
    if sealer is None:
        HEADER.pack_into(buffer, offset, 0, MARK, kind, PLAIN, length, rows, low, high)
    else:
        HEADER.pack_into(buffer, offset, 0, MARK, kind, PLAIN, length + TAG_BYTES, rows, low, high)
        buffer[start:] = sealer.seal(bytes(buffer[offset + 4 : start]), bytes(buffer[start:]))
    _CRC.pack_into(buffer, offset, zlib.crc32(memoryview(buffer)[offset + 4 :]))


def frame_bytes(kind: int, form: int, spread: tuple[int, int, int], payload: bytes, sealer: Sealer) -> bytes:
    """Return a sealed frame of these rows, first and last event time; its payload is encoded already."""
    header = HEADER.pack(0, MARK, kind, form, len(payload) + TAG_BYTES, *spread)[4:]
    body = header + sealer.seal(header, payload)
    return _CRC.pack(zlib.crc32(body)) + body


def frame_at(data: bytes, position: int) -> Frame | None:
    """Return the frame that begins here, or None if no whole frame does."""
    start = position + HEADER.size
    if start > len(data):
        return None
    crc, mark, kind, form, length, rows, low, high = HEADER.unpack_from(data, position)
    end = start + length
    if mark != MARK or end > len(data) or zlib.crc32(memoryview(data)[position + 4 : end]) != crc:
        return None
    return Frame(kind, form, start, end, rows, low, high)


def resumes_after(data: bytes, position: int) -> bool:
    """Say whether a whole frame follows somewhere behind the broken one that begins here."""
    found = data.find(MARK, position + 5)
    while found >= 0:
        if frame_at(data, found - 4) is not None:
            return True
        found = data.find(MARK, found + 1)
    return False


def is_sealed(data: bytes, where: str) -> bool:
    """Say whether a segment is encrypted; raise unless it begins as one of ours.

    One that was cut short in its first bytes is an empty one.
    """
    for magic in (MAGIC, SEALED_MAGIC):
        if data[: len(magic)] == magic[: len(data)]:
            return magic is SEALED_MAGIC
    if data[:6] == MAGIC[:6]:
        version = int.from_bytes(data[6:8], "little")
        raise StoreError(f"this log has format {version}, made by a newer kaizen", where=where, fix="upgrade kaizen-ml")
    raise StoreError("is not a segment of a prediction log", where=where, fix="move it out of the log's folder")


def damage(where: str, offset: int) -> StoreError:
    """Return the error for bytes that were whole once and are not now."""
    return StoreError(
        f"is damaged at byte {offset}: the checksum does not match",
        where=where,
        fix="restore the file from a backup, or move it away to go on without its rows",
    )


def widths(columns: Sequence[Column]) -> tuple[int, int, int]:
    """Return what one row of these columns takes: bytes of numbers, bytes of times, and strings."""
    types = [column.type for column in columns]
    numbers = types.count("number") + types.count("boolean")
    return 8 * numbers, 8 * types.count("time"), types.count("category") + types.count("text")


def cut(batch: Batch, low: int, high: int) -> Batch | None:
    """Return the rows of a batch with low <= at < high (microseconds), or None if there is none."""
    keep = [row for row, at in enumerate(batch.at) if low <= at < high]
    if len(keep) == len(batch.at):
        return batch
    if not keep:
        return None
    if isinstance(batch, LabelBatch):
        return LabelBatch(
            ids=[batch.ids[row] for row in keep],
            values=[batch.values[row] for row in keep],
            at=[batch.at[row] for row in keep],
        )
    return _cut_predictions(batch, keep)


def _cut_predictions(batch: PredictionBatch, keep: list[int]) -> PredictionBatch:
    def rows_of(data: bytes) -> bytes:
        width = len(data) // len(batch.ids)
        return b"".join([data[row * width : (row + 1) * width] for row in keep])

    width = len(batch.strings) // len(batch.ids)
    return msgspec.structs.replace(
        batch,
        ids=[batch.ids[row] for row in keep],
        at=[batch.at[row] for row in keep],
        units=[batch.units[row] for row in keep],
        outputs=[batch.outputs[row] for row in keep],
        propensity=[batch.propensity[row] for row in keep],
        latency_us=[batch.latency_us[row] for row in keep],
        requests=[batch.requests[row] for row in keep],
        numbers=rows_of(batch.numbers),
        times=rows_of(batch.times),
        strings=[text for row in keep for text in batch.strings[row * width : (row + 1) * width]],
    )
