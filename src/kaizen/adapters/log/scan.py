"""The reading side of the log: an index of blocks that grows with the files, and scans that touch few of them.

A block is a run of whole frames (64 KiB, or a little more) with the range of event times of each kind in it, so a
scan of one day reads the blocks of that day. Each look at a segment reads only the bytes behind the last look.
Nothing here writes, creates or cuts a file: any number of processes may scan beside those that append.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from kaizen.adapters.log import frames
from kaizen.adapters.log.frames import Batch, Origin, newest_segment, segment_path
from kaizen.core.errors import StoreError

_BLOCK_BYTES = 1 << 16
EVER = (-(2**63), 2**63)  # the range of all times


@dataclass(slots=True)
class _Block:
    """A run of whole frames in a segment, and the first and last event time of each kind in it."""

    start: int
    end: int
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)

    def add(self, frame: frames.Frame, end: int) -> None:
        self.end = end
        low, high = self.spans.get(frame.kind, (frame.low, frame.high))
        self.spans[frame.kind] = (min(low, frame.low), max(high, frame.high))

    def meets(self, kind: int, low: int, high: int) -> bool:
        span = self.spans.get(kind)
        return span is not None and span[0] < high and span[1] >= low


class RawSegment:
    """A segment of frames, as far as it has been read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.origins: list[Origin] = []
        self._indexed = 0  # bytes, all of them whole frames
        self._blocks: list[_Block] = []

    def grow(self, *, sealed: bool) -> None:
        """Index what was added since the last look; raise `FileNotFoundError` if the segment was compacted."""
        if self.path.stat().st_size == self._indexed:
            return
        with self.path.open("rb") as file:
            file.seek(self._indexed)
            data = file.read()
        position = self._first_frame(data)
        while (frame := frames.frame_at(data, position)) is not None:
            self._add(frame, data, self._indexed - position)
            self._indexed += frame.end - position
            position = frame.end
        # Behind the newest segment's last whole frame there may be one that is being written, or a torn tail.
        if position < len(data) and (sealed or frames.resumes_after(data, position)):
            raise frames.damage(str(self.path), self._indexed)

    def snapshot(self, kind: int, low: int, high: int) -> list[tuple[int, int]]:
        """Return where the blocks begin and end that may have rows of a kind in a range of times."""
        return [(block.start, block.end) for block in self._blocks if block.meets(kind, low, high)]

    def scan(self, blocks: list[tuple[int, int]], kind: int, low: int, high: int) -> Iterator[Batch]:
        """Yield the batches in these blocks, cut; raise `FileNotFoundError` if the segment was compacted."""
        if not blocks:
            return
        file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for start, end in blocks:
                yield from self._scan_block(os.pread(file, end - start, start), kind, low, high)
        finally:
            os.close(file)

    def _first_frame(self, data: bytes) -> int:
        if self._indexed:
            return 0
        frames.check_magic(data, str(self.path))
        if len(data) >= len(frames.MAGIC):
            self._indexed = len(frames.MAGIC)
        return len(frames.MAGIC)

    def _add(self, frame: frames.Frame, data: bytes, shift: int) -> None:
        if frame.kind == frames.ORIGIN:
            self.origins.append(frames.decode_origin(data[frame.start : frame.end]))
            return
        end = frame.end + shift
        if not self._blocks or self._blocks[-1].end - self._blocks[-1].start >= _BLOCK_BYTES:
            self._blocks.append(_Block(end - (frame.end - frame.start) - frames.HEADER.size, end))
        self._blocks[-1].add(frame, end)

    def _scan_block(self, data: bytes, kind: int, low: int, high: int) -> Iterator[Batch]:
        view = memoryview(data)
        unpack, header, size = frames.HEADER.unpack_from, frames.HEADER.size, len(data)
        position = 0
        while position < size:
            _, _, found, _, length, _, first, last = unpack(data, position)
            start = position + header
            position = start + length
            if found != kind or last < low or first >= high:
                continue
            batch = self._decode(kind, view[start:position])
            if first >= low and last < high:
                yield batch
            elif (part := frames.cut(batch, low, high)) is not None:
                yield part

    def _decode(self, kind: int, payload: memoryview) -> Batch:
        if kind == frames.LABELS:
            return frames.decode_labels(payload)
        rows = frames.decode_predictions(payload)
        return rows.batch(self.origins[rows.origin])


Look: TypeAlias = "list[tuple[int, RawSegment | None, list[tuple[int, int]]]]"


class Reader:
    """Finds the rows of a lane, in raw segments and in compacted ones. Thread-safe.

    Parameters
    ----------
    folder
        Where the segments are; there may be none yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
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
            yield from self._scan_compacted(number, kind, low, high)

    def sealed(self) -> list[tuple[int, RawSegment]]:
        """Return the raw segments that nobody appends to any more, indexed."""
        newest = newest_segment(self._folder)
        with self._mutex:
            found = [(number, self._grown(number, sealed=True)) for number in range(1, newest)]
        return [(number, raw) for number, raw in found if raw is not None]

    def _grown(self, number: int, *, sealed: bool) -> RawSegment | None:
        if number in self._compacted:
            return None
        path = segment_path(self._folder, number)
        raw = self._raw.setdefault(number, RawSegment(path))
        try:
            raw.grow(sealed=sealed)
        except FileNotFoundError:
            del self._raw[number]
            if any(frames.parquet_path(self._folder, number, kind).exists() for kind in frames.NAMES):
                self._compacted.add(number)
            return None
        except OSError as err:
            raise StoreError(f"cannot be read: {err}", where=str(path)) from err
        return raw

    def _scan_compacted(self, number: int, kind: int, low: int, high: int) -> Iterator[Batch]:
        from kaizen.adapters.log import compacted  # DuckDB, which the serving process does without

        yield from compacted.scan(self._folder, number, kind, low, high)
