"""Columns that know the answer."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from kaizen.core.errors import LeakageError
from kaizen.data.columns import columns_of, inputs_of
from kaizen.data.leaks import leaks, refuse


def _find(file, wanted=(), **columns):
    sql = duckdb.connect()
    sql.register("given", columns)
    sql.execute("CREATE TABLE rows AS SELECT * FROM given")
    return {
        leak.column: leak
        for leak in leaks(sql, "rows", inputs_of(columns_of(sql, file=file), file), file=file, wanted=wanted)
    }


@pytest.fixture
def noise():
    generator = np.random.default_rng(5)
    n = 4000
    x = generator.normal(size=n)
    return {
        "y": (x + 1.5 * generator.normal(size=n) > 1).astype(float),
        "x": x,
        "noise": generator.normal(size=n),
        "kind": np.array([f"k{k}" for k in generator.integers(0, 2000, n)], object),
        "gaps": np.where(generator.random(n) < 0.2, np.nan, 1.0),
    }


def test_useful_columns_are_not_accused(declare, noise):
    assert _find(declare(), **noise) == {}


def test_declared_outcomes_are_named_when_asked_for_and_refused(declare, noise):
    found = _find(declare(outcome=["noise"]), wanted=["x", "noise"], **noise)
    assert found["noise"].evidence == "declared"
    with pytest.raises(LeakageError, match="'noise' would not be known"):
        refuse(list(found.values()))
    assert _find(declare(outcome=["noise"]), wanted=["x"], **noise) == {}


def test_a_number_that_orders_the_answers_is_named(declare, noise):
    delay = noise["y"] * 30 + np.random.default_rng(0).normal(size=4000) * 8
    found = _find(declare(), delay=delay, **noise)
    assert list(found) == ["delay"]
    assert found["delay"].figure > 0.98


def test_a_number_that_knows_by_both_ends_is_named(declare, noise):
    sign = np.random.default_rng(0).choice([-1.0, 1.0], 4000)
    found = _find(declare(), swing=sign * (1 + noise["y"]) + 0.1 * noise["noise"], **noise)
    assert found["swing"].evidence == "predicts"


def test_a_category_that_knows_is_named_and_one_that_only_identifies_rows_is_not(declare, noise):
    status = np.where(noise["y"] > 0, "settled", "open").astype(object)
    found = _find(declare(), status=status, id=np.array([f"r{n}" for n in range(4000)], object), **noise)
    assert list(found) == ["status"]


def test_values_missing_only_with_one_answer_are_named(declare, noise):
    generator = np.random.default_rng(1)
    gone = (noise["y"] > 0) & (generator.random(4000) < 0.1)
    found = _find(declare(), landed=np.where(gone, np.nan, generator.normal(size=4000)), **noise)
    assert found["landed"].evidence == "missing"
    assert "answer is yes in 100.0%" in found["landed"].says


def test_a_few_missing_values_prove_nothing(declare, noise):
    rare = np.zeros(4000, bool)
    rare[np.flatnonzero(noise["y"])[:5]] = True
    assert _find(declare(), some=np.where(rare, np.nan, noise["noise"]), **noise) == {}


def test_the_target_again_is_named(declare, noise):
    assert _find(declare(), again=noise["y"].copy(), **noise)["again"].evidence == "equal"


def test_two_columns_that_add_up_to_the_target_are_named(declare):
    generator = np.random.default_rng(2)
    casual, member = generator.poisson(20, 3000).astype(float), generator.poisson(80, 3000).astype(float)
    columns = {"y": casual + member, "casual": casual, "member": member, "x": casual + generator.normal(size=3000)}
    found = _find(declare(task="regression"), **columns)
    assert {name: leak.evidence for name, leak in found.items()} == {"casual": "sum", "member": "sum"}


def test_an_easy_question_accuses_nobody(declare):
    generator = np.random.default_rng(3)
    y = (generator.random(3000) < 0.4).astype(float)
    columns = {f"x{k}": y * 2.2 + generator.normal(size=3000) for k in range(8)}  # each has an AUC of 0.94
    assert _find(declare(), y=y, **columns) == {}
