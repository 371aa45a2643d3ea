"""Azure ML's online endpoint: `/score`, ids of requests, and the mark on mistakes of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kaizen.core.errors import RequestError
from kaizen.serve import azure
from tests.serve.conftest import Process
from tests.serve.small import COLUMNS, ROW, expected

NAMES = [column.name for column in COLUMNS]
VALUES = [ROW[name] for name in NAMES]
WRAPPED, BARE = {"predictions": [expected(ROW)]}, [expected(ROW)]


@pytest.mark.conformance("Azure ML", "score", client="played")
@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"input_data": {"columns": NAMES, "index": [0], "data": [VALUES]}}, BARE),
        ({"input_data": [ROW]}, BARE),
        ({"input_data": [VALUES], "params": {"x": 1}}, BARE),
        ({"data": [ROW]}, WRAPPED),
        ({"data": [VALUES]}, WRAPPED),
        ({"instances": [ROW]}, WRAPPED),
        ({"dataframe_split": {"columns": NAMES, "data": [VALUES]}}, WRAPPED),
    ],
)
def test_azure_ml_score_takes_its_forms(server: Process, body: Any, answer: Any) -> None:
    assert server.ask("POST", "/score", body) == (200, answer)


@pytest.mark.conformance("Azure ML", "request ids", client="played")
def test_azure_ml_score_echoes_the_ids_of_requests(server: Process) -> None:
    headers = {"x-request-id": "r" * 100, "x-ms-client-request-id": "c-1"}
    status, told, _ = server.exchange("POST", "/score", json.dumps({"data": [ROW]}).encode(), headers)
    assert (status, told["x-request-id"], told["x-ms-client-request-id"]) == (200, "r" * 100, "c-1")
    assert any(batch.requests == ["r" * 100] for batch in server.predictions())


@pytest.mark.parametrize("name", ["x-request-id", "x-ms-client-request-id"])
def test_azure_ml_score_refuses_an_id_over_100_characters(server: Process, name: str) -> None:
    body = json.dumps({"data": [ROW]}).encode()
    status, _, answer = server.exchange("POST", "/score", body, {name: "x" * 101})
    assert (status, json.loads(answer)["message"]) == (431, f"{name}: expected up to 100 characters")


def test_azure_ml_score_may_be_asked_for_its_options(server: Process) -> None:
    status, headers, body = server.exchange("OPTIONS", "/score")
    assert (status, headers["allow"], body) == (200, "OPTIONS, POST", b"")
    assert server.ask("GET", "/score")[0] == 405


@pytest.mark.conformance("Azure ML", "probes, swagger.json", client="played")
def test_azure_ml_probes_and_swagger_are_answered(server: Process) -> None:
    assert server.ask("GET", "/")[0] == 200
    for version in ("", "?version=2", "?version=3"):
        status, told = server.ask("GET", f"/swagger.json{version}")
        assert (status, "/score" in told["paths"]) == (200, True)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"data": [{**ROW, "width": "x"}]}, 400, "data[0].width: expected a finite number"),
        ({"data": [{**ROW, "width": 666}]}, 422, "the model failed"),
        ({"Inputs": []}, 400, "expected exactly one of 'input_data', 'data'"),
    ],
)
def test_azure_ml_errors_have_a_message_and_no_mark_of_ours(server: Process, body: Any, status: int, says: str) -> None:
    found, headers, answer = server.exchange("POST", "/score", json.dumps(body).encode())
    assert (found, says in json.loads(answer)["message"]) == (status, True)
    assert "x-ms-run-function-failed" not in headers


def test_azure_ml_mistakes_of_ours_are_marked() -> None:
    assert azure.refusal(RequestError("x", status=500), 500)[2] == b"x-ms-run-function-failed: true\r\n"
