from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.serve.conftest import Process
from tests.serve.small import ROW

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "kaizen-serving.json"


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
    model = labels.split("|")[1].removeprefix("model=")
    assert found[f"request_predict_seconds_count|model_name={model}"] == 4


def test_every_figure_of_the_dashboard_is_there(launch: Callable[..., Process]) -> None:
    server = launch()
    server.ask("POST", "/v1/predict", {"rows": [ROW]})
    known = {key.partition("|")[0] for key in figures(server)}
    asked = set(re.findall(r"\bkaizen_[a-z_]+", DASHBOARD.read_text())) - {"kaizen_serving"}
    assert asked - known == set()
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
