"""Traces, by a real exporter to a collector that reads the protocol's own messages."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kaizen.client import Client
from kaizen.core.records import Arm
from tests.serve.collector import Collector, attributes, collecting
from tests.serve.conftest import ROOT, Process
from tests.serve.small import ROW, endpoint
from tests.serve.test_metrics import figures
from tests.serve.test_tracecontext import SPAN, TRACE

pytestmark = pytest.mark.slow

BODY = {"rows": [ROW, ROW]}
SERVER, INTERNAL, ERROR = 2, 1, 2


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def telemetry(url: str, **more: Any) -> str:
    return json.dumps({"telemetry": {"traces": url, **more}})


def parent(flags: str, trace: str = TRACE) -> dict[str, str]:
    return {"traceparent": f"00-{trace}-{SPAN}-{flags}"}


def test_a_sampled_request_is_four_spans_of_the_callers_trace(
    launch: Callable[..., Process], collector: Collector
) -> None:
    server = launch(SERVE=telemetry(collector.url, sample=0))
    before = time.time_ns()
    status, answer = server.ask("POST", "/v1/predict?key=secret", BODY, **parent("01"), tracestate="rojo=1,congo=2")
    assert status == 200
    spans = {span.name: span for span in collector.wait_for(4)}
    root = spans["POST /v1/predict"]
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    assert root.parent_span_id.hex() == SPAN
    assert (root.kind, root.trace_state, root.status.code) == (SERVER, "rojo=1,congo=2", 0)
    told = attributes(root)
    assert told.pop("network.peer.port") > 0
    assert told.pop("server.port") == server.port
    assert told == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/v1/predict",
        "url.path": "/v1/predict",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "client.address": "127.0.0.1",
        "network.peer.address": "127.0.0.1",
        "kaizen.endpoint": "small",
        "kaizen.revision": 1,
        "kaizen.rows": 2,
        "kaizen.bundle": "sum-1",
        "kaizen.arm": "champion",
        "kaizen.prediction_id": answer["predictions"][0]["id"],
    }
    children = [spans[name] for name in ("queue", "infer", "log")]
    assert {(span.parent_span_id, span.kind) for span in children} == {(root.span_id, INTERNAL)}
    edges = [root.start_time_unix_nano, *(span.end_time_unix_nano for span in children), root.end_time_unix_nano]
    assert edges == sorted(edges)
    assert before <= edges[0] < edges[-1] <= time.time_ns()
    assert [span.start_time_unix_nano for span in children] == edges[:3]
    assert attributes(spans["infer"])["kaizen.batch.rows"] == 2
    resource = collector.resources[0]
    assert (resource["service.name"], resource["telemetry.sdk.name"]) == ("kaizen", "opentelemetry")
    assert b"secret" not in b"".join(span.SerializeToString() for span in spans.values())


def test_the_caller_decides_and_without_one_the_share(launch: Callable[..., Process], collector: Collector) -> None:
    never = launch(SERVE=telemetry(collector.url, sample=0))
    always = launch(SERVE=telemetry(collector.url, sample=1))
    for server in (never, always):
        server.ask("GET", "/v2", None, **parent("00", "1" * 32))
        server.ask("GET", "/v2", None, **parent("01", "2" * 32))
        server.ask("GET", "/v2")
        server.ask("GET", "/v2", None, traceparent="00-" + "0" * 32 + "-b7ad6b7169203331-00")
    server.popen.send_signal(signal.SIGTERM)
    never.popen.send_signal(signal.SIGTERM)
    server.popen.wait(10)
    never.popen.wait(10)
    about = [span for span in collector.spans if span.name == "GET /v2"]
    theirs = [span for span in about if span.trace_id.hex() == "2" * 32]
    fresh = [span for span in about if span not in theirs]
    assert len(theirs) == 2
    assert {span.parent_span_id.hex() for span in theirs} == {SPAN}
    assert len({span.trace_id for span in fresh}) == len(fresh) == 2  # of the server that samples all
    assert {span.parent_span_id for span in fresh} == {b""}
    assert "1" * 32 not in {span.trace_id.hex() for span in collector.spans}


def test_about_the_share_is_sampled(launch: Callable[..., Process], collector: Collector) -> None:
    server = launch(SERVE=telemetry(collector.url, sample=0.25))
    head = b"GET /v2 HTTP/1.1\r\nhost: a\r\n\r\n"
    server.raw(head * 999 + head.replace(b"host: a", b"connection: close"))
    server.popen.send_signal(signal.SIGTERM)
    server.popen.wait(10)
    count = len([span for span in collector.spans if span.name == "GET /v2"])
    assert abs(count - 250) < 5 * (1000 * 0.25 * 0.75) ** 0.5


def test_traced_heads_are_remembered_without_their_trace(launch: Callable[..., Process], collector: Collector) -> None:
    server = launch(SERVE=telemetry(collector.url, sample=0))
    traces = [f"{number:032x}" for number in range(1, 21)]
    heads = [
        f"GET /v2 HTTP/1.1\r\nHost: a:1\r\n{name}: 00-{trace}-{SPAN}-01\r\n{more}\r\n".encode()
        for trace, (name, more) in zip(
            traces,
            [("traceparent", ""), ("Traceparent", "Tracestate: a=1\r\n"), ("TRACEPARENT", ""), ("traceparent", "")] * 5,
            strict=True,
        )
    ]
    answers = server.raw(b"".join(heads) + b"GET /v2 HTTP/1.1\r\nHost: a:1\r\nconnection: close\r\n\r\n")
    assert answers.count(b"HTTP/1.1 200") == 21
    spans = collector.wait_for(20)
    assert sorted(span.trace_id.hex() for span in spans) == traces
    assert {span.trace_state for span in spans} == {"", "a=1"}
    assert {(attributes(span)["server.address"], attributes(span)["server.port"]) for span in spans} == {("a", 1)}


def test_failures_and_strange_requests_have_spans_too(launch: Callable[..., Process], collector: Collector) -> None:
    server = launch(endpoint(1, Arm("sum-1", "champion", 1.0)), SERVE=telemetry(collector.url, sample=1))
    server.ask("GET", "/nowhere")
    server.ask("PROPFIND", "/v2")
    server.ask("POST", "/v1/predict", {"rows": [{**ROW, "width": 666}]})
    server.ask("POST", "/v2/models/small/infer", b"{")
    server.popen.send_signal(signal.SIGTERM)
    server.popen.wait(10)
    told = {span.name: (span.status.code, attributes(span)) for span in collector.spans}
    assert told["GET"][1]["http.response.status_code"] == 404
    assert "http.route" not in told["GET"][1]
    assert told["HTTP"][1]["http.request.method"] == "_OTHER"
    assert told["HTTP"][1]["http.request.method_original"] == "PROPFIND"
    assert told["POST /v1/predict"][1]["http.response.status_code"] == 422
    assert told["POST /v1/predict"][1]["kaizen.endpoint"] == "small"
    assert told["POST /v2/models/{model}/infer"][1]["http.response.status_code"] == 400
    assert {status for status, _ in told.values()} == {0}  # 4xx are the caller's


def test_an_unlogged_prediction_is_an_error_of_the_server(launch: Callable[..., Process], collector: Collector) -> None:
    server = launch(SERVE=telemetry(collector.url, sample=1), FILE_BYTES="4096")
    while server.ask("POST", "/v1/predict", BODY)[0] == 200:
        pass
    server.popen.send_signal(signal.SIGTERM)
    server.popen.wait(10)
    last = [span for span in collector.spans if span.name == "POST /v1/predict"][-1]
    assert last.status.code == ERROR
    assert attributes(last)["error.type"] == "503"


def test_a_request_of_two_arms_and_several_chunks_shows_all_of_them(
    launch: Callable[..., Process], collector: Collector
) -> None:
    arms = (Arm("sum-1", "champion", 0.5), Arm("sum-2", "challenger", 0.5))
    server = launch(endpoint(1, *arms), SERVE=telemetry(collector.url, sample=0))
    assert server.ask("POST", "/v1/predict", {"rows": [{**ROW, "owner": str(i)} for i in range(600)]}, **parent("01"))
    spans = collector.wait_for(7)
    infers = [attributes(span) for span in spans if span.name == "infer"]
    assert {told["kaizen.arm"] for told in infers} == {"champion", "challenger"}
    assert sum(told["kaizen.batch.rows"] for told in infers) >= 600


def test_calls_over_grpc_are_traced(launch: Callable[..., Process], collector: Collector) -> None:
    server = launch(SERVE=telemetry(collector.url, sample=0), GRPC_PORT="0")
    code = f"""
import grpc
from tests.serve.grpc_client import service_pb2 as theirs
channel = grpc.insecure_channel("127.0.0.1:{server.grpc_port}")
metadata = (("traceparent", "00-{TRACE}-{SPAN}-01"), ("tracestate", "a=1"))
for method, request in (
    ("ModelInfer", theirs.ModelInferRequest(model_name="nobody")),
    ("ServerLive", theirs.ServerLiveRequest()),
    ("TraceSetting", theirs.TraceSettingRequest()),
):
    call = channel.unary_unary("/inference.GRPCInferenceService/" + method)
    try:
        call(request.SerializeToString(), metadata=metadata, timeout=10)
    except grpc.RpcError:
        pass
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
    subprocess.run(
        [sys.executable, "-m", "tests.serve.grpc_client", f"127.0.0.1:{server.grpc_port}"],
        cwd=ROOT,
        check=True,
        timeout=60,
        capture_output=True,
    )  # without a trace: the share is 0
    spans = {span.name.rpartition("/")[2]: span for span in collector.wait_for(3)}
    told = {name: attributes(span) for name, span in spans.items()}
    assert {span.name.rpartition("/")[0] for span in spans.values()} == {"inference.GRPCInferenceService"}
    assert {name: each["rpc.response.status_code"] for name, each in told.items()} == {
        "ModelInfer": "NOT_FOUND",
        "ServerLive": "OK",
        "TraceSetting": "UNIMPLEMENTED",
    }
    assert {each["rpc.system.name"] for each in told.values()} == {"grpc"}
    assert {each["client.address"] for each in told.values()} == {"127.0.0.1"}
    assert {span.parent_span_id.hex() for span in spans.values()} == {SPAN}
    assert {span.trace_state for span in spans.values()} == {"a=1"}
    assert (spans["ModelInfer"].status.code, spans["TraceSetting"].status.code) == (0, ERROR)


def test_an_inference_over_grpc_has_its_stages(launch: Callable[..., Process], collector: Collector) -> None:
    server = launch(SERVE=telemetry(collector.url, sample=1), GRPC_PORT="0")
    command = [sys.executable, "-m", "tests.serve.grpc_client", f"127.0.0.1:{server.grpc_port}"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60, capture_output=True)
    server.popen.send_signal(signal.SIGTERM)
    server.popen.wait(10)
    by_id = {span.span_id: span for span in collector.spans}
    logs = [span for span in collector.spans if span.name == "log"]
    roots = [by_id[span.parent_span_id] for span in logs]
    assert roots
    assert {span.name for span in roots} == {"inference.GRPCInferenceService/ModelInfer"}
    assert {attributes(span)["kaizen.endpoint"] for span in roots} == {"small"}


def test_the_standard_variables_say_where_and_who(launch: Callable[..., Process], collector: Collector) -> None:
    server = launch(
        SERVE=telemetry("otlp", sample=1),
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url.removesuffix("/v1/traces"),
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_SERVICE_NAME="shop",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
    )
    server.ask("GET", "/v2")
    collector.wait_for(1)
    resource = collector.resources[0]
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("shop", "test")
    assert set(collector.paths) == {"/v1/traces"}


def test_the_standard_switch_turns_it_off(launch: Callable[..., Process], collector: Collector) -> None:
    server = launch(SERVE=telemetry(collector.url, sample=1), OTEL_SDK_DISABLED="true")
    server.ask("GET", "/v2")
    server.popen.send_signal(signal.SIGTERM)
    server.popen.wait(10)
    assert collector.spans == []


def flooded(server: Process, requests: int) -> float:
    """Return how long the slowest of many traced predictions took."""
    body = json.dumps({"rows": [ROW]}).encode()
    slowest = 0.0
    for number in range(requests):
        begun = time.monotonic()
        assert server.ask("POST", "/v1/predict", body, **parent("01", f"{number + 1:032x}"))[0] == 200
        slowest = max(slowest, time.monotonic() - begun)
    return slowest


def test_a_collector_that_is_gone_changes_no_answer(launch: Callable[..., Process]) -> None:
    with collecting() as gone:
        url = gone.url
    server = launch(SERVE=telemetry(url, sample=0))
    flooded(server, 200)
    begun = time.monotonic()
    server.popen.send_signal(signal.SIGTERM)
    _, errors = server.popen.communicate(timeout=20)
    assert time.monotonic() - begun < 15  # a guard against a hang, not a measure
    assert server.popen.returncode == 0
    assert errors.count(b"traces not exported") >= 1
    assert b"Traceback" not in errors


def test_a_collector_that_hangs_changes_no_answer_and_what_does_not_fit_is_counted(
    launch: Callable[..., Process], collector: Collector
) -> None:
    collector.hangs.set()
    server = launch(SERVE=telemetry(collector.url, sample=1))
    head = b"GET /v2 HTTP/1.1\r\nhost: a\r\n\r\n"
    answers = server.raw(head * 2999 + head.replace(b"host: a", b"connection: close"))
    assert answers.count(b"HTTP/1.1 200") == 3000
    found = figures(server)
    assert found["kaizen_traces_total|outcome=dropped"] > 500
    server.popen.send_signal(signal.SIGTERM)
    _, errors = server.popen.communicate(timeout=20)
    assert server.popen.returncode == 0
    assert b"the collector does not answer" in errors
    assert b"Traceback" not in errors


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").touch()  # in front of the real one: nothing is in it
    code = """
from pathlib import Path
from kaizen.core.errors import MissingExtraError
from kaizen.core.serving import TelemetrySection
from kaizen.serve.telemetry import Telemetry
try:
    Telemetry(TelemetrySection(traces="otlp"), Path()).start(print)
except MissingExtraError as err:
    print(err)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert 'pip install "kaizen-ml[otel]"' in done.stdout, done.stderr


def test_the_client_passes_its_span_on(launch: Callable[..., Process], collector: Collector) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    server = launch(SERVE=telemetry(collector.url, sample=0))
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("tests")
    with Client(f"http://127.0.0.1:{server.port}") as client:
        client.predict([ROW])
        with tracer.start_as_current_span("asking") as span:
            client.predict([ROW])
        own = span.get_span_context()
        assert not trace.get_current_span().get_span_context().is_valid
    roots = [span for span in collector.wait_for(4) if span.name == "POST /v1/predict"]
    assert [(root.trace_id.hex(), root.parent_span_id.hex()) for root in roots] == [
        (f"{own.trace_id:032x}", f"{own.span_id:016x}")
    ]


def test_the_client_does_not_import_opentelemetry() -> None:
    code = "import sys, kaizen; kaizen.Client('http://a')._target.headers; print('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_each_worker_sends_its_own(launch: Callable[..., Process], collector: Collector) -> None:
    server = launch(SERVE=telemetry(collector.url, sample=1), WORKERS="2")
    for _ in range(30):
        server.ask("GET", "/v2")
    server.popen.send_signal(signal.SIGTERM)
    server.popen.wait(30)
    spans = [span for span in collector.spans if span.name == "GET /v2"]
    assert len({span.trace_id for span in spans}) == len(spans) == 30
