"""The Open Inference Protocol v2 over REST, with the binary tensor extension.

An endpoint is a model; the versions of the model are the versions of the bundles that answer. One tensor is one
raw column, by its name (see `tensors.py` for datatypes and missing values), and two come back: the answers, FP64,
and the ids of the predictions, BYTES, by which feedback names them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from kaizen.core.errors import RequestError, nearest
from kaizen.graph.frame import feeds
from kaizen.serve.aside import Aside
from kaizen.serve.calls import Call
from kaizen.serve.deadline import deadline_of, lane_of
from kaizen.serve.generation import Generation, LiveArm
from kaizen.serve.message import Handler, Request
from kaizen.serve.models import Models
from kaizen.serve.reader import Inputs, explained
from kaizen.serve.rows import RowDecoder, chunks
from kaizen.serve.scoring import Scoring
from kaizen.serve.tensors import DATATYPES, Tensor, column_of, output

EXTENSIONS: Final = ["binary_tensor_data"]
PREDICTION_ID: Final = "prediction_id"
_SAYS_WHEN: Final = re.compile(rb"\"(?:priority|timeout)")  # its parameters have to be read first
_LENGTH: Final = b"inference-header-content-length"


class Wanted(msgspec.Struct):
    """An output as a request asks for it."""

    name: str
    parameters: dict[str, Any] = {}


class Infer(msgspec.Struct):
    """A request for an inference, as both transports have it."""

    inputs: list[Tensor]
    id: str | None = None
    outputs: list[Wanted] | None = None
    parameters: dict[str, Any] = {}


class OpenInference:
    """Answers the routes below ``/v2``.

    Parameters
    ----------
    version
        Of this server.
    models
        The endpoints.
    scoring
        Where calls go.
    aside
        Reads large bodies.
    """

    def __init__(self, version: str, models: Models, scoring: Scoring, aside: Aside) -> None:
        self._version = version
        self._models = models
        self._scoring = scoring
        self._aside = aside
        self._decoder = msgspec.json.Decoder(Infer)

    def server(self, request: Request) -> None:
        """GET /v2."""
        _send(request, {"name": "kaizen", "version": self._version, "extensions": EXTENSIONS})

    def live(self, request: Request) -> None:
        """GET /v2/health/live."""
        _send(request, {"live": True})

    def ready(self, request: Request) -> None:
        """GET /v2/health/ready."""
        for hosted in self._models.settled():
            hosted.current()
        _send(request, {"ready": True, "live": True})

    def models(self, request: Request) -> None:
        """GET /v2/models."""
        _send(request, {"models": [hosted.name for hosted in self._models]})

    def model(self, model: str, version: str | None = None) -> Handler:
        """GET /v2/models/{model}[/versions/{version}]."""

        def handle(request: Request) -> None:
            generation, _ = self._models.serving(model)
            pinned(generation, version)
            _send(request, metadata(generation))

        return handle

    def model_ready(self, model: str, version: str | None = None) -> Handler:
        """GET /v2/models/{model}[/versions/{version}]/ready."""

        def handle(request: Request) -> None:
            generation, _ = self._models.serving(model)
            pinned(generation, version)
            _send(request, {"name": model, "ready": True})

        return handle

    def infer(self, model: str, version: str | None = None) -> Handler:
        """POST /v2/models/{model}[/versions/{version}]/infer."""

        def handle(request: Request) -> None:
            generation, decoder = self._models.serving(model)
            arm = pinned(generation, version)
            if not _SAYS_WHEN.search(request.body, 0, 1 << 16):
                self._scoring.shed(request, generation, deadline_of(request))
            self._aside.run(
                request,
                lambda: self._decode(request, generation, decoder),
                lambda decoded: self._scoring.submit(*decoded, arm),
            )

        return handle

    def _decode(self, request: Request, generation: Generation, decoder: RowDecoder) -> tuple[Call, list[Inputs]]:
        asked, binary = self._read(request)
        wanted = outputs_of(asked, generation.output)
        data = _cut(asked.inputs, binary)
        return call_of(request, generation, decoder, asked, data, lambda done: _answer(done, asked.id, wanted))

    def _read(self, request: Request) -> tuple[Infer, memoryview]:
        body = request.body
        told = request.head.headers.get(_LENGTH)
        end = len(body)
        if told is not None:
            if not told.isdigit() or int(told) > end:
                raise RequestError(f"expected a length up to {end}", where="Inference-Header-Content-Length")
            end = int(told)
        try:
            return self._decoder.decode(body[:end]), memoryview(body)[end:]
        except (msgspec.MsgspecError, ValueError, RecursionError) as err:
            raise explained(err) from err


def pinned(generation: Generation, version: str | None) -> LiveArm | None:
    """Return the arm with this version, None if the router is to choose; raise a 404 naming what exists."""
    return None if version is None else generation.of_version(version)


def metadata(generation: Generation) -> dict[str, Any]:
    """Return what the protocol tells of a model."""
    inputs = [{"name": c.name, "datatype": DATATYPES[c.type], "shape": [-1]} for c in generation.reader.columns]
    outputs = [
        {"name": generation.output, "datatype": "FP64", "shape": [-1]},
        {"name": PREDICTION_ID, "datatype": "BYTES", "shape": [-1]},
    ]
    return {
        "name": generation.endpoint.name,
        "versions": [str(arm.bundle.version) for arm in generation.arms],
        "platform": "onnxruntime_onnx",
        "inputs": inputs,
        "outputs": outputs,
        "properties": {"revision": str(generation.endpoint.revision)} | generation.bundles(),
    }


def call_of(
    request: Request,
    generation: Generation,
    decoder: RowDecoder,
    asked: Infer,
    data: Sequence[memoryview | None],
    finish: Callable[[Call], None],
) -> tuple[Call, list[Inputs]]:
    """Return the call that a request makes and its rows, in chunks; `data` is the binary form of each input, or None.

    Raises
    ------
    RequestError
        The request is not what the signature says.
    """
    inputs = _inputs(generation, asked.inputs, data)
    unit, at = asked.parameters.get("unit"), asked.parameters.get("at")
    if not isinstance(unit, str | None) or not isinstance(at, str | int | None):
        raise RequestError("expected a text 'unit' and a time 'at'", where="parameters")
    call = Call(
        request,
        generation,
        sum(chunk.rows for chunk in inputs),
        finish=finish,
        units=decoder.units(unit, inputs),
        at=decoder.moments(at, inputs),
        request_id=asked.id or request.head.request_id.decode("latin-1") or None,
        deadline_ns=deadline_of(request, asked.parameters),
        lane=lane_of(asked.parameters),
    )
    return call, inputs


def _cut(tensors: Sequence[Tensor], binary: memoryview) -> list[memoryview | None]:
    """Return the part of the body's binary data that is each tensor's, None for one whose data is JSON."""
    parts: list[memoryview | None] = []
    place = 0
    for tensor in tensors:
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            parts.append(None)
            continue
        if not isinstance(size, int) or not 0 <= size <= len(binary) - place:
            where = f"inputs[{tensor.name[:64]}].binary_data_size"
            raise RequestError("expected a size within the body", where=where)
        parts.append(binary[place : place + size])
        place += size
    return parts


def _inputs(generation: Generation, tensors: Sequence[Tensor], data: Sequence[memoryview | None]) -> list[Inputs]:
    columns = {column.name: column for column in generation.reader.columns}
    required = [column.name for column in generation.reader.columns[: generation.reader.required]]
    rows = tensors[0].shape[0] if tensors and tensors[0].shape else 0
    if not 0 < rows <= 16_777_216:
        raise RequestError("expected at least one row", where="inputs")
    frame: dict[str, Any] = {}
    for tensor, binary in zip(tensors, data, strict=True):
        if tensor.name not in columns:
            raise RequestError(f"unknown input {tensor.name[:64]!r}", where="inputs", fix=nearest(tensor.name, columns))
        if tensor.name in frame:
            raise RequestError(f"input {tensor.name!r} occurs twice", where="inputs")
        frame[tensor.name] = column_of(tensor, columns[tensor.name], rows, binary)
    absent = [name for name in required if name not in frame]
    if absent:
        raise RequestError(f"input {', '.join(map(repr, absent))} is not there", where="inputs")
    return chunks(Inputs(rows, feeds(generation.reader.columns, generation.reader.filled(frame, rows))))


def outputs_of(asked: Infer, name: str) -> list[tuple[str, bool]]:
    """Return the outputs to send, and whether each is to be binary."""
    default = asked.parameters.get("binary_data_output") is True
    if not asked.outputs:
        return [(name, default), (PREDICTION_ID, default)]
    for wanted in asked.outputs:
        if wanted.name not in (name, PREDICTION_ID):
            fix = f"known: {name}, {PREDICTION_ID}"
            raise RequestError(f"unknown output {wanted.name[:64]!r}", where="outputs", fix=fix)
    return [(wanted.name, wanted.parameters.get("binary_data", default) is True) for wanted in asked.outputs]


def answer_of(call: Call, own_id: str | None) -> dict[str, Any]:
    """Return what is told with the outputs: model, version, id, and as parameters what answered."""
    generation = call.generation
    arms = set(call.arms or generation.arms[:1])
    arm = next(iter(arms))
    parameters: dict[str, Any] = {"revision": generation.endpoint.revision}
    if len(arms) == 1:
        parameters |= {"bundle": arm.bundle.id, "arm": arm.arm.role}
    return {
        "model_name": generation.endpoint.name,
        "model_version": str(arm.bundle.version) if len(arms) == 1 else "",
        "id": own_id or call.request_id or (call.ids or [""])[0],
        "parameters": parameters,
    }


def values_of(call: Call, name: str) -> tuple[str, list[Any]]:
    """Return the datatype and the values of an output by its name."""
    return ("BYTES", call.ids or []) if name == PREDICTION_ID else ("FP64", call.outputs)


def _answer(call: Call, own_id: str | None, wanted: list[tuple[str, bool]]) -> None:
    sent = [output(name, *values_of(call, name), binary=binary) for name, binary in wanted]
    body = msgspec.json.encode(answer_of(call, own_id) | {"outputs": [tensor for tensor, _ in sent]})
    data = b"".join(data for _, data in sent)
    if not any(binary for _, binary in wanted):
        call.request.reply(body)
        return
    length = b"Inference-Header-Content-Length: %d\r\n" % len(body)
    call.request.reply(body + data, content_type=b"application/octet-stream", extra=length)


def _send(request: Request, body: dict[str, Any]) -> None:
    request.reply(msgspec.json.encode(body))
