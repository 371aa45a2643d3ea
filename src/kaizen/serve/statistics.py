"""What one version of a model was asked and how long it took, by stage, in the form of Triton's statistics.

    arrived ─ queue ─▶ begun ─ input ─▶ packed ─ infer ─▶ run ─ log ─▶ safe ─ output ─▶ answered

Counted once a batch and once a request, in plain integers. Each request is charged with the whole time of its batch,
for it waited for all of it. Triton has no log: that stage is told as a part of ``compute_output``.
"""

from __future__ import annotations

import time
from typing import Any, Final, TypeAlias

STAGES: Final = ("queue", "input", "infer", "log", "output")
_BUCKETS: Final = 32  # times by power of two of microseconds: 1 us to 35 minutes

Marks: TypeAlias = "tuple[int, int, int]"  # begun, packed, run: of `time.perf_counter_ns`


class ArmStats:
    """The figures of one version of one endpoint; they outlive a revision that keeps the version.

    Attributes
    ----------
    requests, rows, batches
        That were answered. A request that several batches answer counts here once a batch.
    answered, answered_ns
        Requests by the batch that ended them, and their time from bytes read to answer.
    failures, failed_ns
        Requests that were not answered.
    spent_ns
        Time by stage, summed over `requests`.
    before, after
        Requests by the time from begun to packed, and from run to answered: microseconds by `int.bit_length`.
    sizes
        By the rows of a batch: how many batches, and their time packing, running and after that.
    last_ms
        When something was asked last, since 1970; 0: never.
    """

    __slots__ = (
        "after", "answered", "answered_ns", "batches", "before", "failed_ns", "failures", "last_ms", "requests", "rows",
        "sizes", "spent_ns",
    )  # fmt: skip

    def __init__(self) -> None:
        self.requests = 0
        self.rows = 0
        self.batches = 0
        self.answered = 0
        self.answered_ns = 0
        self.failures = 0
        self.failed_ns = 0
        self.spent_ns = [0] * len(STAGES)
        self.before = [0] * _BUCKETS
        self.after = [0] * _BUCKETS
        self.sizes: dict[int, list[int]] = {}
        self.last_ms = 0

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
        self.before[min(((packed - begun) // 1000).bit_length(), _BUCKETS - 1)] += requests
        self.after[min(((answered_ns - run) // 1000).bit_length(), _BUCKETS - 1)] += requests
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

    def fail(self, arrived_ns: int, now_ns: int) -> None:
        """Count a request that was not answered."""
        self.failures += 1
        self.failed_ns += now_ns - arrived_ns
        self.last_ms = time.time_ns() // 1_000_000


def told(name: str, version: str, stats: ArmStats) -> dict[str, Any]:
    """Return the figures of a version under Triton's names."""
    queue, packing, running, logging, output = stats.spent_ns
    parts = stats.requests
    return {
        "name": name,
        "version": version,
        "last_inference": stats.last_ms,
        "inference_count": stats.rows,
        "execution_count": stats.batches,
        "inference_stats": {
            "success": _duration(stats.answered, stats.answered_ns),
            "fail": _duration(stats.failures, stats.failed_ns),
            "queue": _duration(parts, queue),
            "compute_input": _duration(parts, packing),
            "compute_infer": _duration(parts, running),
            "compute_output": _duration(parts, logging + output),
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_input": _duration(count, packing_ns),
                "compute_infer": _duration(count, running_ns),
                "compute_output": _duration(count, output_ns),
            }
            for rows, (count, packing_ns, running_ns, output_ns) in sorted(stats.sizes.items())
        ],
    }


def _duration(count: int, ns: int) -> dict[str, int]:
    return {"count": count, "ns": ns}
