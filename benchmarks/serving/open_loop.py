"""Latency at half of kaizen's capacity: requests are due at a rate of their own, and late ones count from then.

`wrk` asks again when it has an answer, so a server that stalls is asked less. `open_loop.c` does not wait: Poisson
arrivals, the same ones for both servers, 64 connections, latency from when a request was due (no coordinated
omission). nginx answers a constant of the same size at the same rate.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from statistics import median
from typing import Any, Final

import _servers
from _report import arguments, figure, machine, table
from _servers import Running

from serving.stage import Asked, Stage, staged

CONNECTIONS: Final = 64
SOURCE: Final = Path(__file__).with_name("open_loop.c")


def main() -> None:
    """Measure and print."""
    with staged(quick=arguments(__doc__).quick) as stage:
        measure(stage)
    machine("onnxruntime")


def measure(stage: Stage) -> None:
    """Measure on this stage, and print."""
    compiler = shutil.which("cc")
    if compiler is None:
        print("  SKIPPED  latency at half capacity: there is no C compiler for the load generator")
        return
    program = stage.folder / "open_loop"
    subprocess.run([compiler, "-O2", "-o", program, SOURCE, "-lm"], check=True)
    body = json.dumps({"rows": stage.rows[:1]}).encode()
    with stage.kaizen() as kaizen:
        nginx = _servers.nginx(stage.own("nginx") / "nginx", kaizen.ask("/v1/predict", body)[1])
        try:
            nginx.wait("/")
            asked = Asked(kaizen, body)
            capacity = stage.in_turn([asked], connections=CONNECTIONS, rounds=1)["kaizen"].of("rate")
            rate = round(capacity / 2, -2)
            found = _rounds(stage, program, [nginx, kaizen], body, rate)
        finally:
            nginx.stop()
    _print(found, rate)


def _rounds(
    stage: Stage, program: Path, servers: list[Running], body: bytes, rate: float
) -> dict[str, list[dict[str, Any]]]:
    """Return what each server did in each round, in turn; both are up, and the one not asked sleeps."""
    (stage.folder / "asked").write_bytes(body)
    found: dict[str, list[dict[str, Any]]] = {server.name: [] for server in servers}
    pinned = ["taskset", "-c", str(_servers.LOAD_CORE)] if shutil.which("taskset") else []
    for _ in range(stage.rounds):
        for server in servers:
            given = [str(server.port), "/v1/predict", "asked", str(rate), str(stage.seconds), str(CONNECTIONS)]
            done = subprocess.run(
                [*pinned, str(program), *given], cwd=stage.folder, check=True, capture_output=True, text=True
            )
            found[server.name].append(json.loads(done.stdout))
    return found


def _print(found: dict[str, list[dict[str, Any]]], rate: float) -> None:
    def of(name: str, key: str) -> float:
        return median(run[key] for run in found[name])

    print(f"  {rate:,.0f} requests a second are due, half of what kaizen can answer")
    table(
        ("server", "p50 ms", "p99 ms", "p99.9 ms", "errors", "unanswered"),
        [
            [
                name,
                *(f"{of(name, key) / 1e3:.3f}" for key in ("p50_us", "p99_us", "p999_us")),
                sum(run["errors"] for run in runs),
                sum(run["unanswered"] for run in runs),
            ]
            for name, runs in found.items()
        ],
    )
    for key in ("p50_us", "p99_us"):
        ratio = of("kaizen", key) / of("nginx", key)
        sides = f"{of('kaizen', key) / 1e3:.3f} ms, nginx {of('nginx', key) / 1e3:.3f} ms"
        figure(f"{key[:-3]} of nginx's at half of kaizen's capacity, open loop", f"{ratio:.3g}  [{sides}]")


if __name__ == "__main__":
    main()
