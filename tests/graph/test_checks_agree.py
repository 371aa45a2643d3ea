"""One check, three translations: SQL, arrays and Python find the same rows, whatever is in them.

A fourth reading, plain three-valued logic on the syntax tree, says what is right.
"""

from __future__ import annotations

import ast
import math
import operator

import duckdb
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kaizen.core.checks import broken
from kaizen.core.records import Column
from kaizen.core.rules import RowRule
from kaizen.data.check_sql import broken_sql
from kaizen.graph.check_arrays import broken_rows
from kaizen.graph.frame import MISSING_TIME
from kaizen.graph.row_check import row_check

COLUMNS = (
    Column("a", "number"),
    Column("b", "number"),
    Column("c c", "number"),
    Column("yes", "boolean"),
    Column("s", "category"),
    Column("t", "text"),
    Column("u", "time"),
    Column("v", "time"),
)
HUGE = 1.7976931348623157e308
NUMBERS = st.sampled_from(
    [None, 0.0, -0.0, 0.1, 0.2, 0.3, 0.1 + 0.2, 1.0, -1.0, 2.0, 1e-300, 5e-324, 1e16, HUGE, -HUGE]
)
TEXTS = st.sampled_from(["", "x", "y", "é", "X y", "0", "'"])
TIMES = st.sampled_from([None, 0, 1, -1, 1_514_764_800_000_000, 1_514_764_800_000_001, 2**62, -(2**62)])
ROWS = st.lists(
    st.tuples(NUMBERS, NUMBERS, NUMBERS, st.sampled_from([None, 0.0, 1.0]), TEXTS, TEXTS, TIMES, TIMES),
    min_size=1,
    max_size=12,
)


def _numbers(inner):
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda x: f"({x[0]} {x[1]} {x[2]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda x: f"{x[0]}({x[1]}, {x[2]})"),
        inner.map(lambda x: f"abs({x})"),
        inner.map(lambda x: f"-{x}"),
    )


NUMBER = st.recursive(
    st.sampled_from(["a", "b", "`c c`", "0", "0.3", "1", "3", "1e308", "yes", "(u - v)"]), _numbers, max_leaves=4
)
TEXT, TIME = st.sampled_from(["s", "t", "'x'", "'é'"]), st.sampled_from(["u", "v", "'2018-01-01'"])
OPERATOR = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
ATOM = st.one_of(
    st.tuples(NUMBER, OPERATOR, NUMBER).map(" ".join),
    st.tuples(NUMBER, OPERATOR, NUMBER, OPERATOR, NUMBER).map(" ".join),
    st.tuples(TEXT, OPERATOR, TEXT).map(" ".join),
    st.tuples(st.sampled_from("uv"), OPERATOR, TIME).map(" ".join),
    st.tuples(NUMBER, st.sampled_from([" in ", " not in "])).map(lambda x: f"{x[0]}{x[1]}(0, 0.3, 1)"),
    st.tuples(st.sampled_from("st"), st.sampled_from([" in ", " not in "])).map(lambda x: f"{x[0]}{x[1]}('x', 'é')"),
    st.tuples(st.one_of(NUMBER, TEXT, TIME), st.sampled_from([" is missing", " is not missing"])).map("".join),
    st.just("yes"),
)
CHECK = st.recursive(
    ATOM,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map(lambda x: f"({x[0]}{x[1]}{x[2]})"),
        inner.map(lambda x: f"not ({x})"),
    ),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def sql():
    connection = duckdb.connect(config={"threads": 1})
    kinds = {"number": "DOUBLE", "boolean": "DOUBLE", "time": "BIGINT"}
    fields = ", ".join(f'"{column.name}" {kinds.get(column.type, "VARCHAR")}' for column in COLUMNS)
    connection.execute(f"CREATE TABLE rows (n INTEGER, {fields})")
    return connection


def by_sql(connection, condition, rows):
    connection.execute("DELETE FROM rows")
    connection.executemany(
        f"INSERT INTO rows VALUES ({', '.join('?' * 9)})",
        [(n, *(None if value == "" else value for value in row)) for n, row in enumerate(rows)],
    )
    predicate = broken_sql(condition, {column.name: f'"{column.name}"' for column in COLUMNS})
    found = connection.execute(f"SELECT {predicate} FROM rows ORDER BY n").fetchall()
    return [value for (value,) in found]


def by_arrays(condition, rows):
    frame = {}
    for column, values in zip(COLUMNS, zip(*rows, strict=True), strict=True):
        if column.type in ("number", "boolean"):
            frame[column.name] = np.array([math.nan if value is None else value for value in values])
        elif column.type == "time":
            frame[column.name] = np.array([MISSING_TIME if value is None else value for value in values], np.int64)
        else:
            frame[column.name] = np.array(values, object)
    return broken_rows(condition, frame).tolist()


def by_python(condition, rows):
    rule = RowRule("check", "it", tuple(column.name for column in COLUMNS), True, broken=condition)
    check = row_check([rule], COLUMNS)
    return [
        bool(check(list(row[:4]), [MISSING_TIME if time is None else time for time in row[6:]], list(row[4:6])))
        for row in rows
    ]


# What is right: three-valued logic on the syntax tree, where None is unknown.

COMPARE = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
SUM = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


class Right:
    """Reads a check on one row."""

    def __init__(self, row):
        self.row = dict(zip((column.name.replace(" ", "_") for column in COLUMNS), row, strict=True))

    def broken(self, text):
        return self.truth(ast.parse(text.replace("`c c`", "c_c"), mode="eval").body) is False

    def truth(self, node):
        if isinstance(node, ast.BoolOp):
            found = [self.truth(each) for each in node.values]
            decisive = isinstance(node.op, ast.Or)
            return decisive if decisive in found else None if None in found else not decisive
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            found = self.truth(node.operand)
            return None if found is None else not found
        if isinstance(node, ast.Name):
            return None if self.row[node.id] is None else bool(self.row[node.id])
        found, left = [], node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            found.append(self.compared(left, op, right))
            left = right
        return False if False in found else None if None in found else True

    def compared(self, left, op, right):
        value = self.value(left)
        known = value is not None and value != "" and not (isinstance(value, float) and not math.isfinite(value))
        if isinstance(op, ast.Is | ast.IsNot):
            return known == isinstance(op, ast.IsNot)
        if isinstance(op, ast.In | ast.NotIn):
            return (value in ast.literal_eval(right)) == isinstance(op, ast.In) if known else None
        other = self.value(right)
        if isinstance(value, str) and isinstance(other, int):
            value = 1_514_764_800_000_000
        if isinstance(other, str) and isinstance(value, int):
            other = 1_514_764_800_000_000
        if value in (None, "") or other in (None, ""):
            return None
        if not isinstance(value, float):
            return COMPARE[type(op)](value, other)
        apart = value - other
        if not math.isfinite(apart):
            return None
        if abs(apart) <= 1e-9 * max(map(abs, [*self.terms(left), *self.terms(right)])):
            apart = 0.0
        return COMPARE[type(op)](apart, 0.0)

    def terms(self, node):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub) and not self.is_time(node.left):
            return [*self.terms(node.left), *self.terms(node.right)]
        return [self.value(node)]

    def is_time(self, node):
        return isinstance(node, ast.Name) and node.id in "uv"

    def value(self, node):
        if isinstance(node, ast.Name):
            return self.row[node.id]
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else float(node.value)
        if isinstance(node, ast.Call):
            return self.called(node)
        if isinstance(node, ast.UnaryOp):
            found = self.value(node.operand)
            return None if found is None else -found
        left, right = self.value(node.left), self.value(node.right)
        if left is None or right is None:
            return None
        if self.is_time(node.left):
            return (float(left) - float(right)) / 1e6
        if not isinstance(node.op, ast.Div):
            return SUM[type(node.op)](left, right)
        with np.errstate(all="ignore"):
            return float(np.float64(left) / np.float64(right))

    def called(self, node):
        found = [self.value(each) for each in node.args]
        if node.func.id == "abs":
            return None if found[0] is None else abs(found[0])
        if any(value is None or not math.isfinite(value) for value in found):
            return None
        return (min if node.func.id == "min" else max)(found)


@settings(max_examples=250, deadline=None)
@given(text=CHECK, rows=ROWS)
def test_three_translations_find_the_same_rows(sql, text, rows):
    tree = ast.walk(ast.parse(text.replace("`c c`", "a")))
    assume(any(isinstance(node, ast.Name) and node.id in ("a", "b", "yes", "s", "t", "u", "v") for node in tree))
    condition = broken(text, COLUMNS)
    right = [Right(row).broken(text) for row in rows]
    assert by_arrays(condition, rows) == right
    assert by_python(condition, rows) == right
    assert by_sql(sql, condition, rows) == right


NEARLY = st.tuples(
    st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from([0.0, 1e-16, -3e-10, 9e-10, 2e-9, -1e-8])
)


@settings(max_examples=60, deadline=None)
@given(op=OPERATOR, pairs=st.lists(NEARLY, min_size=1, max_size=30))
def test_they_agree_on_what_is_nearly_equal(sql, op, pairs):
    rows = [(a, b, (a + b) + e * max(abs(a), abs(b)), None, "", "", None, None) for a, b, e in pairs]
    text = f"a + b {op} `c c`"
    right = [Right(row).broken(text) for row in rows]
    condition = broken(text, COLUMNS)
    assert by_arrays(condition, rows) == by_python(condition, rows) == by_sql(sql, condition, rows) == right
