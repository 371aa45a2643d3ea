"""The ports: what kaizen needs from the outside, each a Protocol whose docstring is the contract.

| port       | does                                        | embedded default            |
|------------|---------------------------------------------|-----------------------------|
| source     | rows in                                     | CSV, Parquet, JSONL; SQLite |
| records    | nouns and ledger, transactional             | SQLite (WAL)                |
| blobs      | artefacts by content hash                   | files                       |
| log        | predictions and labels                      | append-only segments        |
| framework  | fit a model and export it as a graph        | LightGBM, scikit-learn      |
| notifier   | alerts out                                  | the log                     |

`kaizen.testing` has a conformance suite for each; an adapter's test is that suite and a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, TypeVar

import msgspec

from kaizen.core.records import Alert, FeatureColumn, Finding, LabelBatch, PredictionBatch, Record, Task

R = TypeVar("R", bound=Record)
Param: TypeAlias = float | int | str | bool | None


class Sql(Protocol):
    """The part of a DuckDB connection that a source needs."""

    def execute(self, query: str, parameters: Any = None, /) -> Any:
        """Run one statement."""
        ...


class Source(Protocol):
    """Makes the rows behind an address readable.

    Stateless and thread-safe. Reads only; the same address read twice gives the rows that are there then.
    An address that leads to nothing, to an empty table or to something unreadable raises `DataError` with
    the address, what was found, and what to do.
    """

    def handles(self, address: str) -> bool:
        """Say whether this address is of its kind, without touching it."""
        ...

    def attach(self, sql: Sql, view: str, address: str) -> None:
        """Make a view or table named `view` on the connection, in the source's own row order."""
        ...


class Records(Protocol):
    """Keeps the nouns. Transactional, ordered by arrival, safe between threads and processes.

    Records are immutable: putting the same record again changes nothing; putting other content under a known
    (kind, id) raises `ConflictError` and stores nothing of that call.
    """

    def put(self, records: Sequence[Record]) -> None:
        """Store all of these or none; when it returns they survive `kill -9`."""
        ...

    def get(self, kind: type[R], identity: str) -> R:
        """Return the record of this id; `NotFoundError` if there is none."""
        ...

    def find(
        self,
        kind: type[R],
        *,
        where: Mapping[str, str | int] | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> list[R]:
        """Return records of a kind in order of arrival, those whose top-level fields equal `where`."""
        ...

    def close(self) -> None:
        """Let go of what is held; later calls may raise."""
        ...


class Blobs(Protocol):
    """Keeps bytes under the SHA-256 of their content. Idempotent, safe between threads and processes."""

    def put(self, data: bytes | Path) -> str:
        """Store bytes, or a file's bytes, and return their hash (hex); never leaves half a blob behind."""
        ...

    def path(self, key: str) -> Path:
        """Return a local, read-only file with this content; `NotFoundError` if there is none."""
        ...


class Log(Protocol):
    """Keeps predictions and labels, append-only.

    When `append` returns, the rows are with the operating system: `kill -9` loses none of them. When a `sync` that
    began after it returns, they are on the disk as well: a power cut loses none of them. Any number of processes
    append and scan at a time. A torn tail (a crash inside a write) is no error for who scans, is cut off before
    anything is written behind it, and what was whole stays. Within a kind, the batches of one handle come back in
    the order they were appended, and so do those of handles that append one after the other. Of handles that append
    at the same time each keeps its own order; how theirs interleave is open, but the same in every scan of the same
    rows, before and after `compact`. Batches come back less what the project declares as hidden: a column is then
    absent, or is there under another name.
    """

    def append(self, batch: PredictionBatch | LabelBatch) -> None:
        """Add one batch."""
        ...

    def sync(self) -> None:
        """Bring what this handle appended before the call to the disk; does nothing where nothing was.

        Takes as long as the disk does, and holds up no `append` of another thread meanwhile. `StoreError` if the
        disk refuses: rows since the last one that returned may be lost, and it raises from then on until `close`.
        """
        ...

    def predictions(self, start: datetime | None = None, end: datetime | None = None) -> Iterator[PredictionBatch]:
        """Yield the predictions with event time in [start, end), cut to that range."""
        ...

    def labels(self, start: datetime | None = None, end: datetime | None = None) -> Iterator[LabelBatch]:
        """Yield the labels that became known in [start, end), cut to that range."""
        ...

    def compact(self) -> int:
        """Rewrite sealed segments for reading; return how many. What a scan yields does not change."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


class Choice(msgspec.Struct, frozen=True):
    """One dimension of a search space: a range (log or not, whole numbers or not) or a list of options."""

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False
    options: tuple[Param, ...] = ()


class Fitted(Protocol):
    """A fitted model, before calibration."""

    rounds: int
    """How many boosting rounds (or iterations) it kept; what a refit on more rows uses."""

    def predict(self, features: Any) -> Any:
        """Return raw predictions, float64 (rows,), of float64 features (rows, columns), by the framework itself."""
        ...

    def graph(self) -> bytes:
        """Return the ONNX graph: input ``features`` double [n, columns], output ``raw`` double [n, 1]."""
        ...

    def importance(self) -> Sequence[float]:
        """Return one non-negative figure a feature, summing to 1 (or all 0)."""
        ...

    def thresholds(self) -> Mapping[int, Sequence[float]]:
        """Return the split thresholds a feature index, for the probes of the parity certificate; {} if none."""
        ...


class Framework(Protocol):
    """Fits models of one algorithm. Deterministic for a seed; the graph answers as `predict` does."""

    encoding: ClassVar[Literal["codes", "dense"]]
    """``codes``: numbers with NaN and category codes. ``dense``: imputed, standardised, one-hot; no NaN."""

    def space(self, task: Task) -> Sequence[Choice]:
        """Return the search space."""
        ...

    def defaults(self, task: Task) -> Mapping[str, Param]:
        """Return the settings to try first; a subset of the names in `space`."""
        ...

    def fit(
        self,
        task: Task,
        params: Mapping[str, Param],
        columns: Sequence[FeatureColumn],
        features: Any,
        target: Any,
        *,
        seed: int,
        validation: tuple[Any, Any] | None = None,
        rounds: int | None = None,
    ) -> Fitted:
        """Fit on features (rows, columns) and target (rows,).

        With `validation` the number of rounds is found by early stopping; with `rounds` it is given.
        """
        ...


class Notice(msgspec.Struct, frozen=True):
    """One message: an alert as it was then, the findings it rests on, and the id by which a repetition is known."""

    id: str  # the same over all tries to deliver it
    alert: Alert
    findings: tuple[Finding, ...]
    event: Literal["opened", "worse", "resolved", "reminder", "test"]

    @property
    def title(self) -> str:
        """The first line, as whoever is told reads it."""
        return f"Still open: {self.alert.title}" if self.event == "reminder" else self.alert.title


class Notifier(Protocol):
    """Takes alerts to one channel. Thread-safe.

    Made with the channel's `url` and `secret`, both read from where they stand; making one sends nothing, and raises
    `KaizenError` where it can never work. `notify` returns once the other side has taken the message over, within
    seconds; otherwise it raises `UnreachableError` if nobody took it, `DeliveryError` if it was refused, and the caller
    tries again with the same notice. An error never quotes the address or the secret.
    """

    def notify(self, notice: Notice) -> None:
        """Deliver one message."""
        ...
