"""The peers: each installed from PyPI into an environment of its own, each serving the same graph.

| peer    | how it is run, as its own documentation has it for production             |
|---------|---------------------------------------------------------------------------|
| FastAPI | by hand: typed body, model on the loop, uvicorn, uvloop, httptools        |
| MLServer | a custom runtime, no parallel workers (one process), uvloop, orjson      |
| LitServe | one worker, batches of what waits, fast queue                            |
| BentoML | `bentoml serve`, one worker, adaptive batching, no access log             |
| MLflow  | `mlflow models serve --env-manager local`, one worker, a signature        |

All of them run the graph that kaizen serves, in ONNX Runtime with one thread, so what differs is the server and
nothing else. None makes ids, keeps a log or counts rows. Where pip finds
nothing that installs, the peer is skipped and that is said; a figure is never made up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from _servers import Running, free_port

APPS: Final = Path(__file__).with_name("apps")
CACHE: Final = Path(os.environ.get("KAIZEN_BENCH_CACHE", Path(__file__).resolve().parents[3] / ".bench"))
_COMMON: Final = ("onnxruntime", "uvloop", "httptools", "orjson")  # whoever can use them does

Rows = Sequence[Mapping[str, Any]]


class Peer(NamedTuple):
    """How a peer is installed, started and asked."""

    name: str
    packages: tuple[str, ...]  # the first one's version is told
    start: Callable[[Peer, Path, Path], Running]  # peer, the graph, a folder of its own
    body: Callable[[Rows], bytes]
    answers: Callable[[Any], list[float]]
    path: str = "/predict"
    ready: str = "/healthz"

    @property
    def bin(self) -> Path:
        """Where its environment has its programs."""
        return CACHE / self.name.lower() / "bin"

    def version(self) -> str:
        """Return what is installed."""
        code = f"from importlib.metadata import version; print(version({self.packages[0]!r}))"
        found = subprocess.run([self.bin / "python", "-c", code], capture_output=True, text=True, check=True)
        return f"{self.name} {found.stdout.strip()}"

    @cache  # noqa: B019 (peers live as long as the process)
    def problem(self) -> str:
        """Install it, once; return why it cannot be, or nothing."""
        made = self.bin.parent / ".made"
        wanted = "\n".join((*self.packages, *_COMMON))
        if made.exists() and made.read_text() == wanted:
            return ""
        print(f"  installing {self.name} into {self.bin.parent} ...", flush=True)
        made.unlink(missing_ok=True)
        for command in (
            [sys.executable, "-m", "venv", "--clear", self.bin.parent],
            [
                self.bin / "python",
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                *wanted.split("\n"),
            ],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                return (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        made.write_text(wanted)
        return ""


def installed(names: Sequence[str] = ()) -> list[Peer]:
    """Return the peers (of these names) that are installed now; say which are not, and why."""
    found = []
    for peer in PEERS:
        if names and peer.name not in names:
            continue
        problem = peer.problem()
        if problem:
            print(f"  SKIPPED  {peer.name} cannot be installed: {problem}")
        else:
            found.append(peer)
    return found


def fastapi(graph: Path, env: Mapping[str, str] | None = None) -> Running:
    """Start the hand-written app on uvicorn: one worker, uvloop, httptools, no access log."""
    port = free_port()
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    command = [str(FASTAPI.bin / "uvicorn"), "fastapi_app:app", "--port", str(port), *options]
    return Running("FastAPI", command, port, folder=APPS, env={**(env or {}), "GRAPH": str(graph)})


def _start_fastapi(peer: Peer, graph: Path, folder: Path) -> Running:  # noqa: ARG001 (the form of all)
    return fastapi(graph)


def _start_mlserver(peer: Peer, graph: Path, folder: Path) -> Running:
    model = {"name": "orders", "implementation": "mlserver_runtime.Orders"}
    (folder / "model-settings.json").write_text(json.dumps(model))
    port = free_port()
    settings = {"debug": False, "host": "127.0.0.1", "http_port": port, "grpc_port": free_port()}
    settings |= {"metrics_port": free_port(), "parallel_workers": 0, "use_structured_logging": False}
    (folder / "settings.json").write_text(json.dumps(settings))
    env = {"GRAPH": str(graph), "PYTHONPATH": str(APPS)}
    return Running(peer.name, [str(peer.bin / "mlserver"), "start", str(folder)], port, folder=folder, env=env)


def _start_litserve(peer: Peer, graph: Path, folder: Path) -> Running:
    port = free_port()
    env = {"GRAPH": str(graph), "PYTHONPATH": str(APPS), "PORT": str(port)}
    command = [str(peer.bin / "python"), str(APPS / "litserve_app.py")]
    return Running(peer.name, command, port, folder=folder, env=env)


def _start_bentoml(peer: Peer, graph: Path, folder: Path) -> Running:
    port = free_port()
    env = {"GRAPH": str(graph), "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(folder)}
    command = [str(peer.bin / "bentoml"), "serve", "bentoml_service:Orders", "--working-dir", str(APPS)]
    address = ["--host", "127.0.0.1", "--port", str(port), "--quiet"]
    path = f"{peer.bin}:{os.environ.get('PATH', '')}"
    return Running(peer.name, [*command, *address], port, folder=folder, env={**env, "PATH": path})


def _start_mlflow(peer: Peer, graph: Path, folder: Path) -> Running:
    path = f"{peer.bin}:{os.environ.get('PATH', '')}"
    env = {"GRAPH": str(graph), "PATH": path, "PYTHONPATH": str(APPS), "PYTHONWARNINGS": "ignore"}
    command = [str(peer.bin / "python"), str(APPS / "mlflow_model.py"), str(folder / "model")]
    subprocess.run(command, env={**os.environ, **env}, check=True, capture_output=True)
    port = free_port()
    serve = [str(peer.bin / "mlflow"), "models", "serve", "-m", str(folder / "model"), "--env-manager", "local"]
    address = ["-h", "127.0.0.1", "-p", str(port), "--workers", "1"]
    return Running(peer.name, [*serve, *address], port, folder=folder, env=env)


def _plain(rows: Rows) -> bytes:
    return json.dumps({"rows": list(rows)}).encode()


def _tensors(rows: Rows) -> bytes:
    types = {"member": "BOOL", "kind": "BYTES", "country": "BYTES", "payment": "BYTES", "ordered_at": "BYTES"}
    inputs = [
        {"name": name, "shape": [len(rows)], "datatype": types.get(name, "FP64"), "data": [row[name] for row in rows]}
        for name in rows[0]
    ]
    return json.dumps({"inputs": inputs}).encode()


def _frame(rows: Rows) -> bytes:
    data = [[float(value) if isinstance(value, bool) else value for value in row.values()] for row in rows]
    split = {"columns": list(rows[0]), "data": data}
    return json.dumps({"dataframe_split": split}).encode()


FASTAPI: Final = Peer(
    "FastAPI",
    ("fastapi", "uvicorn"),
    _start_fastapi,
    _plain,
    lambda answer: list(answer["probabilities"]),
    path="/v1/predict",
)
PEERS: Final = (
    FASTAPI,
    Peer(
        "MLServer",
        ("mlserver",),
        _start_mlserver,
        _tensors,
        lambda answer: list(answer["outputs"][0]["data"]),
        path="/v2/models/orders/infer",
        ready="/v2/models/orders/ready",
    ),
    Peer("LitServe", ("litserve",), _start_litserve, _plain, lambda answer: [answer["probability"]], ready="/health"),
    Peer("BentoML", ("bentoml",), _start_bentoml, _plain, list, ready="/readyz"),
    Peer(
        "MLflow",
        ("mlflow-skinny", "fastapi", "uvicorn", "pandas"),
        _start_mlflow,
        _frame,
        lambda answer: list(answer["predictions"]),
        path="/invocations",
        ready="/ping",
    ),
)
