"""What logging a prediction costs under load, as the server counts it: 64 connections, one row a request.

`append` is the server's own count (`kaizen_log_seconds` by `kaizen_log_rows`): frame, checksum and the system call,
before the answer. `record` is what it takes to make the batch's record out of the tensors first, measured here on
batches of the size that the server just had.
"""

from __future__ import annotations

import json
import re
import time
from statistics import median
from typing import Final

import numpy as np
from _report import arguments, goal, machine, table
from _servers import Running

from kaizen.core.records import PredictionBatch
from kaizen.graph.frame import Feeds, to_log
from serving.stage import Asked, Stage, staged

NAMES: Final = ("kaizen_log_seconds_total", "kaizen_log_rows_total", "kaizen_batch_rows_count", "kaizen_batch_rows_sum")


def main() -> None:
    """Measure and print."""
    with staged(quick=arguments(__doc__).quick) as stage:
        measure(stage)
    machine("msgspec")


def measure(stage: Stage) -> None:
    """Measure on this stage, and print."""
    body = json.dumps({"rows": stage.rows[:1]}).encode()
    append_us, sizes, shown = [], [], []
    with stage.kaizen() as kaizen:
        for number in range(stage.rounds):
            before = _counts(kaizen)
            runs = stage.in_turn([Asked(kaizen, body)], connections=64, rounds=1)["kaizen"]
            seconds, rows, batches, _ = (now - then for now, then in zip(_counts(kaizen), before, strict=True))
            append_us.append(1e6 * seconds / rows)
            sizes.append(rows / batches)
            shown.append([
                number + 1,
                f"{runs.of('rate'):,.0f}",
                f"{sizes[-1]:.1f}",
                f"{append_us[-1]:.2f}",
                f"{runs.of('cpu_us'):.1f}",
            ])  # fmt: skip
    table(("round", "requests/s", "rows a batch", "append us/row", "CPU us/request"), shown)
    size = max(1, round(median(sizes)))
    record_us = _record_us(stage, size)
    whole = median(append_us) + record_us
    goal(
        "logging a prediction", whole, 4.0, unit=" us", sides=f"append {median(append_us):.2f}, record {record_us:.2f}"
    )


def _counts(server: Running) -> list[float]:
    text = server.ask("/metrics")[1].decode()
    return [sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M)) for name in NAMES]


def _record_us(stage: Stage, rows: int) -> float:
    """Return the microseconds a row that making the record takes, in batches of so many rows."""
    columns = stage.model.inputs
    reader = stage.model._reader
    feeds: Feeds = reader.feeds((stage.rows * (1 + rows // len(stage.rows)))[:rows])
    ids = ["01ARZ3NDEKTSV4RRFFQ69G5FAV"] * rows
    spent = []
    for _ in range(2000):
        start = time.perf_counter()
        numbers, times, strings = to_log(columns, feeds)
        PredictionBatch(
            endpoint="orders",
            revision=1,
            bundle=stage.bundle.id,
            role="champion",
            ids=ids,
            at=[0] * rows,
            units=[None] * rows,
            outputs=[0.5] * rows,
            propensity=[1.0] * rows,
            latency_us=[1] * rows,
            requests=[None] * rows,
            columns=columns,
            numbers=numbers,
            times=times,
            strings=strings,
        )
        spent.append(time.perf_counter() - start)
    return float(np.median(spent)) * 1e6 / rows


if __name__ == "__main__":
    main()
