"""The embedded log: append-only segments in a folder, compacted to Parquet.

    log/00000001.predictions.parquet  ┐ compacted
    log/00000001.labels.parquet       ┘
    log/00000002.log                    sealed: full, no longer appended to
    log/00000003.log                    the newest: what `append` writes to
    log/writer-2/…                      the same, of a process that appends at the same time

`frames.py` has the format, `lanes.py` keeps writers apart, `append.py` writes, `scan.py` reads, `compact.py` makes
Parquet. `cipher.py` encrypts; a compacted segment is then one file, `.packed` (`pack.py`). `mask.py` keeps columns out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kaizen.adapters.log import frames
from kaizen.adapters.log.append import Appender
from kaizen.adapters.log.frames import Batch
from kaizen.adapters.log.lanes import lanes
from kaizen.adapters.log.scan import EVER, Reader
from kaizen.core.clock import to_us
from kaizen.core.records import LabelBatch, PredictionBatch
from kaizen.core.serving import LogSection

if TYPE_CHECKING:
    from kaizen.adapters.log.cipher import Keyring
    from kaizen.adapters.log.mask import Mask


class SegmentLog:
    """Predictions and labels in a folder of segments. Thread-safe; the contract is `kaizen.core.ports.Log`.

    A lane to append to is taken with the first batch and kept until `close`; a process that only scans creates,
    locks and cuts nothing. A scan yields lane by lane. A batch without rows is not stored.

    Parameters
    ----------
    folder
        Where the segments are; made with the first batch.
    segment_bytes
        The size from which a segment is full.
    keys
        What it is encrypted with, and read with; None: what is appended is not encrypted.
    mask
        What replaces or leaves out columns before they are appended; None: nothing does.

    Examples
    --------
    >>> import tempfile
    >>> log = SegmentLog(Path(tempfile.mkdtemp()))
    >>> log.append(LabelBatch(ids=["a", "b"], values=[0.0, 1.0], at=[5, 6]))
    >>> [batch.ids for batch in log.labels(end=datetime.fromisoformat("1970-01-01T00:00:00.000006+00:00"))]
    [['a']]
    >>> log.close()
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        segment_bytes: int = 16 << 20,
        keys: Keyring | None = None,
        mask: Mask | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._keys = keys
        self._mask = mask
        self._appender = Appender(self.folder, segment_bytes, keys)
        self._readers: dict[Path, Reader] = {}

    @classmethod
    def declared(cls, folder: Path, section: LogSection, *, home: Path, unit: str | None) -> SegmentLog:
        """Return the log that a project declares: `home` is the project's folder, `unit` the column of units."""
        keys = mask = None
        if section.encrypt is not None:
            from kaizen.adapters.log.cipher import read_keys

            keys = read_keys(section.encrypt, home)
        if section.hash or section.drop:
            from kaizen.adapters.log.mask import Mask, salt_of

            secret = keys.hash_secret if keys is not None else partial(salt_of, folder.with_suffix(".salt"))
            mask = Mask(section.hash, section.drop, unit=unit, secret=secret)
        return cls(folder, keys=keys, mask=mask)

    def append(self, batch: PredictionBatch | LabelBatch) -> None:
        """Add one batch; when this returns, its rows outlive the process."""
        if self._mask is not None and isinstance(batch, PredictionBatch):
            batch = self._mask.apply(batch)
        self._appender.append(batch)

    def sync(self) -> None:
        """Bring what was appended to the disk; appending goes on meanwhile."""
        self._appender.sync()

    def predictions(self, start: datetime | None = None, end: datetime | None = None) -> Iterator[PredictionBatch]:
        """Yield the predictions with event time in [start, end), cut to that range, as they are when it begins."""
        return cast("Iterator[PredictionBatch]", self._scan(frames.PREDICTIONS, *_range(start, end)))

    def labels(self, start: datetime | None = None, end: datetime | None = None) -> Iterator[LabelBatch]:
        """Yield the labels that became known in [start, end), cut to that range, as they are when it begins."""
        return cast("Iterator[LabelBatch]", self._scan(frames.LABELS, *_range(start, end)))

    def compact(self) -> int:
        """Rewrite the sealed segments for reading and return how many; any process may do it, one at a time.

        As Parquet; or packed, if the log is encrypted.
        """
        from kaizen.adapters.log.compact import compact  # DuckDB and numpy, for this alone

        return sum(compact(folder, reader, self._keys) for folder, reader in self._lanes())

    def size_bytes(self) -> int:
        """Return how much of the disk the log takes."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def close(self) -> None:
        """Let go of the lane; a later append takes one again."""
        self._appender.close()

    def _scan(self, kind: int, low: int, high: int) -> Iterator[Batch]:
        looks = [(reader, reader.look(kind, low, high)) for _, reader in self._lanes()]  # of all before the first row
        for reader, look in looks:
            yield from reader.scan(look, kind, low, high)

    def _lanes(self) -> list[tuple[Path, Reader]]:
        return [(folder, self._readers.setdefault(folder, Reader(folder, self._keys))) for folder in lanes(self.folder)]


def _range(start: datetime | None, end: datetime | None) -> tuple[int, int]:
    return (EVER[0] if start is None else to_us(start), EVER[1] if end is None else to_us(end))
