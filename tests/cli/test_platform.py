"""`kaizen serve` as each platform starts its container: by environment and arguments, with no word of ours."""

from __future__ import annotations

import os
import re
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

from kaizen.cli import platform
from kaizen.cli.platform import Platform
from kaizen.core.errors import UsageError
from tests.bundle.test_bare import classifier
from tests.cli.conftest import Run_, get, post, until

ROOT = Path(__file__).parents[2]
INSTANCES = {"instances": [[1.0, 2.0]]}


@contextmanager
def started(*words: object, home: Path, **environment: object) -> Iterator[dict[str, Any]]:
    """Run `kaizen serve` in a process of its own, with this environment, and give what it said."""
    told = {name: value for name, value in os.environ.items() if not name.startswith(("AIP_", "SAGEMAKER_"))}
    told |= {"SAGEMAKER_BASE_DIR": str(home / "none")} | {name: str(value) for name, value in environment.items()}
    command = [sys.executable, "-m", "kaizen.cli", "serve", *map(str, words), "-C", str(home), "--json"]
    with subprocess.Popen([*command, "--stop-with-parent"], stdin=PIPE, stdout=PIPE, env=told) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            said = msgspec.json.decode(process.stdout.readline())
            assert said["url"].startswith("http://0.0.0.0:")  # a platform asks from outside the container
            said["url"] = said["url"].replace("0.0.0.0", "127.0.0.1")
            until(lambda: get(f"{said['url']}/healthz")["status"] == "ok")
            yield said
        finally:
            process.stdin.close()
            process.wait(timeout=20)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Return a folder with a graph in it, as a platform mounts it."""
    (tmp_path / "mounted").mkdir()
    classifier(tmp_path / "mounted" / "model.onnx", 2, zipmap=False)
    return tmp_path / "mounted"


def predicted(url: str, path: str, body: Any = INSTANCES) -> bool:
    status, told = post(f"{url}{path}", body)
    return status == 200 and 0 < (told["predictions"] if isinstance(told, dict) else told)[0] < 1


@pytest.mark.conformance("SageMaker", "the container's start", client="played")
def test_sagemaker_starts_a_container_by_serve_alone(graph: Path, tmp_path: Path) -> None:
    shutil.copytree(graph, tmp_path / "ml" / "model")
    with started(
        home=tmp_path, SAGEMAKER_BASE_DIR=tmp_path / "ml", SAGEMAKER_BIND_TO_PORT=0, KAIZEN_TRUST="true"
    ) as said:
        assert said["endpoints"] == ["model"]
        assert predicted(said["url"], "/invocations")
        assert post(f"{said['url']}/models", {"model_name": "m", "url": str(graph)})[0] == 404


def test_sagemaker_starts_a_container_of_several_models_with_none(graph: Path, tmp_path: Path) -> None:
    with started(home=tmp_path, SAGEMAKER_MULTI_MODEL="true", SAGEMAKER_BIND_TO_PORT=0, KAIZEN_TRUST="1") as said:
        assert said["endpoints"] == []
        assert post(f"{said['url']}/models", {"model_name": "0f3a", "url": str(graph)})[0] == 200
        assert predicted(said["url"], "/models/0f3a/invoke")
        (tmp_path / "empty").mkdir()
        assert post(f"{said['url']}/models", {"model_name": "other", "url": str(tmp_path / "empty")})[0] == 400


def test_sagemaker_loads_nothing_by_request_that_nobody_vouches_for(graph: Path, tmp_path: Path) -> None:
    with started(home=tmp_path, SAGEMAKER_MULTI_MODEL="true", SAGEMAKER_BIND_TO_PORT=0) as said:
        status, told = post(f"{said['url']}/models", {"model_name": "m", "url": str(graph)})
        assert (status, "unsigned" in told["error"]) == (400, True)


@pytest.mark.conformance("Vertex AI", "the container's start", client="played")
def test_vertex_ai_starts_a_container_by_its_environment(graph: Path, tmp_path: Path) -> None:
    route = "/v1/endpoints/1/deployedModels/2"
    environment = {"AIP_MODE": "PREDICTION", "AIP_HTTP_PORT": 0, "AIP_STORAGE_URI": graph, "KAIZEN_TRUST": "1"}
    routes = {"AIP_HEALTH_ROUTE": route, "AIP_PREDICT_ROUTE": f"{route}:predict"}
    with started(home=tmp_path, **environment, **routes) as said:
        assert get(f"{said['url']}{route}") == {}
        assert predicted(said["url"], f"{route}:predict")


@pytest.mark.conformance("Azure ML", "the container's start", client="played")
def test_azure_ml_starts_a_container_by_the_folder_of_its_model(graph: Path, tmp_path: Path) -> None:
    with started("--port", 0, "--trust", home=tmp_path, AZUREML_MODEL_DIR=graph) as said:
        assert predicted(said["url"], "/score", {"input_data": [[1.0, 2.0]]})


@pytest.mark.conformance("KServe", "the runtime's arguments", client="played")
def test_kserve_starts_a_container_by_the_arguments_of_our_runtime(graph: Path, tmp_path: Path) -> None:
    yaml = (ROOT / "docs" / "deploy" / "kserve-runtime.yaml").read_text()
    words = re.findall(r"^ +- (--\S+)$", yaml, re.MULTILINE)
    assert {word.partition("=")[0] for word in words} >= {"--model_name", "--model_dir", "--http_port"}
    filled = [word.replace("{{.Name}}", "iris").replace("/mnt/models", str(graph)) for word in words]
    filled = [re.sub(r"^(--http_port|--grpc_port)=.*", r"\1=0", word) for word in filled]
    with started(*filled, home=tmp_path) as said:
        assert said["endpoints"] == ["iris"]
        assert get(f"{said['url']}/") == {"status": "alive"}
        assert get(f"{said['url']}/v1/models/iris")["ready"] is True
        assert predicted(said["url"], "/v1/models/iris:predict")
        assert get(f"{said['url']}/v2/models/iris/ready")["ready"] is True


def test_what_the_command_line_says_counts_before_the_platform(graph: Path, tmp_path: Path) -> None:
    environment = {"AIP_HTTP_PORT": 1, "AIP_STORAGE_URI": "gs://bucket/model"}
    with started(f"mine={graph}", "--trust", "--port", 0, home=tmp_path, **environment) as said:
        assert said["endpoints"] == ["mine"]


def test_the_environment_is_read_as_its_platform_means_it(tmp_path: Path) -> None:
    def told(**environment: str) -> Platform:
        return platform.told({"SAGEMAKER_BASE_DIR": str(tmp_path), **environment})

    assert told() == Platform()
    assert told().host is None
    assert told(SAGEMAKER_BIND_TO_PORT="8081").port == 8081
    (tmp_path / "model").mkdir()
    assert told().paths == ()  # an empty folder is no model
    (tmp_path / "model" / "model.onnx").touch()
    assert told().paths == (str(tmp_path / "model"),)
    assert told(SAGEMAKER_MULTI_MODEL="true").paths == ()
    ids = {"AIP_ENDPOINT_ID": "1", "AIP_DEPLOYED_MODEL_ID": "2", "AIP_HTTP_PORT": "8080"}
    default = "/v1/endpoints/1/deployedModels/2"
    assert (told(**ids).health_route, told(**ids).predict_route) == (default, f"{default}:predict")
    assert told(AIP_MODE="PREDICTION").predict_route is None


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"AIP_HTTP_PORT": "x"}, "'x' is no port"),
        ({"AIP_HTTP_PORT": "70000"}, "is no port"),
        ({"AIP_HTTP_PORT": "1", "AIP_STORAGE_URI": "gs://bucket/model"}, "nothing is fetched here"),
        ({"AIP_HTTP_PORT": "1", "AIP_PREDICT_ROUTE": "predict"}, "is no path"),
    ],
)
def test_an_environment_that_cannot_be_served_is_refused_with_what_to_do(
    environment: dict[str, str], says: str
) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        platform.told(environment)
    assert refused.value.fix


def test_models_that_come_by_request_are_in_one_process(
    kaizen: Run_, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEMAKER_MULTI_MODEL", "true")
    said = kaizen("serve", "--workers", "2", "--folder", tmp_path)
    assert (said.code, "are in one process" in said.err) == (2, True)


def test_a_name_without_a_folder_is_wrong_usage(kaizen: Run_, tmp_path: Path) -> None:
    said = kaizen("serve", "--model_name", "x", "--folder", tmp_path)
    assert (said.code, "--model_name is for --model_dir" in said.err) == (1, True)
