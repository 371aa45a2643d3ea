"""Overload: goodput at one, two and three times the capacity, and how soon those hear of it who are refused.

A perceptron of 64 → 4096 → 4096 → 1 on the server's core, asked from the other by an open loop (`_open_loop.py`): at
random times at a fixed rate, whatever comes of it. An answer counts if it comes within the deadline that the server was
told, from when the request was due. Afterwards the log is counted.

The goal is for requests of 4 rows, about a millisecond of the model. Requests of one row are shown beside it: they cost
the model so little that reading, refusing and sending is what the core is out of, which no admission can mend; there
the floor is the kernel's, and a second core or a proxy with a limit is the answer.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import _mlp
import _servers
from _report import arguments, cannot_run, goal, machine, table
from _servers import Running

from kaizen.adapters.log.segments import SegmentLog

WIDTH = 4096
DEADLINE_S = 0.1
CONNECTIONS = 2000


def main() -> None:
    """Measure and print."""
    quick = arguments(__doc__).quick
    if shutil.which("wrk") is None:
        cannot_run("wrk is not installed; on Debian and Ubuntu: apt-get install wrk")
    seconds = 2.0 if quick else 10.0
    with tempfile.TemporaryDirectory(prefix="kaizen-bench-") as name:
        folder = Path(name)
        for rows in (1, 4):
            _measure(folder / str(rows), rows, seconds)
    machine("onnxruntime")


def _measure(folder: Path, rows: int, seconds: float) -> None:
    folder.mkdir()
    (folder / "body.json").write_bytes(_mlp.body(rows))
    server = _mlp.serve(folder, "mlp", width=WIDTH, DEADLINE_S=str(DEADLINE_S))
    try:
        server.wait()
        wrk = _servers.load(server, _mlp.body(rows), connections=64, seconds=min(seconds, 4.0), folder=folder)
        shares = (0.8, 0.9, 1.0, 1.25, 2.0, 3.0)
        runs = [(share, _flood(server, folder, share * wrk["rate"], seconds)) for share in shares]
    finally:
        server.stop()
    print(f"\n  requests of {rows} rows")
    _print(runs, wrk, is_goal=rows > 1)
    logged = sum(len(batch.ids) for batch in SegmentLog(folder / "mlp" / "log").predictions())
    acknowledged = wrk["requests"] - wrk["errors"] + sum(run["statuses"].get("200", 0) for _, run in runs)
    print(f"  acknowledged {acknowledged * rows:,} rows, in the log {logged:,}")


def _flood(server: Running, folder: Path, rate: float, seconds: float) -> dict[str, Any]:
    script = str(Path(__file__).with_name("_open_loop.py"))
    command = [sys.executable, script, str(server.port), str(rate), str(seconds)]
    command += ["--body", str(folder / "body.json"), "--connections", str(CONNECTIONS)]
    command += ["--deadline-ms", str(1000 * DEADLINE_S)]
    if shutil.which("taskset"):
        command = ["taskset", "-c", str(_servers.LOAD_CORE), *command]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    found["rate"] = (found["sent"] + found["unsent"]) / found["seconds"]
    return found


def _print(runs: list[tuple[float, dict[str, Any]]], wrk: dict[str, Any], *, is_goal: bool) -> None:
    goodput = {share: run["good"] / run["seconds"] for share, run in runs}
    peak = max(goodput.values())
    print(f"  wrk, 64 connections: {wrk['rate']:,.0f} requests/s, p99 {wrk['p99_us'] / 1e3:.1f} ms")
    rows = []
    for share, run in runs:
        took, counts = run["latency_ms"], run["statuses"]
        refused = took.get("503", (0.0, 0.0))
        rows.append([
            f"{share:g} x",
            f"{run['rate']:,.0f}",
            f"{goodput[share]:,.0f}",
            f"{goodput[share] / peak:.2f}",
            *(f"{each:.1f}" for each in took.get("200", (0.0, 0.0))),
            counts.get("503", 0),
            counts.get("504", 0),
            *(f"{each:.1f}" for each in refused),
            run["unsent"],
            run["hung"] + run["broken"],
        ])  # fmt: skip
    header = ("asked", "requests/s", "in time/s", "of peak", "p50 ms", "p99 ms", "503", "504", "503 p50", "503 p99")
    table((*header, "unsent", "lost"), rows)
    if not is_goal:
        return
    last = runs[-1][1]
    goal("goodput at 3 x, of peak", goodput[3.0] / peak, 0.9, least=True)
    goal("a refusal, p50", last["latency_ms"].get("503", (0.0, 0.0))[0], 5.0, unit=" ms")
    goal("a refusal, p99", last["latency_ms"].get("503", (0.0, 0.0))[1], 5.0, unit=" ms")
    goal("refusals without Retry-After", sum(run["refused_without_retry_after"] for _, run in runs), 0)


if __name__ == "__main__":
    main()
