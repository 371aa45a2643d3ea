"""What the pairs of a column say: how many differ, how sure that is, and in which words."""

import numpy as np
import pytest

from kaizen.core.records import Column
from kaizen.monitor.skew.causes import Cause
from kaizen.monitor.skew.skew import LIMIT, MATTERS, Counted, Example, findings, judged, judged_apart
from tests.monitor.days import stamp
from tests.monitor.served import BEGIN

PRICE = Column("price", "number")


def counted(**changed):
    values = {
        "pairs": 1000,
        "differ": 0,
        "served_missing": 0,
        "source_missing": 0,
        "served_any": 1000,
        "source_any": 990,
    }
    return Counted(column=PRICE, stored="DOUBLE", **{**values, **changed})


def told(columns, **options):
    return findings(columns, "All were joined.", rows=1000, start=BEGIN, end=BEGIN, stamp=stamp, **options)


@pytest.mark.parametrize(
    ("pairs", "differ", "verdict"),
    [
        (1000, 0, "ok"),
        (1000, 10, "ok"),
        (1000, 26, "watch"),
        (10, 1, "ok"),
        (10, 3, "watch"),
        (0, 0, "ok"),
        (10**6, 9999, "ok"),
    ],
)
def test_two_keys_must_turn(pairs, differ, verdict):
    seen = judged(counted(pairs=pairs, differ=differ), None, ())
    assert seen.verdict == verdict
    assert (seen.evidence >= LIMIT and seen.share >= MATTERS) == (verdict == "watch")
    assert seen.low <= seen.share <= seen.high
    if verdict == "watch":
        assert seen.share >= seen.detectable


def test_a_column_that_is_never_there_on_one_side_is_said_however_few_the_rows():
    assert (
        judged(counted(pairs=3, served_any=0, source_any=3, differ=3), None, ()).cause
        == "it is always missing in serving"
    )
    assert (
        judged(counted(pairs=3, served_any=3, source_any=0, differ=3), None, ()).cause
        == "it is always missing in the table"
    )
    gone = judged(Counted(column=PRICE, stored=None, pairs=0, differ=0, served_missing=0, source_missing=0,
        served_any=0, source_any=0), None, ())  # fmt: skip
    assert (gone.verdict, gone.says) == ("watch", "price is no column of the table.")


def test_it_says_how_much_why_and_what_for_example():
    seen = judged(counted(differ=500), Cause("it is 5 more in serving", 0.97), (Example("p1", 3.25, 8.25),))
    assert seen.says == (
        "price differs in 50.00% of 1,000 pairs (95 %: 46.85% to 53.15%); most likely it is 5 more in serving (97% of "
        "them); such as p1: 3.25 in the table, 8.25 served."
    )


def test_findings_are_the_skewed_columns_those_that_were_and_a_summary():
    price, size = judged(counted(differ=500), None, ()), judged(counted(), None, ())
    size = type(size)(**{name: getattr(size, name) for name in size.__struct_fields__} | {"name": "size"})
    found = told([price, size])
    assert [(f.question, f.subject, f.verdict) for f in found] == [
        ("skew", "price", "watch"),
        ("skew window", "price", "watch"),
    ]
    assert found[0].evidence >= found[0].limit == LIMIT
    assert found[0].matters == MATTERS
    assert found[1].says == "Serving fills 1 of 2 columns otherwise than the table: price. All were joined."
    assert found[1].blames == ("price",)
    found = told([size], open_before=frozenset({"size", "kind"}))
    assert [(f.subject, f.verdict) for f in found] == [("size", "resolved"), ("size", "ok")]
    assert told([])[0].says == "Serving fills all 0 columns as the table does. All were joined."


def test_what_cannot_be_joined_is_compared_as_a_whole():
    rng = np.random.default_rng(0)
    values = rng.lognormal(3, 1, 5000)
    assert judged_apart(PRICE, "DOUBLE", values[:2000], values[2000:], 10).verdict == "ok"
    other = judged_apart(PRICE, "DOUBLE", values[:2000] * 3, values[2000:], 10)
    assert other.verdict == "watch"
    assert "no row could be joined, so it may be a drift as well" in other.says
    assert told([other])[0].estimate == other.distance
    kinds = np.array(["a", "b", "c"], dtype=object)[rng.integers(3, size=3000)]
    kind = Column("kind", "category")
    assert judged_apart(kind, "VARCHAR", kinds[:1000], kinds[1000:], 10).verdict == "ok"
    assert judged_apart(kind, "VARCHAR", np.array([k.upper() for k in kinds]), kinds, 10).verdict == "watch"
    when = rng.integers(0, 10**15, 100)
    assert judged_apart(Column("at", "time"), "TIMESTAMP", when + 86_400_000_000, when, 10).says.startswith(
        "at has its median 1 days"
    )
    assert judged_apart(PRICE, None, values, values, 10).says == "price is no column of the table."
    assert judged_apart(PRICE, "DOUBLE", values[:0], values, 10).verdict == "ok"
