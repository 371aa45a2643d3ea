"""Fitting: defaults by type, encodings, ids, and modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kaizen.core.errors import FeatureError
from kaizen.core.records import Column
from kaizen.features import category, col, log, lookup, words
from kaizen.features.fit import defaults, definition_id, fit, load_module, required, transform
from kaizen.graph.frame import MISSING_TIME, Frame, take

COLUMNS = (
    Column("size", "number"),
    Column("open", "boolean"),
    Column("when", "time"),
    Column("kind", "category"),
    Column("note", "text"),
)


def table(n: int = 400) -> Frame:
    rng = np.random.default_rng(1)
    return {
        "size": np.where(rng.random(n) < 0.1, np.nan, rng.normal(5, 2, n)),
        "open": rng.integers(0, 2, n).astype(np.float64),
        "when": np.where(rng.random(n) < 0.1, MISSING_TIME, rng.integers(0, 2 * 10**15, n)),
        "kind": np.array([["a", "a", "b", "c"][i % 4] if i != 7 else "rare" for i in range(n)], np.object_),
        "note": np.array([["good day", "bad  day", "", "good good"][i % 4] for i in range(n)], np.object_),
    }


def test_every_type_has_a_default() -> None:
    fitted = fit(defaults(COLUMNS), COLUMNS, table(), encoding="codes", time_zone="UTC")
    calendar = [f"when_{part}{suffix}" for part in ("hour", "weekday", "month") for suffix in ("", "_sin", "_cos")]
    text = ["note_words", "note:good", "note:day", "note:bad"]
    assert [column.name for column in fitted.outputs] == ["size", "open", *calendar, "kind", *text]
    assert fitted.inputs == COLUMNS
    matrix = transform(fitted.graph, fitted.inputs, table())
    assert matrix.flags.c_contiguous
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix[:4, -4:], [[2, 1, 1, 0], [2, 0, 1, 1], [0, 0, 0, 0], [2, 2, 0, 0]])


def test_codes_rank_frequent_values_and_leave_the_rest() -> None:
    fitted = fit({"kind": col.kind}, COLUMNS, table(), encoding="codes", time_zone="UTC")
    assert fitted.outputs[0].categories == 3
    probe = {"kind": np.array(["a", "b", "c", "rare", "new", ""], np.object_)}
    assert transform(fitted.graph, fitted.inputs, probe)[:, 0].tolist() == [0, 1, 2, -1, -1, -1]


def test_dense_features_have_no_gaps_and_one_scale() -> None:
    fitted = fit(defaults(COLUMNS), COLUMNS, table(), encoding="dense", time_zone="UTC")
    names = [column.name for column in fitted.outputs]
    matrix = transform(fitted.graph, fitted.inputs, table())
    assert "size_missing" in names
    assert [name for name in names if name.startswith("kind")] == ["kind=a", "kind=b", "kind=c", "kind=other"]
    size = matrix[:, names.index("size")]
    assert abs(size.mean()) < 1e-12
    assert abs(size.std() - 1) < 1e-12
    extreme = {
        "size": np.array([np.nan, 1.7e308, -1.7e308]),
        "open": np.full(3, np.nan),
        "when": np.array([MISSING_TIME] * 3),
        "kind": np.array(["", "new", "a"], np.object_),
        "note": np.array(["", "x", "good"], np.object_),
    }
    assert np.isfinite(transform(fitted.graph, fitted.inputs, extreme)).all()


def test_what_is_fitted_comes_from_the_rows_given() -> None:
    first = take(table(), slice(0, 200))
    definition = {"size": col.size, "kind": col.kind}
    alone = fit(definition, COLUMNS, first, encoding="dense", time_zone="UTC")
    again = fit(definition, COLUMNS, take(table(), np.arange(200)), encoding="dense", time_zone="UTC")
    other = fit(definition, COLUMNS, table(), encoding="dense", time_zone="UTC")
    assert alone.graph == again.graph
    assert alone.graph != other.graph


def test_a_number_can_be_a_category() -> None:
    fitted = fit({"day": category(col.when.weekday())}, COLUMNS, table(), encoding="codes", time_zone="UTC")
    codes = transform(fitted.graph, fitted.inputs, table())[:, 0]
    assert fitted.outputs[0].categories == 7
    assert set(codes[table()["when"] == MISSING_TIME]) == {-1.0}


def test_the_graph_reads_only_what_the_definition_needs() -> None:
    definition = {"f": log(col.size), "w": words(col.note)}
    assert required(definition) == ("note", "size")
    fitted = fit(definition, COLUMNS, table(), encoding="codes", time_zone="UTC")
    assert [column.name for column in fitted.inputs] == ["size", "note"]


def test_an_id_follows_the_definition() -> None:
    assert definition_id({"f": log(col.size)}) == definition_id({"f": log(col.size)})
    assert definition_id({"f": log(col.size)}) != definition_id({"f": log(col.size) + 1})


def test_features_cannot_be_fitted_on_nothing_or_on_infinity() -> None:
    with pytest.raises(FeatureError, match="no rows"):
        fit({"f": col.size}, COLUMNS, take(table(), slice(0, 0)), encoding="codes", time_zone="UTC")
    with pytest.raises(FeatureError, match="column 'size' has infinite values"):
        fit({"f": col.size}, COLUMNS, table() | {"size": np.full(400, np.inf)}, encoding="codes", time_zone="UTC")
    with pytest.raises(FeatureError, match=r"feature 'f': there is no column 'sise'\n.*did you mean 'size'"):
        fit({"f": col.sise}, COLUMNS, table(), encoding="codes", time_zone="UTC")


def test_twins_are_refused() -> None:
    with pytest.raises(FeatureError, match="2 features are named 'when_hour'"):
        fit({"when": col.when, "when_hour": col.size}, COLUMNS, table(), encoding="codes", time_zone="UTC")


def test_a_big_look_up_is_one_table() -> None:
    keys = np.array([f"K{i}" for i in range(5000)], np.object_)
    tables = {"big": {"kind": keys, "value": np.arange(5000.0)}}
    frame = {"kind": keys[::-1].copy()}
    definition = {"v": lookup("big", "value", by=col.kind), "is": col.kind == "K3"}
    fitted = fit(definition, COLUMNS, frame, encoding="codes", time_zone="UTC", tables=tables)
    matrix = transform(fitted.graph, fitted.inputs, frame)
    np.testing.assert_array_equal(matrix[:, 0], np.arange(5000.0)[::-1])
    assert matrix[:, 1].sum() == 1
    assert len(fitted.graph) < 200_000


def test_a_module_declares_features(tmp_path: Path) -> None:
    file = tmp_path / "features.py"
    file.write_text("from kaizen.features import col, log\nFEATURES = {'f': log(col.size)}\n")
    assert definition_id(load_module(file)) == definition_id({"f": log(col.size)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (", r"features\.py:1: is not Python"),
        ("import math\n\n1 / 0\n", r"features\.py:3: ZeroDivisionError"),
        ("from kaizen.features import col\nif col.x > 1:\n    pass\n", r"features\.py:2: .*no truth value"),
        ("x = 1\n", r"features\.py: declares no FEATURES"),
        ("FEATURES = {'f': 3}\n", r"features\.py: FEATURES: 'f' is 3, no expression"),
    ],
)
def test_a_module_that_is_wrong_says_where(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "features.py"
    file.write_text(text)
    with pytest.raises(FeatureError, match=message):
        load_module(file)


def test_a_column_that_was_constant_does_not_blow_up_when_it_moves():
    """sin and cos of a month that never changed have a deviation of 1e-17, which must not be divided by."""
    january, march = 1_767_225_600_000_000, 1_772_323_200_000_000
    columns = (Column("at", "time"),)
    frame = {"at": january + np.arange(100, dtype=np.int64) * 3_600_000_000}
    places = {"sin": col.at.month().sin(12), "cos": col.at.month().cos(12)}
    fitted = fit(places, columns, frame, encoding="dense", time_zone="UTC")
    moved = transform(fitted.graph, fitted.inputs, {"at": np.array([march])})
    assert np.abs(moved).max() < 10


@pytest.mark.parametrize(("days", "is_there"), [(300, False), (360, True)])
def test_a_month_is_read_by_itself_only_where_rows_have_all_twelve(days: int, is_there: bool) -> None:
    columns = (Column("at", "time"),)
    at = 1_767_225_600_000_000 + np.arange(days, dtype=np.int64) * 86_400_000_000
    fitted = fit(defaults(columns), columns, {"at": np.append(at, MISSING_TIME)}, encoding="dense", time_zone="UTC")
    names = {column.name for column in fitted.outputs}
    assert ("at_month_sin" in names) is is_there
    assert "at_weekday" in names


def test_a_column_that_is_called_is_explained() -> None:
    with pytest.raises(FeatureError, match=r'col\["age"\]'):
        col("age")
