"""Plain rows: ``POST /v1/predict``.

{"rows": [{column: value}, …],           required; every column of the signature, null where missing
 "unit": "u" | ["u1", null, …],          default: the declared unit column, else every row is its own unit
 "ids": ["…", …],                        prediction ids, one a row, for a retry that counts once; default: ULIDs
 "at": "2013-06-01T12:00:00Z",           event time of rows without one of their own; default: now
 "id": "…"}                              the caller's own request id; default: the header x-request-id

{"id": …, "endpoint": …, "revision": …,
 "predictions": [{"id": …, "probability" | "value": …, "bundle": …, "arm": "champion"}, …]}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from types import GenericAlias
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from kaizen.core.clock import Clock, to_us
from kaizen.core.errors import RequestError
from kaizen.graph.frame import MISSING_TIME
from kaizen.graph.rows import parse_time
from kaizen.serve.aside import LARGE_BYTES, Aside
from kaizen.serve.calls import Call
from kaizen.serve.deadline import deadline_of
from kaizen.serve.generation import Generation
from kaizen.serve.message import Handler, Request
from kaizen.serve.reader import Inputs, Reader, explained
from kaizen.serve.scoring import CHUNK, Scoring
from kaizen.serve.violations import Rowwatch

PredictionId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]

_ENCODE: Final = msgspec.json.Encoder().encode
_ERRORS: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    unit: str | list[str | None] | None = None
    ids: list[PredictionId] | None = None
    at: str | int | float | None = None
    id: str | None = None


class _AnyRows(_Envelope, forbid_unknown_fields=True, kw_only=True):
    rows: list[Any]


class _RawRows(_Envelope, forbid_unknown_fields=True, kw_only=True):
    rows: list[msgspec.Raw]


class RowDecoder:
    """Decodes the bodies of one generation; compiled when the generation is prepared.

    Parameters
    ----------
    reader
        The signature.
    time, unit
        The columns that hold a row's event time and its unit, where they are inputs.
    clock
        Tells the time of rows that do not have one.
    gate
        Refuses rows that break a declared rule; None: they are answered.
    """

    def __init__(
        self, reader: Reader, time: str | None, unit: str | None, clock: Clock, gate: Rowwatch | None = None
    ) -> None:
        self._gate = gate
        self._reader = reader
        self._clock = clock
        self._fast = _typed(reader.row_type)
        self._any = msgspec.json.Decoder(_AnyRows)
        self._raw = msgspec.json.Decoder(_RawRows)
        self._row: msgspec.json.Decoder[Any] = msgspec.json.Decoder(reader.row_type or dict)
        self._time = next((i for i, column in enumerate(reader.times) if column.name == time), None)
        self._unit = _unit_reader(reader, unit)

    def decode(self, body: bytes) -> tuple[_Envelope, list[Inputs]]:
        """Return what is asked and the rows, in chunks; raise `RequestError` with the path of what is wrong."""
        if self._fast is None:
            return self._decode_carefully(body)
        try:
            asked = self._fast.decode(body)
            rows = asked.rows
            if 0 < len(rows) <= CHUNK:
                return asked, [self._reader.read(rows)]
            return asked, [self._reader.read(rows[i : i + CHUNK]) for i in range(0, len(rows), CHUNK)]
        except _ERRORS:
            return self._decode_carefully(body)

    def decode_large(self, body: bytes) -> tuple[_Envelope, list[Inputs]]:
        """Do the same row by row: one call for a large body would hold the interpreter for its whole length."""
        if self._fast is None:
            return self._decode_carefully(body)
        try:
            asked = self._raw.decode(body)
            chunks = [asked.rows[i : i + CHUNK] for i in range(0, len(asked.rows), CHUNK)]
            return asked, [self._reader.read([self._row.decode(row) for row in chunk]) for chunk in chunks]
        except _ERRORS:
            return self._decode_carefully(body)

    def _decode_carefully(self, body: bytes) -> tuple[_Envelope, list[Inputs]]:
        try:
            asked = self._any.decode(body)
        except _ERRORS as err:
            raise explained(err, _AnyRows.__struct_fields__) from err
        every = self._reader.read_carefully(asked.rows)
        return asked, chunks(every)

    def admit(self, inputs: Sequence[Inputs]) -> None:
        """Raise a 422 if one of these rows is refused for breaking a declared rule."""
        if self._gate is not None:
            self._gate.refuse(inputs)

    def moments(self, at: str | float | None, inputs: Sequence[Inputs]) -> list[int] | None:
        """Return the event time of each row; None: all are now."""
        if at is None and self._time is None:
            return None
        common = MISSING_TIME
        if at is not None:
            try:
                common = parse_time(at)
            except (ValueError, OverflowError) as err:
                what = "expected an ISO 8601 time or microseconds since 1970"
                raise RequestError(what, where="at") from err
        if self._time is None:
            return [common] * sum(chunk.rows for chunk in inputs)
        own: list[int] = []
        for chunk in inputs:
            if chunk.feeds is None:
                own += chunk.times[self._time :: len(self._reader.times)]
            else:
                own += chunk.feeds["times"][:, self._time].tolist()
        if MISSING_TIME not in own:
            return own
        other = to_us(self._clock.now()) if common == MISSING_TIME else common
        return [other if moment == MISSING_TIME else moment for moment in own]

    def units(self, unit: str | list[str | None] | None, inputs: Sequence[Inputs]) -> list[str | None] | None:
        """Return the unit of each row, None for a row that is its own; None: they all are."""
        if unit is None and self._unit is None:
            return None
        rows = sum([chunk.rows for chunk in inputs])
        if isinstance(unit, str):
            return [unit or None] * rows
        if unit is not None:
            if len(unit) != rows:
                raise RequestError(f"expected {rows} units, one a row, got {len(unit)}", where="unit")
            return [own or None for own in unit]
        assert self._unit is not None
        return [own for chunk in inputs for own in self._unit(chunk)]


Serving: TypeAlias = "Callable[[str | None], tuple[Generation, RowDecoder]]"


class Predict:
    """Answers plain rows.

    Parameters
    ----------
    serving
        Gives the generation that answers for a model, None: for the only one, and its decoder.
    scoring
        Where calls go.
    aside
        Reads large bodies.
    """

    def __init__(self, serving: Serving, scoring: Scoring, aside: Aside) -> None:
        self._serving = serving
        self._scoring = scoring
        self._aside = aside

    def handle(self, request: Request) -> None:
        """POST /v1/predict; the answer follows its batch."""
        self._take(request, *self._serving(None))

    def of(self, model: str) -> Handler:
        """POST /v1/predict/{model}."""
        return lambda request: self._take(request, *self._serving(model))

    def _take(self, request: Request, generation: Generation, decoder: RowDecoder) -> None:
        deadline_ns = deadline_of(request)
        self._scoring.shed(request, generation, deadline_ns)
        if len(request.body) <= LARGE_BYTES:
            asked, inputs = decoder.decode(request.body)
            decoder.admit(inputs)
            self._submit(request, generation, decoder, deadline_ns, asked, inputs)
            return
        self._aside.run(
            request,
            lambda: _admitted(decoder, *decoder.decode_large(request.body)),
            lambda decoded: self._submit(request, generation, decoder, deadline_ns, *decoded),
        )

    def _submit(
        self,
        request: Request,
        generation: Generation,
        decoder: RowDecoder,
        deadline_ns: int | None,
        asked: _Envelope,
        inputs: list[Inputs],
    ) -> None:
        rows = inputs[0].rows if len(inputs) == 1 else sum([chunk.rows for chunk in inputs])
        if not rows:
            raise RequestError("expected at least one row", where="rows")
        if asked.ids is not None:
            _check_ids(asked.ids, rows)
        call = Call(
            request,
            generation,
            rows,
            finish=_answer,
            ids=asked.ids,
            units=decoder.units(asked.unit, inputs),
            at=decoder.moments(asked.at, inputs),
            request_id=asked.id or (request.head.request_id.decode("latin-1") if request.head.request_id else None),
            deadline_ns=deadline_ns,
        )
        self._scoring.submit(call, inputs)


def _admitted(decoder: RowDecoder, asked: _Envelope, inputs: list[Inputs]) -> tuple[_Envelope, list[Inputs]]:
    decoder.admit(inputs)
    return asked, inputs


def _typed(row_type: type[msgspec.Struct] | None) -> msgspec.json.Decoder[Any] | None:
    if row_type is None:
        return None
    rows = [("rows", GenericAlias(list, row_type))]
    return msgspec.json.Decoder(
        msgspec.defstruct("Typed", rows, bases=(_Envelope,), kw_only=True, forbid_unknown_fields=True)
    )


def _answer(call: Call) -> None:
    ids = call.ids or []
    generation = call.generation
    output = generation.output
    arms = call.arms
    own = f'"{ids[0]}"' if call.request_id is None else _ENCODE(call.request_id).decode()
    texts = _ENCODE(call.outputs)[1:-1].decode()  # at a sixth of the cost of `repr`
    if call.rows == 1:
        arm = generation.arms[0] if arms is None else arms[0]
        answer = f'{{"id":"{ids[0]}","{output}":{texts}{arm.tail}'
    else:
        every = zip(ids, texts.split(","), arms or repeat(generation.arms[0], call.rows), strict=True)
        answer = ",".join([f'{{"id":"{i}","{output}":{text}{arm.tail}' for i, text, arm in every])
    call.request.reply(f'{{"id":{own},{generation.says},"predictions":[{answer}]}}'.encode())


def _check_ids(ids: list[str], rows: int) -> None:
    if len(ids) != rows:
        raise RequestError(f"expected {rows} prediction ids, one a row, got {len(ids)}", where="ids")
    if len(set(ids)) != rows:
        raise RequestError("a prediction id occurs twice", where="ids")


def chunks(every: Inputs) -> list[Inputs]:
    """Return rows in chunks of at most `CHUNK`."""
    if every.rows <= CHUNK or every.feeds is None:
        return [every] if every.rows else []
    feeds = every.feeds
    starts = range(0, every.rows, CHUNK)
    parts = [{group: tensor[i : i + CHUNK] for group, tensor in feeds.items()} for i in starts]
    return [Inputs(min(CHUNK, every.rows - i), part) for i, part in zip(starts, parts, strict=True)]


def _unit_reader(reader: Reader, unit: str | None) -> Callable[[Inputs], list[str | None]] | None:
    """Return what reads the units of rows from their own column, or None if that is no input."""
    for group, columns in (("strings", reader.strings), ("numbers", reader.numbers)):
        names = [column.name for column in columns]
        if unit in names:
            return partial(_own_units, group=group, place=names.index(unit), width=len(names))
    return None


def _own_units(inputs: Inputs, *, group: str, place: int, width: int) -> list[str | None]:
    if inputs.feeds is not None:
        values = inputs.feeds[group][:, place].tolist()
    else:
        values = getattr(inputs, group)[place::width]
    return [_unit_text(value) for value in values]


def _unit_text(value: str | float | None) -> str | None:
    if isinstance(value, str):
        return value or None
    if value is None or value != value:  # NaN
        return None
    return str(int(value)) if value == int(value) else repr(float(value))
