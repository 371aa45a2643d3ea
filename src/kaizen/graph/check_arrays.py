"""A check on arrays: which rows of a frame break it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kaizen.core.condition import (
    LARGEST,
    TOLERANCE,
    Among,
    Arithmetic,
    Called,
    Compared,
    Condition,
    Constant,
    Elapsed,
    Every,
    Missing,
    Name,
    Some,
    Value,
    terms,
)
from kaizen.graph.frame import MISSING_TIME, rows_of

_PLAIN: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": np.true_divide,
}  # fmt: skip
_SO: Final[Mapping[str, Callable[[Any, Any], Any]]] = {  # of a difference and a tolerance
    "==": lambda apart, slack: np.abs(apart) <= slack,
    "!=": lambda apart, slack: np.abs(apart) > slack,
    "<": lambda apart, slack: apart < -slack,
    "<=": lambda apart, slack: apart <= slack,
    ">": lambda apart, slack: apart > slack,
    ">=": lambda apart, slack: apart >= -slack,
}


def broken_rows(condition: Condition, frame: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Return the rows for which a condition is true, shape (rows,)."""
    with np.errstate(all="ignore"):
        found = _condition(condition, frame)
    return np.array(np.broadcast_to(found, rows_of(frame)), np.bool_)


def _condition(part: Condition, frame: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(part, Every | Some):
        both = np.logical_and if isinstance(part, Every) else np.logical_or
        return functools.reduce(both, [_condition(each, frame) for each in part.parts])
    if isinstance(part, Compared):
        return _compared(part, frame)
    item = _value(part.item, frame)
    known = _known(part.item, item)
    if isinstance(part, Missing):
        return known if part.negated else np.logical_not(known)
    among = _among(item, part)
    return np.logical_and(known, np.logical_not(among)) if part.negated else among


def _among(item: Any, part: Among) -> Any:
    if part.item.kind != "text" or not isinstance(item, np.ndarray):
        return np.isin(item, part.values)
    values = frozenset(part.values)
    return np.fromiter((each in values for each in item.tolist()), np.bool_, len(item))


def _compared(part: Compared, frame: Mapping[str, NDArray[Any]]) -> Any:
    left, right = _value(part.left, frame), _value(part.right, frame)
    if part.left.kind != "number":
        known = np.logical_and(_known(part.left, left), _known(part.right, right))
        return np.logical_and(known, _PLAIN[part.operator](left, right))
    apart = left - right
    largest = functools.reduce(np.maximum, [np.abs(_value(term, frame)) for term in terms(part.left, part.right)])
    return np.logical_and(np.abs(apart) <= LARGEST, _SO[part.operator](apart, TOLERANCE * largest))


def _known(part: Value, item: Any) -> Any:
    if part.kind == "number":
        return np.isfinite(item)
    return item != (MISSING_TIME if part.kind == "time" else "")


def _value(part: Value, frame: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(part, Name):
        return frame[part.column]
    if isinstance(part, Constant):
        return np.float64(part.value) if part.kind == "number" else part.value
    if isinstance(part, Arithmetic):
        return _PLAIN[part.operator](_value(part.left, frame), _value(part.right, frame))
    if isinstance(part, Elapsed):
        return _elapsed(part, frame)
    return _called(part, frame)


def _elapsed(part: Elapsed, frame: Mapping[str, NDArray[Any]]) -> Any:
    left, right = (np.asarray(_value(side, frame), np.int64) for side in (part.left, part.right))
    missing = (left == MISSING_TIME) | (right == MISSING_TIME)
    return np.where(missing, np.nan, (left.astype(np.float64) - right.astype(np.float64)) / 1e6)


def _called(part: Called, frame: Mapping[str, NDArray[Any]]) -> Any:
    arguments = [_value(argument, frame) for argument in part.arguments]
    if part.function == "abs":
        return np.abs(arguments[0])
    found = functools.reduce(np.minimum if part.function == "min" else np.maximum, arguments)
    known = functools.reduce(np.logical_and, [np.isfinite(argument) for argument in arguments])
    return np.where(known, found, np.nan)
