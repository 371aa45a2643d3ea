"""Lines on their way to a file, a pipe or standard output: written in a thread, so that a slow one stops nobody.

write ─▶ here, for 200 ms or 64 KiB ─▶ the thread, 4 MiB at most ─▶ appended; opened again when it was moved away
                                           └─ more, or it cannot be written: dropped, counted and said
"""

from __future__ import annotations

import logging
import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final

from kaizen.core.errors import KaizenError

logger = logging.getLogger("kaizen.serve")

FLUSH_S: Final = 0.2
_BLOCK_BYTES: Final = 64 << 10
_WAITING_BYTES: Final = 4 << 20
_PIPE_BYTES: Final = 4096  # that a pipe takes in one piece, whoever else writes to it: PIPE_BUF
_STOP_S: Final = 2.0


class Lines:
    """Appends lines. `write` and `stop` are called on one thread.

    Parameters
    ----------
    path
        Where to; None: standard output.
    later
        The loop's `call_later`.

    Raises
    ------
    KaizenError
        It cannot be opened.
    """

    def __init__(self, path: Path | None, later: Callable[..., object]) -> None:
        self._path = path
        self._later = later
        self._block: list[bytes] = []
        self._block_bytes = 0
        self._is_due = False
        self._waiting: deque[list[bytes]] = deque()
        self._waiting_bytes = 0
        self._change = threading.Condition()
        self._stopped = False
        self._failing = False
        self._torn = False  # half a line was written
        self.written = 0
        self.dropped = 0
        try:
            self._file = self._open()
        except OSError as err:
            fix = "serve.telemetry.access_log in kaizen.toml: a path in a folder that can be written to, or '-'"
            raise KaizenError(f"cannot be opened: {err.strerror}", where=self._name, fix=fix) from err
        self._thread = threading.Thread(target=self._run, name="kaizen-lines", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Take a line, which ends with a newline; it is written soon."""
        self._block.append(line)
        self._block_bytes += len(line)
        if self._block_bytes >= _BLOCK_BYTES:
            self._hand_over()
        elif not self._is_due:
            self._is_due = True
            self._later(FLUSH_S, self._flush)

    def stop(self) -> None:
        """Write what is here, for at most two seconds."""
        self._hand_over()
        with self._change:
            self._stopped = True
            self._change.notify()
        self._thread.join(_STOP_S)
        if self._thread.is_alive():
            logger.warning("lines not written file=%s: nobody takes them", self._name)

    # On the loop

    def _flush(self) -> None:
        self._is_due = False
        self._hand_over()

    def _hand_over(self) -> None:
        block, size_bytes = self._block, self._block_bytes
        if not block:
            return
        self._block, self._block_bytes = [], 0
        with self._change:
            if self._waiting_bytes + size_bytes > _WAITING_BYTES:
                self.dropped += len(block)
                self._fail("nobody takes them")
                return
            self._waiting.append(block)
            self._waiting_bytes += size_bytes
            self._change.notify()

    # In the thread

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._waiting and not self._stopped:
                    self._change.wait()
                if not self._waiting:
                    return
                block = self._waiting[0]  # counted as waiting until it is written
            self._append(block)
            with self._change:
                self._waiting.popleft()
                self._waiting_bytes -= sum(map(len, block))

    def _append(self, block: list[bytes]) -> None:
        before = self.written
        try:
            self._follow()
            for piece in self._pieces(block):
                self._put(piece)
        except OSError as err:
            with self._change:
                self.dropped += len(block) - (self.written - before)
                self._fail(str(err.strerror or err))
            return
        if self._failing:
            self._failing = False
            logger.warning("lines written again file=%s dropped=%d", self._name, self.dropped)

    def _put(self, piece: bytes) -> None:
        if self._torn:
            piece = b"\n" + piece
            self.written -= 1
        start = 0
        while start < len(piece):
            try:
                taken = os.write(self._file, piece[start:])
            except BlockingIOError:  # a pipe that somebody set so
                select.select([], [self._file], [])
                continue
            self.written += piece.count(b"\n", start, start + taken)
            start += taken
            self._torn = piece[start - 1] != 10

    def _pieces(self, block: list[bytes]) -> Sequence[bytes]:
        """Return lines in pieces that may be written at once, though others write to the same pipe."""
        if self._path is not None and stat.S_ISREG(os.fstat(self._file).st_mode):
            return [b"".join(block)]
        cuts, size_bytes = [0], 0
        for place, line in enumerate(block):
            if size_bytes and size_bytes + len(line) > _PIPE_BYTES:
                cuts.append(place)
                size_bytes = 0
            size_bytes += len(line)
        return [b"".join(block[start:end]) for start, end in pairwise([*cuts, len(block)])]

    def _follow(self) -> None:
        """Open the path again if another file is there, or none: it was moved away to be kept."""
        if self._path is None:
            return
        ours = os.fstat(self._file)
        with suppress(FileNotFoundError):
            there = self._path.stat()
            if (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev):
                return
        fresh = self._open()
        os.close(self._file)
        self._file = fresh
        self._torn = False

    def _open(self) -> int:
        if self._path is None:
            return 1
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _fail(self, why: str) -> None:
        if not self._failing:
            self._failing = True
            logger.warning("lines dropped file=%s error=%s", self._name, why)

    @property
    def _name(self) -> str:
        return "standard output" if self._path is None else str(self._path)
