"""A bare ONNX file, served as it is: its signature is read from the graph, its tensors are fed from rows.

    columns ─┬─ one tensor (n, k): columns f0 … f(k-1), or as a signature names them ─┐
             └─ one input a column, of the column's name ────────────────────────────┴─► graph ─► its one answer

Nothing proves where such a file comes from, so a person must say that it is to be trusted. Unlike an import
(`foreign.py`), nothing is rewritten and no builder of graphs is needed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kaizen.bundle import allowed
from kaizen.bundle.manifest import Signature
from kaizen.bundle.shelf import Shelf, session
from kaizen.bundle.told import ForeignSignature
from kaizen.core.errors import BundleError, KaizenError, RequestError, nearest
from kaizen.core.records import Bundle, Column, ColumnType, Task
from kaizen.graph.frame import feeds, from_rows, grouped
from kaizen.graph.run import Session

_TENSOR: Final = re.compile(r"tensor\((\w+)\)")
_DTYPES: Final[Mapping[str, type]] = {
    "float": np.float32,
    "double": np.float64,
    "float16": np.float16,
    **{f"{sign}int{bits}": getattr(np, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "bool": np.bool_,
    "string": np.object_,
}
_DATATYPES: Final[Mapping[str, str]] = {"float": "FP32", "double": "FP64", "float16": "FP16"}
_FLOATS: Final = ("float", "double", "float16")
_MOST_COLUMNS: Final = 4096


class BareModel:
    """A graph from elsewhere, ready to answer. Thread-safe.

    Attributes
    ----------
    bundle
        A record made up for it: its id is the SHA-256 of the file, its version 1, and it has no signature.
    matrix
        The name of the graph's one input, where all columns stand in it side by side; else None.
    matrix_datatype
        Its datatype in the Open Inference Protocol's words.
    """

    def __init__(self, path: Path, told: ForeignSignature, name: str, shelf: Shelf | None = None) -> None:
        where = str(path)
        graph = _read(path)
        allowed.check(graph, where=where)
        key = hashlib.sha256(graph).hexdigest()
        first = session(graph, key, shelf)
        shapes = first.shapes()
        answer, is_map = _answer(first, shapes, told.output, where)
        self._session = first if first.outputs[0] == answer else session(graph, key, shelf, answer)
        self._feeding = [_Input(name, *shapes[name], where) for name in self._session.inputs]
        self.matrix, columns = _columns(self._feeding, told, where)
        self.matrix_datatype = _DATATYPES.get(self._feeding[0].element, self._feeding[0].element.upper())
        self._is_map = is_map
        self._place = 0
        self._columns = columns
        self._examples = told.examples or ({column.name: _NEUTRAL[column.type] for column in columns},)
        self._groups = _places(columns)
        task = self._try(told, where)
        self.bundle = _record(key, name, path, task, columns)

    @property
    def inputs(self) -> tuple[Column, ...]:
        """The columns of a row."""
        return self._columns

    def signature(self) -> Signature:
        """Return the columns, the answer, and rows to try."""
        return Signature(
            task=self.bundle.task, inputs=self._columns, output=self.bundle.output, examples=tuple(self._examples)
        )

    def run(self, tensors: Mapping[str, NDArray[Any]], /) -> NDArray[np.float64]:
        """Return the answers to rows packed as tensors (see `kaizen.graph.frame.feeds`)."""  # (rows,)
        return self._raw(tensors)[:, self._place]

    def _raw(self, tensors: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:  # (rows, columns of the answer)
        if self.matrix is not None:
            given = {self.matrix: self._feeding[0].fed(next(iter(tensors.values())))}
        else:
            places = ((own, *self._groups[own.name]) for own in self._feeding)
            given = {own.name: own.fed(tensors[group][:, [i]]) for own, group, i in places}
        if any(own.is_single for own in self._feeding):
            rows = len(next(iter(given.values())))
            parts = [self._session.run({name: own[i : i + 1] for name, own in given.items()}) for i in range(rows)]
            return np.concatenate([self._table(part) for part in parts])
        return self._table(self._session.run(given))

    def _table(self, answer: Any) -> NDArray[np.float64]:
        if self._is_map:  # a classifier of scikit-learn's converter: a dictionary of probabilities a row
            return np.array([[own[key] for key in sorted(own)] for own in answer], np.float64)
        answers = np.asarray(answer, np.float64)
        return answers.reshape(len(answers), -1) if answers.ndim else answers.reshape(1, 1)

    def _try(self, told: ForeignSignature, where: str) -> Task:
        """Run the examples, settle which column is the answer, and return the task."""
        rows = [*self._examples, *self._examples]
        answers = self._raw(feeds(self._columns, from_rows(self._columns, rows)))
        if len(answers) != len(rows):
            raise BundleError(
                f"the graph gives {len(answers)} answers to {len(rows)} rows",
                where=where,
                fix="export it with a first dimension that stands for any number of rows",
            )
        width = answers.shape[1]
        self._place = told.place(width, where)
        is_probability = width > 1 and bool(((answers >= 0) & (answers <= 1)).all())
        return "classification" if is_probability else "regression"


class _Input:
    """An input of the graph, and how it is fed."""

    def __init__(self, name: str, kind: str, shape: tuple[int | None, ...], where: str) -> None:
        element = _TENSOR.fullmatch(kind)
        if element is None or element[1] not in _DTYPES:
            raise BundleError(f"the graph's input {name!r} takes {kind}, which no column gives", where=where)
        if len(shape) not in (1, 2):
            raise BundleError(
                f"the graph's input {name!r} has {len(shape)} dimensions; kaizen serves rows of columns",
                where=where,
                fix="give the graph an input of shape (rows, columns)",
            )
        if shape[0] not in (None, 1, -1):
            raise BundleError(
                f"the graph's input {name!r} takes exactly {shape[0]} rows",
                where=where,
                fix="export it with a first dimension that stands for any number of rows",
            )
        self.name = name
        self.element = element[1]
        self.is_flat = len(shape) == 1
        self.width = 1 if self.is_flat else shape[1]
        self.is_single = shape[0] == 1 and not self.is_flat
        self._dtype = np.dtype(_DTYPES[self.element])

    @property
    def column_type(self) -> ColumnType:
        """What a column that feeds it alone is."""
        if self.element == "string":
            return "category"
        return "boolean" if self.element == "bool" else "number"

    def fed(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values, (rows, columns), in the form of this input."""
        if self._dtype.kind in "iub" and np.isnan(values).any():
            row = int(np.isnan(values).any(axis=1).argmax())
            what = f"the graph takes no missing value in {self.name!r}"
            raise RequestError(what, where=f"rows[{row}]", status=422)
        cast = values.astype(self._dtype)
        return cast[:, 0] if self.is_flat else cast


_NEUTRAL: Final[Mapping[ColumnType, float | str | bool]] = {
    "number": 0,
    "boolean": False,
    "time": 0,
    "category": "",
    "text": "",
}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise BundleError(f"the graph cannot be read: {err.strerror or err}", where=str(path)) from err


def _answer(
    session: Session, shapes: Mapping[str, tuple[str, tuple[int | None, ...]]], asked: str | None, where: str
) -> tuple[str, bool]:
    """Return the name of the output that is the answer, and whether it is a dictionary a row."""
    kinds = {name: shapes[name][0] for name in session.outputs}
    maps = [name for name, kind in kinds.items() if kind.startswith("seq(map(") and "tensor(float)" in kind]
    if asked is not None:
        if asked not in kinds:
            raise BundleError(f"the graph has no output {asked!r}", where=where, fix=nearest(asked, kinds))
        return asked, asked in maps
    floats = [name for name, kind in kinds.items() if kind in {f"tensor({element})" for element in _FLOATS}]
    candidates = list(kinds) if len(kinds) == 1 else floats + maps  # an only output is the answer, of any type
    if len(candidates) == 1:
        return candidates[0], candidates[0] in maps
    raise BundleError(
        f"the graph has {len(candidates)} outputs that could be the answer ({', '.join(kinds)})",
        where=where,
        fix='name it in a file: --signature FILE with {"output": "…"}',
    )


def _columns(theirs: Sequence[_Input], told: ForeignSignature, where: str) -> tuple[str | None, tuple[Column, ...]]:
    """Return the name of the one input that holds all columns, if there is one, and the columns."""
    only = theirs[0] if len(theirs) == 1 else None
    names = [column.name for column in told.inputs]
    if only is not None and only.width != 1 and names != [only.name]:
        return only.name, _side_by_side(only, told.inputs, where)
    if told.inputs and sorted(names) != sorted(own.name for own in theirs):
        wrong = next((name for name in names if name not in {own.name for own in theirs}), names[0])
        fix = nearest(wrong, [own.name for own in theirs])
        raise BundleError("the signature's columns are not the graph's inputs", where=f"{where}: {wrong}", fix=fix)
    wide = [own.name for own in theirs if own.width != 1]
    if wide:
        raise BundleError(
            f"the graph's input {wide[0]!r} has several columns, and it is not the only input",
            where=where,
            fix="give the graph one input a column, or one for all",
        )
    kinds = {column.name: column.type for column in told.inputs}
    return None, tuple(Column(own.name, kinds.get(own.name, own.column_type)) for own in theirs)


def _side_by_side(only: _Input, told: Sequence[Column], where: str) -> tuple[Column, ...]:
    width = only.width if only.width is not None and only.width > 0 else len(told)
    if not width:
        raise BundleError(
            f"the graph's input {only.name!r} does not say how many columns it has",
            where=where,
            fix='name them in a file: --signature FILE with {"inputs": [{"name": "age", "type": "number"}, …]}',
        )
    if told and len(told) != width:
        raise BundleError(f"the graph reads {width} columns and the signature names {len(told)}", where=where)
    if width > _MOST_COLUMNS:
        raise BundleError(
            f"the graph reads rows of {width:,} columns; at most {_MOST_COLUMNS:,} are served", where=where
        )
    columns = tuple(told) or tuple(Column(f"f{i}", only.column_type) for i in range(width))
    if len(grouped(columns)) != 1 or ("strings" in grouped(columns)) != (only.element == "string"):
        raise BundleError(f"the graph's one input takes {only.element}, which not all columns are", where=where)
    return columns


def _places(columns: Sequence[Column]) -> dict[str, tuple[str, int]]:
    """Return the group of each column and its place there."""
    return {c.name: (group, i) for group, members in grouped(columns).items() for i, c in enumerate(members)}


def _record(identity: str, name: str, path: Path, task: Task, columns: tuple[Column, ...]) -> Bundle:
    return Bundle(
        id=identity,
        project=name,
        at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        by="",
        name=name,
        version=1,
        task=task,
        run=None,
        inputs=columns,
        output="probability" if task == "classification" else "value",
        files=(),
        public_key="",
        signature="",
    )


def load_bare(path: Path, told: ForeignSignature | None = None, *, name: str, shelf: Shelf | None = None) -> BareModel:
    """Return the model of an ONNX file; `shelf` as of `load`.

    Raises
    ------
    BundleError
        It is no self-contained graph of standard operators, or its inputs are no columns of a row, or no output is
        the answer.
    """
    try:
        return BareModel(path, told or ForeignSignature(), name, shelf)
    except BundleError:
        raise
    except KaizenError as err:
        raise BundleError(f"the graph does not answer the examples: {err.what}", where=str(path), fix=err.fix) from err
