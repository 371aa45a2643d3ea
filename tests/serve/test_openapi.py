"""What the server says of itself: the document is valid, true to its routes, and rows that fit the schema are taken."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaizen.bundle.manifest import Signature
from kaizen.core.records import Arm
from kaizen.serve.generation import Generation
from kaizen.serve.openapi import document
from kaizen.serve.schema import row_schema
from tests.serve.conftest import Process
from tests.serve.small import COLUMNS, ROW, SmallModel, endpoint, expected

# A count that must equal another count is nothing that JSON Schema can say.
RELATED = "".join(
    f'[[operations]]\ninclude-path = "{path}"\nchecks.positive_data_acceptance.enabled = false\n'
    for path in (
        "/v1/predict",
        "/v1/feedback",
        "/v2/models/small/infer",
        "/v2/models/small/versions/{version}/infer",
        "/invocations",
        "/score",
        "/v1/models/small:predict",
        "/v1/models/small/versions/{version}:predict",
        "/v1/models/small/labels/{label}:predict",
    )
)

EMPTY = {"/v2/repository/index": 200} | {f"/v2/repository/models/small/{verb}": 409 for verb in ("load", "unload")}


def generation() -> Generation:
    return Generation(endpoint(1), {"sum-1": SmallModel("sum-1")})


def asked(server: Process, path: str) -> Any:
    status, answer = server.ask("GET", path)
    assert status == 200, answer
    return answer


def test_the_schema_has_names_types_examples_and_what_was_seen(server: Process) -> None:
    schema = asked(server, "/v1/schema")
    assert schema["$schema"].endswith("2020-12/schema")
    assert list(schema["required"]) == [column.name for column in COLUMNS]
    assert schema["additionalProperties"] is False
    assert schema["examples"] == [ROW]
    width, shop = schema["properties"]["width"], schema["properties"]["shop"]
    assert (width["type"], width["x-seen"], width["examples"]) == (
        ["number", "null"],
        {"minimum": 0.5, "maximum": 9.0},
        [3.5],
    )
    assert (shop["type"], shop["x-seen"]) == (["string", "null"], {"values": ["UA", "DL"], "all": True})
    assert "x-seen" not in schema["properties"]["owner"]


def test_the_document_lists_the_routes_that_resolve_and_no_other(server: Process) -> None:
    paths = asked(server, "/openapi.json")["paths"]
    for path, operations in paths.items():
        for method in operations:
            filled = path.replace("{version}", "1").replace("{label}", "champion")
            status, _ = server.ask(method.upper(), filled, b"" if method == "post" else None)
            assert status == (EMPTY.get(path, 400) if method == "post" else 200), (method, path)
    assert {"/v1/predict", "/v1/feedback", "/healthz", "/metrics", "/v2", "/v2/models/small/infer"} <= set(paths)
    assert {"/openapi.json", "/v1/schema", "/docs", "/v2/models/small/versions/{version}/ready"} <= set(paths)
    ids = [operation["operationId"] for operations in paths.values() for operation in operations.values()]
    assert len(set(ids)) == len(ids)


def test_the_same_revision_gives_the_same_bytes_and_every_reference_leads_somewhere(server: Process) -> None:
    document = asked(server, "/openapi.json")
    assert document == asked(server, "/openapi.json")
    assert (document["openapi"], document["info"]["title"], document["info"]["version"]) == ("3.1.0", "small", "1")
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
        assert name in document["components"]["schemas"]


def test_the_example_in_the_document_is_answered(server: Process) -> None:
    example = asked(server, "/openapi.json")["components"]["schemas"]["Predict"]["examples"][0]
    status, answer = server.ask("POST", "/v1/predict", example)
    assert (status, answer["predictions"][0]["value"]) == (200, expected(ROW))


def test_a_new_revision_has_its_own_document(launch: Callable[..., Process]) -> None:
    server = launch(endpoint(7, Arm("sum-2", "champion", 0.5), Arm("sum-3", "challenger", 0.5)))
    document = asked(server, "/openapi.json")
    assert document["info"]["version"] == "7"
    pinned = document["paths"]["/v2/models/small/versions/{version}"]["get"]
    assert pinned["parameters"][0]["schema"]["enum"] == ["2", "3"]


def test_a_model_that_tells_no_more_than_its_columns_is_described_by_them() -> None:
    class Plain:
        def __init__(self) -> None:
            told = SmallModel("sum-1")
            self.bundle, self.inputs, self.run = told.bundle, told.inputs, told.run

    schema = row_schema(Generation(endpoint(1), {"sum-1": Plain()}))
    assert "examples" not in schema
    assert "x-seen" not in schema["properties"]["width"]


def test_a_route_that_nobody_described_is_listed_all_the_same() -> None:
    paths = document(generation(), [("GET", "/new", "new")])["paths"]
    assert paths["/new"]["get"]["operationId"] == "new"


def test_the_page_fetches_nothing_from_elsewhere_and_runs_its_own_script_only(server: Process) -> None:
    text = asked(server, "/docs").decode()
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", text)
    facts = json.loads(text.partition('id="facts">')[2].partition("</script>")[0])
    assert facts["schema"]["examples"] == [ROW]
    head = server.raw(b"GET /docs HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").partition(b"\r\n\r\n")[0]
    assert b"default-src 'none'" in head
    assert re.search(rb"script-src 'sha256-[A-Za-z0-9+/=]{44}'", head)


def test_a_column_or_value_cannot_break_out_of_the_page() -> None:
    class Hostile(SmallModel):
        def signature(self) -> Signature:
            row = {**ROW, "shop": "</script><script>alert(1)</script>"}
            return Signature(task="regression", inputs=COLUMNS, output="value", examples=(row,))

    from kaizen.serve.docs import page

    html, _ = page(Generation(endpoint(1), {"sum-1": Hostile("sum-1")}), is_named=False)
    assert html.count(b"<script") == 2
    assert b"alert(1)</script>" not in html


@pytest.mark.parametrize("at", [0.0, -982.0, 1_370_088_000_000_000.0])
def test_a_whole_number_is_a_time_however_json_writes_it(server: Process, at: float) -> None:
    assert server.ask("POST", "/v1/predict", {"rows": [{**ROW, "at": at}], "at": at})[0] == 200
    assert server.ask("POST", "/v1/feedback", {"id": "whole", "value": True, "at": at})[0] == 200
    assert server.ask("POST", "/v1/predict", {"rows": [{**ROW, "at": 0.5}]})[0] == 400


@pytest.mark.conformance("OpenAPI 3.1", "every route of the server's own document", client="schemathesis")
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("schemathesis") is None, reason="needs schemathesis: make setup")
def test_a_client_that_nobody_here_wrote_finds_no_difference(server: Process, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(RELATED)
    url = f"http://127.0.0.1:{server.port}/openapi.json"
    done = subprocess.run(
        [str(Path(sys.executable).with_name("schemathesis")), "run", url, "--max-examples", "30", "--no-color"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )
    assert done.returncode == 0, done.stdout
