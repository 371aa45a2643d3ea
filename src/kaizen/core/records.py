"""The nouns of kaizen: what the system makes, keeps and reasons about. Read this file first.

    rows ─ Dataset ─ FeatureSet ─ Run ─ Bundle ─ Endpoint ─ Prediction ─ Label
                                                    │             └──┬──┘
                                                Decision ◄────── Finding ──► Alert ──► Delivery

Every record is frozen and names its parents, so lineage is a query. A correction is a new record
whose parent is the one it corrects. Predictions and labels come in millions, so they travel in
batches (`PredictionBatch`, `LabelBatch`) through the log port; all others go to the records port.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

ColumnType: TypeAlias = Literal["number", "category", "boolean", "time", "text"]
Task: TypeAlias = Literal["classification", "regression"]
Role: TypeAlias = Literal["champion", "challenger", "shadow"]
Action: TypeAlias = Literal["hold", "retrain", "shadow", "promote", "roll back", "stop"]
Severity: TypeAlias = Literal["critical", "warning", "info"]
Verdict: TypeAlias = Literal["ok", "watch", "page", "resolved", "pass", "fail", "better", "worse", "undecided"]


class Column(msgspec.Struct, frozen=True):
    """A named, typed column of raw rows.

    On the wire and in a graph: a ``number`` is float64 (missing: null, NaN), a ``boolean`` is float64
    0 or 1 (missing: null, NaN), a ``time`` is int64 microseconds since 1970 in UTC (missing: null, the
    smallest int64), a ``category`` or ``text`` is a string (missing: null, the empty string).
    """

    name: str
    type: ColumnType


class Seen(msgspec.Struct, frozen=True):
    """What the rows that a model was made from had in a column; a row may have other values and is answered."""

    name: str
    low: float | str | None = None  # the smallest number; the earliest time, ISO 8601
    high: float | str | None = None
    values: tuple[str, ...] = ()  # of a category, the commonest first
    is_all: bool = False  # whether `values` are all that there were


class FeatureColumn(msgspec.Struct, frozen=True):
    """A column of the training table: one float64, or the code of a category (-1: missing or unseen)."""

    name: str
    source: str  # the raw column it comes from, or the expression
    categories: int = 0  # how many codes it has; 0: a number


class Metric(msgspec.Struct, frozen=True):
    """A figure with its interval (95 % unless the name says otherwise), and how many rows it rests on."""

    name: str
    value: float
    low: float
    high: float
    n: int


class File(msgspec.Struct, frozen=True):
    """A file of a bundle: its path in the bundle, the blob that holds its bytes, and their count."""

    path: str
    blob: str
    size_bytes: int


class Arm(msgspec.Struct, frozen=True):
    """One bundle of an endpoint: what share of the units it answers, in which role.

    A ``champion`` answers; a ``challenger`` or a ``shadow`` with share 0 is scored beside it and logged.
    """

    bundle: str
    role: Role
    share: float


class Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What all records have: an id, whose it is, when (event time, UTC) and by whom, and what it stands on."""

    id: str
    project: str
    at: datetime
    by: str
    parents: tuple[str, ...] = ()


class Dataset(Record, frozen=True, kw_only=True, tag="dataset"):
    """Frozen rows. The id is the hash of the content: columns, order and values."""

    columns: tuple[Column, ...]
    rows: int
    blob: str  # Parquet
    target: str
    time: str | None = None
    unit: str | None = None
    start: datetime | None = None  # of the time column
    end: datetime | None = None


class FeatureSet(Record, frozen=True, kw_only=True, tag="feature_set"):
    """A feature graph fitted on a dataset. The id is the hash of definition and dataset."""

    dataset: str
    inputs: tuple[Column, ...]
    outputs: tuple[FeatureColumn, ...]
    graph: str  # blob: ONNX


class Run(Record, frozen=True, kw_only=True, tag="run"):
    """One fit: what was fitted with which settings, how well it did, and what came out."""

    dataset: str
    feature_set: str
    task: Task
    algorithm: str
    params: dict[str, float | int | str | bool | None]
    seed: int
    metrics: tuple[Metric, ...]
    baselines: dict[str, tuple[Metric, ...]]
    artefact: str  # blob: everything packing needs (msgpack)
    report: str | None = None  # blob: HTML


class Bundle(Record, frozen=True, kw_only=True, tag="bundle"):
    """What ships: files that belong together, signed. The id is the hash of the manifest."""

    name: str
    version: int
    task: Task
    run: str | None
    inputs: tuple[Column, ...]
    output: str  # the name of the answer: "probability" or "value"
    files: tuple[File, ...]
    public_key: str  # Ed25519, hex
    signature: str  # of the id's bytes, hex


class Endpoint(Record, frozen=True, kw_only=True, tag="endpoint"):
    """A name and its arms at one revision. The id is ``name@revision``; only a Decision makes one."""

    name: str
    revision: int
    arms: tuple[Arm, ...]
    decision: str

    @property
    def champion(self) -> Arm:
        """The arm whose answers users get when no experiment splits them."""
        return next(arm for arm in self.arms if arm.role == "champion")

    def arm(self, role: Role) -> Arm | None:
        """The arm in this role, or None."""
        return next((arm for arm in self.arms if arm.role == role), None)


class Finding(Record, frozen=True, kw_only=True, tag="finding"):
    """Evidence: a question, an estimate with its interval, the evidence against "nothing happened", a verdict.

    ``evidence`` is an e-value (1: none; from ``limit`` on: enough). Of a monitor it is one of two keys; the other is
    the ``estimate``, once it is as large as ``matters``. A verdict that tells "no change" from "too few rows" needs
    ``detectable``, the smallest estimate that these rows could have shown.
    """

    question: str
    subject: str  # what it is about: a column, a metric, a bundle
    method: str
    estimate: float | None
    low: float | None
    high: float | None
    evidence: float | None
    limit: float | None
    verdict: Verdict
    n: int
    start: datetime | None = None  # the window it speaks of
    end: datetime | None = None
    says: str = ""  # one sentence for people
    matters: float | None = None  # the estimate from which on it is worth acting upon
    detectable: float | None = None
    began: datetime | None = None  # since when, as far as one can tell
    blames: tuple[str, ...] = ()  # the columns and segments behind it, the worst first
    segment: str = ""  # the rows it is about, such as "origin=JFK"; empty: all of them
    impact: float | None = None  # what it costs: the estimated change of the metric, above 0 is worse


class Decision(Record, frozen=True, kw_only=True, tag="decision"):
    """An action and its reasons. The parents are the findings, and the records acted upon."""

    action: Action
    endpoint: str
    reason: str  # one sentence for people
    findings: tuple[str, ...] = ()
    bundle: str | None = None  # what it is about
    revision: int | None = None  # of the endpoint that it made, if it made one


class Part(msgspec.Struct, frozen=True):
    """One thing wrong in an alert: the finding that opened it and, once it is over, the one that said so."""

    subject: str
    segment: str
    opened: str
    closed: str | None = None


class Alert(Record, frozen=True, kw_only=True, tag="alert"):
    """What people are told of findings that belong together, from one change of it to the next.

    Each change is a record of its own that names the one before. A ``worse`` alert has something in it that nobody was
    told of yet; one that is ``better`` is kept, and told to nobody.
    """

    key: str  # what it is about: the same while that is wrong, and the same when it is wrong again
    episode: str  # the id of the alert that opened it, its own if it did
    endpoint: str
    question: str
    state: Literal["open", "resolved"]
    change: Literal["opened", "worse", "better", "resolved"]
    severity: Severity  # the highest of this episode
    parts: tuple[Part, ...]  # all of this episode
    since: datetime  # when it began, as far as one can tell
    title: str  # one line for people
    body: str
    findings: tuple[str, ...]
    labels: dict[str, str]
    links: dict[str, str] = {}
    at_stake: float | None = None  # by what share of itself the metric is worse; None: nobody knows
    quiet_until: datetime | None = None  # it was resolved shortly before, so it is not told until then

    @property
    def standing(self) -> tuple[Part, ...]:
        """The parts that are not over; of a resolved alert, all that it had."""
        return tuple(part for part in self.parts if part.closed is None) or self.parts


class Delivery(Record, frozen=True, kw_only=True, tag="delivery"):
    """One try to tell somebody of an alert, done and over. The parent is the alert."""

    alert: str
    channel: str
    reminder: int  # 0: the news itself
    attempt: int  # from 1 on
    delivered: bool
    says: str = ""  # why it failed
    retry_at: datetime | None = None  # of a failed one: when it is tried again; None: given up


class Silence(Record, frozen=True, kw_only=True, tag="silence"):
    """Alerts that are kept and shown, and told to nobody until a moment; one that ends another names it as parent."""

    match: dict[str, tuple[str, ...]]  # label: patterns, one of which must fit
    until: datetime
    reason: str


class Step(Record, frozen=True, kw_only=True, tag="step"):
    """A durable step that is done: its name, the hash of its inputs, and what came out (a blob or a small value)."""

    name: str
    inputs: str
    result: str


AnyRecord: TypeAlias = (
    Dataset | FeatureSet | Run | Bundle | Endpoint | Finding | Decision | Alert | Delivery | Silence | Step
)


class PredictionBatch(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Predictions of one arm, made together: one entry a row in every list.

    Inputs are kept as the graph read them, by type: ``numbers`` are float64, ``times`` int64, both little-endian
    and row-major, ``strings`` row-major; columns in the order of ``columns`` within each type. A shadow's batch
    has the same ids as the champion's and carries no inputs.
    """

    endpoint: str
    revision: int
    bundle: str
    role: Role
    ids: list[str]
    at: list[int]  # event time, microseconds since 1970, UTC
    units: list[str | None]
    outputs: list[float]
    propensity: list[float]
    latency_us: list[int]
    requests: list[str | None]  # the caller's own request id
    columns: tuple[Column, ...] = ()
    numbers: bytes = b""
    times: bytes = b""
    strings: list[str] = []


class LabelBatch(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What turned out to be true. Of an id's labels the one that became known last wins; all are kept."""

    ids: list[str]
    values: list[float]
    at: list[int]  # when it became known, microseconds since 1970, UTC
