"""Many models in one process: each answers by its name, and one that fails harms no other."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kaizen.core.clock import SystemClock
from kaizen.core.errors import RequestError
from kaizen.core.records import Arm
from kaizen.serve.models import EndpointSource, Models
from tests.serve.conftest import Process
from tests.serve.small import ROW, SmallModel, endpoint, expected


def test_each_model_answers_by_its_name(launch: Callable[..., Process]) -> None:
    server = launch(BESIDE="other=sum-3")
    server.wait_for(lambda health: health["status"] == "ok" and len(health["endpoints"]) == 2)
    for name, factor in (("small", 1.0), ("other", 3.0)):
        status, answer = server.ask("POST", f"/v1/predict/{name}", {"rows": [ROW]})
        assert (status, answer["endpoint"]) == (200, name)
        assert answer["predictions"][0]["value"] == expected(ROW, factor)
        assert server.ask("GET", f"/v2/models/{name}")[1]["name"] == name
        assert f"/v1/predict/{name}" in server.ask("GET", f"/openapi/{name}")[1]["paths"]
        assert server.ask("GET", f"/v1/schema/{name}")[0] == 200
        assert f'"predict":"../v1/predict/{name}"' in server.ask("GET", f"/docs/{name}")[1].decode()
    assert {batch.endpoint for batch in server.predictions()} == {"small", "other"}
    figures = server.ask("GET", "/metrics")[1].decode()
    assert 'kaizen_rows_total{arm="champion",bundle="sum-3",endpoint="other"} 1.0' in figures


def test_a_request_that_names_no_model_is_told_which_there_are(launch: Callable[..., Process]) -> None:
    server = launch(BESIDE="other=sum-3")
    for method, path, body in (
        ("POST", "/v1/predict", {"rows": [ROW]}),
        ("GET", "/openapi.json", None),
        ("GET", "/v1/schema", None),
    ):
        status, answer = server.ask(method, path, body)
        assert status == 404
        assert "known: other, small" in answer["error"]
    assert "did you mean 'other'" in server.ask("POST", "/v1/predict/othr", {"rows": [ROW]})[1]["error"]


def test_one_that_cannot_be_loaded_is_said_and_the_rest_answers() -> None:
    models = Models(SystemClock())
    seen: list[str] = []

    def source(name: str, bundle: str) -> EndpointSource:
        record = endpoint(1, Arm(bundle, "champion", 1.0))
        return EndpointSource(name=name, endpoint=lambda: record, load=SmallModel)

    bad = models.add(source("bad", "absent-1"), lambda hosted: seen.append(hosted.swap.problem))
    good = models.add(source("good", "sum-1"), lambda hosted: seen.append(hosted.swap.problem))
    for hosted in models:
        hosted.swap.look()
    assert good.generation is not None
    assert bad.generation is None
    assert "the file is not there" in bad.swap.problem
    with pytest.raises(RequestError, match="no revision that serves yet"):
        models.serving("bad")
    assert models.serving("good")[0] is good.generation


def test_what_is_added_is_told_of_and_what_is_removed_is_gone() -> None:
    models = Models(SystemClock(), every_s=0.01)
    told: Any = []
    models.start()
    try:
        done = threading.Event()

        def then(hosted: Any) -> None:
            told.append((hosted.name, hosted.generation is not None))
            done.set()

        models.add(EndpointSource(name="late", endpoint=lambda: endpoint(1), load=SmallModel), then)
        assert done.wait(10)
        assert told == [("late", True)]
        assert models.serving(None)[0].endpoint.revision == 1
        models.remove("late")
        with pytest.raises(RequestError, match="there is no model 'late'"):
            models.get("late")
    finally:
        models.stop()


def test_the_page_and_the_document_of_a_single_model_need_no_name(server: Process) -> None:
    paths = server.ask("GET", "/openapi.json")[1]["paths"]
    assert "/v1/predict" in paths
    assert "/v1/predict/small" not in paths
    assert (
        json.loads(server.ask("GET", "/docs")[1].decode().partition('id="facts">')[2].partition("</script>")[0])[
            "predict"
        ]
        == "v1/predict"
    )
