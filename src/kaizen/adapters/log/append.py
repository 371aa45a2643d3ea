"""The writing side of the log: one system call a batch, to segments that nobody else writes to.

A batch is one `write` to a file opened to append; when it returns, the rows are with the operating system and
outlive the process. A segment that is full is handed to the disk (fsync) by a thread, beside the next one; the
newest is handed to it by `sync`. An encrypted segment is written by one appender from its first byte to its last: one
that is found is left as it is, without its torn tail, and another begins (`cipher.py` says why).
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from kaizen.adapters.log import frames, lanes
from kaizen.adapters.log.frames import Origin, newest_segment, segment_path
from kaizen.core.errors import StoreError
from kaizen.core.records import Column, LabelBatch, PredictionBatch

if TYPE_CHECKING:
    from kaizen.adapters.log.cipher import Keyring


class Appender:
    """Appends batches to the newest segment of a lane; begins the next one when it is full. Thread-safe.

    Parameters
    ----------
    root
        Where the lanes are; made with the first batch.
    segment_bytes
        The size from which a segment counts as full.
    keys
        What new segments are encrypted with; None: they are not.
    """

    def __init__(self, root: Path, segment_bytes: int, keys: Keyring | None = None) -> None:
        self._root = root
        self._folder = root  # of the lane that is held, or was last
        self._keys = keys
        self._sealer: frames.Sealer | None = None
        self._segment_bytes = segment_bytes
        self._mutex = threading.Lock()
        self._lock_fd = -1
        self._fd = -1
        self._number = 0
        self._size = 0  # of whole frames; what is behind it never counted
        self._origins: list[Origin] = []
        self._known: dict[tuple[str, int, str, str, int], _Known] = {}
        self._buffer = bytearray(4096)
        self._settling: list[threading.Thread] = []  # segments that are full and perhaps not on the disk yet
        self._fresh = False  # a segment began, of which the folder on the disk may know nothing
        self._refused: OSError | None = None  # the kernel forgets what it could not write: nothing makes up for it

    def append(self, batch: PredictionBatch | LabelBatch) -> None:
        """Write one batch; a failure leaves the log as it was before."""
        if not batch.ids:
            return
        _check(batch)
        with self._mutex:
            if self._fd < 0:
                self._open()
            if self._size >= self._segment_bytes:
                self._rotate()
            if isinstance(batch, LabelBatch):
                columns = (batch.ids, batch.values, batch.at)
                frames.write_into(self._buffer, 0, frames.LABELS, batch.at, columns, self._sealer)
                self._write()
            else:
                self._append_predictions(batch)

    def sync(self) -> None:
        """Bring every batch that was appended before this call to the disk.

        Raises
        ------
        StoreError
            The disk refused, now or before: what was appended since the last sync may not outlive a power cut.
        """
        with self._mutex:
            handle = self._duplicate()
            settling, self._settling = self._settling, []
            fresh, self._fresh = self._fresh, False
        try:  # outside of the mutex: appending goes on
            for thread in settling:
                thread.join()
            if handle >= 0:
                _to_disk(handle)
            if fresh:
                _folders_to_disk({self._folder, self._root, self._root.parent})
        except OSError as err:
            self._refused = err
        if self._refused is not None:
            raise StoreError(
                f"what was appended is not on the disk: {self._refused.strerror or self._refused}",
                where=str(self._folder),
                fix="free space on this disk, or replace it, and start again",
            ) from self._refused

    def close(self) -> None:
        """Let go of the segment and of the lane."""
        with self._mutex:
            self._let_go()
            self._refused = None

    def _duplicate(self) -> int:
        """Return a handle of our own to the newest segment, which may be let go of meanwhile; -1: there is none."""
        try:
            if self._fd >= 0:
                return os.dup(self._fd)
            return os.open(segment_path(self._folder, self._number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # nothing was appended, or what was is compacted
            return -1
        except OSError as err:
            self._refused = err
            return -1

    def _append_predictions(self, batch: PredictionBatch) -> None:
        # The columns are one tuple that the server keeps; comparing its identity is what makes a look-up cheap.
        key = (batch.endpoint, batch.revision, batch.bundle, batch.role, id(batch.columns))
        known = self._known.get(key) or self._look_up(batch)
        known.check(batch)
        origin = known.origin
        new = origin == len(self._origins)
        offset = self._write_origin(batch) if new else 0
        frames.write_into(
            self._buffer,
            offset,
            frames.PREDICTIONS,
            batch.at,
            (
                origin,
                batch.ids,
                batch.at,
                batch.units,
                batch.outputs,
                batch.propensity,
                batch.latency_us,
                batch.requests,
                batch.numbers,
                batch.times,
                batch.strings,
            ),
            self._sealer,
        )
        self._write()
        if new:
            self._origins.append(_origin(batch))
        if key not in self._known:
            self._remember(key, known)

    def _look_up(self, batch: PredictionBatch) -> _Known:
        origin = _origin(batch)
        number = self._origins.index(origin) if origin in self._origins else len(self._origins)
        return _Known(number, batch.columns)

    def _write_origin(self, batch: PredictionBatch) -> int:
        frames.write_into(self._buffer, 0, frames.ORIGIN, (), _origin(batch), self._sealer)
        offset = len(self._buffer)
        self._buffer.extend(bytes(frames.HEADER.size))
        return offset

    def _remember(self, key: tuple[str, int, str, str, int], known: _Known) -> None:
        if len(self._known) >= 256:  # a caller that makes new tuples must not make this grow
            self._known.clear()
        self._known[key] = known

    def _write(self) -> None:
        size = len(self._buffer)
        try:
            written = os.write(self._fd, self._buffer)
        except OSError as err:
            self._cut_back()
            raise self._failed(err.strerror or str(err)) from err
        if written != size:
            self._cut_back()
            raise self._failed(f"only {written} of {size} bytes could be written")
        self._size += size

    def _failed(self, reason: str) -> StoreError:
        where = str(segment_path(self._folder, self._number))
        return StoreError(f"the batch was not stored: {reason}", where=where, fix="free space on this disk")

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._drop_segment()  # the next append opens it again, and opening cuts the tail off
        if self._sealer is not None:  # the number of the frame that was lost is used up
            self._drop_segment()

    def _open(self) -> None:
        """Take a lane, and its newest segment, without its torn tail."""
        try:
            if self._lock_fd < 0:
                self._folder, self._lock_fd = lanes.take(self._root)
            self._number = newest_segment(self._folder)
            if segment_path(self._folder, self._number).exists():
                self._resume()
            else:
                self._begin(self._number + 1)
        except OSError as err:
            self._let_go()
            raise _unopened(self._folder, err) from err
        except BaseException:
            self._let_go()
            raise

    def _resume(self) -> None:
        """Go on with the newest segment or, where it or what is to be written is encrypted, with one of our own."""
        path = segment_path(self._folder, self._number)
        data = path.read_bytes()
        sealed = frames.is_sealed(data, str(path))
        start = frames.SEALED_HEADER.size if sealed else len(frames.MAGIC)
        end, origins = _whole_part(data, start, path, readable=not sealed)
        if end == start:
            self._begin(self._number, os.O_TRUNC)
            _report_cut(path, len(data) - start)
            return
        self._take(path, os.O_WRONLY, end, origins)
        if end < len(data):
            os.ftruncate(self._fd, end)
            _report_cut(path, len(data) - end)
        if sealed or self._keys is not None:
            self._rotate()

    def _begin(self, number: int, flag: int = os.O_CREAT | os.O_EXCL) -> None:
        path = segment_path(self._folder, number)
        header, self._sealer = (frames.MAGIC, None) if self._keys is None else self._keys.begin(lanes.known_as(path))
        self._take(path, os.O_WRONLY | flag, len(header), [])
        self._number = number
        self._fresh = True
        if os.write(self._fd, header) != len(header):
            raise OSError("the disk is full")

    def _take(self, path: Path, flags: int, size: int, origins: list[Origin]) -> None:
        self._fd = os.open(path, flags | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._size = size
        self._origins = origins
        self._known = {}

    def _rotate(self) -> None:
        full, self._fd = self._fd, -1
        thread = threading.Thread(target=self._settle, args=(full, segment_path(self._folder, self._number)))
        thread.start()
        self._settling = [*[each for each in self._settling if each.is_alive()], thread]
        try:
            self._begin(self._number + 1)
        except OSError as err:
            self._drop_segment()
            raise _unopened(self._folder, err) from err

    def _settle(self, fd: int, path: Path) -> None:
        """Bring a full segment to the disk and let go of it."""
        try:
            _to_disk(fd)
        except OSError as err:
            self._refused = err
            _report_unsettled(path, err)

    def _let_go(self) -> None:
        self._drop_segment()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _drop_segment(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _Known:
    """An origin of this segment: its number, and the sizes of a row's inputs. Holds on to the columns' tuple, so
    that its identity is not used again."""

    def __init__(self, origin: int, columns: tuple[Column, ...]) -> None:
        self.origin = origin
        self.columns = columns
        self.numbers_bytes, self.times_bytes, self.strings = frames.widths(columns)

    def check(self, batch: PredictionBatch) -> None:
        """Raise unless the batch has the inputs that its columns say."""
        rows = len(batch.ids)
        if (
            len(batch.numbers) != rows * self.numbers_bytes
            or len(batch.times) != rows * self.times_bytes
            or len(batch.strings) != rows * self.strings
        ):
            raise StoreError(f"the inputs of a batch of {rows} rows do not fit its columns", where="the prediction log")


def _origin(batch: PredictionBatch) -> Origin:
    return Origin(batch.endpoint, batch.revision, batch.bundle, batch.role, batch.columns)


def _check(batch: PredictionBatch | LabelBatch) -> None:
    rows = len(batch.ids)
    if isinstance(batch, LabelBatch):
        fits = len(batch.values) == len(batch.at) == rows
    else:
        fits = (
            len(batch.at) == len(batch.units) == len(batch.outputs) == len(batch.propensity) == rows
            and len(batch.latency_us) == len(batch.requests) == rows
        )
    if not fits:
        raise StoreError(f"a batch of {rows} ids has lists of other lengths", where="the prediction log")


def _whole_part(data: bytes, position: int, path: Path, *, readable: bool) -> tuple[int, list[Origin]]:
    """Return where the last whole frame ends, and the origins up to there, where they can be read."""
    origins = []
    while (frame := frames.frame_at(data, position)) is not None:
        if frame.kind == frames.ORIGIN and readable:
            origins.append(frames.decode_origin(data[frame.start : frame.end]))
        position = frame.end
    if frames.resumes_after(data, position):
        raise frames.damage(str(path), position)
    return position, origins


def _report_cut(path: Path, count: int) -> None:
    if count <= 0:
        return
    import structlog  # 0.1 s to import, for what happens after a crash

    structlog.get_logger("kaizen.log").warning("log.tail_cut", segment=str(path), bytes=count)


def _report_unsettled(path: Path, err: OSError) -> None:
    import structlog

    structlog.get_logger("kaizen.log").error("log.segment_not_synced", segment=str(path), reason=str(err))


def _to_disk(fd: int) -> None:
    """Bring a file's data, and the length that it needs, to the disk; let go of it."""
    try:
        getattr(os, "fdatasync", os.fsync)(fd)  # macOS has no fdatasync
    finally:
        os.close(fd)


def _folders_to_disk(folders: set[Path]) -> None:
    """Bring the names of new segments to the disk, and those of the folders that they are in."""
    for each in folders:
        fd = os.open(each, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _unopened(folder: Path, err: OSError) -> StoreError:
    return StoreError(
        f"the log cannot be opened to append: {err}",
        where=str(folder),
        fix="check that the folder may be written to and that its disk has space",
    )
