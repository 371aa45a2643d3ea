from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from kaizen.core.records import Arm
from kaizen.serve.scopes import ROUTES
from kaizen.serve.stages import NAMES
from tests.serve.conftest import ROOT, Process
from tests.serve.small import ROW, endpoint, publish

PAGE = Path(__file__).parents[2] / "docs" / "serve-telemetry.md"
DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "kaizen-serving.json"
ALL_ON = '{"telemetry": {"traces": "http://127.0.0.1:9/v1/traces", "access_log": "access.log"}}'


def figures(server: Process) -> dict[str, float]:
    """Return every sample of /metrics by name and labels."""
    text = server.ask("GET", "/metrics")[1].decode()
    return {
        sample.name + "".join(f"|{key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_dashboards_of_triton_and_kserve_find_their_names(launch: Callable[..., Process]) -> None:
    server = launch()
    for _ in range(3):
        assert server.ask("POST", "/v1/predict", {"rows": [ROW, ROW]})[0] == 200
    assert server.ask("POST", "/v1/predict", {"rows": [{"sise": 1.0}]})[0] == 400
    found = figures(server)
    labels = next(key for key in found if key.startswith("nv_inference_count")).removeprefix("nv_inference_count")
    assert found[f"nv_inference_request_success{labels}"] == 3
    assert found[f"nv_inference_request_failure{labels}"] == 1
    assert found[f"nv_inference_count{labels}"] == 6
    assert 1 <= found[f"nv_inference_exec_count{labels}"] <= 3
    assert found[f"nv_inference_request_duration_us{labels}"] > 0
    stages = ("queue", "compute_input", "compute_infer", "compute_output")
    spent = [found[f"nv_inference_{stage}_duration_us{labels}"] for stage in stages]
    assert all(each >= 0 for each in spent)
    assert 0 < sum(spent) <= found[f"nv_inference_request_duration_us{labels}"]
    assert found[f"nv_inference_pending_request_count{labels}"] == 0
    for name, count in (("preprocess", 3), ("predict", 4), ("postprocess", 3)):
        assert found[f"request_{name}_seconds_count|model_name=small"] == count
    assert "# TYPE request_explain_seconds histogram" in server.ask("GET", "/metrics")[1].decode()


def test_the_time_of_a_model_is_that_of_the_stage_infer(launch: Callable[..., Process]) -> None:
    server = launch(endpoint(1, Arm("slow-1", "champion", 1.0)))
    for _ in range(2):
        server.ask("POST", "/v1/predict", {"rows": [ROW] * 40})  # 40 ms
    found = figures(server)
    spent = {name: found[f"kaizen_stage_seconds_total|endpoint=small|stage={name}|version=1"] for name in NAMES}
    assert spent["infer"] >= 0.08
    assert max(spent, key=lambda name: spent[name]) == "infer"
    assert found["nv_inference_compute_infer_duration_us|model=small|version=1"] == int(spent["infer"] * 1e6)


def test_requests_that_share_a_batch_are_each_charged_with_it(launch: Callable[..., Process]) -> None:
    server = launch(endpoint(1, Arm("slow-1", "champion", 1.0)))
    body = json.dumps({"rows": [ROW] * 10}).encode()
    head = b"POST /v1/predict HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n" % len(body)
    server.raw((head + b"\r\n" + body) * 3 + head + b"connection: close\r\n\r\n" + body)
    found = figures(server)
    assert found["nv_inference_request_success|model=small|version=1"] == 4
    batches = found["nv_inference_exec_count|model=small|version=1"]
    assert batches < 4
    assert found["kaizen_stage_seconds_total|endpoint=small|stage=infer|version=1"] >= 0.04 * 4 / batches
    assert found["kaizen_stage_seconds_total|endpoint=small|stage=queue|version=1"] >= 0


def test_each_version_and_each_model_has_its_own(launch: Callable[..., Process]) -> None:
    arms = (Arm("sum-1", "champion", 0.5), Arm("sum-2", "challenger", 0.5))
    server = launch(endpoint(1, *arms), BESIDE="other=sum-3")
    for number in range(20):
        server.ask("POST", "/v1/predict/small", {"rows": [{**ROW, "owner": str(number)}]})
    server.ask("POST", "/v1/predict/other", {"rows": [ROW]})
    server.ask("POST", "/v1/predict/other", {"rows": [{**ROW, "width": 666}]})
    found = figures(server)
    small = [found[f"nv_inference_count|model=small|version={version}"] for version in (1, 2)]
    assert sum(small) == 20
    assert min(small) > 0
    assert found["nv_inference_count|model=other|version=3"] == 1
    assert found["nv_inference_request_failure|model=other|version=3"] == 1
    assert found["nv_inference_request_failure|model=small|version=1"] == 0


def test_figures_of_a_version_stay_when_a_revision_goes(launch: Callable[..., Process]) -> None:
    server = launch()
    server.ask("POST", "/v1/predict", {"rows": [ROW]})
    publish(server.folder, endpoint(2, Arm("sum-1", "champion", 0.5), Arm("sum-2", "challenger", 0.5)))
    server.wait_for(lambda health: health["revision"] == 2)
    assert figures(server)["nv_inference_count|model=small|version=1"] == 1


def test_predictions_by_other_platforms_routes_count_too(launch: Callable[..., Process]) -> None:
    server = launch()
    assert server.ask("POST", "/invocations", {"dataframe_records": [ROW]}, content_type="application/json")[0] == 200
    assert server.ask("POST", "/invocations", b"{", content_type="application/json")[0] == 400
    found = figures(server)
    assert found["nv_inference_request_success|model=small|version=1"] == 1
    assert found["nv_inference_request_failure|model=small|version=1"] == 1
    assert found["request_predict_seconds_count|model_name=small"] == 2


def test_the_dashboard_shows_every_route_that_predicts() -> None:
    shown = re.search(r'route=~\\"([a-z0-9_|]+)\\"}\[1m\]\)\)\)', DASHBOARD.read_text())
    assert shown is not None
    over_grpc = {"ModelInfer", "ModelStreamInfer"}  # both count as grpc_infer
    served = {name for name, scope in ROUTES.items() if scope == "predict"} - over_grpc
    assert set(shown[1].split("|")) == served


def test_calls_over_grpc_count_as_predictions(launch: Callable[..., Process]) -> None:
    server = launch(GRPC_PORT="0")
    command = [sys.executable, "-m", "tests.serve.grpc_client", f"127.0.0.1:{server.grpc_port}"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60, capture_output=True)
    found = figures(server)
    assert found["nv_inference_request_success|model=small|version=1"] > 3
    assert found["nv_inference_request_failure|model=small|version=1"] > 0
    assert found["request_predict_seconds_count|model_name=small"] > 3


def test_the_page_about_telemetry_names_every_figure_and_no_other(launch: Callable[..., Process]) -> None:
    server = launch(SERVE=ALL_ON)
    server.ask("POST", "/v1/predict", {"rows": [ROW]})
    families = text_string_to_metric_families(server.ask("GET", "/metrics")[1].decode())
    known = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    known = {name.removesuffix("_total") if name.startswith("nv_") else name for name in known}
    told = set(re.findall(r"^\| `([a-z_]+)`", PAGE.read_text(), re.MULTILINE))
    assert told == known


def test_every_figure_of_the_dashboard_is_there(launch: Callable[..., Process]) -> None:
    server = launch(SERVE=ALL_ON)
    server.ask("POST", "/v1/predict", {"rows": [ROW]})
    known = {key.partition("|")[0] for key in figures(server)}
    asked = set(re.findall(r"\b(?:kaizen|nv)_[a-z_]+", DASHBOARD.read_text())) - {"kaizen_serving"}
    assert asked - known == set()
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
