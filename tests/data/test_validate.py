"""Rules from a reference, and what breaks them."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import numpy as np
import pytest

from kaizen.core.errors import DataError, ProjectError
from kaizen.core.projectfile import RuleSection
from kaizen.data.columns import columns_of
from kaizen.data.profile import profile
from kaizen.data.validate import broken, check, infer, refuse

GOOD = (
    "SELECT i AS id, random() * 100 AS n, CASE WHEN random() < .9 THEN random() END AS gaps,"
    " 'c' || CAST(floor(random() * 5) AS INTEGER) AS c, random() < .3 AS y,"
    " TIMESTAMP '2013-01-01' + to_seconds(i) AS t FROM range({first}, {last}) r(i)"
)


def _table(query: str, seed: float = 0.1):
    sql = duckdb.connect(config={"threads": 1})
    sql.execute(f"SELECT setseed({seed})")
    sql.execute(f"CREATE TABLE rows AS {query}")
    return sql


@pytest.fixture
def reference(declare):
    def rules(**data):
        file = declare(**({"time": "t"} | data))
        sql = _table(GOOD.format(first=0, last=5000))
        return infer(profile(sql, "rows", columns_of(sql, file=file)), file)

    return rules


def _broken(rules, change: str = "*", source: str | None = None, **words):
    source = source or GOOD.format(first=5000, last=7000)
    violations = check(_table(f"SELECT {change} FROM ({source})", 0.7), "rows", rules, **words)
    return {(violation.column, violation.rule): violation for violation in violations}


def test_new_rows_of_the_same_kind_break_nothing(reference):
    rules = reference()
    for seed in range(20):
        sql = _table(GOOD.format(first=5000, last=5000 + 100 * (seed + 1)), seed / 20)
        assert check(sql, "rows", rules) == []


def test_new_rows_of_heavy_tails_and_rare_categories_break_nothing(declare):
    generator = np.random.default_rng(7)
    sql = duckdb.connect()
    sql.register("a", {"n": generator.pareto(1.5, 20_000), "c": generator.zipf(1.6, 20_000).astype(str).astype(object)})
    sql.execute("CREATE TABLE rows AS SELECT * FROM a LIMIT 10000; CREATE TABLE later AS SELECT * FROM a OFFSET 10000")
    rules = infer(profile(sql, "rows", columns_of(sql, file=declare())), declare())
    assert [v.rule for v in check(sql, "later", rules) if v.rule != "extreme"] == []


@pytest.mark.parametrize(
    ("change", "column", "rule", "verdict"),
    [
        ("* EXCLUDE (n)", "n", "present", "fail"),
        ("* REPLACE ('x' || n AS n)", "n", "type", "fail"),
        ("* REPLACE (CASE WHEN id % 100 = 0 THEN 'oops' ELSE n::VARCHAR END AS n)", "n", "type", "fail"),
        ("* REPLACE ('soon' AS t)", "t", "type", "fail"),
        ("* REPLACE (n + 100 AS n)", "n", "range", "watch"),
        ("* REPLACE (CASE WHEN id = 5000 THEN 429491 ELSE n END AS n)", "n", "extreme", "watch"),
        ("* REPLACE (CASE WHEN random() < .3 THEN n END AS n)", "n", "missing", "watch"),
        ("* REPLACE (1 AS gaps)", "gaps", "missing", "ok"),
        ("* REPLACE (CASE WHEN id % 50 = 0 THEN 'new' ELSE c END AS c)", "c", "categories", "watch"),
        ("* REPLACE (id // 2 AS id)", "id", "unique", "watch"),
        ("* REPLACE (CASE WHEN id = 6000 THEN NULL ELSE t END AS t)", "t", "missing", "fail"),
        ("* REPLACE (t - to_seconds(9 * (id % 2)) AS t)", "t", "order", "watch"),
        ("* REPLACE (true AS y)", "y", "target", "fail"),
    ],
)
def test_each_rule_finds_what_it_is_for(reference, change, column, rule, verdict):
    found = _broken(reference(), change)
    if verdict == "ok":
        assert found == {}
        return
    assert set(found) == {(column, rule)}
    violation = found[column, rule]
    assert violation.verdict == verdict
    assert column in violation.says
    assert violation.rows > 0


def test_a_column_that_was_always_missing_and_now_has_values_is_reported(declare):
    file = declare()
    sql = _table("SELECT CAST(NULL AS VARCHAR) AS fee, random() < .5 AS y FROM range(10000)")
    rules = infer(profile(sql, "rows", columns_of(sql, file=file)), file)
    assert _broken(rules, source="SELECT CAST(NULL AS DOUBLE) AS fee, random() < .5 AS y FROM range(10000)") == {}
    found = _broken(
        rules, source="SELECT CASE WHEN random() < .4 THEN 2.5 END AS fee, random() < .5 AS y FROM range(10000)"
    )
    assert [(key, v.verdict) for key, v in found.items()] == [(("fee", "missing"), "watch")]


def test_declared_rules_are_taken_at_their_word(reference):
    rules = reference(
        rules={
            "n": RuleSection(min=0, max=99.9),
            "gaps": RuleSection(max_missing=0.01),
            "c": RuleSection(categories=["c0", "c1", "c2", "c3"]),
            "id": RuleSection(unique=False),
        }
    )
    found = _broken(rules, "* REPLACE (1 AS id)")
    assert {key: v.verdict for key, v in found.items()} == {
        ("n", "range"): "fail",
        ("gaps", "missing"): "fail",
        ("c", "categories"): "fail",
    }
    with pytest.raises(DataError, match=r"lie outside 0 to 99\.9"):
        refuse(list(found.values()))


def test_rows_that_are_too_old_fail(reference):
    rules = reference(max_age="1d")
    newest = datetime(2013, 1, 1, 1, 56, 39, tzinfo=UTC)
    assert _broken(rules, at=newest.replace(day=2)) == {}
    found = _broken(rules, at=newest.replace(day=3))
    assert [(key, v.verdict) for key, v in found.items()] == [(("t", "freshness"), "fail")]


def test_no_rows_fail(reference):
    assert set(_broken(reference(), source=GOOD.format(first=0, last=0))) == {("", "rows")}


def test_what_is_only_to_watch_is_not_refused(reference):
    refuse(list(_broken(reference(), "* REPLACE (n + 100 AS n)").values()))


def test_a_check_between_columns_is_taken_at_its_word(reference):
    rules = reference(checks={"small": "n < 99 or c == 'c0'", "late": "t >= '2013-01-01'", "sum": "n + gaps == n"})
    found = _broken(rules, "* REPLACE (CASE WHEN id = 5005 THEN 150 ELSE least(n, 90) END AS n, 'c1' AS c, 0 AS gaps)")
    small = found["small", "check"]
    assert (small.rows, small.verdict, small.expected) == (1, "fail", "n < 99 or c == 'c0'")
    assert small.says == "The check 'small' (n < 99 or c == 'c0') does not hold for 1 rows, such as c 'c1', n 150."
    assert ("sum", "check") not in found
    assert ("late", "check") not in found


def test_a_check_of_unknown_columns_names_the_nearest(reference):
    with pytest.raises(ProjectError, match=r"data\.checks\.small: there is no column 'm'"):
        _broken(reference(checks={"small": "m < 99"}))
    assert set(_broken(reference(checks={"small": "n < 999"}), "* EXCLUDE (n)")) == {("n", "present")}


def test_so_few_broken_rows_may_be_left_out(reference):
    change = "* REPLACE (CASE WHEN id = 5005 THEN -1 ELSE n END AS n)"
    data = {"rules": {"n": RuleSection(min=0)}, "checks": {"c": "n >= 0"}}
    verdicts = {key: v.verdict for key, v in _broken(reference(**data), change).items()}
    assert verdicts == {("n", "range"): "fail", ("c", "check"): "fail"}
    rules = reference(**data, max_broken=0.001)
    violations = _broken(rules, change)
    assert {key: v.verdict for key, v in violations.items()} == {("n", "range"): "watch", ("c", "check"): "watch"}
    assert violations["n", "range"].says.endswith("They are left out of what is learned from.")
    sql = _table(f"SELECT {change} FROM ({GOOD.format(first=5000, last=7000)})", 0.7)
    kept = sql.execute(f"SELECT count(*), min(n) >= 0 FROM rows WHERE NOT ({broken(sql, 'rows', rules)})").fetchone()
    assert kept == (1999, True)


def test_a_column_that_the_reference_lacks_is_named(reference):
    found = _broken(reference(ignore=["spare"]), "*, 1 AS extra, 2 AS spare")
    assert [(key, v.verdict, v.says) for key, v in found.items()] == [
        (("extra", "new"), "watch", "Column 'extra' is new: the reference lacks it.")
    ]


def test_late_rows_are_counted_and_are_no_error(reference):
    days = GOOD.format(first=5000, last=7000).replace("to_seconds(i)", "to_hours(i)")
    found = _broken(
        reference(), "* REPLACE (CASE WHEN id IN (5003, 5900) THEN t - INTERVAL 3 YEAR ELSE t END AS t)", days
    )
    late = found["t", "late"]
    assert (late.rows, late.verdict) == (2, "watch")
    assert late.says.startswith("2 rows lie outside 2013-07-")
