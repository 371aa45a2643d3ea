"""One row of JSON a request, 300 trees, one core: kaizen beside nginx with a constant, and the five peers.

kaizen validates, makes ids, writes every prediction to its log before it answers, and counts; the peers run the
same graph and do none of that. First every peer answers some rows, and what it says is compared with the
bundle's own answers, so that nobody is measured on errors. Busy is the share of its core that a server used:
where nginx is not at 100 %, `wrk` could not ask faster. Afterwards kaizen's log is counted.
"""

from __future__ import annotations

import json
from typing import Any, Final

import _servers
from _report import arguments, failed, figure, goal, machine, table

from serving import peers
from serving.stage import TREES, Asked, Runs, Stage, staged

GOALS: Final = {"FastAPI": 4.0, "MLServer": 12.0, "LitServe": 20.0, "BentoML": 40.0, "MLflow": 100.0}
CONNECTIONS: Final = (64, 1)
ALONE: Final = ("nginx", "kaizen", "FastAPI")  # with one connection: BentoML's batcher counts being stopped as waiting


def main() -> None:
    """Measure and print."""
    with staged(quick=arguments(__doc__).quick) as stage:
        measure(stage)
    machine("onnxruntime", "lightgbm")


def measure(stage: Stage) -> None:
    """Measure on this stage, and print."""
    rivals = peers.installed()
    print(f"  {', '.join(peer.version() for peer in rivals)}")
    started = []
    with stage.kaizen() as kaizen:
        try:
            every = [Asked(kaizen, json.dumps({"rows": stage.rows[:1]}).encode())]
            answer = kaizen.ask(every[0].path, every[0].body)[1]
            started.append(nginx := _servers.nginx(stage.own("nginx") / "nginx", answer))
            nginx.wait("/")
            every.insert(0, Asked(nginx, every[0].body))
            asked_before = 1 + _differences(kaizen, "kaizen", every[1].path, stage, _plain_answers)
            for peer in rivals:
                asked = _start(peer, stage)
                if asked is not None:
                    started.append(asked.server)
                    every.append(asked)
            few = [asked for asked in every if asked.server.name in ALONE]
            found = {}
            for connections in CONNECTIONS:
                asked_now = every if connections > 1 else few
                for asked in every:
                    if asked not in asked_now:
                        asked.server.pause()  # LitServe's workers spin even while nobody asks
                found[connections] = stage.in_turn(asked_now, connections=connections)
        finally:
            for server in started:
                server.stop()
    print(f"  request {len(every[1].body)} bytes, kaizen's answer {len(answer)} bytes, {TREES} trees, ", end="")
    print(f"{len(stage.bundle.inputs)} columns")
    _print(found)
    _check_log(stage, asked_before + sum(runs["kaizen"].requests for runs in found.values()))


def _start(peer: peers.Peer, stage: Stage) -> Asked | None:
    """Return the peer, up and checked; None, and why, if it does not answer as the model does."""
    server = peer.start(peer, stage.graph, stage.own(peer.name))
    try:
        server.wait(peer.ready)
        _differences(server, peer.name, peer.path, stage, peer.answers, peer)
    except (RuntimeError, ValueError) as err:
        server.stop()
        print(f"  SKIPPED  {peer.name}: {err}")
        return None
    server.pause()  # those that start after it have the core for themselves
    return Asked(server, peer.body(stage.rows[:1]), peer.path)


def _plain_answers(answer: Any) -> list[float]:
    return [prediction["probability"] for prediction in answer["predictions"]]


def _differences(
    server: _servers.Running, name: str, path: str, stage: Stage, answers: Any, peer: peers.Peer | None = None
) -> int:
    """Print the largest difference of its answers from the model's own; return how many rows it was asked."""
    rows = stage.rows[:100]
    largest = 0.0
    for row, own in zip(rows, stage.model.predict_rows(rows), strict=True):
        status, body = server.ask(path, {"rows": [row]} if peer is None else peer.body([row]))
        if status != 200:
            raise RuntimeError(f"it answered {status}: {body[:200]!r}")
        largest = max(largest, abs(answers(json.loads(body))[0] - own))
    print(f"  {name}: largest difference from the model's own answers to {len(rows)} rows: {largest:g}")
    if largest > 1e-6:
        raise ValueError("its answers are not the model's")
    return len(rows)


def _print(found: dict[int, dict[str, Runs]]) -> None:
    shown = []
    for connections, every in found.items():
        for name, runs in every.items():
            shown.append([
                name,
                connections,
                f"{runs.of('rate'):,.0f}",
                *(f"{runs.of(key) / 1e3:.2f}" for key in ("p50_us", "p99_us")),
                f"{runs.of('cpu_us'):.1f}",
                f"{runs.of('cpu_us') * runs.of('rate') / 1e6:.0%}",
                f"{runs.of('rate') / every['nginx'].of('rate'):.4f}",
                f"{every['kaizen'].of('rate') / runs.of('rate'):.1f}",
                f"{runs.of('cpu_us') / every['kaizen'].of('cpu_us'):.1f}",
                runs.errors,
            ])  # fmt: skip
    header = ("server", "connections", "requests/s", "p50 ms", "p99 ms", "CPU us/request", "busy", "of nginx")
    print("  'by CPU' compares CPU time a request, which other work on the machine changes less than rates")
    table((*header, "kaizen is times", "by CPU", "errors"), shown)
    every = found[CONNECTIONS[0]]
    kaizen = every["kaizen"]
    share, spared = (_ratio(every, "nginx", key) for key in ("rate", "cpu_us"))
    goal("rate of nginx's constant, 64 connections", share, 0.2, least=True, sides=_rates(every, "nginx"))
    figure("nginx's CPU time a request of kaizen's, 64 connections", f"{1 / spared:.3f}")
    for name, bound in GOALS.items():
        if name not in every:
            failed(f"times {name}'s rate, 64 connections", "it does not run here")
        elif every[name].errors or kaizen.errors:
            errors = f"{every[name].errors} of its answers and {kaizen.errors} of kaizen's were errors"
            failed(f"times {name}'s rate, 64 connections", errors)
        else:
            ratio = _ratio(every, name, "rate")
            goal(f"times {name}'s rate, 64 connections", ratio, bound, least=True, sides=_rates(every, name))
    alone = found[1]
    sides = f"{alone['kaizen'].of('p50_us'):.0f} us, nginx {alone['nginx'].of('p50_us'):.0f} us"
    goal("p50 of nginx's, one connection", _ratio(alone, "nginx", "p50_us"), 2.5, sides=sides)


def _ratio(every: dict[str, Runs], rival: str, key: str) -> float:
    return every["kaizen"].of(key) / every[rival].of(key)


def _rates(every: dict[str, Runs], rival: str) -> str:
    return f"{every['kaizen'].of('rate'):,.0f}/s, {rival} {every[rival].of('rate'):,.0f}/s"


def _check_log(stage: Stage, acknowledged: int) -> None:
    logged = [identity for batch in stage.project.log.predictions() for identity in batch.ids]
    lost = max(0, acknowledged - len(set(logged)))
    twice = len(logged) - len(set(logged))
    print(f"  acknowledged {acknowledged:,}, in the log {len(logged):,}: lost {lost}, twice {twice}")


if __name__ == "__main__":
    main()
