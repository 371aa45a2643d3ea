"""Batching: what it costs a request when the server is idle, and what it gains where a model gains from batches.

The cost: the time from `submit` to `deliver` on the server's own loop, beside a call of the model itself, in turn. The
gain: a perceptron of 64 → 1024 → 1024 → 1 on one core, 64 connections, batches of up to 1,024 rows beside batches of
one row, in turn; the rest of the server is the same. What the gain costs in latency is shown beside it.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import _mlp
import _servers
import numpy as np
import uvloop
from _report import arguments, cannot_run, goal, machine, quantiles, table

from kaizen.serve.batcher import Batcher
from kaizen.serve.cost import Cost
from kaizen.serve.lanes import LIVE, NEVER

WIDTH = 1024


def main() -> None:
    """Measure and print."""
    quick = arguments(__doc__).quick
    if shutil.which("wrk") is None:
        cannot_run("wrk is not installed; on Debian and Ubuntu: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="kaizen-bench-") as name:
        folder = Path(name)
        _idle(folder, 500 if quick else 5000)
        _gain(folder, seconds=1.0 if quick else 4.0, rounds=2 if quick else 5)
    machine("onnxruntime")


def _idle(folder: Path, count: int) -> None:
    path = folder / "small.onnx"
    _mlp.write(path, 64)
    model = _mlp.Perceptron(path)
    feeds = {"numbers": np.zeros((1, 64))}
    direct, batched = uvloop.run(_in_turn(model, feeds, count))
    (one, _), (other, late) = quantiles(direct), quantiles(batched)
    rows = [
        ["the model alone", f"{1e3 * one:.1f}", ""],
        ["submit to deliver", f"{1e3 * other:.1f}", f"{1e3 * late:.1f}"],
    ]
    table(("one row, nothing else to do", "p50 us", "p99 us"), rows)
    goal("added to an idle request", 1e3 * (other - one), 50, unit=" us")


async def _in_turn(model: _mlp.Perceptron, feeds: dict[str, Any], count: int) -> tuple[list[float], list[float]]:
    loop = asyncio.get_running_loop()
    answered = loop.create_future()
    cost = Cost()
    direct: list[float] = []
    batched: list[float] = []
    with ThreadPoolExecutor(1) as thread:
        batcher: Batcher[Any, Any] = Batcher(
            score=lambda jobs: model.run(jobs[0].feeds),
            deliver=lambda _, result: answered.set_result(result),
            cost=lambda _: cost,
            soon=loop.call_soon,
            soon_from_thread=loop.call_soon_threadsafe,
            later=loop.call_later,
            thread=thread,
        )
        for _ in range(count):
            start = time.perf_counter()
            model.run(feeds)
            direct.append(time.perf_counter() - start)
            answered = loop.create_future()
            job = SimpleNamespace(rows=1, key="k", deadline_ns=NEVER, is_gone=False, feeds=feeds)
            start = time.perf_counter()
            batcher.admit(1, time.perf_counter_ns() + 10**9, LIVE, cost)
            batcher.submit(job)
            await answered
            batched.append(time.perf_counter() - start)
    return direct, batched


def _gain(folder: Path, *, seconds: float, rounds: int) -> None:
    servers = [
        _mlp.serve(folder, "batches", width=WIDTH, DEADLINE_S="0"),
        _mlp.serve(folder, "one by one", width=WIDTH, DEADLINE_S="0", MAX_ROWS="1"),
    ]
    runs: dict[str, list[dict[str, Any]]] = {server.name: [] for server in servers}
    try:
        for server in servers:
            server.wait()
        for number in range(rounds + 1):
            for server in servers:
                for other in servers:
                    (other.resume if other is server else other.pause)()
                run = _servers.load(server, _mlp.body(), connections=64, seconds=seconds, folder=folder)
                if number:  # the first warms up
                    runs[server.name].append(run)
    finally:
        for server in servers:
            server.stop()
    rows = [
        [
            name,
            *(f"{median(run[key] for run in own) / scale:,.2f}" for key, scale in _SHOWN),
            sum(r["errors"] for r in own),
        ]
        for name, own in runs.items()
    ]
    table(("64 connections", "requests/s", "p50 ms", "p99 ms", "CPU us/request", "errors"), rows)
    pairs = list(zip(runs["batches"], runs["one by one"], strict=True))
    goal("throughput of batches, times one by one", median(a["rate"] / b["rate"] for a, b in pairs), 4.0, least=True)
    goal("p99 of batches, of one by one", median(a["p99_us"] / b["p99_us"] for a, b in pairs), 1.0)


_SHOWN = (("rate", 1.0), ("p50_us", 1e3), ("p99_us", 1e3), ("cpu_us", 1.0))


if __name__ == "__main__":
    main()
