"""The one way in for other platforms' requests: a body is read to a table, the table is a call like any other.

body ──read──▶ Table(rows, key, parameters) ──▶ reader ──▶ Call ──▶ Scoring ──▶ answer(call, table)

The prediction of a request's only row is named by the request, ``X-Amzn-SageMaker-Inference-Id``, else by a fresh
ULID; of several rows row i is NAME-i. The answer's header ``x-kaizen-prediction-id`` says NAME, for these
platforms' bodies have no room for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from kaizen.core.clock import Clock
from kaizen.core.errors import RequestError
from kaizen.core.ids import ulid
from kaizen.serve.aside import Aside
from kaizen.serve.calls import Call
from kaizen.serve.deadline import deadline_of
from kaizen.serve.generation import Generation, LiveArm
from kaizen.serve.message import JSON, Request
from kaizen.serve.reader import Inputs, Reader
from kaizen.serve.rows import RowDecoder, Serving, chunks
from kaizen.serve.scoring import Scoring

INFERENCE_ID: Final = b"x-amzn-sagemaker-inference-id"
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST: Final = 64


class Table(NamedTuple):
    """What a body asks for.

    Attributes
    ----------
    rows
        In the wire form, not yet checked.
    key
        Where they stood in the body.
    parameters
        What was said beside them: `unit` and `at` count, others do not.
    """

    rows: list[Any]
    key: str
    parameters: dict[str, Any]


Read: TypeAlias = "Callable[[bytes, Reader], Table]"
Answer: TypeAlias = "Callable[[Call, Table], None]"


class Intake:
    """Takes tables.

    Parameters
    ----------
    serving
        Gives the generation that answers for a model, None: for the only one, and its decoder.
    scoring
        Where calls go.
    aside
        Reads large bodies.
    clock
        Dates the ids of predictions.
    """

    def __init__(self, serving: Serving, scoring: Scoring, aside: Aside, clock: Clock) -> None:
        self._serving = serving
        self._scoring = scoring
        self._aside = aside
        self._clock = clock

    def take(
        self,
        request: Request,
        model: str | None,
        read: Read,
        answer: Answer,
        pinned: Callable[[Generation], LiveArm | None] = lambda _: None,
    ) -> None:
        """Score the rows of a request and answer it; a `pinned` arm answers all of them."""
        generation, decoder = self._serving(model)
        arm = pinned(generation)
        self._scoring.shed(request, generation, deadline_of(request))
        self._aside.run(
            request,
            lambda: self._call(request, generation, decoder, read, answer),
            lambda made: self._scoring.submit(*made, arm),
        )

    def _call(
        self, request: Request, generation: Generation, decoder: RowDecoder, read: Read, answer: Answer
    ) -> tuple[Call, list[Inputs]]:
        table = read(request.body, generation.reader)
        try:
            inputs = chunks(generation.reader.read_carefully(table.rows))
            decoder.admit(inputs)
        except RequestError as err:
            where = err.where.replace("rows", table.key, 1) if err.where.startswith("rows[") else err.where
            raise RequestError(err.what, status=err.status, where=where, fix=err.fix) from err
        parameters = table.parameters
        call = Call(
            request,
            generation,
            len(table.rows),
            finish=lambda done: answer(done, table),
            ids=self._ids(request, len(table.rows)),
            units=decoder.units(_unit(parameters.get("unit")), inputs),
            at=decoder.moments(parameters.get("at"), inputs),
            request_id=request.head.request_id.decode("latin-1") or None,
            deadline_ns=deadline_of(request),
        )
        return call, inputs

    def _ids(self, request: Request, rows: int) -> list[str]:
        longest = _LONGEST if rows == 1 else _LONGEST - 1 - len(str(rows - 1))
        told = request.head.headers.get(INFERENCE_ID, b"").decode("latin-1")
        name = told if _NAME.fullmatch(told) and len(told) <= longest else ulid(self._clock.now())
        return [name] if rows == 1 else [f"{name}-{row}" for row in range(rows)]


def reply(call: Call, body: bytes, content_type: bytes = JSON) -> None:
    """Send an answer, with the name of its predictions as a header."""
    ids = call.ids or [""]
    name = ids[0] if len(ids) == 1 else ids[0].removesuffix("-0")
    extra = b"x-kaizen-prediction-id: %b\r\n" % name.encode("ascii")
    call.request.reply(body, content_type=content_type, extra=extra)


def parameters_of(value: Any, where: str) -> dict[str, Any]:
    """Return what was said beside the rows; raise a 400 if it is no object."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RequestError("expected an object", where=where)
    return value


def _unit(value: Any) -> str | list[str | None] | None:
    many = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str | None) for each in many):
        raise RequestError("expected a text, or a list with one for each row", where="unit")
    unit: str | list[str | None] | None = value
    return unit
