"""Workers: what 1, 2 and 4 of them cost in memory, and what they answer; dense weights, trees, and next to nothing.

Memory is the proportional set size of all processes of a server (a page that four of them share counts a quarter
in each), after every worker has answered. The rival is as many servers of one process. The floor is a model of a
few weights: what Python, the libraries and the server take themselves. Rates are of the trees, with wrk on the same
cores, so with two cores the second worker has little left to run on.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import _orders
import numpy as np
import onnx
from _report import arguments, cannot_run, goal, machine, table
from _servers import _LUA, BIN, free_port
from onnx import TensorProto, helper, numpy_helper

COUNTS = (1, 2, 4)
TREES = 300


def main() -> None:
    """Measure and print."""
    quick = arguments(__doc__).quick
    if not Path("/proc/self/smaps_rollup").exists():
        cannot_run("/proc/PID/smaps_rollup, by which memory is measured, is Linux's")
    width = 1200 if quick else 4200
    with tempfile.TemporaryDirectory(prefix="kaizen-bench-") as name:
        folder = Path(name)
        _network(folder / "small.onnx", 8)
        _network(folder / "dense.onnx", width)
        (folder / "trees").mkdir()
        _orders.serving_project(folder / "trees", orders=6000 if quick else 20_000, rounds=TREES)
        row = json.dumps({"rows": [{"f0": 0.5, "f1": -0.5}]})
        _memory(folder, 3 * width * width * 4, row)
        _rates(folder, seconds=1.0 if quick else 4.0)
    machine("onnxruntime")


def _memory(folder: Path, weights: int, row: str) -> None:
    mib: dict[tuple[str, int], float] = {}
    for kind in ("small", "dense", "trees"):
        for workers in COUNTS:
            with _Server(folder, kind, workers) as server:
                server.ask_all(row if kind != "trees" else _order())
                mib[kind, workers] = server.pss_mib()
    shown = []
    for kind, workers in mib:
        above = mib[kind, workers] - mib["small", workers]
        share = f"{above / (weights / 2**20):.2f}" if kind == "dense" else ""
        rival = f"{workers * mib[kind, 1]:.0f}"
        shown.append([kind, workers, f"{mib[kind, workers]:.0f}", f"{above:.0f}", share, rival])
    print(f"  dense: {weights / 2**20:.0f} MiB of float32 weights; trees: {TREES}, LightGBM\n")
    table(("model", "workers", "PSS MiB", "above small", "of the weights", "as many servers"), shown)
    print()
    reached = (mib["dense", 4] - mib["small", 4]) / (weights / 2**20)
    goal("memory of dense weights with 4 workers", reached, 1.3, unit=" x the weights")


def _rates(folder: Path, *, seconds: float) -> None:
    if shutil.which("wrk") is None:
        print("  rates: wrk is not installed; on Debian and Ubuntu: apt-get install wrk\n")
        return
    shown = []
    for connections in (64, 4):
        for workers in (1, 2):
            with _Server(folder, "trees", workers) as server:
                found = server.load(_order(), connections, seconds, folder)
                rate = found["requests"] / found["seconds"]
                shown.append(
                    [
                        workers,
                        connections,
                        f"{rate:,.0f}",
                        f"{found['p50_us'] / 1e3:.2f}",
                        f"{found['p99_us'] / 1e3:.2f}",
                    ]
                )
    table(("workers", "connections", "requests/s", "p50 ms", "p99 ms"), shown)


class _Server:
    """`kaizen serve` with some workers, and how to ask it."""

    def __init__(self, folder: Path, kind: str, workers: int) -> None:
        self.port = free_port()
        what = [str(folder / f"{kind}.onnx"), "--trust"] if kind != "trees" else []
        home = folder / "trees" if kind == "trees" else folder
        command = [str(BIN / "kaizen"), "serve", *what, "--port", str(self.port), "--workers", str(workers)]
        environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
        null = subprocess.DEVNULL
        self._workers = workers
        self._process = subprocess.Popen([*command, "-C", str(home)], env=environment, stdout=null, stderr=null)

    def __enter__(self) -> _Server:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                if self._ask("/healthz").get("status") == "ok":
                    return self
            except (OSError, ValueError, subprocess.CalledProcessError):
                pass
            time.sleep(0.05)
        raise RuntimeError("the server was not ready after 120 s")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)

    def ask_all(self, row: str) -> None:
        """Have every worker answer: the one with the fewest connections takes the next."""
        for _ in range(8 * self._workers):
            self._ask("/v1/predict", row)

    def pss_mib(self) -> float:
        """Return the memory of all of its processes."""
        workers = self._ask("/healthz").get("workers", [])
        pids = [self._process.pid, *(worker["pid"] for worker in workers)]
        total = 0
        for pid in pids:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total / 1024

    def load(self, row: str, connections: int, seconds: float, folder: Path) -> dict[str, Any]:
        """Ask as fast as answers come; return what wrk counted."""
        script = folder / "post.lua"
        script.write_text(_LUA.replace("BODY", row))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script)]
        address = f"http://127.0.0.1:{self.port}/v1/predict"
        output = subprocess.run([*command, address], check=True, capture_output=True, text=True).stdout
        found: dict[str, Any] = json.loads(output.splitlines()[-1])
        return found

    def _ask(self, path: str, body: str | None = None) -> dict[str, Any]:
        data = [] if body is None else ["-d", body]
        address = f"http://127.0.0.1:{self.port}{path}"
        answer = subprocess.run(["curl", "-s", "-m", "20", *data, address], check=True, capture_output=True).stdout
        told: dict[str, Any] = json.loads(answer)
        return told


def _order() -> str:
    row = _orders.rows(1, seed=99)[0]
    return json.dumps({"rows": [{name: value for name, value in row.items() if name != _orders.TARGET}]})


def _network(path: Path, width: int) -> None:
    """Write a network of four dense layers."""
    rng = np.random.default_rng(0)
    nodes, constants, last = [], [], "X"
    for layer, shape in enumerate(itertools.pairwise([2, *[width] * 4, 1])):
        weights = (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)
        constants.append(numpy_helper.from_array(weights, f"w{layer}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{layer}"], [f"m{layer}"]))
        nodes.append(helper.make_node("Tanh", [f"m{layer}"], [f"h{layer}"]))
        last = f"h{layer}"
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [None, 1])],
        initializer=constants,
    )
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


if __name__ == "__main__":
    main()
