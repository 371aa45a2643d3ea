"""When a row breaks a check: the one form that SQL, arrays and Python are written from.

`kaizen.core.checks` reads it from text, with every `not` carried down to the comparisons. So "every", "some" and
comparisons that hold only where both sides are known are all there is, and what is unknown breaks nothing. Arithmetic
is that of 64-bit floats; a result that is not finite (an overflow, a division by zero) is unknown where it is used.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["number", "text", "time", "any"]  # any: the columns are not known yet
Operator: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">="]

TOLERANCE: Final = 1e-9
LARGEST: Final = 1.7976931348623157e308  # of 64-bit floats


class Name(msgspec.Struct, frozen=True):
    """The value of a column; of a boolean one 0 or 1."""

    column: str
    kind: Kind
    is_boolean: bool = False


class Constant(msgspec.Struct, frozen=True):
    """A number, a text, or a time in microseconds since 1970."""

    value: float | str | int
    kind: Kind


class Arithmetic(msgspec.Struct, frozen=True):
    """A sum, difference, product or quotient of 64-bit floats."""

    operator: Literal["+", "-", "*", "/"]
    left: Value
    right: Value
    kind: Kind = "number"


class Elapsed(msgspec.Struct, frozen=True):
    """The seconds from the right time to the left one."""

    left: Value
    right: Value
    kind: Kind = "number"


class Called(msgspec.Struct, frozen=True):
    """``abs``, ``min`` or ``max``; of arguments that are all finite, else missing."""

    function: Literal["abs", "min", "max"]
    arguments: tuple[Value, ...]
    kind: Kind = "number"


class Compared(msgspec.Struct, frozen=True):
    """Both sides are known, and compare so.

    Texts and times compare exactly. Numbers are equal when they differ by no more than `TOLERANCE` of the largest
    term that is added up on either side (`terms`); less and more mean by more than that. They are known where their
    difference is finite.
    """

    operator: Operator
    left: Value
    right: Value


class Among(msgspec.Struct, frozen=True):
    """The value is known (a number: finite), and is one of these, exactly; or is none, where `negated`."""

    item: Value
    values: tuple[float | str | int, ...]
    negated: bool


class Missing(msgspec.Struct, frozen=True):
    """The value is missing (a number: not finite); or is not, where `negated`."""

    item: Value
    negated: bool


class Every(msgspec.Struct, frozen=True):
    """All parts are true."""

    parts: tuple[Condition, ...]


class Some(msgspec.Struct, frozen=True):
    """One part is true, or more."""

    parts: tuple[Condition, ...]


Value: TypeAlias = "Name | Constant | Arithmetic | Elapsed | Called"
Condition: TypeAlias = "Compared | Among | Missing | Every | Some"


def columns_in(part: Condition | Value) -> set[str]:
    """Return the names of the columns that it reads."""
    if isinstance(part, Name):
        return {part.column}
    return set().union(*(columns_in(each) for each in _inside(part)))


def terms(*sides: Value) -> tuple[Value, ...]:
    """Return what is added up or subtracted on these sides, whose size is what a float's error goes by."""
    found: list[Value] = []
    for side in sides:
        if isinstance(side, Arithmetic) and side.operator in "+-":
            found += terms(side.left, side.right)
        else:
            found.append(side)
    return tuple(dict.fromkeys(found))


def functions_deep(part: Condition | Value) -> int:
    """Return how deep its functions nest."""
    inside = max((functions_deep(each) for each in _inside(part)), default=0)
    return inside + isinstance(part, Called)


def _inside(part: Condition | Value) -> tuple[Condition | Value, ...]:
    if isinstance(part, Every | Some):
        return part.parts
    if isinstance(part, Compared | Arithmetic | Elapsed):
        return (part.left, part.right)
    if isinstance(part, Among | Missing):
        return (part.item,)
    return part.arguments if isinstance(part, Called) else ()
