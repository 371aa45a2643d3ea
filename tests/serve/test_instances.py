"""KServe v1, TensorFlow Serving and Vertex AI: `{"instances": […]}`, versions, labels, and the routes of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaizen.core.records import Arm
from tests.serve.conftest import Process
from tests.serve.small import COLUMNS, ROW, endpoint, expected

NAMES = [column.name for column in COLUMNS]
VALUES = [ROW[name] for name in NAMES]
PREDICT = "/v1/models/small:predict"


@pytest.fixture
def two(launch: Callable[..., Process]) -> Process:
    """A server whose champion and challenger answer differently."""
    return launch(endpoint(1, Arm("sum-1", "champion", 0.5), Arm("sum-3", "challenger", 0.5)))


@pytest.mark.conformance("KServe v1", "models, readiness", client="played")
def test_kserve_v1_lists_models_and_tells_which_is_ready(server: Process) -> None:
    assert server.ask("GET", "/") == (200, {"status": "alive"})
    assert server.ask("GET", "/v1/models") == (200, {"models": ["small"]})
    status, told = server.ask("GET", "/v1/models/small")
    assert (status, told["name"], told["ready"]) == (200, "small", True)
    assert server.ask("GET", "/v1/models/other")[0] == 404


def test_kserve_v1_model_and_vertex_ai_health_are_503_before_it_serves(tmp_path: Path) -> None:
    process = Process(tmp_path, HEALTH_ROUTE="/health-of-vertex")
    try:
        for path in ("/v1/models/small", "/health-of-vertex"):
            assert process.ask("GET", path)[0] == 503
        assert process.ask("POST", PREDICT, {"instances": [ROW]})[0] == 503
        assert process.ask("GET", "/")[0] == 200
    finally:
        process.stop()


@pytest.mark.conformance("KServe v1", ":predict", client="played")
@pytest.mark.parametrize("instances", [[ROW, {**ROW, "width": 1}], [VALUES, [1, *VALUES[1:]]]])
def test_kserve_v1_predict_answers_instances(server: Process, instances: Any) -> None:
    answers = [expected(ROW), expected({**ROW, "width": 1})]
    assert server.ask("POST", PREDICT, {"instances": instances}) == (200, {"predictions": answers})


def test_kserve_v1_predict_takes_parameters_and_logs_what_it_answers(server: Process) -> None:
    body = {"instances": [ROW], "parameters": {"unit": "kserve", "confidence": 0.5}}
    status, headers, _ = server.exchange("POST", PREDICT, json.dumps(body).encode())
    assert status == 200
    assert any(b.ids == [headers["x-kaizen-prediction-id"]] and b.units == ["kserve"] for b in server.predictions())


@pytest.mark.conformance("KServe v1", ":explain is refused", client="played")
def test_kserve_v1_explain_is_501_with_what_to_do(server: Process) -> None:
    for call in ("explain", "classify", "regress"):
        status, told = server.ask("POST", f"/v1/models/small:{call}", {"instances": [ROW]})
        assert (status, "ask :predict" in told["error"]) == (501, True)


@pytest.mark.conformance("TensorFlow Serving", ":predict with inputs and outputs", client="played")
def test_tensorflow_serving_answers_columns_with_outputs(server: Process) -> None:
    inputs = {name: [ROW[name]] * 2 for name in NAMES}
    assert server.ask("POST", PREDICT, {"inputs": inputs}) == (200, {"outputs": [expected(ROW)] * 2})
    body = {"instances": [ROW], "signature_name": "serving_default"}
    assert server.ask("POST", "/v1/models/small/versions/1:predict", body)[0] == 200


@pytest.mark.conformance("TensorFlow Serving", "versions; labels are the arms", client="played")
def test_tensorflow_serving_labels_are_the_arms(two: Process) -> None:
    for label, version, factor in (("champion", "1", 1.0), ("challenger", "3", 3.0)):
        for path in (f"labels/{label}", f"versions/{version}"):
            status, told = two.ask("POST", f"/v1/models/small/{path}:predict", {"instances": [ROW] * 20})
            assert (status, told["predictions"]) == (200, [expected(ROW, factor)] * 20)
            status, told = two.ask("GET", f"/v1/models/small/{path}")
            assert [(each["version"], each["state"]) for each in told["model_version_status"]] == [
                (version, "AVAILABLE")
            ]
    assert {(batch.role, len(batch.ids)) for batch in two.predictions()} == {("champion", 20), ("challenger", 20)}
    assert [each["version"] for each in two.ask("GET", "/v1/models/small")[1]["model_version_status"]] == ["1", "3"]


@pytest.mark.parametrize("path", ["labels/stable", "versions/9"])
def test_tensorflow_serving_names_what_there_is_instead(server: Process, path: str) -> None:
    for method, tail in (("POST", ":predict"), ("GET", ""), ("GET", "/metadata")):
        status, told = server.ask(method, f"/v1/models/small/{path}{tail}", {"instances": [ROW]})
        assert (status, "known: " in told["error"]) == (404, True)


@pytest.mark.conformance("TensorFlow Serving", "metadata", client="played")
def test_tensorflow_serving_metadata_tells_the_signature(server: Process) -> None:
    for path in ("", "/versions/1", "/labels/champion"):
        status, told = server.ask("GET", f"/v1/models/small{path}/metadata")
        assert (status, told["model_spec"]["version"]) == (200, "1")
        signature = told["metadata"]["signature_def"]["signature_def"]["serving_default"]
        assert [each["dtype"] for each in signature["inputs"].values()] == [
            *("DT_DOUBLE", "DT_DOUBLE", "DT_INT64", "DT_STRING", "DT_BOOL", "DT_STRING"),
        ]
        assert list(signature["inputs"]) == NAMES
        assert list(signature["outputs"]) == ["value"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"instances": [ROW], "inputs": [ROW]}, "exactly one of 'instances', 'inputs'; got instances and inputs"),
        ({}, "there is nothing"),
        ([ROW], "got a list"),
        ({"instances": [ROW], "signature_name": "other"}, "there is no such signature; known: serving_default"),
        ({"instances": [ROW], "parameters": []}, "parameters: expected an object"),
        ({"instances": [{**ROW, "heavy": 2}]}, "instances[0].heavy: expected true, false or null"),
        ({"instances": []}, "instances: expected at least one row"),
    ],
)
def test_tensorflow_serving_errors_have_one_member(server: Process, body: Any, says: str) -> None:
    status, told = server.ask("POST", PREDICT, body)
    assert (status, list(told)) == (400, ["error"])
    assert says in told["error"]


@pytest.mark.conformance("Vertex AI", "health and predict at AIP_*", client="played")
def test_vertex_ai_is_answered_at_the_routes_that_it_names(launch: Callable[..., Process]) -> None:
    base = "/v1/endpoints/42/deployedModels/7"
    server = launch(PREDICT_ROUTE=f"{base}:predict", HEALTH_ROUTE=base)
    assert server.ask("GET", base) == (200, {})
    body = {"instances": [ROW], "parameters": {"x": 1}}
    assert server.ask("POST", f"{base}:predict", body) == (200, {"predictions": [expected(ROW)]})
    assert server.ask("GET", f"{base}:predict")[0] == 405
    assert f"{base}:predict" in server.ask("GET", "/openapi.json")[1]["paths"]
