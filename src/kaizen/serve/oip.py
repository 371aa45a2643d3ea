"""The Open Inference Protocol v2 over REST, with the binary tensor extension.

An endpoint is a model; the versions of the model are the versions of the bundles that answer. One tensor is one
raw column, by its name (see `tensors.py` for datatypes and missing values), or all columns side by side where the
model has one matrix; two come back: the answers, FP64, and the ids of the predictions, BYTES, by which feedback names
them. What other servers add to the protocol is in `oip_extensions.py` and `repository.py`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from kaizen.core.errors import RequestError, nearest
from kaizen.graph.frame import feeds
from kaizen.graph.rows import GROUP
from kaizen.serve.aside import Aside
from kaizen.serve.calls import Call
from kaizen.serve.deadline import deadline_of, lane_of
from kaizen.serve.generation import Generation, LiveArm
from kaizen.serve.message import Handler, Request
from kaizen.serve.models import Models
from kaizen.serve.reader import Inputs, explained
from kaizen.serve.rows import RowDecoder, chunks
from kaizen.serve.scoring import Scoring
from kaizen.serve.tensors import DATATYPES, Tensor, column_of, matrix_of, output

EXTENSIONS: Final = [
    "binary_tensor_data", "model_repository", "schedule_policy", "statistics", "model_configuration",
]  # fmt: skip
PREDICTION_ID: Final = "prediction_id"
_SAYS_WHEN: Final = re.compile(rb"\"(?:priority|timeout)")  # its parameters have to be read first
_LENGTH: Final = b"inference-header-content-length"
_SEQUENCE: Final = ("sequence_id", "sequence_start", "sequence_end")
_MEMORY: Final = "shared_memory_region"


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
        asked, binary = self._read(request, generation)
        wanted = outputs_of(asked, generation.output)
        data = _cut(asked.inputs, binary)
        return call_of(request, generation, decoder, asked, data, lambda done: _answer(done, asked.id, wanted))

    def _read(self, request: Request, generation: Generation) -> tuple[Infer, memoryview]:
        body = request.body
        told = request.head.headers.get(_LENGTH)
        end = len(body)
        if told == b"0":
            return _bare(generation, body)
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
    columns = generation.reader.columns
    if generation.matrix is None:
        inputs = [{"name": c.name, "datatype": DATATYPES[c.type], "shape": [-1]} for c in columns]
    else:
        name, datatype = generation.matrix
        inputs = [{"name": name, "datatype": datatype, "shape": [-1, len(columns)]}]
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
    _refuse(asked.parameters)
    inputs = _inputs(generation, asked.inputs, data)
    decoder.admit(inputs)
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


def _refuse(parameters: Mapping[str, Any]) -> None:
    for name in _SEQUENCE:
        if parameters.get(name):
            what = "nothing is kept from one request to the next, so there are no sequences"
            raise RequestError(what, where=f"parameters.{name}")


def _bare(generation: Generation, body: bytes) -> tuple[Infer, memoryview]:
    """Return what a body asks that is the data of the model's one input, for one row, and nothing else."""
    columns = generation.reader.columns
    if generation.matrix is not None:
        (name, datatype), shape = generation.matrix, [1, len(columns)]
    elif len(columns) == 1:
        name, datatype, shape = columns[0].name, DATATYPES[columns[0].type], [1]
    else:
        what = f"a body of data alone is for a model of one input; this one has {len(columns)}"
        raise RequestError(what, where="Inference-Header-Content-Length", fix="send the JSON part before the data")
    if datatype == "BYTES" and shape == [1]:
        body = struct.pack("<I", len(body)) + body
    tensor = Tensor(name, datatype, shape, parameters={"binary_data_size": len(body)})
    return Infer([tensor], parameters={"binary_data_output": True}), memoryview(body)


def _cut(tensors: Sequence[Tensor], binary: memoryview) -> list[memoryview | None]:
    """Return the part of the body's binary data that is each tensor's, None for one whose data is JSON."""
    parts: list[memoryview | None] = []
    place = 0
    for tensor in tensors:
        if _MEMORY in tensor.parameters:
            raise _no_memory(f"inputs[{tensor.name[:64]}]")
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
    if generation.matrix is not None and generation.matrix[0] in [tensor.name for tensor in tensors]:
        ordered = generation.reader.columns
        if len(tensors) > 1:
            raise RequestError(f"{generation.matrix[0]!r} holds all columns, so it comes alone", where="inputs")
        return chunks(Inputs(rows, {GROUP[ordered[0].type]: matrix_of(tensors[0], ordered, rows, data[0])}))
    frame: dict[str, Any] = {}
    for tensor, binary in zip(tensors, data, strict=True):
        if tensor.name not in columns:
            known = [*columns, *(generation.matrix or ())[:1]]
            raise RequestError(f"unknown input {tensor.name[:64]!r}", where="inputs", fix=nearest(tensor.name, known))
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
        if _MEMORY in wanted.parameters:
            raise _no_memory(f"outputs[{wanted.name}]")
        if wanted.parameters.get("classification"):
            what = "classes are not ranked: the answer is one number a row"
            raise RequestError(what, where=f"outputs[{wanted.name}].classification")
    return [(wanted.name, wanted.parameters.get("binary_data", default) is True) for wanted in asked.outputs]


def _no_memory(where: str) -> RequestError:
    return RequestError("there is no shared memory", where=where, fix="send the data in the request")


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
