"""The reading side of the log: an index of blocks that grows with the files, and scans that touch few of them.

A block is a run of whole frames (64 KiB, or a little more) with the range of event times of each kind in it, so a
scan of one day reads the blocks of that day. Each look at a segment reads only the bytes behind the last look.
Nothing here writes, creates or cuts a file: any number of processes may scan beside those that append.
Encrypted frames are authenticated when they are first seen, before the index believes their headers.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from kaizen.adapters.log import frames
from kaizen.adapters.log.frames import Batch, Origin, newest_segment, segment_path
from kaizen.core.errors import StoreError

if TYPE_CHECKING:
    from kaizen.adapters.log.cipher import Cipher, Keyring

_BLOCK_BYTES = 1 << 16
EVER = (-(2**63), 2**63)  # the range of all times


@dataclass(slots=True)
class _Block:
    """A run of whole frames in a segment, and the first and last event time of each kind in it."""

    start: int
    end: int
    number: int  # of its first frame, in the segment
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)

    def add(self, frame: frames.Frame, end: int) -> None:
        self.end = end
        low, high = self.spans.get(frame.kind, (frame.low, frame.high))
        self.spans[frame.kind] = (min(low, frame.low), max(high, frame.high))

    def meets(self, kind: int, low: int, high: int) -> bool:
        span = self.spans.get(kind)
        return span is not None and span[0] < high and span[1] >= low


class Span(NamedTuple):
    """Where a block begins and ends, and the number of its first frame."""

    start: int
    end: int
    number: int


class RawSegment:
    """A segment of frames, as far as it has been read.

    Parameters
    ----------
    path
        The file.
    keys
        What opens it if it is encrypted.
    """

    def __init__(self, path: Path, keys: Keyring | None = None) -> None:
        self.path = path
        self.origins: list[Origin] = []
        self._keys = keys
        self._cipher: Cipher | None = None
        self._inode = -1
        self._indexed = 0  # bytes, up to the end of a whole frame; 0 before the first
        self._frames = 0
        self._blocks: list[_Block] = []

    def grow(self, *, sealed: bool) -> None:
        """Index what was added since the last look; raise `FileNotFoundError` if the segment was compacted."""
        now = self.path.stat()
        if now.st_ino == self._inode and now.st_size == self._indexed:
            return
        with self.path.open("rb") as file:
            self._forget_unless(os.fstat(file.fileno()).st_ino)
            file.seek(self._indexed)
            data = file.read()
        base = self._indexed
        position = 0 if base else self._begin(data)
        while (frame := frames.frame_at(data, position)) is not None:
            self._add(frame, data, base)
            position = frame.end
            self._indexed = base + position
            self._frames += 1
        # Behind the newest segment's last whole frame there may be one that is being written, or a torn tail.
        if position < len(data) and (sealed or frames.resumes_after(data, position)):
            raise frames.damage(str(self.path), base + position)

    def is_outdated(self) -> bool:
        """Say whether it is sealed with an older key than the one that writes now."""
        return self._keys is not None and self._cipher is not None and self._keys.is_outdated(self._cipher)

    def snapshot(self, kind: int, low: int, high: int) -> list[Span]:
        """Return the blocks that may have rows of a kind in a range of times."""
        return [Span(b.start, b.end, b.number) for b in self._blocks if b.meets(kind, low, high)]

    def scan(self, blocks: list[Span], kind: int, low: int, high: int) -> Iterator[Batch]:
        """Yield the batches in these blocks, cut; raise `FileNotFoundError` if the segment was compacted."""
        for data, number in self._read(blocks):
            yield from self._scan_block(data, number, kind, low, high)

    def plain_frames(self, kind: int) -> Iterator[tuple[int, tuple[int, int, int], bytes]]:
        """Yield the form, (rows, first, last event time) and payload of every frame of a kind, decrypted."""
        for data, number in self._read(self.snapshot(kind, *EVER)):
            position = 0
            while position < len(data):
                _, _, found, form, length, *spread = frames.HEADER.unpack_from(data, position)
                end = position + frames.HEADER.size + length
                if found == kind:
                    rows, first, last = spread
                    yield form, (rows, first, last), bytes(self._payload(memoryview(data)[position:end], number))
                position, number = end, number + 1

    def _read(self, blocks: list[Span]) -> Iterator[tuple[bytes, int]]:
        if not blocks:
            return
        file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(file).st_ino != self._inode:  # another file took its place: one with a newer key
                raise FileNotFoundError(self.path)
            for start, end, number in blocks:
                yield os.pread(file, end - start, start), number
        finally:
            os.close(file)

    def _forget_unless(self, inode: int) -> None:
        """Begin again at the first byte if this is not the file that was indexed."""
        if inode != self._inode:
            self._inode, self._indexed, self._frames = inode, 0, 0
            self.origins, self._blocks = [], []

    def _begin(self, data: bytes) -> int:
        """Return where the first frame is, or would be."""
        if not frames.is_sealed(data, str(self.path)):
            return len(frames.MAGIC)
        size = frames.SEALED_HEADER.size
        if self._keys is None:
            from kaizen.adapters.log.cipher import unreadable  # what a log without encryption does without

            raise unreadable(self.path)
        if len(data) >= size:
            self._cipher = self._keys.opening(data[:size], self.path)
        return size

    def _add(self, frame: frames.Frame, data: bytes, base: int) -> None:
        head = frame.start - frames.HEADER.size
        if frame.kind == frames.ORIGIN:
            self.origins.append(frames.decode_origin(self._payload(memoryview(data)[head : frame.end], self._frames)))
            return
        if self._cipher is not None:
            self._payload(memoryview(data)[head : frame.end], self._frames)
        if not self._blocks or self._blocks[-1].end - self._blocks[-1].start >= _BLOCK_BYTES:
            self._blocks.append(_Block(base + head, base + frame.end, self._frames))
        self._blocks[-1].add(frame, base + frame.end)

    def _payload(self, frame: memoryview, number: int) -> bytes | memoryview:
        """Return the payload of a frame, decrypted if need be; raise if it is not what was sealed."""
        start = frames.HEADER.size
        if self._cipher is None:
            return frame[start:]
        found = self._cipher.open(number, frame[4:start], frame[start:])
        if found is None:
            from kaizen.adapters.log.cipher import forged

            raise forged(self.path, number)
        return found

    def _scan_block(self, data: bytes, number: int, kind: int, low: int, high: int) -> Iterator[Batch]:
        view = memoryview(data)
        unpack, header, size = frames.HEADER.unpack_from, frames.HEADER.size, len(data)
        end = 0
        while end < size:
            start = end
            _, _, found, form, length, _, first, last = unpack(data, start)
            end = start + header + length
            number += 1
            if found != kind or last < low or first >= high:
                continue
            payload = self._payload(view[start:end], number - 1)
            if form == frames.PACKED:
                yield from self._scan_packed(zlib.decompress(payload), kind, low, high)
                continue
            batch = self._decode(kind, payload)
            if first >= low and last < high:
                yield batch
            elif (part := frames.cut(batch, low, high)) is not None:
                yield part

    def _scan_packed(self, data: bytes, kind: int, low: int, high: int) -> Iterator[Batch]:
        """Yield the batches of frames that were packed into one: not encrypted once more."""
        position = 0
        while position < len(data):
            _, _, _, _, length, _, first, last = frames.HEADER.unpack_from(data, position)
            start = position + frames.HEADER.size
            position = start + length
            if last < low or first >= high:
                continue
            batch = frames.cut(self._decode(kind, memoryview(data)[start:position]), low, high)
            if batch is not None:
                yield batch

    def _decode(self, kind: int, payload: bytes | memoryview) -> Batch:
        if kind == frames.LABELS:
            return frames.decode_labels(payload)
        rows = frames.decode_predictions(payload)
        return rows.batch(self.origins[rows.origin])


Look: TypeAlias = "list[tuple[int, RawSegment | None, list[Span]]]"


class Reader:
    """Finds the rows of a lane, in raw segments and in compacted ones. Thread-safe.

    Parameters
    ----------
    folder
        Where the segments are; there may be none yet.
    keys
        What opens those that are encrypted.
    """

    def __init__(self, folder: Path, keys: Keyring | None = None) -> None:
        self._folder = folder
        self._keys = keys
        self._mutex = threading.Lock()
        self._raw: dict[int, RawSegment] = {}
        self._compacted: set[int] = set()

    def look(self, kind: int, low: int, high: int) -> Look:
        """Return the segments that there are now, and what of them may have rows of a kind in a range of times."""
        newest = newest_segment(self._folder)
        found = []
        with self._mutex:
            for number in range(1, newest + 1):
                raw = self._grown(number, sealed=number < newest)
                found.append((number, raw, raw.snapshot(kind, low, high) if raw is not None else []))
        return found

    def scan(self, look: Look, kind: int, low: int, high: int) -> Iterator[Batch]:
        """Yield the batches of a kind with low <= event time < high, cut, as they were at the look."""
        for number, raw, blocks in look:
            try:
                if raw is not None:
                    yield from raw.scan(blocks, kind, low, high)
                    continue
            except FileNotFoundError:  # compacted since the look; nothing was yielded, opening comes first
                pass
            with self._mutex:
                raw = self._grown(number, sealed=True)
            if raw is not None:
                yield from raw.scan(raw.snapshot(kind, low, high), kind, low, high)
            else:
                yield from self._scan_compacted(number, kind, low, high)

    def sealed(self) -> list[tuple[int, RawSegment]]:
        """Return the raw segments that nobody appends to any more, indexed."""
        newest = newest_segment(self._folder)
        with self._mutex:
            found = [(number, self._grown(number, sealed=True)) for number in range(1, newest)]
        return [(number, raw) for number, raw in found if raw is not None and raw.path.suffix == ".log"]

    def outdated(self) -> list[tuple[int, RawSegment]]:
        """Return the packed segments that a newer key would seal today."""
        numbers = [int(path.name[:8]) for path in sorted(self._folder.glob("*.packed"))] if self._keys else []
        with self._mutex:
            found = [(number, self._grown(number, sealed=True)) for number in numbers]
        return [(n, raw) for n, raw in found if raw is not None and raw.path.suffix == ".packed" and raw.is_outdated()]

    def _grown(self, number: int, *, sealed: bool) -> RawSegment | None:
        if number in self._compacted:
            return None
        for path in (segment_path(self._folder, number), frames.packed_path(self._folder, number)):
            raw = self._raw.get(number)
            if raw is None or raw.path != path:
                raw = RawSegment(path, self._keys)
            try:
                raw.grow(sealed=sealed)
            except FileNotFoundError:
                continue
            except OSError as err:
                raise StoreError(f"cannot be read: {err}", where=str(path)) from err
            self._raw[number] = raw
            return raw
        self._raw.pop(number, None)
        if any(frames.parquet_path(self._folder, number, kind).exists() for kind in frames.NAMES):
            self._compacted.add(number)
        return None

    def _scan_compacted(self, number: int, kind: int, low: int, high: int) -> Iterator[Batch]:
        from kaizen.adapters.log import compacted  # DuckDB, which the serving process does without

        yield from compacted.scan(self._folder, number, kind, low, high)
