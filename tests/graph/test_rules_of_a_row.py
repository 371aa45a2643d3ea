"""The rules of a row, one at a time and many at once: one answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaizen.core.records import Column
from kaizen.core.rules import Check, Rule, Rules, row_rules
from kaizen.graph.batch_check import BatchCheck
from kaizen.graph.frame import MISSING_TIME
from kaizen.graph.row_check import row_check

COLUMNS = (
    Column("size", "number"),
    Column("kind", "category"),
    Column("fee", "number"),
    Column("ok", "boolean"),
    Column("at", "time"),
    Column("note", "text"),
    Column("free", "number"),
)
RULES = Rules(
    rows=1000,
    task="classification",
    target="y",
    columns=(
        Rule(column="size", type="number", low=10.0, high=20.0, never_missing=True),
        Rule(column="kind", type="category", categories=("a", "b")),
        Rule(column="fee", type="number", min=0.0, declared=("range",)),
        Rule(column="ok", type="boolean", never_missing=True),
        Rule(column="at", type="time", never_missing=True),
        Rule(column="note", type="text", never_missing=True),
        Rule(column="free", type="number"),
        Rule(column="y", type="number", low=0.0, high=1.0),
    ),
    checks=(Check("fees", "fee <= size or kind == 'b'"),),
)
KINDS = [
    ("missing", "size"), ("extreme", "size"), ("range", "size"), ("categories", "kind"), ("range", "fee"),
    ("missing", "ok"), ("missing", "at"), ("missing", "note"), ("check", "fees"),
]  # fmt: skip


def one(size=15.0, kind="a", fee=1.0, ok=True, at=0, note="x", free=None):
    """Return the rules that a row breaks."""
    check = row_check(row_rules(RULES), COLUMNS)
    assert check is not None
    return [KINDS[number] for number in sorted(check([size, fee, ok, free], [at], [kind, note]))]


def test_the_rules_are_those_of_the_columns_and_then_the_checks():
    assert [(rule.kind, rule.name) for rule in row_rules(RULES)] == KINDS


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({}, []),
        ({"size": 30.0}, []),
        ({"size": 30.1}, [("range", "size")]),
        ({"size": -0.1, "fee": 0.0}, [("range", "size"), ("check", "fees")]),
        ({"size": 121.0}, [("extreme", "size")]),
        ({"size": None}, [("missing", "size")]),
        ({"size": math.nan}, [("missing", "size")]),
        ({"kind": "A"}, [("categories", "kind")]),
        ({"kind": ""}, []),
        ({"fee": -0.5}, [("range", "fee")]),
        ({"fee": None}, []),
        ({"fee": 16.0}, [("check", "fees")]),
        ({"fee": 16.0, "kind": "b"}, []),
        ({"ok": None, "at": MISSING_TIME, "note": ""}, [("missing", "ok"), ("missing", "at"), ("missing", "note")]),
    ],
)
def test_each_rule_finds_what_it_is_for(row, found):
    assert one(**row) == found


def test_nothing_to_check_is_no_check():
    rules = Rules(rows=1, task="classification", target="y", columns=(Rule(column="free", type="number"),))
    assert row_check(row_rules(rules), COLUMNS) is None
    assert row_check(row_rules(RULES), [Column("other", "number")]) is None


def test_the_rules_of_a_request_leave_out_what_it_does_not_carry():
    carried = RULES.of([Column("fee", "number"), Column("kind", "category")])
    assert [(rule.kind, rule.name) for rule in row_rules(carried)] == [("categories", "kind"), ("range", "fee")]


NUMBER = st.sampled_from([None, -1e9, -0.1, 0.0, 9.9, 10.0, 20.0, 30.0, 30.1, 120.0, 121.0, 1e300])
TEXT = st.sampled_from(["", "a", "b", "c", "é"])
ROW = st.tuples(
    NUMBER, TEXT, NUMBER, st.sampled_from([None, 0.0, 1.0]), st.sampled_from([0, MISSING_TIME]), TEXT, NUMBER
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=20))
def test_many_rows_at_once_give_the_same(rows):
    frame = {}
    for column, values in zip(COLUMNS, zip(*rows, strict=True), strict=True):
        kind = {"time": np.int64, "category": object, "text": object}.get(column.type, np.float64)
        frame[column.name] = np.array([math.nan if value is None else value for value in values], kind)
    found = BatchCheck(RULES).broken(frame)
    assert found.shape == (len(rows), len(KINDS))
    for mask, (size, kind, fee, ok, at, note, free) in zip(found, rows, strict=True):
        assert [KINDS[number] for number in np.flatnonzero(mask)] == one(size, kind, fee, ok, at, note, free)


def test_a_column_that_is_not_there_breaks_nothing():
    found = BatchCheck(RULES).broken({"fee": np.array([-1.0, 1.0])})
    assert [KINDS[number] for number in np.flatnonzero(found.any(axis=0))] == [("range", "fee")]
