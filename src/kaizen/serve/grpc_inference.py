"""An inference over gRPC: from its message to what is asked, and from what was answered to its message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError

from kaizen.core.errors import RequestError
from kaizen.serve.calls import Call
from kaizen.serve.oip import PREDICTION_ID, Infer, Wanted, answer_of, values_of
from kaizen.serve.tensors import Tensor, output

_CONTENTS: Final[Mapping[str, str]] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def parsed(kind: Any, body: bytes) -> Any:
    """Return a message from its bytes."""
    try:
        return kind.FromString(body)
    except DecodeError as err:
        raise RequestError("the message is not of this protocol") from err


def asked_of(message: Any) -> tuple[Infer, list[memoryview | None]]:
    """Return what a message asks, and the raw content of each input, None for typed content."""
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        what = f"expected one content for each of {len(message.inputs)} inputs, got {len(raw)}"
        raise RequestError(what, where="raw_input_contents")
    tensors = []
    for told in message.inputs:
        tensor = Tensor(told.name, told.datatype, list(told.shape))
        if not raw:
            tensor.data = _typed(told)
        elif told.HasField("contents"):
            raise RequestError("raw and typed contents do not mix", where=f"inputs[{told.name[:64]}].contents")
        tensors.append(tensor)
    outputs = [Wanted(told.name, chosen(told.parameters)) for told in message.outputs]
    asked = Infer(tensors, message.id or None, outputs, chosen(message.parameters))
    return asked, [memoryview(content) for content in raw] or [None] * len(tensors)


def answered(kind: Any, call: Call, own_id: str | None, names: list[str], *, is_raw: bool) -> bytes:
    """Return the bytes of the answer to a call, with these outputs; `kind` is the class of the message."""
    told = answer_of(call, own_id)
    parameters = told.pop("parameters")
    response = kind(**told)
    for name, value in parameters.items():
        field = "string_param" if isinstance(value, str) else "int64_param"
        setattr(response.parameters[name], field, value)
    for name in names:
        datatype, values = values_of(call, name)
        tensor = response.outputs.add(name=name, datatype=datatype, shape=[call.rows])
        if is_raw:
            response.raw_output_contents.append(output(name, datatype, values, binary=True)[1])
        elif name == PREDICTION_ID:
            tensor.contents.bytes_contents.extend([value.encode() for value in values])
        else:
            tensor.contents.fp64_contents.extend(values)
    return bytes(response.SerializeToString())


def chosen(told: Any) -> dict[str, Any]:
    """Return parameters by name, each as what it was given as."""
    chosen = {name: value.WhichOneof("parameter_choice") for name, value in told.items()}
    return {name: getattr(told[name], field) for name, field in chosen.items() if field}


def _typed(told: Any) -> list[Any]:
    where = f"inputs[{told.name[:64]}].contents"
    if told.datatype in ("FP16", "BF16"):
        raise RequestError(f"{told.datatype} has no typed contents", where=where, fix="use raw_input_contents")
    field = _CONTENTS.get(told.datatype)
    values = list(getattr(told.contents, field)) if field else []
    if field != "bytes_contents":
        return values
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as err:
        raise RequestError("expected UTF-8", where=where) from err
