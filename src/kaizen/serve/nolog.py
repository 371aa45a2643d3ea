"""The log of a server that keeps none: what is served from a file, with no project, unless a folder is given."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from kaizen.core.records import LabelBatch, PredictionBatch


class NoLog:
    """Forgets at once; has the form of `kaizen.core.ports.Log`, and keeps none of its promises."""

    def append(self, batch: PredictionBatch | LabelBatch) -> None:
        """Forget."""

    def sync(self) -> None:
        """Nothing to bring anywhere."""

    def predictions(self, start: datetime | None = None, end: datetime | None = None) -> Iterator[PredictionBatch]:  # noqa: ARG002
        """Yield nothing."""
        return iter(())

    def labels(self, start: datetime | None = None, end: datetime | None = None) -> Iterator[LabelBatch]:  # noqa: ARG002
        """Yield nothing."""
        return iter(())

    def compact(self) -> int:
        """Nothing to compact."""
        return 0

    def close(self) -> None:
        """Nothing to let go of."""
