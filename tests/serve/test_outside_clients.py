"""Clients that other people wrote for the Open Inference Protocol, each in an environment and a process of its own.

The environments are made by pip where the test runs, so it needs the network: `make test-slow`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.conftest import ROOT, Process, start
from tests.serve.small import COLUMNS, ROW, expected

pytestmark = pytest.mark.slow
PROGRAMS = ROOT / "tests" / "serve" / "outside"
NAMES = [column.name for column in COLUMNS]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = start(tmp_path_factory.mktemp("outside"), GRPC_PORT="0")
    yield process
    process.stop()


def came_of(program: str, served: Process, folder: Path, *packages: str) -> dict[str, Any]:
    """Make an environment with these packages, run a program in it, and return what it prints."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    python = str(folder / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    done = subprocess.run(install, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    command = [python, str(PROGRAMS / program), str(served.port), str(served.grpc_port)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=clean, cwd=folder)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.conformance("Open Inference REST and gRPC", "live, ready, metadata, infer", client="kserve")
def test_the_clients_of_kserve_understand_every_answer(served: Process, tmp_path: Path) -> None:
    told = came_of("kserve_client.py", served, tmp_path, "kserve==0.21.0")
    rest, rpc = told["rest"], told["grpc"]
    assert rpc["binary"].pop("version") == "1"
    assert rest["json"].pop("version") is rest["binary"].pop("version") is None  # this client's REST side drops it
    answer = {"id": "mine", "value": [expected(ROW), 9.0], "names": ["prediction_id", "value"]}
    assert rest["json"] == rest["binary"] == rpc["binary"] == answer
    for protocol in (rest, rpc):
        assert protocol["live"] is protocol["ready"] is protocol["model_ready"] is True
        assert "input 'owner' is not there" in protocol["error"]
    assert rest["other_ready"] is False
    assert rpc["error"].startswith("INVALID_ARGUMENT")


@pytest.mark.conformance(
    "Open Inference REST and gRPC", "live, ready, metadata, infer", client="open-inference-openapi, open-inference-grpc"
)
def test_the_generated_clients_understand_every_answer(served: Process, tmp_path: Path) -> None:
    packages = ("open-inference-openapi==2.0.0.1", "open-inference-grpc==2.0.0", "protobuf>=5")
    told = came_of("open_inference_client.py", served, tmp_path, *packages)
    rest, rpc = told["rest"], told["grpc"]
    assert (rest["server"], rest["versions"], rest["id"], rpc["id"]) == ("kaizen", ["1"], "mine", "mine")
    assert rest["inputs"] == rpc["inputs"] == NAMES
    assert rest["value"] == rest["pinned"] == rpc["value"] == [expected(ROW)]
    assert "input 'owner' is not there" in rest["error"]
    assert (rest["absent"], rpc["absent"]) == (True, "NOT_FOUND")
    assert rpc["properties"] == ["champion", "revision"]
    assert rpc["live"] is rpc["ready"] is True
