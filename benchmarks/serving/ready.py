"""Start and rest: what `kaizen serve` costs until it says that it is ready, and while nobody asks; beside FastAPI.

Everything is compiled to bytecode first, as an installation is, in a folder that is thrown away afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import _servers
from _report import arguments, goal, machine, table
from _servers import Running

from serving import peers
from serving.stage import Stage, staged


def main() -> None:
    """Measure and print."""
    with staged(quick=arguments(__doc__).quick) as stage:
        measure(stage)
    machine("onnxruntime")


def measure(stage: Stage) -> None:
    """Measure on this stage, and print."""
    compiled = {"PYTHONPYCACHEPREFIX": str(stage.own("bytecode")), "PYTHONDONTWRITEBYTECODE": ""}
    starts: dict[str, Callable[[], Running]] = {"kaizen": lambda: _servers.kaizen(stage.folder, compiled)}
    if peers.installed(["FastAPI"]):
        starts["FastAPI"] = lambda: peers.fastapi(stage.graph, compiled)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in starts}
    for number in range(2 if stage.quick else 6):
        for name, start in starts.items():
            spent = _start(start)
            if number:  # the first start compiles
                found[name].append(spent)
    rest = {name: _at_rest(start, 3.0 if stage.quick else 10.0) for name, start in starts.items()}
    medians = {name: [median(values) for values in zip(*runs, strict=True)] for name, runs in found.items()}
    shown = [
        [name, f"{wall * 1e3:.0f}", f"{cpu * 1e3:.0f}", f"{mib:.0f}", f"{rest[name]:.2%}"]
        for name, (wall, cpu, mib) in medians.items()
    ]
    table(("server", "ready, wall ms", "ready, CPU ms", "peak MiB", "CPU at rest"), shown)
    _, cpu_s, mib = medians["kaizen"]
    other = medians.get("FastAPI", [0.0] * 3)
    goal("ready", cpu_s, 0.6, unit=" s of CPU", sides=f"FastAPI {other[1]:.2f} s")
    goal("ready", mib, 90, unit=" MiB", sides=f"FastAPI {other[2]:.0f} MiB")
    goal("CPU at rest", rest["kaizen"] * 100, 1.0, unit=" %", sides=f"FastAPI {rest.get('FastAPI', 0.0):.2%}")


def _start(start: Callable[[], Running]) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak MiB when it first says that it is ready."""
    begun = time.perf_counter()
    server = start()
    try:
        server.wait()
        return time.perf_counter() - begun, server.cpu_s(), server.peak_mib()
    finally:
        server.stop()


def _at_rest(start: Callable[[], Running], seconds: float) -> float:
    """Return the share of a core that it uses while nobody asks."""
    server = start()
    try:
        server.wait()
        time.sleep(1.0)
        before = server.cpu_s()
        time.sleep(seconds)
        return (server.cpu_s() - before) / seconds
    finally:
        server.stop()


if __name__ == "__main__":
    main()
