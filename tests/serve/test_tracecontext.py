"""W3C Trace Context, by the examples and the rules of the recommendation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen.serve.tracecontext import is_left_out, joined, parent_of, state_of, taken_from, without_trace

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_a_parent_is_read() -> None:
    assert parent_of(PARENT.encode()) == (int(TRACE, 16), int(SPAN, 16), 1)
    assert parent_of(f"  {PARENT}\t".encode()) is not None
    assert [parent_of(f"00-{TRACE}-{SPAN}-{flags}".encode()).is_sampled for flags in ("00", "01", "02", "ff")] == [
        False,
        True,
        False,
        True,
    ]


def test_what_is_not_sampled_is_known_at_once() -> None:
    assert [
        flags
        for flags in ("00", "01", "02", "03", "0a", "0b", "fe")
        if is_left_out(f"00-{TRACE}-{SPAN}-{flags}".encode())
    ] == ["00", "02", "0a", "fe"]
    for value in (
        f"00-{'0' * 32}-{SPAN}-00",
        f"00-{TRACE}-{'0' * 16}-00",
        f"cc-{TRACE}-{SPAN}-00",
        f"00-{TRACE}-{SPAN}-00-",
    ):
        assert not is_left_out(value.encode())


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert parent_of(f"cc-{TRACE}-{SPAN}-01".encode()) is not None
    assert parent_of(f"cc-{TRACE}-{SPAN}-01-what-the-future-brings".encode()) is not None
    assert parent_of(f"cc-{TRACE}-{SPAN}-01.what".encode()) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        PARENT[:-1],
        PARENT + "-",
        PARENT + "-01",
        PARENT.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE}-{SPAN}-1",
        f"{PARENT},{PARENT}",
    ],
)
def test_what_is_no_parent_is_none(value: str) -> None:
    assert parent_of(value.encode()) is None


def test_the_state_is_read_member_by_member() -> None:
    told = b"rojo=00f067aa0ba902b7 , , congo=t61rcWkgMzE\t,fw529a3039@dt=FfAA/8=".removesuffix(b"=")
    assert state_of(told) == [("rojo", "00f067aa0ba902b7"), ("congo", "t61rcWkgMzE"), ("fw529a3039@dt", "FfAA/8")]
    assert state_of(b"") == []


@pytest.mark.parametrize("value", [b"a", b"A=1", b"a=1,a=2", b"a=b=c", b"a=\xe9", b"1a=1", b"a@1=2", b"=1", b"a="])
def test_a_state_that_is_not_valid_is_none(value: bytes) -> None:
    assert state_of(b"ok=1," + value) == []


def test_a_state_has_at_most_32_members() -> None:
    members = [f"k{i}={i}" for i in range(33)]
    assert len(state_of(",".join(members[:32]).encode())) == 32
    assert state_of(",".join(members).encode()) == []


def test_it_is_cut_out_of_a_head_which_stays_as_it_was() -> None:
    plain = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n"
    for name, state in (("traceparent", "tracestate"), ("Traceparent", "Tracestate")):
        line = f"{name}: {PARENT}\r\n".encode()
        traced = plain.replace(b"host", line + b"host")
        assert without_trace(traced) == (plain, (PARENT.encode(), b""))
        last = plain.replace(b"2\r\n", b"2\r\n" + line + f"{state}: a=1\r\n".encode())
        assert without_trace(last) == (plain, (PARENT.encode(), b"a=1"))


@pytest.mark.parametrize(
    "line",
    [
        b"traceparent: 00-1\r\n",
        f"traceparent: {PARENT}\n".encode(),
        f"traceparent: {PARENT}\r\n folded: 1\r\n".encode(),
        f"x: traceparent: {PARENT}\r\n".encode(),
        b"tracestate: a=1\r\n",
    ],
)
def test_what_is_not_plainly_a_trace_stays_in_the_head(line: bytes) -> None:
    raw = b"POST / HTTP/1.1\r\n" + line + b"host: a\r\n\r\n"
    assert without_trace(raw) == (raw, None)


@given(st.binary(max_size=200))
def test_cutting_takes_away_whole_lines_only(noise: bytes) -> None:
    raw = b"GET / HTTP/1.1\r\n" + noise + f"\r\ntraceparent: {PARENT}\r\nb: 1\r\n\r\n".encode()
    rest, trace = without_trace(raw)
    assert trace is not None
    assert rest.count(b"\r\n") < raw.count(b"\r\n")
    assert rest.endswith(b"\r\nb: 1\r\n\r\n")


def test_headers_that_come_twice() -> None:
    assert joined(b"tracestate", b"a=1", b"b=2") == b"a=1,b=2"
    assert parent_of(joined(b"traceparent", PARENT.encode(), PARENT.encode())) is None
    assert joined(b"accept", b"a", b"b") == b"b"
    headers = {b"traceparent": b"x", b"tracestate": b"y", b"host": b"z"}
    assert taken_from(headers) == (b"x", b"y")
    assert headers == {b"host": b"z"}
    assert taken_from({b"tracestate": b"y"}) is None
