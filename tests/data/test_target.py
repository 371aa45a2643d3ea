"""The target as a number."""

from __future__ import annotations

import duckdb
import pytest

from kaizen.core.errors import DataError
from kaizen.data.target import target_of


def _of(values: str, file, kind: str = "VARCHAR"):
    sql = duckdb.connect()
    sql.execute(f"CREATE TABLE rows AS SELECT CAST(unnest([{values}]) AS {kind}) AS y")
    target = target_of(sql, file=file)
    return target, [value for (value,) in sql.execute(f"SELECT {target.sql} FROM rows").fetchall()]


@pytest.mark.parametrize(
    ("values", "kind", "positive", "numbers"),
    [
        ("true, false, NULL", "BOOLEAN", "true", [1, 0, None]),
        ("0, 1, 1, 1", "INTEGER", "1", [0, 1, 1, 1]),
        ("1, 2, 2", "DOUBLE", "1", [1, 0, 0]),
        ("'no', 'yes', 'yes', 'yes'", "VARCHAR", "yes", [0, 1, 1, 1]),
        ("' >50K', '<=50K.', '<=50K', '>50K.', '<=50K'", "VARCHAR", ">50K", [1, 0, 0, 1, 0]),
        ("'ham', 'spam', 'ham', ''", "VARCHAR", "spam", [0, 1, 0, None]),
        ("'F', 'T', 'T'", "VARCHAR", "T", [0, 1, 1]),
    ],
)
def test_two_labels_become_0_and_1(declare, values, kind, positive, numbers):
    target, found = _of(values, declare(), kind)
    assert target.positive == positive
    assert found == numbers
    assert target.missing == numbers.count(None)
    assert target.mean == pytest.approx(sum(n for n in numbers if n) / (len(numbers) - target.missing))
    assert target.column.type == "boolean"


def test_one_class_is_refused(declare):
    with pytest.raises(DataError, match="the class 'yes' only"):
        _of("'yes', 'yes', NULL", declare())
    with pytest.raises(DataError, match="no value at all"):
        _of("NULL, NULL", declare())


def test_three_classes_are_refused_with_what_to_do(declare):
    with pytest.raises(DataError, match="3 classes") as caught:
        _of("1, 2, 3", declare(), "INTEGER")
    assert 'task = "regression"' in caught.value.fix


def test_a_regression_needs_numbers_that_differ(declare):
    target, found = _of("1.5, NULL, 2.5", declare(task="regression"), "DOUBLE")
    assert (target.positive, target.missing, target.mean, found) == (None, 1, 2.0, [1.5, None, 2.5])
    with pytest.raises(DataError, match="needs numbers"):
        _of("'a', 'b'", declare(task="regression"))
    with pytest.raises(DataError, match="the value 3 only"):
        _of("3, 3", declare(task="regression"), "INTEGER")


def test_a_missing_target_names_the_nearest(declare):
    with pytest.raises(DataError, match="no column 'why'") as caught:
        _of("1, 0", declare(target="why"), "INTEGER")
    assert "'y'" in caught.value.fix or "known: y" in caught.value.fix
