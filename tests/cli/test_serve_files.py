"""`kaizen serve PATH`: bundles and bare graphs at once, with no project; what nobody vouches for is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import msgspec
import pytest

from kaizen.adapters.log.segments import SegmentLog
from kaizen.bundle import keys
from tests.bundle.test_bare import classifier
from tests.cli.conftest import Run_, get, post, until

PERSON = {"age": 61, "city": "Oslo", "seen_at": "2024-02-01T10:00:00Z"}


@contextmanager
def serving(*words: object) -> Iterator[dict[str, Any]]:
    """Run `kaizen serve` in a process of its own and give what it said once it is ready."""
    command = [sys.executable, "-m", "kaizen.cli", "serve", *map(str, words), "--port", "0", "--json"]
    with subprocess.Popen([*command, "--stop-with-parent"], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            said = msgspec.json.decode(process.stdout.readline())
            until(lambda: get(f"{said['url']}/healthz")["status"] == "ok")
            yield said
        finally:
            process.stdin.close()
            process.wait(timeout=20)


@pytest.fixture
def exported(learned: Path, kaizen: Run_, tmp_path: Path) -> Path:
    """Return the folder of a project's bundle, far from the project."""
    said = kaizen("bundle", "export", "1", tmp_path / "out" / "people", "--folder", learned)
    assert said.code == 0, said.err
    return tmp_path / "out" / "people"


def test_a_graph_is_served_at_once_and_its_predictions_are_kept_where_asked(tmp_path: Path) -> None:
    graph = classifier(tmp_path / "iris.onnx", 2, zipmap=True)
    with serving(graph, "--trust", "--log", tmp_path / "log", "-C", tmp_path) as said:
        assert said["endpoints"] == ["iris"]
        status, answer = post(f"{said['url']}/v1/predict", {"rows": [{"f0": 1.0, "f1": 2.0}]})
        assert status == 200
        assert 0 < answer["predictions"][0]["probability"] < 1
        assert post(f"{said['url']}/v1/feedback", {"id": answer["id"], "value": True})[0] == 200
    log = SegmentLog(tmp_path / "log")
    assert [batch.ids for batch in log.predictions()] == [[answer["id"]]]
    assert [batch.ids for batch in log.labels()] == [[answer["id"]]]


def test_without_a_log_predictions_are_answered_and_labels_refused(tmp_path: Path) -> None:
    with serving(classifier(tmp_path / "iris.onnx", 2, zipmap=False), "--trust", "-C", tmp_path) as said:
        status, answer = post(f"{said['url']}/v1/predict", {"rows": [{"f0": 1.0, "f1": 2.0}]})
        assert status == 200
        status, refused = post(f"{said['url']}/v1/feedback", {"id": answer["id"], "value": True})
    assert status == 501
    assert "keeps no log" in refused["error"]
    assert not list(tmp_path.glob("**/*.log"))


def test_a_folder_of_models_is_served_whole_under_their_names(learned: Path, exported: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "triton").mkdir(parents=True)
    classifier(models / "plain.onnx", 2, zipmap=False)
    classifier(models / "triton" / "model.onnx", 2, zipmap=False)
    shutil.copytree(exported, models / "people")
    with serving(models, f"again={exported}", "--trust", "-C", tmp_path) as said:
        assert said["endpoints"] == ["people", "plain", "triton", "again"]
        for name in ("people", "again"):
            status, answer = post(f"{said['url']}/v1/predict/{name}", {"rows": [PERSON]})
            assert (status, answer["endpoint"]) == (200, name)
        assert post(f"{said['url']}/v1/predict/triton", {"rows": [{"f0": 1.0, "f1": 2.0}]})[0] == 200


def test_a_bundle_is_served_if_its_key_is_known(learned: Path, exported: Path, kaizen: Run_, tmp_path: Path) -> None:
    said = kaizen("serve", exported, "--folder", tmp_path)
    assert said.code == 1
    assert "signed by an unknown key" in said.err
    key = keys.load(learned / ".kaizen" / "keys").public
    with serving(exported, "--trust-key", key, "-C", tmp_path) as told:
        assert told["endpoints"] == ["people"]
    with serving(exported, "-C", learned) as told:
        assert post(f"{told['url']}/v1/predict", {"rows": [PERSON]})[0] == 200


def test_a_changed_bundle_is_refused_even_if_trusted(exported: Path, kaizen: Run_, tmp_path: Path) -> None:
    graph = exported / "graph.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\x00")
    said = kaizen("serve", exported, "--trust", "--folder", tmp_path)
    assert said.code == 1
    assert "corrupted" in said.err


def test_what_cannot_be_served_is_said(learned: Path, kaizen: Run_, tmp_path: Path) -> None:
    graph = classifier(tmp_path / "iris.onnx", 2, zipmap=False)
    odd = classifier(tmp_path / "a b.onnx", 2, zipmap=False)
    (tmp_path / "empty").mkdir()
    for words, says in (
        ([graph], "this file is unsigned"),
        ([odd, "--trust"], "is no name for a model"),
        ([tmp_path / "none.onnx"], "there is no such file or folder"),
        ([tmp_path / "empty"], "there is nothing to serve here"),
        ([learned], f"this is a project\n  → kaizen serve -C {learned}"),
        ([graph, graph, "--trust"], "two models would be named 'iris'"),
    ):
        said = kaizen("serve", *words, "--folder", tmp_path)
        assert said.code == 1, words
        assert says in said.err
    assert kaizen("serve", "--trust", "--folder", learned).code == 2
