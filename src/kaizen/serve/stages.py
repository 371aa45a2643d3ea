"""Where the time of a request goes: five stages, measured once a batch.

    arrived ─ queue ─▶ begun ─ input ─▶ packed ─ infer ─▶ run ─ log ─▶ safe ─ output ─▶ answered
              in wait         the tensors       the graph     written, on the      the answers
                                                              disk if asked for    are sent

Each request is charged with the whole time of its batch, as Triton does: it waited for all of it.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

NAMES: Final = ("queue", "input", "infer", "log", "output")
BUCKETS: Final = 32  # times by power of two of microseconds: 1 us to 35 minutes

Marks: TypeAlias = "tuple[int, int, int]"  # begun, packed, run: of `time.perf_counter_ns`


class Batch(NamedTuple):
    """What scored the rows of a call, in plain values: it may outlive the model."""

    endpoint: str
    revision: int
    bundle: str
    arm: str
    rows: int
    marks: Marks
    safe_ns: int


class Stages:
    """The figures of one version of one endpoint.

    A request that several batches answer, because it is long or goes to several arms, counts once a batch.
    """

    __slots__ = ("after", "batches", "before", "failures", "requests", "rows", "spent_ns")

    def __init__(self) -> None:
        self.requests = 0
        self.failures = 0
        self.rows = 0
        self.batches = 0
        self.spent_ns = [0] * len(NAMES)  # by requests
        self.before = [0] * BUCKETS  # requests by the time from begun to packed, in microseconds by `int.bit_length`
        self.after = [0] * BUCKETS  # and from run to answered

    def observe(self, requests: int, rows: int, arrived_ns: int, marks: Marks, safe_ns: int, answered_ns: int) -> None:
        """Count a batch that was answered; `arrived_ns` is the sum over its requests."""
        begun, packed, run = marks
        spent = self.spent_ns
        spent[0] += begun * requests - arrived_ns
        spent[1] += (packed - begun) * requests
        spent[2] += (run - packed) * requests
        spent[3] += (safe_ns - run) * requests
        spent[4] += (answered_ns - safe_ns) * requests
        self.requests += requests
        self.rows += rows
        self.batches += 1
        self.before[min(((packed - begun) // 1000).bit_length(), BUCKETS - 1)] += requests
        self.after[min(((answered_ns - run) // 1000).bit_length(), BUCKETS - 1)] += requests
