"""What both clients share: the bodies of requests and answers, and when a call is tried again.

Every call may be repeated: the ids of predictions are made here, before the first attempt, and the server counts an
id that comes twice once.
"""

from __future__ import annotations

import json
import random
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from kaizen.core.errors import KaizenError, RequestError, UnreachableError

Value: TypeAlias = "float | int | str | bool | datetime | None"
Row: TypeAlias = Mapping[str, Value]

IDLE_S: Final = 60.0  # the server closes what is quiet for 75 s; an older connection is not used again
IDLE_CONNECTIONS: Final = 16
_AGAIN: Final = frozenset({429, 502, 503, 504})
_FIRST_PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """One prediction.

    Attributes
    ----------
    id
        What feedback names it by.
    value
        The probability of the positive class, or the value of a regression: `output` says which.
    output
        ``probability`` or ``value``.
    bundle, arm, revision
        What answered.
    """

    id: str
    value: float
    output: str
    bundle: str
    arm: str
    revision: int


class Target:
    """Where a client sends its requests.

    Parameters
    ----------
    url
        ``http://host:port``, or https, and a path before the server's own if a proxy adds one.
    headers
        Sent with every request.
    token
        Sent as the authorization, if there is one.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None, token: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise KaizenError(f"{url!r} is no address of a server", where="url", fix="such as http://127.0.0.1:8080")
        self.url = url
        self.secure = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.secure else 80)
        self.prefix = parts.path.rstrip("/")
        self._headers = {"content-type": "application/json", "user-agent": "kaizen-client", **(headers or {})}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        for name, value in self._headers.items():
            if not f"{name}{value}".isprintable() or not name.isascii() or ":" in name:
                raise KaizenError(f"the header {name!r} cannot be sent", where="headers", fix="use printable text")

    @property
    def headers(self) -> dict[str, str]:
        """What is sent with a request: with it goes the trace that it is part of, if the caller has one."""
        return {**_trace(), **self._headers}

    @property
    def authority(self) -> str:
        """The value of the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def _trace() -> dict[str, str]:
    """Return the headers of the span that is active; none where OpenTelemetry is not in use."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return {}
    context = api.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    headers = {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"}
    state = context.trace_state.to_header()
    return {**headers, "tracestate": state} if state else headers


class Attempts:
    """How often one call is made, and within what time.

    Parameters
    ----------
    target
        For messages.
    timeout_s
        For the whole call, pauses included.
    retries
        How often it is tried again after a first failure.
    """

    def __init__(self, target: Target, timeout_s: float, retries: int) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._left = retries
        self._pause_s = _FIRST_PAUSE_S

    def remaining_s(self) -> float:
        """Return the time that is left; raise `UnreachableError` if there is none."""
        remaining_s = self._deadline - time.monotonic()
        if remaining_s <= 0:
            raise self.too_slow()
        return remaining_s

    def too_slow(self) -> UnreachableError:
        """Return the error of a call that took too long."""
        return UnreachableError(
            f"no answer within {self._timeout_s:g} s", where=self._target.url, fix="ask again, or raise timeout_s"
        )

    def pause_s(self, failure: KaizenError, after: str | None = None) -> float:
        """Return how long to wait before the next attempt; raise the failure if there is to be none."""
        pause_s = self._pause_s * random.uniform(0.5, 1.0)
        if after is not None and after.isdigit():
            pause_s = max(pause_s, float(after))
        if self._left <= 0 or pause_s >= self._deadline - time.monotonic():
            raise failure
        self._left -= 1
        self._pause_s *= 2
        return pause_s

    def unreachable(self, err: Exception) -> UnreachableError:
        """Return the error of a connection that failed."""
        what = f"the server cannot be reached: {str(err) or type(err).__name__}"
        return UnreachableError(what, where=self._target.url, fix="is it started? kaizen serve")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the server: its status, headers with names in lower case, and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed a moment later."""
        return self.status in _AGAIN

    @property
    def refusal(self) -> RequestError:
        """The error with the server's own words."""
        try:
            says = str(json.loads(self.body)["error"])
        except (ValueError, KeyError, TypeError):
            says = f"the server answered {self.status}: {self.body[:200].decode('utf-8', 'replace')}"
        return RequestError(says, status=self.status)


def prediction_body(
    rows: Sequence[Row],
    unit: str | Sequence[str | None] | None,
    ids: Sequence[str] | None,
    at: datetime | str | None,
) -> bytes:
    """Return the body of a prediction; ids that are not given are made."""
    asked: dict[str, Any] = {
        "rows": [dict(row) for row in rows],
        "ids": [uuid.uuid4().hex for _ in rows] if ids is None else list(ids),
    }
    if unit is not None:
        asked["unit"] = unit if isinstance(unit, str) else list(unit)
    if at is not None:
        asked["at"] = at
    return _encoded(asked)


def feedback_body(labels: Mapping[str, bool | float], at: datetime | str | None) -> bytes:
    """Return the body of labels."""
    known = {} if at is None else {"at": at}
    return _encoded({"labels": [{"id": identity, "value": value, **known} for identity, value in labels.items()]})


def answers(reply: Reply) -> list[Answer]:
    """Return the predictions of an answer; raise `RequestError` if it is none of ours."""
    try:
        said = json.loads(reply.body)
        return [_answer(each, said["revision"]) for each in said["predictions"]]
    except (ValueError, KeyError, TypeError, StopIteration) as err:
        raise _not_ours(reply) from err


def accepted(reply: Reply) -> int:
    """Return how many labels were taken."""
    try:
        return int(json.loads(reply.body)["accepted"])
    except (ValueError, KeyError, TypeError) as err:
        raise _not_ours(reply) from err


def _answer(said: Mapping[str, Any], revision: int) -> Answer:
    output = "probability" if "probability" in said else "value"
    return Answer(said["id"], float(said[output]), output, said["bundle"], said["arm"], revision)


def _not_ours(reply: Reply) -> RequestError:
    what = f"this is no answer of kaizen: {reply.body[:100].decode('utf-8', 'replace')}"
    return RequestError(what, status=reply.status, fix="check the address")


def _encoded(asked: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(asked, default=_plain, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as err:
        raise RequestError(f"this cannot be sent: {err}", where="rows", fix="send None for a missing value") from err


def _plain(value: Any) -> Any:
    """Return what JSON has for a value that it does not know: times, and scalars of numpy, which is not imported."""
    if isinstance(value, date):  # a datetime too
        return value.isoformat()
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r} is no value of a column")
