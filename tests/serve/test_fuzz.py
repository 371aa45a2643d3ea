"""Whatever bytes come: an answer or a refusal, never an exception, and never another answer for how they were cut."""

from __future__ import annotations

import importlib.util
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serve import fuzz
from tests.serve.small import ROW

pytestmark = pytest.mark.slow

METHODS = st.sampled_from([b"GET", b"POST", b"HEAD", b"PUT", b"BREW", b"get", b""])
PATHS = st.sampled_from([b"/", b"/v1/predict", b"*", b"/%zz%00", b"http://h/x", b"//", b"/a b", b"/" + b"x" * 2000])
HEADERS = st.sampled_from(
    [
        b"content-length: 3", b"content-length: 5", b"content-length: -1", b"content-length: 99999999999999999999",
        b"Content-Length: 3\r\ncontent-length: 4", b"transfer-encoding: chunked", b"transfer-encoding: gzip, chunked",
        b"connection: close", b"connection: keep-alive", b"expect: 100-continue", b"upgrade: h2c", b"host: x",
        b"x-request-id: " + b"y" * 300, b"content-encoding: gzip", b"content-encoding: br", b" folded", b"no colon",
        b"x: \x00", b"x" * 1500 + b": y",
    ]
)  # fmt: skip
ENDS = st.sampled_from([b"\r\n\r\n", b"\n\n", b"\r\n", b""])
BODIES = st.sampled_from([b"", b"abc", b"abcde", b"3\r\nabc\r\n0\r\n\r\n", b"fffffffff\r\n", b"0\r\n\r\n", b"\x1f\x8b"])
VERSIONS = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 ", b""])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Requests, half right, one after the other."""
    pieces = []
    for _ in range(draw(st.integers(1, 4))):
        lines = [b" ".join([draw(METHODS), draw(PATHS), draw(VERSIONS)]), *draw(st.lists(HEADERS, max_size=4))]
        pieces += [b"\r\n".join(lines), draw(ENDS), draw(BODIES)]
    return b"".join(pieces)


@settings(max_examples=400, deadline=None)
@given(streams(), st.lists(st.integers(0, 400), max_size=6))
def test_how_bytes_are_cut_changes_no_answer(stream: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    parts = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert fuzz.talk(parts) == fuzz.talk([stream])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600))
def test_bytes_that_are_no_request_are_refused_or_waited_for(data: bytes) -> None:
    for status, _ in fuzz.talk([data]):
        assert status in (200, 400, 408, 413, 415, 431, 501)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def twisted(whole: dict[str, Any], place: list[int], value: Any) -> dict[str, Any]:
    """Return a copy of JSON in which one place, found by these numbers, has another value."""
    copy = json.loads(json.dumps(whole))
    node = copy
    for number in place:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = keys[number % len(keys)]
        if not isinstance(node[key], dict | list) or not node[key]:
            node[key] = value
            return dict(copy)
        node = node[key]
    return dict(copy)


TENSOR = {"name": "width", "datatype": "FP64", "shape": [1], "data": [1.0], "parameters": {"binary_data_size": 8}}
WHOLE: dict[str, dict[str, Any]] = {
    "rows": {"rows": [ROW], "unit": "u", "ids": ["a"], "at": "2013-06-01", "id": "x"},
    "infer": {
        "id": "1",
        "inputs": [TENSOR],
        "outputs": [{"name": "value"}],
        "parameters": {"binary_data_output": True},
    },
    "feedback": {"labels": [{"id": "a", "value": 1, "at": "2013-06-01"}]},
}


@pytest.mark.parametrize("target", list(WHOLE))
@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), JSON)
def test_a_body_with_one_wrong_place_is_taken_or_refused(target: str, place: list[int], value: Any) -> None:
    body = json.dumps(twisted(WHOLE[target], place, value)).encode()
    assert fuzz.DECODERS.give(target, body) in (0, 200, 400, 422)


@pytest.mark.parametrize("target", [name for name in fuzz.TARGETS if name != "http"])
@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_a_body_of_any_bytes_is_refused(target: str, data: bytes) -> None:
    if target == "grpc":
        pytest.importorskip("grpc")
    fuzz.TARGETS[target](data)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(list(ROW)), JSON, min_size=len(ROW)))
def test_the_fast_way_to_read_a_row_accepts_what_the_careful_one_does(row: dict[str, Any]) -> None:
    _, decoder = fuzz.SERVING
    body = msgspec.json.encode({"rows": [row]})
    outcomes = []
    for decode in (decoder.decode, decoder._decode_carefully):
        try:
            _, chunks = decode(body)
            tensors = fuzz.SERVING[0].reader.pack(chunks)
            outcomes.append({group: repr(tensor.tolist()) for group, tensor in tensors.items()})
        except fuzz.RequestError as err:
            outcomes.append(str(err))
    assert outcomes[0] == outcomes[1]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="needs atheris: make setup")
@pytest.mark.parametrize("target", list(fuzz.TARGETS))
def test_coverage_guided_fuzzing_finds_nothing(target: str, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, whole in WHOLE.items():
        body = json.dumps(whole).encode()
        (corpus / name).write_bytes(body)
        (corpus / f"{name}.http").write_bytes(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    done = subprocess.run(
        [sys.executable, "-m", "tests.serve.fuzz_guided", target, "15", f"-artifact_prefix={tmp_path}/", str(corpus)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
