"""Lanes: who appends beside others has segments of its own, so that no two processes ever write to one file.

    log/00000001.log …              the lane of whoever comes first; the only one of a server with one process
    log/writer-2/00000001.log …     the lane of one that appends at the same time, and so on

A lane belongs to the process that holds its lock, and is free again the moment that process ends, however it ends:
the next one that takes it cuts off its torn tail and goes on. A lane is a whole log of segments by itself.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from kaizen.core.errors import StoreError

MOST = 256  # a process that opens logs and never closes them is told so
_LOCK = "appender.lock"
_LANE = re.compile(r"writer-([1-9]\d{0,2})")


def lane(root: Path, number: int) -> Path:
    """Return the folder of a lane; they count from 1."""
    return root if number == 1 else root / f"writer-{number}"


def lanes(root: Path) -> list[Path]:
    """Return the folders of the lanes that there are, in order; the first one always."""
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        names = []
    except OSError as err:
        raise StoreError(f"cannot be read: {err}", where=str(root)) from err
    found = sorted(int(match[1]) for name in names if (match := _LANE.fullmatch(name)))
    return [root, *(lane(root, number) for number in found)]


def known_as(path: Path) -> str:
    """Return the name of a file of a lane that no file of another lane has."""
    return f"{path.parent.name}/{path.name}" if _LANE.fullmatch(path.parent.name) else path.name


def take(root: Path) -> tuple[Path, int]:
    """Take the first lane that nobody holds: return its folder, which is made, and the lock, which holds it."""
    for number in range(1, MOST + 1):
        folder = lane(root, number)
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder)
        if lock >= 0:
            return folder, lock
    raise StoreError(
        f"{MOST} appenders hold this log", where=str(root), fix="close those that are not needed; any number may read"
    )


def _lock(folder: Path) -> int:
    """Return the lock of a lane, taken, with this process' number in it; -1: another holds it."""
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    except BlockingIOError:
        os.close(lock)
        return -1
    except BaseException:
        os.close(lock)
        raise
    return lock
