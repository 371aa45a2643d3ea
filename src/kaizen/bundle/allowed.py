"""What a graph may contain before a runtime is given it: standard operators, no files of its own, a sane size.

An ONNX model can name operators of libraries that somebody else installs, and tensors that lie in other files,
by paths of its own choosing. Both are refused here, with a reader of the protocol buffer's wire form, so that
the serving process needs no builder of graphs to check one. Field numbers are those of onnx/onnx.proto
(ONNX 1.17, IR 10); encoding: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator

from kaizen.core.errors import BundleError

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
MAX_BYTES = 1 << 30
MAX_NODES = 200_000
_MAX_DEPTH = 16  # of graphs within graphs

# message -> field number -> message of that field; what is not listed is skipped unread.
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_NODE_OP, _NODE_DOMAIN = 4, 7
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14


def check(graph: bytes, *, where: str) -> None:
    """Raise `BundleError` if a graph is damaged, too large, or stands on anything outside itself and ONNX."""
    if len(graph) > MAX_BYTES:
        raise BundleError(f"the graph has {len(graph):,} bytes; at most {MAX_BYTES:,} are taken", where=where)
    try:
        nodes = _walk(memoryview(graph), "model", where, 0)
    except (IndexError, ValueError) as err:
        raise BundleError(f"this is not an ONNX graph: {err}", where=where) from err
    if nodes == 0:
        raise BundleError("this is not an ONNX graph: it has no operators", where=where)
    if nodes > MAX_NODES:
        raise BundleError(f"the graph has {nodes:,} operators; at most {MAX_NODES:,} are taken", where=where)


def _walk(data: memoryview, message: str, where: str, depth: int) -> int:
    """Check one message and those within it; return how many nodes it holds."""
    if depth > 4 * _MAX_DEPTH:
        raise BundleError("graphs are nested too deep", where=where)
    inner = _MESSAGES[message]
    nodes = 1 if message == "node" else 0
    if message == "node":
        _check_node(data, where)
    for field, value in fields(data):
        if message == "tensor" and (field == _TENSOR_EXTERNAL or (field == _TENSOR_LOCATION and value != 0)):
            raise BundleError(
                "a tensor of the graph lies in another file",
                where=where,
                fix="save the model as one file (onnx.save_model(..., save_as_external_data=False))",
            )
        if field in inner and isinstance(value, memoryview):
            nodes += _walk(value, inner[field], where, depth + 1)
    return nodes


def _check_node(data: memoryview, where: str) -> None:
    operator, domain = "", ""
    for field, value in fields(data):
        if field == _NODE_OP and isinstance(value, memoryview):
            operator = str(value, "utf-8")
        elif field == _NODE_DOMAIN and isinstance(value, memoryview):
            domain = str(value, "utf-8")
    if domain not in DOMAINS:
        raise BundleError(
            f"the operator {operator!r} of the domain {domain!r} is not one of ONNX",
            where=where,
            fix="export the model with the standard operators (domains ai.onnx and ai.onnx.ml) only",
        )


def fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield (field number, value) of a message; values of fixed width are skipped and come as 0."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
        elif kind == 2:
            size, at = _varint(data, at)
            if at + size > end:
                raise ValueError(f"a field of {size} bytes ends after the message")
            yield tag >> 3, data[at : at + size]
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} is not used by ONNX")
    if at != end:
        raise ValueError("a message is cut off")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    for shift in range(7, 70, 7):
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
    raise ValueError("a number is too long")
