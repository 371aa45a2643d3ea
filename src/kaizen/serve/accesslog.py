"""The access log: one line of JSON for each answer; what was asked and how it went, never what the rows held.

{"time":"2026-11-03T12:00:00.000123Z","method":"POST","path":"/v1/predict","route":"predict","status":200,
 "duration_us":412,"request_bytes":96,"response_bytes":214,"peer":"10.0.0.7","request_id":"01M8…","rows":1, …}
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from kaizen.serve.lines import Lines
from kaizen.serve.message import Request

_PATH: Final = 512  # characters of a path that are kept


class Access(msgspec.Struct, omit_defaults=True):
    """A line; what is not known, or is nothing, is left out."""

    time: str
    method: str
    path: str
    route: str
    status: int
    duration_us: int
    request_bytes: int
    response_bytes: int
    protocol: str = ""
    grpc_status: str = ""
    peer: str = ""
    principal: str = ""
    request_id: str = ""
    trace_id: str = ""
    endpoint: str = ""
    revision: int = 0
    arms: list[str] = []
    rows: int = 0


class AccessLog:
    """Writes the lines.

    Parameters
    ----------
    lines
        Where they go.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._encode = msgspec.json.Encoder().encode
        self._second = -1
        self._prefix = ""

    def tell(self, request: Request, status: int, size_bytes: int, took_ns: int, trace_id: str) -> None:
        """Write the line of an answer that has just been given."""
        head = request.head
        code = request.code
        access = Access(
            time=self._time(time.time_ns() - took_ns),
            method=head.method,
            path=head.path[:_PATH],
            route=head.route.name,
            status=status,
            duration_us=took_ns // 1000,
            request_bytes=head.length or len(request.body),
            response_bytes=0 if head.method == "HEAD" else size_bytes,
            protocol="grpc" if code else "http/1.0" if head.old else "http/1.1",
            grpc_status=code,
            peer=request.connection.peer.address,
            principal=request.principal,
            request_id=head.request_id.decode("latin-1"),
            trace_id=trace_id,
        )
        call = request.call
        if call is not None:
            access.endpoint = call.generation.endpoint.name
            access.revision = call.generation.endpoint.revision
            access.rows = call.rows
            access.arms = list(dict.fromkeys([batch.arm for batch in call.batches]))
            access.request_id = call.request_id or (call.ids[0] if call.ids else access.request_id)
        self._lines.write(self._encode(access) + b"\n")

    def _time(self, at_ns: int) -> str:
        second, rest = divmod(at_ns, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._prefix}.{rest // 1000:06d}Z"
