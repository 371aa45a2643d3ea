"""``/score``, as an Azure ML online endpoint asks: ids of requests, a mark on our own mistakes, and its forms of rows.

{"input_data": {"columns": […], "index": […], "data": [[…], …]}}      [0.3, …], as MLflow models answer there
{"input_data": [{"a": 1}, …]}, {"input_data": [[1, "x"], …]}          the same
{"data": […]}, and the four forms of ``/invocations``                 {"predictions": [0.3, …]}
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kaizen.core.errors import KaizenError, RequestError
from kaizen.serve import invocations
from kaizen.serve.calls import Call
from kaizen.serve.intake import Intake, Table, parameters_of, reply
from kaizen.serve.message import JSON, Request, sentence
from kaizen.serve.reader import Reader
from kaizen.serve.tabular import from_split, one_of, read_object, rows_of

FORMS: Final = ("input_data", "data", *invocations.FORMS)
_IDS: Final = (b"x-request-id", b"x-ms-client-request-id")
_LONGEST: Final = 100  # characters of an id


class Azure:
    """Answers ``/score``.

    Parameters
    ----------
    intake
        Takes the rows.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def score(self, request: Request) -> None:
        """POST /score."""
        for name in _IDS:
            if len(request.head.headers.get(name, b"")) > _LONGEST:
                raise RequestError(f"expected up to {_LONGEST} characters", status=431, where=name.decode())
        self._intake.take(request, None, read, _answer)

    def options(self, request: Request) -> None:
        """OPTIONS /score."""
        request.reply(b"", content_type=invocations.TEXT, extra=b"allow: OPTIONS, POST\r\n")


def read(body: bytes, reader: Reader) -> Table:
    """Return the table of a body."""
    told = read_object(body, FORMS)
    key = one_of(told, FORMS)
    parameters = parameters_of(told.get("params", told.get("parameters")), "params")
    return Table(_rows(told[key], key, reader), key, parameters)


def refusal(error: KaizenError, status: int) -> tuple[bytes, bytes, bytes]:
    """Write an error as Azure's inference server does; a mistake of ours is marked, so that it is not the caller's."""
    extra = b"x-ms-run-function-failed: true\r\n" if status == 500 else b""
    return msgspec.json.encode({"message": sentence(error)}), JSON, extra


def _rows(value: Any, key: str, reader: Reader) -> list[Any]:
    if key == "input_data" and isinstance(value, dict) and "data" in value:
        return from_split(value, reader, key)
    return rows_of(value, reader, key) if key in FORMS[:2] else invocations.table_rows(value, key, reader)


def _answer(call: Call, table: Table) -> None:
    outputs: Any = call.outputs
    reply(call, msgspec.json.encode(outputs if table.key == "input_data" else {"predictions": outputs}))
