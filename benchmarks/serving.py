"""Serving: one row of JSON a request, 300 trees; nginx with a constant, FastAPI by hand, and kaizen, one core each.

The same request goes to all three, from another core, in turn (A B C A B C …), because the speed of a machine
drifts; the others are stopped meanwhile. Ratios are of one round, and the median over rounds is shown. kaizen
validates, makes ids, writes every prediction to its log before it answers, and counts; FastAPI runs the same
graph and does none of that. Busy is the share of its core that a server used: where nginx is not at 100 %, `wrk`
could not ask faster. Afterwards the answers are compared with the bundle's own, and the log is counted.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import _orders
import _servers
from _report import arguments, cannot_run, goal, machine, table
from _servers import Running

from kaizen.bundle import keys, load
from kaizen.core.project import Project
from kaizen.core.records import Bundle

TREES = 300
CONNECTIONS = (64, 1)


def main() -> None:
    """Measure and print."""
    quick = arguments(__doc__).quick
    for tool in ("nginx", "wrk"):
        if shutil.which(tool) is None:
            cannot_run(f"{tool} is not installed; on Debian and Ubuntu: apt-get install {tool}")
    with tempfile.TemporaryDirectory(prefix="kaizen-bench-") as name:
        folder = Path(name)
        project = _orders.serving_project(folder, orders=6000 if quick else 20_000, rounds=TREES)
        seconds, rounds = (1.0, 2) if quick else (4.0, 5)
        _measure(folder, project, seconds=seconds, rounds=rounds)
    machine("onnxruntime", "fastapi", "uvicorn", "pydantic")


def _measure(folder: Path, project: Project, *, seconds: float, rounds: int) -> None:
    endpoint = project.endpoint()
    assert endpoint is not None
    bundle = project.records.get(Bundle, endpoint.champion.bundle)
    model = load.load(bundle, project.blobs, keys.trusted(project.keys))
    graph = next(file.blob for file in bundle.files if file.path == "graph.onnx")
    asked = _wire_rows(200)
    body = json.dumps({"rows": [asked[0]]}).encode()
    servers: list[Running] = []
    try:
        servers.append(kaizen := _servers.kaizen(folder))
        servers.append(fastapi := _servers.fastapi(project.blobs.path(graph)))
        for server in servers:
            server.wait()
        answer = kaizen.ask("/v1/predict", {"rows": [asked[0]]})[1]
        servers.append(nginx := _servers.nginx(folder / "nginx", answer))
        nginx.wait("/")
        wrong = _wrong_answers(kaizen, fastapi, asked, model.predict_rows(asked))
        in_turn = [nginx, fastapi, kaizen]
        found = {n: _rounds(in_turn, body, n, seconds, rounds, folder) for n in CONNECTIONS}
    finally:
        for server in servers:
            server.stop()
    print(
        f"  request {len(body)} bytes, kaizen's answer {len(answer)} bytes, {TREES} trees, {len(bundle.inputs)} columns"
    )
    _print(found)
    sent = sum(run["requests"] for runs in found.values() for name, run in runs if name == "kaizen") + len(asked) + 1
    _check_log(project, sent, wrong)


def _wire_rows(count: int) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != _orders.TARGET} for row in _orders.rows(count, seed=1)]


def _wrong_answers(kaizen: Running, fastapi: Running, asked: Sequence[dict[str, Any]], own: Sequence[float]) -> int:
    """Return how many answers of the two differ in any bit from the bundle's own."""
    wrong = 0
    for row, expected in zip(asked, own, strict=True):
        ours = json.loads(kaizen.ask("/v1/predict", {"rows": [row]})[1])["predictions"][0]["probability"]
        theirs = json.loads(fastapi.ask("/v1/predict", {"rows": [row]})[1])["probabilities"][0]
        wrong += (ours != expected) + (theirs != expected)
    return wrong


def _rounds(
    servers: Sequence[Running], body: bytes, connections: int, seconds: float, rounds: int, folder: Path
) -> list[tuple[str, dict[str, Any]]]:
    """Return what each server did in each round, in order; the first round only warms up, and counts as sent."""
    runs = []
    for number in range(rounds + 1):
        for server in servers:
            for other in servers:
                (other.resume if other is server else other.pause)()
            spell = seconds if number else 1.0
            run = _servers.load(server, body, connections=connections, seconds=spell, folder=folder)
            runs.append((server.name, {**run, "warm": number > 0}))
    for server in servers:
        server.resume()
    return runs


def _print(found: dict[int, list[tuple[str, dict[str, Any]]]]) -> None:
    shown = []
    ratios: dict[tuple[int, str], float] = {}  # of rates
    spared: dict[tuple[int, str], float] = {}  # of CPU time a request
    for connections, runs in found.items():
        warm = {who: [run for name, run in runs if name == who and run["warm"]] for who, _ in runs}
        for who, own in warm.items():
            for rival in ("nginx", "FastAPI"):
                pairs = list(zip(own, warm[rival], strict=True))
                ratios[connections, who + rival] = median(run["rate"] / other["rate"] for run, other in pairs)
                spared[connections, who + rival] = median(other["cpu_us"] / run["cpu_us"] for run, other in pairs)
            shown.append([
                who,
                connections,
                f"{median(run['rate'] for run in own):,.0f}",
                *(f"{median(run[key] for run in own) / 1e3:.2f}" for key in ("p50_us", "p99_us")),
                f"{median(run['cpu_us'] for run in own):.1f}",
                f"{median(run['cpu_us'] * run['rate'] for run in own) / 1e6:.0%}",
                f"{ratios[connections, who + 'nginx']:.3f}",
                f"{ratios[connections, who + 'FastAPI']:.2f}",
                sum(run["errors"] for run in own),
            ])  # fmt: skip
    header = ("server", "connections", "requests/s", "p50 ms", "p99 ms", "CPU us/request", "busy")
    table((*header, "of nginx", "of FastAPI", "errors"), shown)
    goal("kaizen of nginx, 64 connections", ratios[64, "kaizennginx"], 0.15, least=True)
    goal("kaizen of FastAPI, 64 connections", ratios[64, "kaizenFastAPI"], 3.0, least=True)
    by_cpu = [spared[64, f"kaizen{rival}"] for rival in ("nginx", "FastAPI")]
    print(
        f"  by CPU time a request, which other work changes less: {by_cpu[0]:.3f} of nginx, {by_cpu[1]:.2f} of FastAPI"
    )


def _check_log(project: Project, acknowledged: int, wrong: int) -> None:
    logged = [identity for batch in project.log.predictions() for identity in batch.ids]
    lost = max(0, acknowledged - len(set(logged)))
    twice = len(logged) - len(set(logged))
    print(f"  answers that differ from the bundle's own in any bit: {wrong}")
    print(f"  acknowledged {acknowledged:,}, in the log {len(logged):,}: lost {lost}, twice {twice}")


if __name__ == "__main__":
    main()
