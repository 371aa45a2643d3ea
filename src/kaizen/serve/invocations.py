"""``POST /invocations``, as MLflow's clients and as SageMaker ask, and the routes for health beside it.

| body              | content type                          | form                                       |
|-------------------|---------------------------------------|--------------------------------------------|
| MLflow's JSON     | application/json, or none             | one of `FORMS`, and "params"               |
| CSV               | text/csv[; header=present or absent]  | a line a row                               |
| numbers           | application/x-npy                     | (rows, columns), in the signature's order  |

The answer is ``{"predictions": […]}``, or CSV or .npy where ``Accept`` asks for it. Errors are MLflow's,
``{"error_code": …, "message": …}``, without a trace; of a content type that is not taken, a plain text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from kaizen.core.errors import KaizenError, RequestError
from kaizen.serve.calls import Call
from kaizen.serve.intake import Intake, Table, parameters_of, reply
from kaizen.serve.message import JSON, Handler, Request, sentence
from kaizen.serve.models import Models
from kaizen.serve.reader import Reader
from kaizen.serve.tabular import from_csv, from_npy, from_split, one_of, read_object, rows_of, to_npy

FORMS: Final = ("dataframe_split", "dataframe_records", "instances", "inputs")
CSV: Final = b"text/csv"
NPY: Final = b"application/x-npy"
TEXT: Final = b"text/plain; charset=utf-8"
_TYPES: Final = (JSON, CSV, NPY)
_PARQUET: Final = (b"application/vnd.apache.parquet", b"application/x-parquet")
_CODES: Final[Mapping[int, str]] = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Invocations:
    """Answers the routes that MLflow's scoring server and a SageMaker container share.

    Parameters
    ----------
    version
        Of this server.
    models
        The endpoints.
    intake
        Takes the rows.
    is_multi_model
        Whether models come by request: `/ping` then says that the process lives.
    """

    def __init__(self, version: str, models: Models, intake: Intake, *, is_multi_model: bool) -> None:
        self._version = version
        self._models = models
        self._intake = intake
        self._is_multi_model = is_multi_model

    def ping(self, request: Request) -> None:
        """GET /ping, /health: 200 if every model serves, else 404."""
        is_ready = self._is_multi_model or all(hosted.generation is not None for hosted in self._models.settled())
        request.reply(b"\n", status=200 if is_ready else 404, content_type=TEXT)

    def version(self, request: Request) -> None:
        """GET /version."""
        request.reply(self._version.encode(), content_type=TEXT)

    def of(self, model: str | None = None) -> Handler:
        """POST /invocations, /models/{model}/invoke."""

        def handle(request: Request) -> None:
            read = reader_of(request.head.headers.get(b"content-type", b""))
            self._intake.take(request, model, read, _answer)

        return handle


def reader_of(content_type: bytes) -> Callable[[bytes, Reader], Table]:
    """Return what reads a body of this content type; raise a 415 if nothing does."""
    kind, *given = [part.strip() for part in content_type.lower().split(b";")]
    parameters = {name: value.strip(b'"') for name, _, value in (part.partition(b"=") for part in given) if name}
    if parameters.pop(b"charset", b"utf-8") not in (b"utf-8", b"utf8"):
        raise RequestError("only UTF-8 is read", status=415, where="Content-Type")
    header = parameters.pop(b"header", None) if kind == CSV else None
    if parameters or header not in (None, b"present", b"absent"):
        raise RequestError("the content type has parameters other than charset", status=415, where="Content-Type")
    if kind in (b"", JSON):
        return from_json
    if kind == NPY:
        return lambda body, reader: Table(from_npy(body, reader), "rows", {})
    if kind == CSV:
        told = None if header is None else header == b"present"
        return lambda body, reader: Table(from_csv(body, reader, header=told), "rows", {})
    known = ", ".join(each.decode() for each in _TYPES)
    if kind in _PARQUET:
        raise RequestError("Parquet is not read here", status=415, where="Content-Type", fix=f"send {known}")
    raise RequestError("this content type is not read", status=415, where="Content-Type", fix=f"send {known}")


def from_json(body: bytes, reader: Reader) -> Table:
    """Return the table of a JSON body in one of MLflow's four forms."""
    told = read_object(body, FORMS)
    key = one_of(told, FORMS)
    if "signature_name" in told:
        raise RequestError("a signature cannot be chosen here", where="signature_name")
    return Table(table_rows(told[key], key, reader), *_where(key, told.get("params")))


def table_rows(value: Any, key: str, reader: Reader) -> list[Any]:
    """Return the rows of one of the four forms."""
    if key == "dataframe_split":
        return from_split(value, reader, key)
    if key == "dataframe_records" and not isinstance(value, list):
        raise RequestError("expected a list of records", where=key)
    return rows_of(value, reader, key)


def refusal(error: KaizenError, status: int) -> tuple[bytes, bytes, bytes]:
    """Write an error as MLflow's scoring server does, without its trace."""
    if status == 415:
        return sentence(error).encode(), TEXT, b""
    code = _CODES.get(status, "BAD_REQUEST")
    return msgspec.json.encode({"error_code": code, "message": sentence(error)}), JSON, b""


def _where(key: str, params: Any) -> tuple[str, dict[str, Any]]:
    return f"{key}.data" if key == "dataframe_split" else key, parameters_of(params, "params")


def _answer(call: Call, _: Table) -> None:
    wanted = _accepted(call.request.head.headers.get(b"accept", b""))
    if wanted is CSV:
        reply(call, "".join([f"{value!r}\n" for value in call.outputs]).encode(), CSV)
    elif wanted is NPY:
        reply(call, to_npy(call.outputs), NPY)
    else:
        reply(call, msgspec.json.encode({"predictions": call.outputs}))


def _accepted(accept: bytes) -> bytes:
    """Return the first type of these that an answer may have; JSON if none is asked for."""
    for part in accept.lower().split(b","):
        kind = part.partition(b";")[0].strip()
        for known in _TYPES:
            if kind == known:
                return known
    return JSON
