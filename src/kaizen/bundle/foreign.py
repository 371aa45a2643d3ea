"""Makes a bundle's graph of an ONNX file from elsewhere: our grouped columns in front, one answer behind.

    numbers ─┐                                       ┌─► label        (left out)
    times   ─┼─ a column each, cast ─► foreign graph ┤
    strings ─┘                                       └─► probabilities ─► of the positive class ─► probability

The foreign graph takes either one tensor of numbers (n, k), whose columns are named in the order of the
signature, or one input a column, of the column's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper

from kaizen.bundle import allowed
from kaizen.bundle.certify import certify
from kaizen.bundle.environment import environment
from kaizen.bundle.keys import SigningKey
from kaizen.bundle.pack import Parts, pack
from kaizen.bundle.told import Example, ForeignSignature, read_signature
from kaizen.core.errors import BundleError, KaizenError, nearest
from kaizen.core.ports import Blobs
from kaizen.core.records import Bundle, Column, ColumnType, Task
from kaizen.graph.frame import feeds, from_rows, grouped
from kaizen.graph.run import Session

_OURS = "kaizen/"
_THEIRS = "foreign/"
_GROUPS = {"numbers": TensorProto.DOUBLE, "times": TensorProto.INT64, "strings": TensorProto.STRING}
_NUMERIC: Mapping[int, ColumnType] = {
    TensorProto.FLOAT: "number",
    TensorProto.DOUBLE: "number",
    TensorProto.FLOAT16: "number",
    TensorProto.INT64: "number",
    TensorProto.INT32: "number",
    TensorProto.BOOL: "boolean",
}
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


class Wrapped(msgspec.Struct, frozen=True, kw_only=True):
    """A foreign graph made fit for a bundle."""

    graph: bytes
    inputs: tuple[Column, ...]
    output: str
    examples: tuple[Example, ...]


def import_onnx(
    path: Path,
    signature: ForeignSignature | Path | None,
    *,
    task: Task,
    name: str,
    project: str,
    blobs: Blobs,
    key: SigningKey,
    known: Sequence[Bundle],
    at: datetime,
    by: str,
) -> Bundle:
    """Pack an ONNX file from elsewhere and return the signed record; the caller keeps the record.

    `signature` says what the file does not (or is a JSON file that does); None: its named inputs say it all.
    Its certificate says that there was no trained model to compare with: what is tested is that it loads, that
    it answers the examples with finite numbers, and that batches of any size answer alike. It has no reference,
    so monitors start from what they see first.

    Raises
    ------
    BundleError
        As `wrap` and `pack`.
    """
    said = read_signature(signature) if isinstance(signature, Path) else signature or ForeignSignature()
    wrapped = wrap(path, said, task=task)
    parts = Parts(
        graph=wrapped.graph,
        task=task,
        inputs=wrapped.inputs,
        output=wrapped.output,
        certificate=certify(wrapped.graph, wrapped.inputs, from_rows(wrapped.inputs, wrapped.examples), None),
        environment=environment(),
        examples=wrapped.examples,
    )
    return pack(parts, name=name, project=project, blobs=blobs, key=key, known=known, at=at, by=by)


def wrap(path: Path, signature: ForeignSignature, *, task: Task) -> Wrapped:
    """Return the graph of an ONNX file, checked and wrapped so that it reads grouped columns.

    Raises
    ------
    BundleError
        The file is no self-contained ONNX graph, its inputs are not the columns, or no output is the answer.
    """
    where = str(path)
    model = _read(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    theirs = [value for value in model.graph.input if value.name not in constants]
    columns = signature.inputs or _columns_of(theirs, where)
    feeding = _feeding(theirs, columns, where)
    name = _answer_name(model, signature.output, where)
    examples = signature.examples or (_neutral(columns),)
    declared = next(value for value in model.graph.output if value.name == _THEIRS + name)
    shape = _run(_assembled(model, columns, feeding, [], declared), columns, examples, where).shape
    output = "probability" if task == "classification" else "value"
    answering = _answering(name, shape, output, signature, where)
    graph = _assembled(model, columns, feeding, answering, _tensor(output, TensorProto.DOUBLE, 1))
    _check_answers(_run(graph, columns, examples, where), task, where)
    return Wrapped(graph=graph, inputs=tuple(columns), output=output, examples=tuple(examples))


def _read(path: Path) -> onnx.ModelProto:
    try:
        data = path.read_bytes()
    except OSError as err:
        raise BundleError(f"the graph cannot be read: {err}", where=str(path)) from err
    allowed.check(data, where=str(path))
    model = onnx.load_model_from_string(data)
    constants = {tensor.name for tensor in model.graph.initializer}
    # Older graphs list their constants among the inputs too; nobody feeds them here.
    for value in [value for value in model.graph.input if value.name in constants]:
        model.graph.input.remove(value)
    return compose.add_prefix(model, _THEIRS)


def _columns_of(theirs: Sequence[onnx.ValueInfoProto], where: str) -> tuple[Column, ...]:
    """Return a column for each named input; a tensor of several columns has no names to give."""
    columns = []
    for value in theirs:
        width = _width(value)
        if width != 1:
            raise BundleError(
                f"the input {_plain(value.name)!r} has {width or 'any number of'} columns, whose names it does not say",
                where=where,
                fix='name them in order in a signature: {"inputs": [{"name": "age", "type": "number"}]}',
            )
        kind: ColumnType = "category" if _element(value) == TensorProto.STRING else _numeric(value, where)
        columns.append(Column(_plain(value.name), kind))
    return tuple(columns)


def _feeding(theirs: Sequence[onnx.ValueInfoProto], columns: Sequence[Column], where: str) -> list[onnx.NodeProto]:
    """Return the nodes that make the foreign graph's inputs of our groups."""
    names = [_plain(value.name) for value in theirs]
    if len(theirs) == 1 and names[0] not in {column.name for column in columns}:
        return _feeding_matrix(theirs[0], columns, where)
    by_name = {column.name: column for column in columns}
    if unread := [column.name for column in columns if column.name not in names]:
        raise BundleError(f"the graph has no input {unread[0]!r}", where=where, fix=nearest(unread[0], names))
    if unknown := [name for name in names if name not in by_name]:
        raise BundleError(
            f"the graph's input {unknown[0]!r} is no column", where=where, fix=nearest(unknown[0], by_name)
        )
    return [node for value in theirs for node in _feeding_column(value, by_name[_plain(value.name)], columns, where)]


def _feeding_matrix(value: onnx.ValueInfoProto, columns: Sequence[Column], where: str) -> list[onnx.NodeProto]:
    width = _width(value)
    if width is not None and width != len(columns):
        raise BundleError(f"the graph reads {width} columns and the signature names {len(columns)}", where=where)
    groups = grouped(columns)
    wanted = "strings" if _element(value) == TensorProto.STRING else "numbers"
    if set(groups) != {wanted}:
        kinds = "text or categories" if wanted == "strings" else "numbers or booleans"
        raise BundleError(f"the graph's one tensor takes only {kinds}", where=where, fix="correct the columns' types")
    return [helper.make_node("Cast", [wanted], [value.name], to=_element(value))]


def _feeding_column(
    value: onnx.ValueInfoProto, column: Column, columns: Sequence[Column], where: str
) -> list[onnx.NodeProto]:
    group, place = next(
        (group, members.index(column)) for group, members in grouped(columns).items() if column in members
    )
    if (group == "strings") != (_element(value) == TensorProto.STRING):
        raise BundleError(f"the graph's input {column.name!r} does not take a {column.type}", where=where)
    if _width(value) not in (1, None):
        raise BundleError(f"the graph's input {column.name!r} has {_width(value)} columns, not one", where=where)
    index, picked, cast = (f"{_OURS}{column.name}/{step}" for step in ("index", "picked", "cast"))
    nodes = [
        _constant(index, [place]),
        helper.make_node("Gather", [group, index], [picked], axis=1),
    ]
    is_flat = len(value.type.tensor_type.shape.dim) == 1
    nodes.append(helper.make_node("Cast", [picked], [cast if is_flat else value.name], to=_element(value)))
    if is_flat:
        nodes.append(_constant(f"{cast}/shape", [-1]))
        nodes.append(helper.make_node("Reshape", [cast, f"{cast}/shape"], [value.name]))
    return nodes


def _answer_name(model: onnx.ModelProto, asked: str | None, where: str) -> str:
    outputs = {_plain(value.name): value for value in model.graph.output}
    if asked is not None:
        if asked not in outputs:
            raise BundleError(f"the graph has no output {asked!r}", where=where, fix=nearest(asked, outputs))
        return asked
    answers = [name for name, value in outputs.items() if _element(value) in _FLOATS]
    if len(answers) == 1:
        return answers[0]
    raise BundleError(
        f"the graph has {len(answers)} outputs of floating-point numbers ({', '.join(outputs)})",
        where=where,
        fix='name the answer in the signature ("output": …); for a scikit-learn classifier export with zipmap=False',
    )


def _answering(
    name: str, shape: tuple[int, ...], output: str, signature: ForeignSignature, where: str
) -> list[onnx.NodeProto]:
    """Return the nodes that make one column of doubles of the foreign answer."""
    width = shape[1] if len(shape) == 2 else 1
    if len(shape) > 2:
        raise BundleError(f"the output {name!r} has the shape {shape}, not (rows, columns)", where=where)
    positive = signature.place(width, where)
    theirs, column, index, flat = _THEIRS + name, f"{_OURS}column", f"{_OURS}positive", f"{_OURS}shape"
    if width == 1:
        pick = [_constant(flat, [-1, 1]), helper.make_node("Reshape", [theirs, flat], [column])]
    else:
        pick = [_constant(index, [positive]), helper.make_node("Gather", [theirs, index], [column], axis=1)]
    return [*pick, helper.make_node("Cast", [column], [output], to=TensorProto.DOUBLE)]


def _assembled(
    model: onnx.ModelProto,
    columns: Sequence[Column],
    before: Sequence[onnx.NodeProto],
    after: Sequence[onnx.NodeProto],
    output: onnx.ValueInfoProto,
) -> bytes:
    """Return the foreign graph between the nodes that feed it and those that read its answer."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    del whole.graph.node[:], whole.graph.input[:], whole.graph.output[:]
    whole.graph.node.extend([*before, *model.graph.node, *after])
    whole.graph.input.extend(_tensor(group, _GROUPS[group], len(own)) for group, own in grouped(columns).items())
    whole.graph.output.append(output)
    return bytes(whole.SerializeToString(deterministic=True))


def _run(graph: bytes, columns: Sequence[Column], examples: Sequence[Example], where: str) -> NDArray[Any]:
    """Return the answers to the examples, twice over, so that a fixed batch of one row shows."""
    rows = [*examples, *examples]
    try:
        answers = Session(graph).run(feeds(columns, from_rows(columns, rows)))
    except KaizenError as err:
        raise BundleError(f"the graph does not answer the examples: {err.what}", where=where, fix=err.fix) from err
    if np.ndim(answers) == 0 or len(answers) != len(rows):
        raise BundleError(
            f"the graph gives an answer of shape {np.shape(answers)} to {len(rows)} rows",
            where=where,
            fix="export it with a first dimension that stands for any number of rows",
        )
    return answers


def _check_answers(answers: NDArray[Any], task: Task, where: str) -> None:
    if not np.isfinite(answers).all():
        raise BundleError("the answer to an example is no finite number", where=where)
    if task == "classification" and not ((answers >= 0) & (answers <= 1)).all():
        raise BundleError(
            f"an answer of {float(answers.max()):g} is no probability",
            where=where,
            fix="name the output that holds probabilities in the signature, or import it into a project of regression",
        )


def _neutral(columns: Sequence[Column]) -> Example:
    return {column.name: "" if column.type in ("category", "text") else 0 for column in columns}


def _tensor(name: str, element: int, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, ["n", width])


def _constant(name: str, values: list[int]) -> onnx.NodeProto:
    tensor = helper.make_tensor(name, TensorProto.INT64, [len(values)], values)
    return helper.make_node("Constant", [], [name], value=tensor)


def _element(value: onnx.ValueInfoProto) -> int:
    return int(value.type.tensor_type.elem_type)


def _numeric(value: onnx.ValueInfoProto, where: str) -> ColumnType:
    kind = _NUMERIC.get(_element(value))
    if kind is None:
        raise BundleError(f"the input {_plain(value.name)!r} takes neither numbers nor strings", where=where)
    return kind


def _width(value: onnx.ValueInfoProto) -> int | None:
    """Return how many columns an input has; None: it does not say."""
    dims = value.type.tensor_type.shape.dim
    if len(dims) < 2:
        return 1
    return dims[1].dim_value or None


def _plain(name: str) -> str:
    return name.removeprefix(_THEIRS)
