"""Start: `import kaizen`, `kaizen --help` and `kaizen serve` until it is ready, beside bare Python and FastAPI.

Everything is compiled to bytecode first, as an installation is, in a folder that is thrown away afterwards.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import _orders
import _servers
from _report import arguments, goal, machine, table
from _servers import BIN, Running

from kaizen.core.records import Bundle

PYTHON = sys.executable
COMMANDS = {
    "python -c pass (floor)": [PYTHON, "-c", "pass"],
    "import kaizen": [PYTHON, "-c", "import kaizen"],
    "import fastapi (rival)": [PYTHON, "-c", "import fastapi"],
    "import onnxruntime (floor of serving)": [PYTHON, "-c", "import onnxruntime"],
    "kaizen --help": [str(BIN / "kaizen"), "--help"],
    "uvicorn --help (rival)": [str(BIN / "uvicorn"), "--help"],
}


def main() -> None:
    """Measure and print."""
    times = 3 if arguments(__doc__).quick else 15
    with tempfile.TemporaryDirectory(prefix="kaizen-bench-") as name:
        folder = Path(name)
        env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        env["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        found = _commands(env, times)
        ready = _serving(folder, env, max(2, times // 3))
    shown = [[name, f"{wall * 1e3:.0f}", f"{cpu * 1e3:.0f}", ""] for name, (wall, cpu) in found.items()]
    shown += [[n, f"{wall * 1e3:.0f}", f"{cpu * 1e3:.0f}", f"{mib:.0f}"] for n, (wall, cpu, mib) in ready.items()]
    table(("what", "wall ms", "CPU ms", "peak MiB"), shown)
    goal("import kaizen", found["import kaizen"][0] * 1e3, 150, unit=" ms")
    goal("kaizen --help", found["kaizen --help"][0] * 1e3, 200, unit=" ms")
    _, cpu_s, mib = ready["kaizen serve, ready"]
    goal("kaizen serve, ready", cpu_s, 1.0, unit=" s of CPU")
    goal("kaizen serve, ready", mib, 120, unit=" MiB")
    machine("onnxruntime", "fastapi", "uvicorn", "click")


def _commands(env: Mapping[str, str], times: int) -> dict[str, tuple[float, float]]:
    """Return the median wall and CPU seconds of each command; they take turns."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for number in range(times + 1):
        for name, command in COMMANDS.items():
            before, start = _children_s(), time.perf_counter()
            subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)
            spent = (time.perf_counter() - start, _children_s() - before)
            if number:  # the first run compiles
                found[name].append(spent)
    return {name: (median(w for w, _ in runs), median(c for _, c in runs)) for name, runs in found.items()}


def _serving(folder: Path, env: Mapping[str, str], times: int) -> dict[str, tuple[float, float, float]]:
    """Return the median wall seconds, CPU seconds and peak MiB of a server when it first says that it is ready."""
    project = _orders.serving_project(folder, orders=6000, rounds=300)
    endpoint = project.endpoint()
    assert endpoint is not None
    bundle = project.records.get(Bundle, endpoint.champion.bundle)
    graph = project.blobs.path(next(file.blob for file in bundle.files if file.path == "graph.onnx"))
    compiled = {"PYTHONPYCACHEPREFIX": env["PYTHONPYCACHEPREFIX"], "PYTHONDONTWRITEBYTECODE": ""}
    starts: dict[str, Callable[[], Running]] = {
        "kaizen serve, ready": lambda: _servers.kaizen(folder, compiled),
        "FastAPI by hand, ready (rival)": lambda: _servers.fastapi(graph, compiled),
    }
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in starts}
    for number in range(times + 1):
        for name, start in starts.items():
            begun = time.perf_counter()
            server = start()
            try:
                server.wait()
                spent = (time.perf_counter() - begun, server.cpu_s(), server.peak_mib())
            finally:
                server.stop()
            if number:
                found[name].append(spent)
    return {name: _medians(runs) for name, runs in found.items()}


def _medians(runs: list[tuple[float, float, float]]) -> tuple[float, float, float]:
    wall, cpu, mib = (median(values) for values in zip(*runs, strict=True))
    return wall, cpu, mib


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
