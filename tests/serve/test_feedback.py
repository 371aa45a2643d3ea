"""Labels: taken whole or not at all, and logged before they are acknowledged."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serve.conftest import Process
from tests.serve.small import NOON


@pytest.mark.conformance("plain rows", "`POST /v1/feedback`: one, several, one a line", client="played")
@pytest.mark.parametrize(
    ("body", "kind", "ids", "values"),
    [
        ({"id": "one", "value": True, "at": "2013-06-01T12:00:00Z"}, "application/json", ["one"], [1.0]),
        (
            {"labels": [{"id": "a1", "value": 0, "at": NOON}, {"id": "a2", "value": 3.2, "at": NOON}]},
            "application/json",
            ["a1", "a2"],
            [0.0, 3.2],
        ),
        (
            b'{"id":"b1","value":false,"at":"2013-06-01T12:00:00"}\n\n{"id":"b2","value":-7,"at":1370088000000000}\n',
            "application/x-ndjson; charset=utf-8",
            ["b1", "b2"],
            [0.0, -7.0],
        ),
    ],
)
def test_labels_are_in_the_log_when_they_are_acknowledged(
    server: Process, body: Any, kind: str, ids: list[str], values: list[float]
) -> None:
    assert server.ask("POST", "/v1/feedback", body, content_type=kind) == (200, {"accepted": len(ids)})
    batch = next(batch for batch in server.labels() if batch.ids == ids)
    assert (batch.values, batch.at) == (values, [NOON] * len(ids))


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ({"labels": [{"id": "c", "value": 1}, {"id": "c", "value": "yes"}]}, "", "labels[1].value: expected 'bool | f"),
        (
            {"labels": [{"id": "c", "value": 1}, {"id": "c", "value": 1, "at": "later"}]},
            "",
            "labels[1].at: expected an",
        ),
        ({"labels": [{"id": "not an id", "value": 1}]}, "", "labels[0].id: "),
        ({"id": "c"}, "", "body: it lacks 'value'"),
        ({"id": "c", "valeu": 1}, "", "body: unknown member 'valeu'; did you mean 'value'?"),
        (b'{"id":"c","value":1e400}', "", "value: number out of range"),
        (b'{"id":"c","value":1}\n{"id":"c","value":null}\n', "application/x-ndjson", "line 2: value: expected"),
        (b"nothing", "", "the body is not JSON: invalid character"),
        (b'{"id":"c","value":1}\n{"id":"d","value":1}\n', "", "content type application/x-ndjson"),
        (b'{"id":"c","value":1}\n{"id":\n', "application/x-ndjson", "line 2: it is not JSON: it ends too early"),
    ],
)
def test_one_wrong_label_refuses_the_whole_request(server: Process, body: Any, kind: str, says: str) -> None:
    status, answer = server.ask("POST", "/v1/feedback", body, content_type=kind)
    assert status == 400
    assert says in answer["error"]
    assert not any("c" in batch.ids for batch in server.labels())
