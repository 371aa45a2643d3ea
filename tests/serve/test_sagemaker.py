"""SageMaker's multi-model contract: load, list, tell, invoke and unload, with its statuses and its memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.serve.conftest import Process
from tests.serve.small import ROW, expected

INVOKE = {"instances": [ROW]}


@pytest.fixture
def server(launch: Callable[..., Process]) -> Process:
    """A server that loads models by request."""
    return launch(BY_REQUEST="1")


@pytest.fixture
def model(tmp_path: Path) -> Callable[[str], str]:
    """Makes the folder of a model and returns its URL."""

    def make(recipe: str) -> str:
        folder = tmp_path / f"of-{recipe}"
        folder.mkdir(exist_ok=True)
        (folder / "recipe").write_text(recipe)
        return str(folder)

    return make


def load(server: Process, name: str, url: str) -> tuple[int, Any]:
    return server.ask("POST", "/models", {"model_name": name, "url": url})


@pytest.mark.conformance("SageMaker multi-model", "load, list, invoke, unload", client="played")
def test_sagemaker_multi_model_loads_lists_invokes_and_unloads(server: Process, model: Callable[[str], str]) -> None:
    assert server.ask("GET", "/models") == (200, {"models": []})
    url = model("sum-3")
    assert load(server, "abc123", url) == (200, {"modelName": "abc123", "modelUrl": url})
    assert load(server, "abc123", url)[0] == 409
    assert server.ask("GET", "/models") == (200, {"models": [{"modelName": "abc123", "modelUrl": url}]})
    assert server.ask("GET", "/models/abc123") == (200, {"modelName": "abc123", "modelUrl": url})
    answer = {"predictions": [expected(ROW, 3.0)]}
    for header in ("X_Amzn_SageMaker_Target_Model", "X_Amzn_Target_Model"):
        asked = server.ask("POST", "/models/abc123/invoke", INVOKE, **{header: "three.tar.gz"})
        assert asked == (200, answer)
    assert server.ask("DELETE", "/models/abc123")[0] == 200
    for method, path in (("GET", "/models/abc123"), ("DELETE", "/models/abc123"), ("POST", "/models/abc123/invoke")):
        assert server.ask(method, path, INVOKE)[0] == 404
    assert load(server, "abc123", model("sum-5"))[0] == 200
    assert server.ask("POST", "/models/abc123/invoke", INVOKE)[1] == {"predictions": [expected(ROW, 5.0)]}
    assert {batch.endpoint for batch in server.predictions()} == {"abc123"}


def test_sagemaker_multi_model_ping_says_that_the_process_lives(tmp_path: Path) -> None:
    process = Process(tmp_path, BY_REQUEST="1")  # its own endpoint has no revision: it is not ready
    try:
        assert process.ask("GET", "/ping")[0] == 200
        assert process.ask("GET", "/v2/health/ready")[0] == 503
    finally:
        process.stop()


@pytest.mark.conformance("SageMaker multi-model", "400, 404, 409", client="played")
@pytest.mark.parametrize(
    ("recipe", "status", "says"),
    [
        ("absent-1", 400, "the file is not there"),
        ("nonsense", 400, "cannot be loaded: ValueError"),
        ("huge-1", 507, "not enough memory"),
    ],
)
def test_sagemaker_multi_model_says_why_one_does_not_load(
    server: Process, model: Callable[[str], str], recipe: str, status: int, says: str
) -> None:
    found, told = load(server, "m", model(recipe))
    assert (found, says in told["error"]) == (status, True), told
    assert server.ask("GET", "/models") == (200, {"models": []})
    assert load(server, "m", model("sum-1"))[0] == 200


@pytest.mark.parametrize("url", ["/dev/null", "/proc/self", "/sys", "relative/path", "/nowhere/at/all", "/tmp/../proc"])
def test_sagemaker_multi_model_refuses_a_url_that_is_no_place_for_models(server: Process, url: str) -> None:
    assert load(server, "m", url)[0] == 400


def test_sagemaker_multi_model_refuses_a_link_into_the_system(server: Process, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc/self")
    status, told = load(server, "m", str(tmp_path / "link"))
    assert (status, "not loaded from there" in told["error"]) == (400, True)


@pytest.mark.parametrize("body", [{}, {"model_name": "m"}, {"model_name": "", "url": "/x"}, [], {"model_name": 1}])
def test_sagemaker_multi_model_refuses_a_request_that_names_nothing(server: Process, body: Any) -> None:
    assert server.ask("POST", "/models", body)[0] == 400


@pytest.mark.conformance("SageMaker multi-model", "507", client="played")
def test_sagemaker_multi_model_is_507_when_the_files_would_not_fit(
    server: Process, model: Callable[[str], str]
) -> None:
    url = model("sum-1")
    with (Path(url) / "weights").open("wb") as file:
        file.truncate(1 << 43)  # 8 TiB, of which nothing is on the disk
    status, told = load(server, "m", url)
    assert (status, "MiB are free" in told["error"]) == (507, True)


def test_sagemaker_multi_model_lists_in_pages(server: Process, model: Callable[[str], str]) -> None:
    url, names = model("sum-1"), [f"m{number:03}" for number in range(105)]
    for name in names:
        assert load(server, name, url)[0] == 200
    _, first = server.ask("GET", "/models")
    _, second = server.ask("GET", f"/models?next_page_token={first['nextPageToken']}")
    assert [each["modelName"] for each in first["models"] + second["models"]] == names
    assert (len(first["models"]), "nextPageToken" in second) == (100, False)


def test_sagemaker_multi_model_loads_once_for_all_who_ask(server: Process, model: Callable[[str], str]) -> None:
    url, statuses = model("slow-1"), []
    threads = [threading.Thread(target=lambda: statuses.append(load(server, "m", url)[0])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 409}  # 409: it asked when the model served already
    assert 200 in statuses
    assert server.ask("POST", "/models/m/invoke", INVOKE)[0] == 200


@pytest.mark.conformance("SageMaker multi-model", "memory is free when DELETE answers", client="played")
def test_sagemaker_multi_model_gives_memory_back_before_it_answers(
    server: Process, model: Callable[[str], str]
) -> None:
    url, sizes = model("big-1"), [resident_mib(server)]
    for _ in range(6):
        assert load(server, "m", url)[0] == 200
        assert server.ask("POST", "/models/m/invoke", INVOKE)[0] == 200
        assert server.ask("GET", "/openapi/m")[0] == 200
        assert server.ask("DELETE", "/models/m")[0] == 200
        sizes.append(resident_mib(server))
    assert max(sizes) - min(sizes) < 48, sizes  # one that stayed would be 64


def test_sagemaker_multi_model_unloads_nothing_that_it_was_started_with(server: Process) -> None:
    assert server.ask("DELETE", "/models/small")[0] == 404
    assert load(server, "small", "/tmp")[0] == 409
    assert server.ask("POST", "/invocations", INVOKE)[0] == 200


def test_sagemaker_multi_model_errors_of_rows_are_those_of_invocations(
    server: Process, model: Callable[[str], str]
) -> None:
    load(server, "m", model("sum-1"))
    status, headers, body = server.exchange("POST", "/models/m/invoke", json.dumps({"instances": [{}]}).encode())
    assert (status, json.loads(body)["error_code"]) == (400, "BAD_REQUEST")
    csv = {"Content-Type": "text/csv", "Accept": "text/csv"}
    status, headers, body = server.exchange("POST", "/models/m/invoke", b"3.5,2,2013-06-01,UA,1,N1", csv)
    assert (status, headers["content-type"], float(body)) == (200, "text/csv", expected(ROW))


def test_models_are_not_loaded_by_request_unless_it_is_allowed(launch: Callable[..., Process]) -> None:
    closed = launch()
    assert load(closed, "m", "/tmp")[0] == 404
    assert "/models" not in closed.ask("GET", "/openapi.json")[1]["paths"]


def resident_mib(server: Process) -> int:
    status = Path(f"/proc/{server.popen.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) >> 10
