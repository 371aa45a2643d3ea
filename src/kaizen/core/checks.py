"""A check as a person writes it, read into the form that everything else is made from.

    fare + tip <= total + 0.01            pickup <= dropoff                  dropoff - pickup < 86400
    status != 'void' or amount == 0       0 <= age <= 120                    kind in ('a', 'b')
    not (member and discount is missing)  abs(net + tax - gross) < 0.5       `trip distance` > min(1, miles)

The grammar is a part of Python's, read by Python's own parser; nothing is ever evaluated.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal

from kaizen.core.clock import to_us
from kaizen.core.condition import (
    Among,
    Arithmetic,
    Called,
    Compared,
    Condition,
    Constant,
    Elapsed,
    Every,
    Kind,
    Missing,
    Name,
    Operator,
    Some,
    Value,
    columns_in,
    functions_deep,
)
from kaizen.core.errors import ProjectError, nearest
from kaizen.core.records import Column, ColumnType

LONGEST: Final = 1000  # characters
DEEPEST: Final = 32
_DEEPEST_CALLS: Final = 3  # SQL writes the arguments of min and max several times
_OPPOSITE: Final[Mapping[Operator, Operator]] = {
    "==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">",
}  # fmt: skip
_COMPARED: Final[Mapping[type[ast.cmpop], Operator]] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_ADDED: Final[Mapping[type[ast.operator], Literal["+", "-", "*", "/"]]] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/",
}  # fmt: skip
_FUNCTIONS: Final[Mapping[str, Literal["abs", "min", "max"]]] = {"abs": "abs", "min": "min", "max": "max"}
_KINDS: Final[Mapping[ColumnType, Kind]] = {
    "number": "number", "boolean": "number", "category": "text", "text": "text", "time": "time",
}  # fmt: skip
_TRUTHS: Final = {"true": 1.0, "false": 0.0}
_MISSING: Final = "missing"
_GRAMMAR: Final = "a check is made of columns, numbers, 'texts', + - * /, comparisons, in, is missing, and, or, not"


def broken(text: str, columns: Iterable[Column] | None, *, where: str = "") -> Condition:
    """Return when a row breaks a check: where it is false. What is unknown breaks nothing, as in SQL.

    Parameters
    ----------
    text
        The check.
    columns
        What it may read; None: whatever it names, so that only the grammar is looked at.
    where
        What errors call the place.

    Raises
    ------
    ProjectError
        The text is no check of these columns; it names the character, and the nearest column.
    """
    return _Reader(text, columns, where).read()


class _Reader:
    """Reads one check."""

    def __init__(self, text: str, columns: Iterable[Column] | None, where: str) -> None:
        self._text = "".join(" " if letter in "\r\n\t\f\v" else letter for letter in text)
        self._where = where
        self._columns = None if columns is None else {column.name: column for column in columns}
        self._quoted: dict[int, str] = {}

    def read(self) -> Condition:
        if len(self._text) > LONGEST:
            raise self._error(f"it has {len(self._text)} characters, and {LONGEST} are the most", 0)
        found = self._condition(self._parsed(), negated=True)
        if not columns_in(found):
            raise self._error("it names no column", 0)
        return found

    def _parsed(self) -> ast.expr:
        self._code = self._without_backticks()
        self._indent = len(self._code) - len(self._code.lstrip())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes in texts
                tree = ast.parse(self._code.strip(), mode="eval").body
        except SyntaxError as err:
            place = self._indent + max(0, (err.offset or 1) - 1)
            raise self._error(f"it cannot be read: {err.msg}", place, _GRAMMAR) from err
        except (ValueError, RecursionError, MemoryError) as err:
            raise self._error(f"it cannot be read: {str(err) or 'it nests too deeply'}", 0, _GRAMMAR) from err
        if _depth(tree) > DEEPEST:
            raise self._error(f"it nests more than {DEEPEST} deep", 0)
        return tree

    def _without_backticks(self) -> str:
        """Return the text with each `quoted name` as an identifier of the same length."""
        code, quote, start = list(self._text), "", 0
        for place, letter in enumerate(self._text):
            if quote == "`" and letter == "`":
                if place == start + 1:
                    raise self._error("a name between backticks is empty", start)
                self._quoted[start] = self._text[start + 1 : place]
                code[start : place + 1] = "_" * (place + 1 - start)
                quote = ""
            elif quote in ("'", '"'):
                quote = "" if letter == quote and code[place - 1] != "\\" else quote
            elif not quote and letter in "'\"`":
                quote, start = letter, place
        if quote == "`":
            raise self._error("a backtick is not closed", start)
        return "".join(code)

    # Conditions

    def _condition(self, node: ast.expr, *, negated: bool) -> Condition:
        if isinstance(node, ast.BoolOp):
            parts = tuple(self._condition(each, negated=negated) for each in node.values)
            return Every(parts) if isinstance(node.op, ast.And) != negated else Some(parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self._condition(node.operand, negated=not negated)
        if isinstance(node, ast.Compare):
            return self._chain(node, negated=negated)
        item = self._value(node)
        if item.kind != "any" and not (isinstance(item, Name) and item.is_boolean):
            raise self._error(
                f"{self._shown(node)} is {_article(item.kind)}, not a condition", node, "compare it: a <= b"
            )
        return Compared("!=" if negated else "==", item, Constant(1.0, "number"))

    def _chain(self, node: ast.Compare, *, negated: bool) -> Condition:
        parts: list[Condition] = []
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            parts.append(self._comparison(left, operator, right, negated=negated))
            left = right
        if len(parts) == 1:
            return parts[0]
        return Some(tuple(parts)) if negated else Every(tuple(parts))

    def _comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr, *, negated: bool) -> Condition:
        if isinstance(operator, ast.Is | ast.IsNot):
            if not isinstance(right, ast.Name) or right.id != _MISSING:
                raise self._error(
                    f"nothing but 'missing' follows is: {self._shown(right)}", right, "write x is missing"
                )
            return Missing(self._value(left), isinstance(operator, ast.IsNot) != negated)
        if isinstance(operator, ast.In | ast.NotIn):
            return self._among(left, right, negated=isinstance(operator, ast.NotIn) != negated)
        sides = self._alike(self._value(left), left, self._value(right), right)
        written = _COMPARED[type(operator)]
        return Compared(_OPPOSITE[written] if negated else written, *sides)

    def _among(self, left: ast.expr, right: ast.expr, *, negated: bool) -> Among:
        if not isinstance(right, ast.Tuple | ast.List | ast.Set) or not right.elts:
            raise self._error(f"a list follows in, not {self._shown(right)}", right, "write x in ('a', 'b')")
        item = self._value(left)
        values: list[float | str | int] = []
        for each in right.elts:
            _, constant = self._alike(item, left, self._value(each), each)
            if not isinstance(constant, Constant):
                raise self._error(f"a list holds constants, not {self._shown(each)}", each)
            values.append(constant.value)
        return Among(item, tuple(dict.fromkeys(values)), negated)

    def _alike(self, left: Value, at: ast.expr, right: Value, other_at: ast.expr) -> tuple[Value, Value]:
        """Return two sides of one kind; a text beside a time is read as one."""
        if left.kind == "time" and right.kind == "text" and isinstance(right, Constant):
            right = self._moment(right, other_at)
        if right.kind == "time" and left.kind == "text" and isinstance(left, Constant):
            left = self._moment(left, at)
        if left.kind != right.kind and "any" not in (left.kind, right.kind):
            says = f"{self._shown(at)} is {_article(left.kind)} and {self._shown(other_at)} is {_article(right.kind)}"
            raise self._error(says, other_at, "compare what is of one kind; texts stand in quotes, names do not")
        return left, right

    def _moment(self, text: Constant, at: ast.expr) -> Constant:
        try:
            moment = datetime.fromisoformat(str(text.value))
        except ValueError as err:
            fix = "write it as in '2026-01-31' or '2026-01-31T09:30:00Z'"
            raise self._error(f"{text.value!r} is no time", at, fix) from err
        return Constant(to_us(moment if moment.tzinfo else moment.replace(tzinfo=UTC)), "time")

    # Values

    def _value(self, node: ast.expr) -> Value:
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            item = self._number(node.operand)
            if isinstance(node.op, ast.UAdd):
                return item
            if isinstance(item, Constant):
                return Constant(-float(item.value), "number")
            return Arithmetic("*", Constant(-1.0, "number"), item)
        if isinstance(node, ast.BinOp) and type(node.op) in _ADDED:
            return self._sum(node, _ADDED[type(node.op)])
        if isinstance(node, ast.Call):
            return self._call(node)
        raise self._error(f"{self._shown(node)} has no meaning here", node, _GRAMMAR)

    def _name(self, node: ast.Name) -> Value:
        start, end = self._places(node)
        name = self._quoted.get(start, self._text[start:end])  # as written: Python would change rare letters
        if name in _TRUTHS and start not in self._quoted:
            return Constant(_TRUTHS[name], "number")
        if self._columns is None:
            return Name(name, "any")
        column = self._columns.get(name)
        if column is not None:
            return Name(name, _KINDS[column.type], column.type == "boolean")
        if name.lower() in (_MISSING, "null", "nan"):
            raise self._error(f"{name!r} is no column", node, "write x is missing")
        raise self._error(f"there is no column {name!r}", node, nearest(name, self._columns))

    def _constant(self, node: ast.Constant) -> Constant:
        value = node.value
        if isinstance(value, str):
            if not value:
                raise self._error("an empty text is a missing value", node, "write x is missing")
            if "\0" in value or not value.isprintable():
                raise self._error("a text in a check has letters that can be seen", node)
            return Constant(value, "text")
        if isinstance(value, bool | int | float):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                return Constant(number, "number")
        raise self._error(f"{self._shown(node)} is no number or text", node, _GRAMMAR)

    def _sum(self, node: ast.BinOp, operator: Literal["+", "-", "*", "/"]) -> Value:
        left, right = self._value(node.left), self._value(node.right)
        if operator == "-" and "time" in (left.kind, right.kind):
            return Elapsed(*self._alike(left, node.left, right, node.right))
        return Arithmetic(operator, self._number(node.left), self._number(node.right))

    def _call(self, node: ast.Call) -> Called:
        name = _FUNCTIONS.get(node.func.id) if isinstance(node.func, ast.Name) else None
        count = len(node.args)
        if name is None or node.keywords:
            raise self._error(f"{self._shown(node.func)} is no function of checks", node, "there are abs, min and max")
        if (count == 1) != (name == "abs") or not count:
            raise self._error(f"{name} takes {'one number' if name == 'abs' else 'two or more'}, not {count}", node)
        found = Called(name, tuple(self._number(each) for each in node.args))
        if functions_deep(found) > _DEEPEST_CALLS:
            raise self._error(f"functions nest more than {_DEEPEST_CALLS} deep", node)
        return found

    def _number(self, node: ast.expr) -> Value:
        item = self._value(node)
        if item.kind not in ("number", "any"):
            hint = "the difference of two times is in seconds" if item.kind == "time" else "numbers have no quotes"
            raise self._error(f"{self._shown(node)} is {_article(item.kind)}, not a number", node, hint)
        return item

    # Errors

    def _places(self, node: ast.expr) -> tuple[int, int]:
        line = self._code.strip().encode()
        start = len(line[: node.col_offset].decode())
        end = len(line[: node.end_col_offset].decode())
        return start + self._indent, end + self._indent

    def _shown(self, node: ast.expr) -> str:
        start, end = self._places(node)
        text = self._text[start:end]
        return repr(text if len(text) <= 40 else f"{text[:37]}...")

    def _error(self, what: str, at: ast.expr | int, fix: str = "") -> ProjectError:
        place = at if isinstance(at, int) else self._places(at)[0]
        text = self._text if len(self._text) <= 80 else f"{self._text[:77]}..."
        return ProjectError(f"{what} (character {place + 1} of {text!r})", where=self._where, fix=fix)


def _article(kind: Kind) -> str:
    return f"a {kind}"


def _depth(node: ast.AST) -> int:
    deepest, level = 0, [node]
    while level:
        deepest += 1
        level = [child for each in level for child in ast.iter_child_nodes(each)]
    return deepest
