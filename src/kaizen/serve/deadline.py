"""When a request must be answered, and before whom: what it says itself, in the words of its protocol.

| said by                                  | deadline                      | priority                        |
|------------------------------------------|-------------------------------|---------------------------------|
| any request over HTTP                    | header `x-request-timeout-ms` |                                 |
| Open Inference Protocol, `parameters`    | `timeout`, microseconds       | `priority`, 1 first, 2, 3 last  |
| gRPC                                     | the call's own, as the header |                                 |
| `[serve] deadline` in `kaizen.toml`      | if nothing is said            | 0, or nothing: as 2             |

The earliest counts. Times are those of `time.perf_counter_ns`, like a request's arrival.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kaizen.core.errors import RequestError
from kaizen.serve.lanes import HIGH, LIVE, LOW
from kaizen.serve.message import Request

HEADER: Final = b"x-request-timeout-ms"
_LONGEST_MS: Final = 86_400_000
_LANES: Final = (LIVE, HIGH, LIVE)  # by priority; what is over 2 is LOW


def deadline_of(request: Request, parameters: Mapping[str, Any] | None = None) -> int | None:
    """Return when the request says that it must be answered, None if it does not; raise a 400 if it is no time."""
    deadline: int | None = None
    told = request.head.headers.get(HEADER)
    if told is not None:
        if not told.isdigit() or not 0 < int(told[:16]) <= _LONGEST_MS:
            raise RequestError(f"expected whole milliseconds, 1 to {_LONGEST_MS}", where=HEADER.decode())
        deadline = _earlier(deadline, request.arrived_ns + int(told) * 1_000_000)
    if parameters:
        timeout_us = _whole(parameters, "timeout")
        if timeout_us:  # 0 is Triton's way not to say
            deadline = _earlier(deadline, request.arrived_ns + min(timeout_us, _LONGEST_MS * 1000) * 1000)
    return deadline


def lane_of(parameters: Mapping[str, Any]) -> int:
    """Return the lane of the request's priority."""
    priority = _whole(parameters, "priority")
    return _LANES[priority] if priority < len(_LANES) else LOW


def _earlier(one: int | None, other: int) -> int:
    return other if one is None else min(one, other)


def _whole(parameters: Mapping[str, Any], name: str) -> int:
    """Return a parameter that is a whole number, also where a client sends it as text; 0 if it is absent."""
    value = parameters.get(name, 0)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise RequestError("expected a whole number, 0 or more", where=f"parameters.{name}")
    return value
