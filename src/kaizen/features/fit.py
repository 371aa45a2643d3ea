"""Fit declared features on rows and compile them to one graph; training and serving read its output.

    definition ─ expand ─ plan of scalars ─ what the encoding needs ─ graph (numbers, times, strings → features)

| feature       | encoding "codes"                           | encoding "dense"                                   |
|---------------|--------------------------------------------|----------------------------------------------------|
| number        | as it is, NaN if missing                   | median for missing, standardised; a flag `…_missing`|
| category      | code of a frequent value, else -1          | one column a frequent value, and `…=other`         |
| time          | hour, weekday, month (if all twelve were seen); sine and cosine of each | the same, as numbers  |
| text          | number of words, count of each frequent word  | the same, as numbers                            |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import FeatureError, nearest
from kaizen.core.ids import content_id
from kaizen.core.records import Column, FeatureColumn
from kaizen.features.declare import Expression
from kaizen.features.emit import Emitter
from kaizen.features.lower import Plan, Scalar, Text
from kaizen.features.module import load_module
from kaizen.graph.frame import Frame, feeds, rows_of
from kaizen.graph.run import Session, in_chunks

__all__ = ["FittedFeatures", "defaults", "definition_id", "fit", "load_module", "required", "transform"]

Definition: TypeAlias = Mapping[str, Expression]
Encoding: TypeAlias = Literal["codes", "dense"]

MOST_CATEGORIES = 64
MOST_WORDS = 32
_CALENDAR = {"hour": 24.0, "weekday": 7.0, "month": 12.0}
_MONTHS = 12  # rows of fewer say nothing of the months to come, and a model would go on as the last one went


class FittedFeatures(msgspec.Struct, frozen=True):
    """A feature graph: its bytes, the raw columns it reads and the columns of the table it makes."""

    graph: bytes
    inputs: tuple[Column, ...]
    outputs: tuple[FeatureColumn, ...]


def defaults(columns: Sequence[Column]) -> dict[str, Expression]:
    """Return the definition that takes every column as its type suggests."""
    return {column.name: Expression("col", (column.name,)) for column in columns}


def definition_id(definition: Definition) -> str:
    """Return the hash of a definition: names and expressions in their order."""
    return content_id([[name, repr(expression)] for name, expression in definition.items()])


def required(definition: Definition) -> tuple[str, ...]:
    """Return the names of the raw columns that a definition reads, sorted."""
    found: set[str] = set()
    waiting: list[object] = list(definition.values())
    while waiting:
        item = waiting.pop()
        if isinstance(item, Expression):
            if item.op == "col":
                found.add(str(item.args[0]))
            waiting += item.args
    return tuple(sorted(found))


def fit(
    definition: Definition,
    columns: Sequence[Column],
    frame: Mapping[str, NDArray[Any]],
    *,
    encoding: Encoding,
    time_zone: str,
    tables: Mapping[str, Frame] | None = None,
) -> FittedFeatures:
    """Return the feature graph fitted on these rows.

    Parameters
    ----------
    definition
        Names and expressions.
    columns
        The raw columns there are; the graph reads those that the definition needs.
    frame
        The rows to fit on: a split's training part, never what it is judged on.
    encoding
        What the model takes: "codes" (trees) or "dense" (linear models).
    time_zone
        Of calendar parts; an IANA name.
    tables
        Small tables for look-ups, by name.

    Raises
    ------
    FeatureError
        A column or table is not there, has another type than its use needs, or there are no rows.
    """
    inputs = _inputs(definition, columns, frame)
    fitting = _Fitting(inputs, frame, time_zone, tables or {})
    items = [item for name, expression in definition.items() for item in fitting.expand(name, expression)]
    _refuse_twins(items)
    if encoding == "dense":
        items = fitting.dense(items)
    outputs = tuple(FeatureColumn(item.name, item.source, len(item.values)) for item in items)
    graph = Emitter(inputs, time_zone).write([fitting.plan.finite(item.scalar) for item in items])
    return FittedFeatures(graph, inputs, outputs)


def transform(
    graph: Session | bytes, columns: Sequence[Column], frame: Mapping[str, NDArray[Any]]
) -> NDArray[np.float64]:
    """Return the table that a fitted graph makes of rows, (rows, features) in C order.

    Parameters
    ----------
    graph
        The graph of `FittedFeatures`, or a session of it.
    columns
        Its inputs.
    frame
        Rows with at least these columns.
    """
    session = graph if isinstance(graph, Session) else Session(graph)
    if rows_of(frame) == 0:
        return np.empty((0, session.shapes()[session.outputs[0]][1][1] or 0))
    return np.ascontiguousarray(in_chunks(session, feeds(columns, frame)), np.float64)


@dataclass(frozen=True)
class _Item:
    """A feature: a number, or (with values) a category whose scalar is the code of a value."""

    name: str
    source: str
    scalar: Scalar
    values: tuple[str, ...] = ()
    is_category: bool = False


class _Fitting:
    """What is learnt from the rows: frequent values and words, medians and spreads."""

    def __init__(
        self,
        inputs: tuple[Column, ...],
        frame: Mapping[str, NDArray[Any]],
        time_zone: str,
        tables: Mapping[str, Frame],
    ) -> None:
        self.plan = Plan({column.name: column for column in inputs}, tables)
        self._inputs = inputs
        self._zone = time_zone
        self._feeds = feeds(inputs, frame)
        self._least = min(20, max(1, rows_of(frame) // 200))  # rows a value needs to be one of its own

    def expand(self, name: str, e: Expression) -> list[_Item]:
        """Return the features that a declared one stands for."""
        try:
            return self._expand(name, e)
        except FeatureError as err:
            raise FeatureError(err.what, where=f"feature {name!r}", fix=err.fix) from err

    def dense(self, items: Sequence[_Item]) -> list[_Item]:
        """Return features without NaN: filled, standardised, one column a value of a category."""
        numbers = [item for item in items if not item.is_category]
        filled = dict(zip([item.name for item in numbers], self._filled(numbers), strict=True))
        return [part for item in items for part in (self._one_hot(item) if item.is_category else filled[item.name])]

    def _expand(self, name: str, e: Expression) -> list[_Item]:
        if e.op == "words":
            return self._words(name, e.args[0])
        if e.op == "category":
            return [self._number_category(name, e)]
        kind = self.plan.kind(e)
        if kind == "time":
            return self._calendar(name, e)
        if kind == "number":
            return [_Item(name, _source(e), self.plan.number(e))]
        if e.op == "col" and self.plan.column(e).type == "text":
            return self._words(name, e)
        return [self._category(name, e)]

    def _calendar(self, name: str, e: Expression) -> list[_Item]:
        items: list[_Item] = []
        for part, period in _CALENDAR.items():
            raw = Expression("part", (part, e))
            if part == "month" and self._distinct(raw) < _MONTHS:
                continue
            for suffix, expression in (("", raw), ("_sin", raw.sin(period)), ("_cos", raw.cos(period))):
                items.append(_Item(f"{name}_{part}{suffix}", repr(expression), self.plan.number(expression)))
        return items

    def _distinct(self, e: Expression) -> int:
        values = self._run([self.plan.finite(self.plan.number(e))])
        return len(np.unique(values[~np.isnan(values)]))

    def _category(self, name: str, e: Expression) -> _Item:
        text = self.plan.string(e)
        values = self._frequent(_seen(text, Counter(self._strings(text.source))))
        codes = {value: float(code) for code, value in enumerate(values)}
        scalar = self.plan.table(text, codes, -1.0, f"codes {values!r}")
        return _Item(name, _source(e), scalar, values, is_category=True)

    def _number_category(self, name: str, e: Expression) -> _Item:
        number = self.plan.finite(self.plan.number(e.args[0]))
        seen = self._run([number])[:, 0]
        values = self._frequent(Counter(seen[~np.isnan(seen)].tolist()))
        payload = (list(values) or [0.0], [float(code) for code in range(len(values))] or [-1.0], -1.0)
        scalar = self.plan.add("encode", number, payload=payload, tag=f"codes {values!r}")
        return _Item(name, repr(e), scalar, tuple(f"{value:g}" for value in values), is_category=True)

    def _words(self, name: str, e: Any) -> list[_Item]:
        text = self.plan.string(e)
        if text.mapping is not None:
            raise FeatureError("words() reads a column of the rows, not a look-up")
        source = text.source
        tokens = Counter(self._output(lambda emitter: emitter.tokens(source)).ravel().tolist())
        for mark in ("", "\x1f"):
            tokens.pop(mark, None)
        count = self.plan.add("words", payload=(source,), group=repr(source))
        items = [_Item(f"{name}_words", f"words({source!r})", count)]
        for word in self._frequent(tokens, MOST_WORDS):
            scalar = self.plan.add("word", payload=(source, word), group=repr(source), tag=word)
            items.append(_Item(f"{name}:{word}", f"words({source!r})", scalar))
        return items

    def _frequent(self, seen: Mapping[Any, int], most: int = MOST_CATEGORIES) -> tuple[Any, ...]:
        ranked = sorted((-count, value) for value, count in seen.items() if count >= self._least and value != "")
        return tuple(value for _, value in ranked[:most])

    def _filled(self, items: Sequence[_Item]) -> list[list[_Item]]:
        """Return each number as one or two dense ones: standardised, and a flag where values were missing."""
        if not items:
            return []
        table = self._run([self.plan.finite(item.scalar) for item in items])  # (rows, items)
        parts: list[list[_Item]] = []
        for item, column in zip(items, table.T, strict=True):
            missing = np.isnan(column)
            median = 0.0 if missing.all() else float(np.median(column[~missing]))
            whole = np.where(missing, median, column)
            number = self.plan.finite(item.scalar)
            full = self.plan.add("fill", number, median)
            payload = (float(whole.mean()), _deviation(whole))
            pieces = [_Item(item.name, item.source, self.plan.add("scale", full, payload=payload, tag=repr(payload)))]
            if missing.any():
                flag = self.plan.add("is_missing", number)
                pieces.append(_Item(f"{item.name}_missing", item.source, flag))
            parts.append(pieces)
        return parts

    def _one_hot(self, item: _Item) -> list[_Item]:
        labels = [*((float(code), value) for code, value in enumerate(item.values)), (-1.0, "other")]
        return [
            _Item(f"{item.name}={label}", item.source, self.plan.add("is", item.scalar, code)) for code, label in labels
        ]

    def _strings(self, source: Expression) -> list[str]:
        values: list[str] = self._output(lambda emitter: emitter.string(source)).ravel().tolist()
        return values

    def _run(self, scalars: Sequence[Scalar]) -> NDArray[np.float64]:
        session = Session(Emitter(self._inputs, self._zone).write(scalars))
        return np.asarray(in_chunks(session, self._feeds), np.float64)

    def _output(self, of: Any) -> NDArray[Any]:
        """Return the string tensor that part of a graph gives for the rows."""
        emitter = Emitter(self._inputs, self._zone)
        emitter.graph.output("strings_out", of(emitter), np.object_, None)
        return Session(emitter.graph.to_bytes()).run(self._feeds)


def _deviation(values: NDArray[np.float64]) -> float:
    """Return the standard deviation to divide by: 1 for a constant, whose own is 0 up to the error of its mean."""
    deviation = float(values.std())
    return deviation if deviation > 1e-9 * float(np.abs(values).max()) else 1.0


def _seen(text: Text, counts: Counter[str]) -> Counter[str]:
    """Return how often each value of a string occurs, given how often those of its source do."""
    if text.mapping is None:
        return counts
    seen: Counter[str] = Counter()
    for key, count in counts.items():
        seen[text.mapping.get(key, "")] += count
    return seen


def _source(e: Expression) -> str:
    return str(e.args[0]) if e.op == "col" else repr(e)


def _inputs(definition: Definition, columns: Sequence[Column], frame: Mapping[str, NDArray[Any]]) -> tuple[Column, ...]:
    if not definition:
        raise FeatureError("there are no features to fit")
    if rows_of(frame) == 0:
        raise FeatureError("there are no rows to fit features on")
    names = required(definition)
    known = {column.name for column in columns}
    for name in names:
        if name not in known:
            reader = next(feature for feature, e in definition.items() if name in required({feature: e}))
            raise FeatureError(f"there is no column {name!r}", where=f"feature {reader!r}", fix=nearest(name, known))
    inputs = tuple(column for column in columns if column.name in names)
    for column in inputs:
        if column.type == "number" and np.isinf(frame[column.name]).any():
            raise FeatureError(f"column {column.name!r} has infinite values", fix="make them missing in the source")
    return inputs


def _refuse_twins(items: Sequence[_Item]) -> None:
    names = Counter(item.name for item in items)
    for name, count in names.items():
        if count > 1:
            raise FeatureError(
                f"{count} features are named {name!r}", fix="rename one; a time gives …_hour and the like"
            )
