"""Where the time of a request goes: five stages, measured once a batch.

    arrived ─ queue ─▶ begun ─ input ─▶ packed ─ infer ─▶ run ─ log ─▶ safe ─ output ─▶ answered
              in wait         the tensors       the graph     written, on the      the answers
                                                              disk if asked for    are sent

Each request is charged with the whole time of its batch, as Triton does: it waited for all of it. `statistics.py`
tells these figures in Triton's form.
"""

from __future__ import annotations

import time
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

    A request that several batches answer, because it is long or goes to several arms, counts once a batch; among
    those that are `answered` or fail it counts once.
    """

    __slots__ = (
        "after", "answered", "answered_ns", "batches", "before", "failed_ns", "failures", "last_ms", "requests",
        "rows", "sizes", "spent_ns",
    )  # fmt: skip

    def __init__(self) -> None:
        self.requests = 0
        self.answered = 0  # by the batch that ended them
        self.answered_ns = 0  # from bytes read to answer
        self.failures = 0
        self.failed_ns = 0
        self.last_ms = 0  # when something was asked last, since 1970; 0: never
        self.sizes: dict[int, list[int]] = {}  # by the rows of a batch: how many, and their time in input, infer, after
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
        size = self.sizes.get(rows)
        if size is None:
            size = self.sizes[rows] = [0, 0, 0, 0]
        size[0] += 1
        size[1] += packed - begun
        size[2] += run - packed
        size[3] += answered_ns - run
        self.last_ms = time.time_ns() // 1_000_000

    def answer(self, requests: int, arrived_ns: int, now_ns: int) -> None:
        """Count requests that have their whole answer; `arrived_ns` is the sum over them."""
        self.answered += requests
        self.answered_ns += now_ns * requests - arrived_ns

    def fail(self, requests: int, arrived_ns: int, now_ns: int) -> None:
        """Count requests that are not answered; `arrived_ns` is the sum over them."""
        self.failures += requests
        self.failed_ns += now_ns * requests - arrived_ns
        self.last_ms = time.time_ns() // 1_000_000
