"""`kaizen serve --workers N`: as one process serves, only more of them, and dense weights only once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

import msgspec
import pytest

from kaizen.core.project import Project
from tests.bundle.test_shelf import network
from tests.cli.conftest import Run_, declare, get, people, post, served, until
from tests.cli.test_bundle import corrupt
from tests.cli.test_serve import ROW

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux's /proc"),
]


@contextmanager
def serving(*words: object, cache: Path) -> Iterator[str]:
    """Run `kaizen serve` and give its URL once all workers are well."""
    command = [sys.executable, "-m", "kaizen.cli", "serve", *map(str, words), "--port", "0", "--json"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    with subprocess.Popen([*command, "--stop-with-parent"], stdin=PIPE, stdout=PIPE, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url = msgspec.json.decode(process.stdout.readline())["url"]
            until(lambda: get(f"{url}/healthz")["status"] == "ok", seconds=60)
            yield url
        finally:
            process.stdin.close()
            process.wait(timeout=30)


def test_declared_workers_serve_log_and_swap_as_one(kaizen: Run_, learned: Path) -> None:
    declare(learned, serve__workers="2")
    (learned / "people.csv").write_text(people(500, seed=3))
    with served(learned) as url:
        until(lambda: [worker["status"] for worker in get(f"{url}/healthz")["workers"]] == ["ok", "ok"])
        ids = [post(f"{url}/v1/predict", {"rows": [ROW]})[1]["predictions"][0]["id"] for _ in range(10)]
        assert post(f"{url}/v1/feedback", {"id": ids[0], "value": True})[0] == 200
        for verb, revision in ((("learn",), 2), (("loop", "approve"), 3)):
            assert kaizen(*verb, "--folder", learned).code == 0
            until(lambda wanted=revision: {w["revision"] for w in get(f"{url}/healthz")["workers"]} == {wanted})
    log = Project.open(learned).log
    assert {identity for batch in log.predictions() for identity in batch.ids} == set(ids)
    assert [batch.ids for batch in log.labels()] == [[ids[0]]]
    assert list((learned / ".kaizen" / "shared").glob("server-*")) == []


def test_a_damaged_bundle_is_said_once_and_ends_it(kaizen: Run_, learned: Path) -> None:
    corrupt(learned, 0)
    command = [sys.executable, "-m", "kaizen.cli", "serve", "--workers", "3", "--port", "0", "--folder", str(learned)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr.count("graph.onnx is corrupted") == 1
    assert result.stdout == ""


def test_a_number_of_workers_that_cannot_be_is_refused(kaizen: Run_, learned: Path) -> None:
    declare(learned, serve__workers="0")
    said = kaizen("serve", "--folder", learned)
    assert said.code == 1
    assert "serve.workers" in said.err
    assert kaizen("serve", "--workers", "65", "--folder", learned).code == 2


def test_answers_of_workers_that_share_weights_are_those_of_one_process(tmp_path: Path) -> None:
    graph = network(tmp_path / "net.onnx", 700)
    body = {"rows": [{"f0": n / 7, "f1": -n / 3} for n in range(40)]}
    values = []
    for workers in (1, 2):
        with serving(graph, "--trust", "--workers", workers, "-C", tmp_path, cache=tmp_path / "cache") as url:
            for _ in range(4):
                _, answer = post(f"{url}/v1/predict", body)
                values.append([prediction["value"] for prediction in answer["predictions"]])
            found = list((tmp_path / "cache" / "kaizen" / "shared").glob("server-*/*/graph.onnx.weights"))
            assert len(found) == workers - 1
    assert all(each == values[0] for each in values)
    assert len(set(values[0])) > 30


def weights_bytes(pid: int) -> int:
    """Return the proportional share of memory of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


@pytest.mark.slow
def test_four_workers_cost_less_than_1_3_times_the_weights(tmp_path: Path) -> None:
    width = 4200
    costs = {}
    for name, graph in (
        ("small", network(tmp_path / "small.onnx", 50, depth=4)),
        ("large", network(tmp_path / "large.onnx", width, depth=4)),
    ):
        with serving(graph, "--trust", "--workers", 4, "-C", tmp_path, cache=tmp_path / "cache") as url:
            for _ in range(16):
                assert post(f"{url}/v1/predict", {"rows": [{"f0": 1.0, "f1": 2.0}] * 8})[0] == 200
            processes = [worker["pid"] for worker in get(f"{url}/healthz")["workers"]]
            costs[name] = sum(weights_bytes(pid) for pid in processes)
    weights = 3 * width * width * 4
    assert weights > 200e6
    assert costs["large"] - costs["small"] < 1.3 * weights


def test_a_supervisor_that_is_asked_to_stop_exits_with_0(tmp_path: Path) -> None:
    graph = network(tmp_path / "net.onnx", 20)
    command = [sys.executable, "-m", "kaizen.cli", "serve", str(graph), "--trust", "--workers", "2", "--port", "0"]
    with subprocess.Popen([*command, "--json", "-C", str(tmp_path)], stdout=PIPE, stderr=PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["endpoints"] == ["net"]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"Traceback" not in errors
    assert errors.count(b"stopped unanswered=0") == 2
