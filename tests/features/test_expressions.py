"""Declared expressions: what the graph answers, against what is written here by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from kaizen.core.errors import FeatureError
from kaizen.core.records import Column
from kaizen.features import (
    Expression,
    bucketise,
    clip,
    col,
    cross,
    exp,
    fill_missing,
    hours_between,
    is_missing,
    log,
    log1p,
    lookup,
    maximum,
    minimum,
    ratio,
    seconds_between,
    sqrt,
    where,
)
from kaizen.features.fit import fit, transform
from kaizen.graph.frame import Frame, empty, from_rows
from kaizen.graph.frame import feeds as pack
from kaizen.graph.rows import parse_time
from kaizen.graph.run import Session, in_chunks

NAN = math.nan
COLUMNS = (
    Column("x", "number"),
    Column("y", "number"),
    Column("open", "boolean"),
    Column("kind", "category"),
    Column("other", "category"),
    Column("start", "time"),
    Column("end", "time"),
)
ROWS: list[dict[str, Any]] = [
    {"x": 1.0, "y": 2.0, "open": True, "kind": "a", "other": "a", "start": "2020-01-01", "end": "2020-01-02"},
    {"x": -4.0, "y": 0.0, "open": False, "kind": "b", "other": "a", "start": "1969-12-31", "end": "1969-12-30T12:00"},
    {"x": None, "y": 3.0, "open": None, "kind": None, "other": "b", "start": None, "end": "2020-01-01"},
    {"x": 0.0, "y": None, "open": True, "kind": "z", "other": None, "start": "2020-07-01", "end": None},
]
FRAME = from_rows(COLUMNS, ROWS)
TABLES: dict[str, Frame] = {
    "kinds": {
        "kind": np.array(["a", "b", ""], np.object_),
        "price": np.array([10.0, NAN, 99.0]),
        "label": np.array(["cheap", "", "never"], np.object_),
    },
    "sizes": {"x": np.array([1.0, -4.0]), "price": np.array([5.0, 6.0]), "label": np.array(["s", "l"], np.object_)},
}


def answer(expression: Expression, frame: Frame = FRAME) -> list[float]:
    fitted = fit({"f": expression}, COLUMNS, frame, encoding="codes", time_zone="UTC", tables=TABLES)
    table: list[float] = transform(fitted.graph, fitted.inputs, frame)[:, 0].tolist()
    return table


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (col.x + col.y, [3, -4, NAN, NAN]),
        (1 - col.x, [0, 5, NAN, 1]),
        (col.x * 2 - col.y, [0, -8, NAN, NAN]),
        (col.x / col.y, [0.5, NAN, NAN, NAN]),
        (ratio(1, col.x), [1, -0.25, NAN, NAN]),
        (col.x / 0, [NAN, NAN, NAN, NAN]),
        (col.x / 4, [0.25, -1, NAN, 0]),
        (col.x / 1e-300 / 1e-300, [NAN, NAN, NAN, 0]),
        (col.x * 1e308 * 10, [NAN, NAN, NAN, 0]),
        (-col.x, [-1, 4, NAN, 0]),
        (abs(col.x), [1, 4, NAN, 0]),
        (sqrt(col.x), [1, NAN, NAN, 0]),
        (log(col.x), [0, NAN, NAN, NAN]),
        (log1p(col.x), [math.log(2), NAN, NAN, 0]),
        (exp(col.x), [math.e, math.exp(-4), NAN, 1]),
        (minimum(col.x, col.y), [1, -4, NAN, NAN]),
        (maximum(col.x, 0.5), [1, 0.5, NAN, 0.5]),
        (clip(col.x, -1, 0.5), [0.5, -1, NAN, 0]),
        (bucketise(col.x, [-4, 0, 1]), [3, 1, NAN, 2]),
        (bucketise(col.y, [2.5]), [0, 0, 1, NAN]),
        (col.x > 0, [1, 0, NAN, 0]),
        (col.x >= 0, [1, 0, NAN, 1]),
        (col.x < 0, [0, 1, NAN, 0]),
        (col.x <= 0, [0, 1, NAN, 1]),
        (col.x == 0, [0, 0, NAN, 1]),
        (col.x != 0, [1, 1, NAN, 0]),
        (col.x < col.y, [1, 1, NAN, NAN]),
        (col.x >= col.y, [0, 0, NAN, NAN]),
        (col.x == col.x, [1, 1, NAN, 1]),
        (col.x.is_in([1, 0]), [1, 0, NAN, 1]),
        ((col.x > 0) & col.open, [1, 0, NAN, 0]),
        ((col.x > 0) | col.open, [1, 0, NAN, 1]),
        (~col.open, [0, 1, NAN, 0]),
        (~(col.x), [0, 0, NAN, 1]),
        (where(col.open, col.x, col.y), [1, 0, NAN, 0]),
        (where(col.x > 0, 7, 8), [7, 8, NAN, 8]),
        (is_missing(col.x), [0, 0, 1, 0]),
        (is_missing(col.kind), [0, 0, 1, 0]),
        (is_missing(col.start), [0, 0, 1, 0]),
        (fill_missing(col.x, 9), [1, -4, 9, 0]),
        (fill_missing(col.x, col.y), [1, -4, 3, 0]),
        (col.kind == "a", [1, 0, NAN, 0]),
        (col.kind != "a", [0, 1, NAN, 1]),
        (col.kind == col.other, [1, 0, NAN, NAN]),
        (col.kind.is_in(["a", "z"]), [1, 0, NAN, 1]),
        (seconds_between(col.start, col.end), [86_400, -43_200, NAN, NAN]),
        (hours_between(col.start, col.end), [24, -12, NAN, NAN]),
        (col.start.weekday(), [2, 2, NAN, 2]),
        (col.start.month().sin(12), [0.5, 0, NAN, -0.5]),
        (col.start.month().cos(12), [math.sqrt(0.75), 1, NAN, -math.sqrt(0.75)]),
        (lookup("kinds", "price", by=col.kind), [10, NAN, NAN, NAN]),
        (lookup("kinds", "price", by=col.other, key="kind"), [10, 10, NAN, NAN]),
        (lookup("sizes", "price", by=col.x), [5, 6, NAN, NAN]),
        (lookup("kinds", "label", by=col.kind) == "cheap", [1, NAN, NAN, NAN]),
        (lookup("kinds", "label", by=col.kind), [0, -1, -1, -1]),
        (cross(col.kind, col.other), [1, 2, 0, 3]),
        (col.other, [0, 0, 1, -1]),
        (col.open, [1, 0, NAN, 1]),
    ],
    ids=repr,
)
def test_an_expression_means_what_it_says(expression: Expression, expected: list[float]) -> None:
    is_wave = ".sin(" in repr(expression) or ".cos(" in repr(expression)  # rounded to 40 bits, to be equal everywhere
    error = 2.0**-41 if is_wave else 1e-15
    assert_allclose(answer(expression), expected, rtol=error, atol=error)


def test_equal_angles_give_equal_bits() -> None:
    """cos of month 4 and of month 8 are both -1/2; unrounded they differ in the last bit, and a tree splits there."""
    april, august = 1_364_774_400_000_000, 1_375_315_200_000_000
    columns = (Column("at", "time"),)
    fitted = fit({"c": col.at.month().cos(12)}, columns, {"at": np.array([april])}, encoding="codes", time_zone="UTC")
    answers = transform(fitted.graph, columns, {"at": np.array([april, august])})
    assert answers[0, 0] == answers[1, 0]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (col.kind + 1, "a number is needed here, and col.kind is a string"),
        (col.x.hour(), "needs a time column, and col.x is none"),
        (col.x == "a", "col.x is no string"),
        (col.missing, "there is no column 'missing'"),
        (lookup("kind", "price", by=col.kind), "there is no table 'kind'\n.*did you mean 'kinds'"),
        (lookup("kinds", "prize", by=col.kind), "no column 'prize'\n.*did you mean 'price'"),
        (lookup("kinds", "price", by=col.x, key="kind"), "of different types"),
        (where(col.kind, 1, 2), "a number is needed"),
    ],
    ids=repr,
)
def test_what_makes_no_sense_is_refused_by_name(expression: Expression, message: str) -> None:
    with pytest.raises(FeatureError, match=rf"(?s)feature 'f': .*{message}"):
        answer(expression)


def test_a_declaration_has_no_truth_value_and_takes_no_infinity() -> None:
    with pytest.raises(FeatureError, match="no truth value"):
        bool(col.x > 1)
    with pytest.raises(FeatureError, match="finite number"):
        col.x + math.inf
    with pytest.raises(FeatureError, match="ascend"):
        bucketise(col.x, [2, 1])


def test_a_look_up_needs_unique_keys() -> None:
    twice = {"kinds": {"kind": np.array(["a", "a"], np.object_), "price": np.array([1.0, 2.0])}}
    with pytest.raises(FeatureError, match="key 'a' more than once"):
        fit(
            {"f": lookup("kinds", "price", by=col.kind)},
            COLUMNS,
            FRAME,
            encoding="codes",
            time_zone="UTC",
            tables=twice,
        )


finite = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))


@given(x=finite, y=finite)
def test_no_finite_input_gives_an_infinite_feature(x: float | None, y: float | None) -> None:
    row = ROWS[0] | {"x": x, "y": y}
    assert not np.isinf(OUTPUT_OF(row)).any()


def _everything() -> Any:
    definition = {
        "ratio": col.x / col.y,
        "sum": col.x + col.y * col.x,
        "log": log(abs(col.x)),
        "exp": exp(col.x),
        "third": col.x / 3 - col.y,
        "clip": clip(col.x - col.y, -1e308, 1e308),
        "inverse": 1 / (1 / col.x),
    }
    fitted = fit(definition, COLUMNS, FRAME, encoding="codes", time_zone="UTC")
    return lambda row: transform(fitted.graph, fitted.inputs, from_rows(COLUMNS, [row]))


OUTPUT_OF = _everything()


def test_answers_do_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(0)
    n = 331
    frame: Frame = {
        "x": np.exp(rng.normal(size=n)),
        "y": rng.normal(size=n),
        "open": rng.integers(0, 2, n).astype(float),
        "kind": rng.choice(np.array(["a", "b", "c", ""], np.object_), n),
        "other": rng.choice(np.array(["a", "b", ""], np.object_), n),
        "start": rng.integers(0, parse_time("2030-01-01"), n),
        "end": rng.integers(0, parse_time("2030-01-01"), n),
    }
    definition = {
        "log": log(col.x),
        "exp": exp(col.y),
        "ratio": col.x / col.y,
        "sin": col.start.hour().sin(24),
        "kind": col.kind,
        "when": col.end,
        "cross": cross(col.kind, col.other),
    }
    for encoding in ("codes", "dense"):
        fitted = fit(definition, COLUMNS, frame, encoding=encoding, time_zone="Europe/Zurich")
        session, feeds = Session(fitted.graph), pack(fitted.inputs, frame)
        whole = session.run(feeds)
        for rows in (1, 7, 64):
            assert_array_equal(in_chunks(session, feeds, rows), whole)
    assert_array_equal(transform(session, fitted.inputs, frame), whole)


def test_a_frame_without_rows_gives_a_table_without_rows() -> None:
    fitted = fit({"x": col.x, "kind": col.kind}, COLUMNS, FRAME, encoding="codes", time_zone="UTC")
    assert transform(fitted.graph, fitted.inputs, empty(COLUMNS)).shape == (0, 2)
