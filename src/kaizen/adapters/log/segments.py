"""The embedded log: append-only segments in a folder, compacted to Parquet.

    log/00000001.predictions.parquet  ┐ compacted
    log/00000001.labels.parquet       ┘
    log/00000002.log                    sealed: full, no longer appended to
    log/00000003.log                    the newest: what `append` writes to

`frames.py` has the format, `append.py` writes, `scan.py` reads, `compact.py` makes Parquet. `cipher.py` encrypts; a
compacted segment is then one file, `.packed` (`pack.py`). `mask.py` keeps columns out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kaizen.adapters.log import frames
from kaizen.adapters.log.append import Appender
from kaizen.adapters.log.scan import EVER, Reader
from kaizen.core.clock import to_us
from kaizen.core.projectfile import LogSection
from kaizen.core.records import LabelBatch, PredictionBatch

if TYPE_CHECKING:
    from kaizen.adapters.log.cipher import Keyring
    from kaizen.adapters.log.mask import Mask


class SegmentLog:
    """Predictions and labels in a folder of segments. Thread-safe; the contract is `kaizen.core.ports.Log`.

    The right to append is taken with the first batch and kept until `close`; a process that only scans creates,
    locks and cuts nothing. A batch without rows is not stored.

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
        self._reader = Reader(self.folder, keys)

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
        found = self._reader.scan(frames.PREDICTIONS, *_range(start, end))
        return cast("Iterator[PredictionBatch]", found)

    def labels(self, start: datetime | None = None, end: datetime | None = None) -> Iterator[LabelBatch]:
        """Yield the labels that became known in [start, end), cut to that range, as they are when it begins."""
        return cast("Iterator[LabelBatch]", self._reader.scan(frames.LABELS, *_range(start, end)))

    def compact(self) -> int:
        """Rewrite the sealed segments for reading and return how many; any process may do it, one at a time.

        As Parquet; or packed, if the log is encrypted.
        """
        from kaizen.adapters.log.compact import compact  # DuckDB and numpy, for this alone

        return compact(self.folder, self._reader, self._keys)

    def size_bytes(self) -> int:
        """Return how much of the disk the log takes."""
        return sum(path.stat().st_size for path in self.folder.glob("*") if path.is_file())

    def close(self) -> None:
        """Let go of the right to append; a later append takes it again."""
        self._appender.close()


def _range(start: datetime | None, end: datetime | None) -> tuple[int, int]:
    return (EVER[0] if start is None else to_us(start), EVER[1] if end is None else to_us(end))
