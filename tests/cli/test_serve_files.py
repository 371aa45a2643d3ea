"""`kaizen serve PATH`: bundles and bare graphs at once, with no project; what nobody vouches for is refused."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import msgspec
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

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
    assert kaizen("serve", "--allow-load", "--folder", learned).code == 2


def clients_of(said: dict[str, Any]) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(str(said["url"]).removeprefix("http://"))


def matrix(values: Any, *, binary: bool = True, datatype: str = "FP32") -> triton.InferInput:
    given = triton.InferInput("X", list(np.shape(values)), datatype)
    given.set_data_from_numpy(np.asarray(values, np.float32 if datatype == "FP32" else np.float64), binary_data=binary)
    return given


def test_a_matrix_may_be_given_whole_or_by_its_columns(tmp_path: Path) -> None:
    rows = [[1.0, 2.0], [0.5, 0.25], [-3.0, 1.0]]
    with serving(classifier(tmp_path / "iris.onnx", 2, zipmap=False), "--trust", "-C", tmp_path) as said:
        client = clients_of(said)
        told = client.get_model_metadata("iris")
        assert told["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, 2]}]
        assert client.get_model_config("iris")["input"] == [{"name": "X", "data_type": "TYPE_FP32", "dims": [-1, 2]}]
        whole = client.infer("iris", [matrix(rows)]).as_numpy("probability")
        assert client.infer("iris", [matrix(rows, datatype="FP64")]).as_numpy("probability").tolist() == whole.tolist()
        nested = {"inputs": [{"name": "X", "shape": [2, 2], "datatype": "FP32", "data": [rows[0], rows[2]]}]}
        flat = {"inputs": [{"name": "X", "shape": [2, 2], "datatype": "FP32", "data": [*rows[0], *rows[2]]}]}
        for body in (nested, flat):
            answer = post(f"{said['url']}/v2/models/iris/infer", body)[1]
            assert answer["outputs"][0]["data"] == [whole[0], whole[2]]
        columns = []
        for place in (0, 1):
            columns.append(triton.InferInput(f"f{place}", [3], "FP32"))
            columns[-1].set_data_from_numpy(np.array([row[place] for row in rows], np.float32))
        assert client.infer("iris", columns).as_numpy("probability").tolist() == whole.tolist()
        plain = [{"f0": a, "f1": b} for a, b in rows]
        answers = post(f"{said['url']}/v1/predict", {"rows": plain})[1]["predictions"]
        assert [answer["probability"] for answer in answers] == whole.tolist()
        for wrong, says in (
            ([matrix([[1.0, 2.0, 3.0]])], r"inputs\[X\]: expected shape \[1, 2\], got \[1, 3\]"),
            ([matrix(rows), columns[0]], "'X' holds all columns, so it comes alone"),
            ([matrix([[np.inf, 0.0]])], r"inputs\[X\].data\[0\]: expected a finite"),
        ):
            with pytest.raises(InferenceServerException, match=says):
                client.infer("iris", wrong)
        client.close()


def test_a_body_of_data_alone_is_one_row_of_the_one_input(tmp_path: Path) -> None:
    with serving(classifier(tmp_path / "iris.onnx", 2, zipmap=False), "--trust", "-C", tmp_path) as said:
        client = clients_of(said)
        expected = client.infer("iris", [matrix([[1.0, 2.0]])])
        connection = http.client.HTTPConnection(str(said["url"]).removeprefix("http://"), timeout=10)
        row = np.array([1.0, 2.0], np.float32).tobytes()
        connection.request("POST", "/v2/models/iris/infer", row, {"Inference-Header-Content-Length": "0"})
        answer = connection.getresponse()
        length = int(answer.headers["Inference-Header-Content-Length"])
        result = triton.InferenceServerClient.parse_response_body(answer.read(), header_length=length)
        assert result.as_numpy("probability").tolist() == expected.as_numpy("probability").tolist()
        connection.request("POST", "/v2/models/iris/infer", row[:-1], {"Inference-Header-Content-Length": "0"})
        answer = connection.getresponse()
        assert (answer.status, b"expected 8 bytes of FP32, got 7" in answer.read()) == (400, True)
        connection.close()
        client.close()


def test_a_files_model_is_unloaded_and_loaded_again_if_that_is_allowed(tmp_path: Path) -> None:
    graph = classifier(tmp_path / "iris.onnx", 2, zipmap=False)
    with serving(graph, "--trust", "--allow-load", "-C", tmp_path) as said:
        client = clients_of(said)
        client.unload_model("iris")
        assert client.get_model_repository_index() == [
            {"name": "iris", "version": "", "state": "UNAVAILABLE", "reason": "unloaded"}
        ]
        assert post(f"{said['url']}/v1/predict", {"rows": [{"f0": 1.0, "f1": 2.0}]})[0] == 404
        whole = graph.read_bytes()
        graph.write_bytes(whole[:-40])
        with pytest.raises(InferenceServerException, match="cannot be loaded"):
            client.load_model("iris")
        graph.write_bytes(whole)
        client.load_model("iris")
        status, answer = post(f"{said['url']}/v1/predict", {"rows": [{"f0": 1.0, "f1": 2.0}]})
        assert (status, answer["revision"]) == (200, 3)
        client.close()
