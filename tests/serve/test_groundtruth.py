"""SageMaker's ground truth is taken as labels: one, or a line each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.serve.conftest import Process


def truth(data: Any = "1", **event: Any) -> dict[str, Any]:
    metadata = event or {"eventId": "aaaa-bbbb-cccc"}
    return {"groundTruthData": {"data": data, "encoding": "CSV"}, "eventMetadata": metadata, "eventVersion": "0"}


def lines(*each: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(line).encode() for line in each)


def labels(server: Process) -> dict[str, float]:
    return {i: value for batch in server.labels() for i, value in zip(batch.ids, batch.values, strict=True)}


def test_sagemaker_ground_truth_is_a_label(server: Process) -> None:
    assert server.ask("POST", "/v1/feedback", truth("0.5")) == (200, {"accepted": 1})
    assert labels(server)["aaaa-bbbb-cccc"] == 0.5


@pytest.mark.conformance("SageMaker", "ground truth as feedback", client="played")
@pytest.mark.parametrize("kind", ["application/jsonlines", "application/x-ndjson", "application/jsonl"])
def test_sagemaker_ground_truth_in_lines_is_a_label_each(server: Process, kind: str) -> None:
    body = lines(truth("1", eventId="l-1"), truth("true", eventId="l-2"), truth(0, eventId="e", inferenceId="l-3"))
    assert server.ask("POST", "/v1/feedback", body, Content_Type=kind) == (200, {"accepted": 3})
    assert {name: labels(server)[name] for name in ("l-1", "l-2", "l-3")} == {"l-1": 1.0, "l-2": 1.0, "l-3": 0.0}
    mixed = lines({"id": "l-4", "value": 2}, truth("3", eventId="l-5"))
    assert server.ask("POST", "/v1/feedback", mixed, Content_Type=kind) == (200, {"accepted": 2})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (truth("1,2"), "groundTruthData.data: expected one finite number"),
        (truth("nan"), "groundTruthData.data: expected one finite number"),
        (truth("x"), "groundTruthData.data: expected one finite number"),
        (truth("1", eventId="not valid!"), "eventMetadata.eventId"),
        (truth("1", other="x"), "eventMetadata: it has neither 'inferenceId' nor 'eventId'"),
        ({**truth(), "groundTruthData": {"data": "MQ==", "encoding": "BASE64"}}, "groundTruthData.encoding"),
    ],
)
def test_sagemaker_ground_truth_that_is_none_is_refused_whole(server: Process, body: Any, says: str) -> None:
    status, told = server.ask("POST", "/v1/feedback", body)
    assert (status, says in told["error"]) == (400, True), told
    good_and_bad = lines(truth("1", eventId="never"), body)
    status, told = server.ask("POST", "/v1/feedback", good_and_bad, Content_Type="application/jsonlines")
    assert (status, told["error"].startswith("line 2: ")) == (400, True)
    assert "never" not in labels(server)


def test_a_label_whose_id_is_the_word_is_a_label(server: Process) -> None:
    assert server.ask("POST", "/v1/feedback", {"id": "groundTruthData", "value": 1}) == (200, {"accepted": 1})
