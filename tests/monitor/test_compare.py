"""Two tables: hardly a false page whatever the sizes, true changes named, and odd tables refused or passed over."""

import duckdb
import numpy as np
import pytest

import kaizen
from kaizen.core.errors import DataError


def arrays(rng, rows, shift=0.0):
    size = rng.normal(10 + shift, 2, rows)
    return {
        "size": size,
        "price": rng.lognormal(3, 0.5, rows),
        "kind": rng.choice(np.array(["a", "b", "c"], object), rows, p=[0.6, 0.3, 0.1]),
        "member": rng.random(rows) < 0.4,
        "id": np.arange(rows) + int(shift * 1000) + 10**6,
    }


def by_name(found):
    return {column.name: column for column in found.columns}


@pytest.mark.slow
@pytest.mark.parametrize("rows", [10, 40, 200, 1500])
def test_two_halves_of_one_table_do_not_page(rows):
    pages = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        pages += kaizen.compare(arrays(rng, 3000), arrays(rng, rows)).page
    assert pages == 0


@pytest.mark.slow
@pytest.mark.parametrize("rows", [20, 100, 500, 2000])
def test_fifty_columns_without_change_page_in_at_most_one_comparison_of_a_hundred(rows):
    rng, pages = np.random.default_rng(1), 0
    shared = 0.7
    for _ in range(40):
        tables = []
        for count in (3000, rows):
            common = rng.standard_normal((count, 1)) * shared
            both = common + rng.standard_normal((count, 50)) * np.sqrt(1 - shared**2)
            tables.append({f"x{place}": both[:, place] for place in range(50)})
        pages += kaizen.compare(*tables).page
    assert pages <= 2  # three standard deviations of a Poisson law above 0.4


def test_a_shift_pages_with_both_keys_and_says_why():
    rng = np.random.default_rng(2)
    found = kaizen.compare(arrays(rng, 3000), arrays(rng, 1500, shift=1.0))
    assert found.page
    size = by_name(found)["size"]
    assert [column.name for column in found.columns if column.page] == ["size"]
    assert size.evidence >= size.limit
    assert size.effect >= size.matters == 0.112
    assert size.why.startswith("size lies 0.")
    assert found.columns[0] is size
    assert found.findings[0].verdict == "page"
    assert found.findings[0].subject == "size"


def test_a_number_of_the_row_is_not_compared():
    rng = np.random.default_rng(3)
    column = by_name(kaizen.compare(arrays(rng, 3000), arrays(rng, 1500, shift=1.0)))["id"]
    assert not column.page
    assert "numbers the rows" in column.why


def test_orders_that_only_grow_are_counters_though_they_repeat():
    rng = np.random.default_rng(4)
    old, new = arrays(rng, 3000), arrays(rng, 1500)
    old["id"], new["id"] = np.arange(3000) // 3, 1000 + np.arange(1500) // 3
    assert not kaizen.compare(old, new).page


def test_too_few_rows_say_what_they_could_have_shown():
    rng = np.random.default_rng(5)
    size = by_name(kaizen.compare(arrays(rng, 3000), arrays(rng, 30, shift=1.0)))["size"]
    assert not size.page
    assert size.detectable > 0.3


def test_how_columns_go_together_pages_where_none_does_by_itself():
    rng = np.random.default_rng(6)

    def rows(count, sign):
        x = rng.standard_normal(count)
        y = sign * 0.95 * x + np.sqrt(1 - 0.95**2) * rng.standard_normal(count)
        return {"x": x, "y": y, "z": rng.standard_normal(count)}

    found = kaizen.compare(rows(3000, 1), rows(3000, -1))
    assert found.page
    assert not any(column.page for column in found.columns)
    assert found.together.joint.auc > 0.8
    assert set(list(found.together.joint.importance)[:2]) == {"x", "y"}
    assert found.together.joint.mmd_p_value < 0.05
    assert found.together.joint.reconstruction > 0.3
    calm = kaizen.compare(rows(3000, 1), rows(3000, 1))
    assert not calm.page
    assert calm.together.joint.auc < 0.55
    assert calm.together.joint.mmd_p_value > 0.01


def test_columns_that_are_gone_new_or_of_another_type(tmp_path):
    rng = np.random.default_rng(7)
    old, new = arrays(rng, 800), arrays(rng, 800)
    del new["price"]
    new["size"] = np.array([f"{value:.2f}{' kg' * (at % 2)}" for at, value in enumerate(new["size"])], object)
    new["extra"] = np.ones(800)
    found = by_name(kaizen.compare(old, new))
    assert found["price"].page
    assert found["price"].missing == (0.0, 1.0)
    assert found["size"].page
    assert found["size"].missing[1] == 0.5
    assert "extra" not in found


def test_a_column_that_had_no_value_has_one_now():
    rng = np.random.default_rng(8)
    old, new = arrays(rng, 800), arrays(rng, 800)
    old["fee"], new["fee"] = np.full(800, np.nan), np.full(800, 2.5)
    column = by_name(kaizen.compare(old, new))["fee"]
    assert column.page
    assert column.cause == "missing"


def test_nothing_in_common_with_an_empty_table(tmp_path):
    (tmp_path / "empty.csv").write_text("a,b\n")
    with pytest.raises(DataError, match="has no rows"):
        kaizen.compare({"a": np.ones(5)}, tmp_path / "empty.csv")
    with pytest.raises(DataError, match="no such file"):
        kaizen.compare(tmp_path / "none.csv", {"a": np.ones(5)})
    with pytest.raises(DataError, match="no column of times"):
        kaizen.compare({"a": np.ones(5)}, {"a": np.ones(5)}, time="a")
    with pytest.raises(DataError, match="no column 'x' to ignore"):
        kaizen.compare({"a": np.ones(5)}, {"a": np.ones(5)}, ignore=("x",))


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_handful_of_rows_and_odd_values_are_survived(rows):
    odd = {
        "constant": np.ones(rows),
        "nothing": np.full(rows, np.nan),
        "huge": np.array([1e300, -1e300, np.inf, 0.0, 5e-324])[:rows],
        "label": np.array(["", "x", "é", "'", "x"], object)[:rows],
    }
    assert not kaizen.compare(odd, odd).page


def test_lists_and_structures_are_passed_over(tmp_path):
    path = tmp_path / "nested.parquet"
    duckdb.sql(f"COPY (SELECT range AS n, [range, 2] AS list, {{'a': 1}} AS inner FROM range(50)) TO '{path}'")
    found = by_name(kaizen.compare(path, path))
    assert "is not compared" in found["list"].why
    assert not found["inner"].page


def test_days_that_are_alike_are_allowed_for():
    def weather(seed, days, first):
        rng = np.random.default_rng(seed)
        day = np.repeat(np.arange(days), 100)
        stamp = (np.datetime64("2024-01-01", "us") + (first + day) * np.timedelta64(1, "D")).astype("datetime64[us]")
        warmth = np.repeat(rng.standard_normal(days), 100) + 0.3 * rng.standard_normal(days * 100)
        return {"at": stamp, "warmth": warmth}

    pages = [kaizen.compare(weather(seed, 60, 0), weather(seed + 100, 7, 60)).page for seed in range(8)]
    assert sum(pages) == 0
    found = kaizen.compare(weather(1, 60, 0), weather(2, 7, 60))
    assert found.time == "at"
