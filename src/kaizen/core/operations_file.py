"""Where server processes tell of themselves and whoever watches them reads it: a file of lines for each day.

    .kaizen/operations/2026-11-28.lines     one `Figures` a line, in JSON, and its checksum; UTC days
    .kaizen/operations/lock                 held while a line is added, or a day is folded

| what is      | has a line for                         | which makes at most    |
|--------------|----------------------------------------|------------------------|
| new          | what a process appended, 10 s of it    | 360 an hour, a process |
| an hour old  | 5 minutes, of all processes            | 288 a day              |
| 4 days old   | a quarter of an hour                   | 96 a day               |
| 100 days old | a day                                  | 1 a day                |

Any number of processes append, read and fold at a time. A line counts once it is whole: it ends in a line break and
its checksum is right. A torn one, left by a full disk or a crash, is cut off by the next append, and is skipped by
who reads. Nothing is ever counted twice: folding replaces a day's file in one step.
"""

from __future__ import annotations

import fcntl
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from kaizen.core.clock import from_us, to_us
from kaizen.core.errors import StoreError
from kaizen.core.operations import Figures, total

FOLDER: Final = "operations"  # in a project's state folder
_SECOND_US: Final = 1_000_000
_DAY_US: Final = 86_400 * _SECOND_US
_LEVELS: Final = ((100 * _DAY_US, 86_400), (4 * _DAY_US, 900), (3600 * _SECOND_US, 300))  # age, seconds a line
_SLACK: Final = 256  # lines of today that folding must save to be worth it
_TOGETHER: Final = 32  # figures that wait to be added up
_NAME: Final = re.compile(r"(\d{4}-\d\d-\d\d)\.lines")
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Figures)


class Told(NamedTuple):
    """What was read: the figures in order of time, and how many lines were damaged and skipped."""

    figures: list[Figures]
    damaged: int


class OperationsFile:
    """The figures of the server processes of one project. Safe between threads and processes.

    Parameters
    ----------
    folder
        Where the files are; made with the first line.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, figures: Figures) -> None:
        """Add a line; `StoreError` if the disk does not take all of it, and then it takes none."""
        line = _line(figures)
        path = self._path(from_us(figures.at).date())
        try:
            with self._alone(), _opened(path) as file:
                size = _cut_torn_tail(file)
                is_whole = os.write(file, line) == len(line)
                if not is_whole:
                    os.ftruncate(file, size)
        except OSError as err:
            raise _not_kept(path, err.strerror or str(err)) from err
        if not is_whole:
            raise _not_kept(path, "only a part of the line fitted")

    def read(self, start: datetime, end: datetime) -> Told:
        """Return the spans that end in (start, end]; without a folder, none."""
        low, high = to_us(start), to_us(end)
        found: list[Figures] = []
        damaged = 0
        for day, path in self._days():
            if start.date() <= day <= end.date():
                lines, bad = _read(path)
                found += [each for each in lines if low < each.at <= high]
                damaged += bad
        return Told(sorted(found, key=lambda each: each.at), damaged)

    def first(self) -> datetime | None:
        """Return when the oldest span ended, None before there is one."""
        for _, path in self._days():
            lines, _ = _read(path)
            if lines:
                return from_us(min(each.at for each in lines))
        return None

    def fold(self, now: datetime) -> int:
        """Put what is old together, as the table says; return how many files became shorter.

        A process killed meanwhile leaves either the long file or the short one.
        """
        folded = 0
        for day, path in self._days():
            if not _is_short(day, path, to_us(now)):
                folded += self._fold(path, to_us(now), _SLACK if day >= now.date() else 1)
        return folded

    def _fold(self, path: Path, now_us: int, slack: int) -> bool:
        try:
            with self._alone():
                spans: dict[tuple[int, int], list[Figures]] = {}
                lines = 0
                for line in _lines(path):
                    lines += 1
                    each = _parsed(line)
                    if each is not None:
                        _put(spans, each, now_us)
                kept = sorted((total(parts) for parts in spans.values()), key=lambda each: each.at)
                if lines < len(kept) + slack:
                    return False
                fresh = path.with_suffix(".fresh")
                fresh.write_bytes(b"".join(map(_line, kept)))
                _to_disk(fresh)
                fresh.replace(path)
                return True
        except FileNotFoundError:  # gone since it was listed: somebody cleans up
            return False
        except OSError as err:
            what = f"a day of figures could not be folded: {err.strerror or err}"
            raise StoreError(what, where=str(path), fix="free space on this disk") from err

    def _days(self) -> list[tuple[date, Path]]:
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return []
        except OSError as err:
            raise StoreError(f"cannot be read: {err.strerror or err}", where=str(self.folder)) from err
        matches = [(match[1], name) for name in names if (match := _NAME.fullmatch(name))]
        found = []
        for text, name in matches:
            with suppress(ValueError):  # the 31st of February is nobody's
                found.append((date.fromisoformat(text), self.folder / name))
        return found

    def _path(self, day: date) -> Path:
        return self.folder / f"{day.isoformat()}.lines"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from writing; who is killed lets go."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _not_kept(path: Path, why: str) -> StoreError:
    what = f"the figures of this process were not kept: {why}"
    return StoreError(what, where=str(path), fix="free space on this disk")


def _put(spans: dict[tuple[int, int], list[Figures]], each: Figures, now_us: int) -> None:
    """Add figures to the span that they belong to at their age."""
    seconds = _seconds_a_line(now_us - each.at)
    # What is too new to be put together is a span of its own.
    key = (seconds, (each.at - 1) // (seconds * _SECOND_US)) if seconds else (0, len(spans))
    parts = spans.setdefault(key, [])
    parts.append(each)
    if len(parts) >= _TOGETHER:
        parts[:] = [total(parts)]


def _seconds_a_line(age_us: int) -> int:
    return next((seconds for age, seconds in _LEVELS if age_us >= age), 0)


def _is_short(day: date, path: Path, now_us: int) -> bool:
    """Say whether a day has no more lines than the table allows: so most are told without reading a figure."""
    end_us = to_us(datetime(day.year, day.month, day.day, tzinfo=UTC)) + _DAY_US
    seconds = _seconds_a_line(now_us - end_us)
    if not seconds or seconds != _seconds_a_line(now_us - end_us + _DAY_US):
        return False
    with suppress(OSError):
        return path.read_bytes().count(b"\n") <= _DAY_US // (seconds * _SECOND_US)
    return False


def _line(figures: Figures) -> bytes:
    data = _ENCODER.encode(figures)
    return b"%b %08x\n" % (data, zlib.crc32(data))


def _read(path: Path) -> tuple[list[Figures], int]:
    """Return the whole lines of a file, and how many others there are; a file that is gone has none."""
    try:
        lines = [_parsed(line) for line in _lines(path)]
    except FileNotFoundError:
        return [], 0
    except OSError as err:
        raise StoreError(f"cannot be read: {err.strerror or err}", where=str(path)) from err
    found = [figures for figures in lines if figures is not None]
    return found, len(lines) - len(found)


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _parsed(line: bytes) -> Figures | None:
    """Return what a line says, None if it is not whole."""
    data, _, check = line.rpartition(b" ")
    if b"%08x\n" % zlib.crc32(data) != check:
        return None
    try:
        return _DECODER.decode(data)
    except msgspec.DecodeError:  # of a version of kaizen that tells something else
        return None


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        yield file
    finally:
        os.close(file)


def _cut_torn_tail(file: int) -> int:
    """Cut off what stands behind the last line break; return the size that is left."""
    size = os.fstat(file).st_size
    if size == 0 or os.pread(file, 1, size - 1) == b"\n":
        return size
    whole = size
    while whole:
        start = max(0, whole - 65_536)
        found = os.pread(file, whole - start, start).rfind(b"\n")
        whole = start + found + 1
        if found >= 0:
            break
        whole = start
    os.ftruncate(file, whole)
    return whole


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
