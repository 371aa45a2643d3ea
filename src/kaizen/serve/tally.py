"""What the workers of one server know of each other: a page of memory that all of them map, a slot for each.

    slot   connections u32 · length u32 · crc u32 · snapshot, msgpack     written by its worker, read by all
    last   version u32 · length u32 · crc u32 · what the workers that ended had counted, so that no counter ever
           falls; written by the supervisor, whose version is odd while figures move there from a worker's slot

Nobody waits for anybody: a slot is read as it is, again if its checksum says that it was being written.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

_SLOT_BYTES: Final = 1 << 20  # of address space; memory only as far as it is written to
_HEAD: Final = struct.Struct("<III")
_FALLING: Final = "gauge"  # the one type of figures that may fall
_BY: Final[dict[str, Callable[[float, float], float]]] = {  # all others are added
    "kaizen_revision": min,  # a server is as far as the last of its workers
    "kaizen_queue_wait_seconds": max,  # and as late
    "kaizen_loop_lag_seconds": max,
}


class Family(msgspec.Struct):
    """One metric of a worker, in plain values: each sample is its name, its labels and its value."""

    name: str
    says: str
    type: str
    samples: list[tuple[str, tuple[tuple[str, str], ...], float]]


class Snapshot(msgspec.Struct):
    """What a worker tells of itself."""

    health: dict[str, Any] = {}
    families: list[Family] = []


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Snapshot)


class Tally:
    """The page. Made before the workers are, who inherit it.

    Parameters
    ----------
    workers
        How many there are.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._page = mmap.mmap(-1, _SLOT_BYTES * (workers + 1))
        self._known: list[Snapshot | None] = [None] * (workers + 1)  # as last read whole

    def write(self, slot: int, snapshot: Snapshot) -> None:
        """Put a worker's snapshot in its slot; one that is too long stays as it was."""
        data = _ENCODER.encode(snapshot)
        start = slot * _SLOT_BYTES
        if len(data) <= _SLOT_BYTES - _HEAD.size:
            self._page[start + _HEAD.size : start + _HEAD.size + len(data)] = data
            struct.pack_into("<II", self._page, start + 4, len(data), zlib.crc32(data))

    def read(self, slot: int) -> Snapshot | None:
        """Return what a worker last told, None of one that has told nothing since it was started."""
        start = slot * _SLOT_BYTES
        for _ in range(8):
            _, length, crc = _HEAD.unpack_from(self._page, start)
            if length == 0:
                self._known[slot] = None
                break
            data = self._page[start + _HEAD.size : start + _HEAD.size + min(length, _SLOT_BYTES - _HEAD.size)]
            if zlib.crc32(data) == crc:
                self._known[slot] = _DECODER.decode(data)
                break
        return self._known[slot]

    def retire(self, worker: int) -> None:
        """Empty the slot of a worker that ended, and keep what it had counted."""
        ended = self.read(worker)
        self._turn()
        if ended is not None:
            counted = [family for family in ended.families if family.type != _FALLING]
            before = self.read(self.workers)
            self.write(self.workers, Snapshot(families=merged([[] if before is None else before.families, counted])))
        _HEAD.pack_into(self._page, worker * _SLOT_BYTES, 0, 0, 0)
        self._turn()

    def figures(self) -> list[Family]:
        """Return the figures of all workers, those that ended included, as one server's."""
        for _ in range(8):
            version = self._version()
            found = [self.read(slot) for slot in range(self.workers + 1)]
            if version % 2 == 0 and version == self._version():
                break
        return merged([snapshot.families for snapshot in found if snapshot is not None])

    def count(self, worker: int, connections: int) -> None:
        """Note how many connections a worker has."""
        struct.pack_into("<I", self._page, worker * _SLOT_BYTES, connections)

    def counts(self) -> list[int | None]:
        """Return how many connections each worker has, None of one that does not take any now."""
        heads = [_HEAD.unpack_from(self._page, slot * _SLOT_BYTES) for slot in range(self.workers)]
        return [connections if length else None for connections, length, _ in heads]

    def _version(self) -> int:
        version: int = _HEAD.unpack_from(self._page, self.workers * _SLOT_BYTES)[0]
        return version

    def _turn(self) -> None:
        struct.pack_into("<I", self._page, self.workers * _SLOT_BYTES, (self._version() + 1) & 0xFFFFFFFF)


def merged(told: Sequence[Iterable[Family]]) -> list[Family]:
    """Return several workers' figures added up, in the order in which they come."""
    found: dict[str, tuple[Family, dict[tuple[str, tuple[tuple[str, str], ...]], float]]] = {}
    for families in told:
        for family in families:
            _, sums = found.setdefault(family.name, (family, {}))
            for name, labels, value in family.samples:
                before = sums.get((name, labels))
                both = _BY.get(family.name, _added)
                sums[name, labels] = value if before is None else both(before, value)
    return [
        Family(family.name, family.says, family.type, [(*key, value) for key, value in sums.items()])
        for family, sums in found.values()
    ]


def _added(one: float, other: float) -> float:
    return one + other
