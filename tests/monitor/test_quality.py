"""Bad batches of every kind are found on their day, single bad rows are told, good data end it, quiet says nothing."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

import duckdb
import msgspec
import numpy as np
import pytest

from kaizen.core.projectfile import DataSection, ProjectFile, ProjectSection
from kaizen.core.records import Column
from kaizen.core.rules import Check, Flow, Rule, Rules
from kaizen.data.profile import profile
from kaizen.data.rules import infer
from kaizen.monitor.paging import Incident
from kaizen.monitor.quality import volume
from kaizen.monitor.quality.bad_rows import watched
from kaizen.monitor.quality.day_rules import by_day
from kaizen.monitor.quality.quality import QualitySettings, QualityState, assess_day
from kaizen.monitor.quality.repeats import repeated, usual_share
from kaizen.monitor.quality.spells import Rows
from kaizen.monitor.reference import fit
from tests.monitor.days import COLUMNS, FIRST_DAY, rows, stamp

REFERENCE_DAYS = np.repeat(np.arange(FIRST_DAY - 40, FIRST_DAY), 300)
FRAME = rows(np.random.default_rng(1), len(REFERENCE_DAYS))
REFERENCE = fit(COLUMNS, FRAME, None, blocks=REFERENCE_DAYS)
RULES = Rules(
    rows=len(REFERENCE_DAYS),
    task="regression",
    target="y",
    columns=(
        Rule(
            column="price", type="number", low=2.5, high=160.0, max_outside=0.002, never_missing=True, max_missing=0.011
        ),
        Rule(column="size", type="number", low=2.0, high=18.0, max_outside=0.002, max_missing=0.035),
        Rule(column="kind", type="category", categories=("a", "b", "c", "d"), max_unknown=0.005, max_missing=0.011),
        Rule(column="member", type="boolean", max_missing=0.011),
        Rule(column="when", type="time", max_missing=0.011),
    ),
    checks=(Check("cheap", "price < 120 or kind == 'a' or member"),),
    max_repeats=usual_share(FRAME, REFERENCE_DAYS),
    flow=volume.fit(REFERENCE_DAYS),
)
SETTINGS = QualitySettings()


def replay(
    spoil=None, days=21, *, rules=RULES, count=300, seed=2, settings=SETTINGS, state=None, incidents=(), logged=None
):
    """Return the Findings of so many days and the state after them; `spoil` returns a day's rows."""
    rng = np.random.default_rng(seed)
    state, found = state or QualityState(), []
    for number in range(days):
        frame = rows(rng, count)
        if spoil is not None:
            frame = spoil(number, frame) or frame
        start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=FIRST_DAY + number)
        today = Rows(
            day=FIRST_DAY + number,
            start=start,
            end=start + timedelta(days=1),
            frame=frame,
            rows=len(next(iter(frame.values()))) if frame else 0,
            expected=COLUMNS,
            logged=COLUMNS if logged is None else logged(number),
        )
        state, more, incidents = assess_day(rules, REFERENCE, state, today, incidents, settings=settings, stamp=stamp)
        state = msgspec.json.decode(msgspec.json.encode(state), type=QualityState)
        found += [(number, finding) for finding in more]
    return found, state, incidents


def told(found):
    return [(day, f.subject, f.verdict) for day, f in found if f.question == "quality"]


def between(first, last, change):
    """Return what spoils the rows of the days from first to last."""

    def spoil(day, frame):
        if first <= day <= last:
            return change(frame)
        return None

    return spoil


def unit(frame):
    frame["size"] = frame["size"] * 1000


def few_units(frame):
    frame["size"][:12] *= 1000


def nulls(frame):
    frame["price"][::3] = np.nan


def typos(frame):
    frame["kind"][:25] = "A"


def dear(frame):
    frame["price"][:12], frame["member"][:12] = 130.0, 0.0
    frame["kind"][:12] = "b"


def twice(frame):
    return {name: np.concatenate([values, values[:60]]) for name, values in frame.items()}


def nothing(frame):
    return {name: values[:0] for name, values in frame.items()}


def half(frame):
    return {name: values[::2] for name, values in frame.items()}


@pytest.mark.parametrize(
    ("change", "subject", "good_again", "says"),
    [
        (
            unit,
            "size",
            12,
            r"100\.0% of the rows|9\d\.\d% of the rows .* are absurd, outside -158 to 178: size, such as",
        ),
        (few_units, "size", 12, r"[34]\.\d% of the rows \(1\d\) are absurd"),
        (nulls, "price", 12, r"33\.3% of the rows \(100\) lack a value: price"),
        (typos, "kind", 12, r"8\.3% of the rows \(25\) have none of the known values: kind, such as 'A'"),
        (dear, "cheap", 12, r"4\.0% of the rows \(12\) break the check cheap \(price < 120 or kind == 'a' or member\)"),
        (twice, "rows there before", 12, r"16\.7% of the rows \(60\) are there before, value by value"),
        (nothing, "rows", 11, r"^No rows on 2013-10-30, where 300 are usual\.$"),
        (half, "rows", 11, r"^150 rows on 2013-10-30, where 300 are usual\.$"),
    ],
)
def test_a_bad_batch_is_found_on_its_day_and_is_over_by_itself(change, subject, good_again, says):
    found, state, incidents = replay(between(8, 10, change))
    assert told(found) == [(8, subject, "watch"), (good_again, subject, "resolved")]
    assert incidents == ()
    assert state.troubles == ()
    opened = next(finding for _, finding in found if finding.question == "quality")
    assert re.search(says, opened.says), opened.says
    assert opened.began == opened.start


def test_the_finding_has_both_keys_and_what_would_have_shown():
    found, _, _ = replay(between(8, 8, typos), days=9)
    opened = next(finding for _, finding in found if finding.question == "quality")
    assert opened.evidence >= opened.limit == 365 * len(watched(RULES, REFERENCE))
    assert opened.low >= opened.matters == pytest.approx(0.015)
    assert 0.015 < opened.detectable < 0.05
    assert opened.blames == ("kind",)


def test_quiet_days_say_one_sentence_a_week():
    for seed in range(3):
        found, state, _ = replay(days=70, seed=seed)
        assert [finding.question for _, finding in found if finding.question != "quality rows"] == [
            "quality window"
        ] * 10
        assert {finding.verdict for _, finding in found if finding.question == "quality window"} == {"ok"}
        assert len(msgspec.json.encode(state)) < 1000


def test_a_single_absurd_value_is_told_and_opens_nothing():
    def once(day, frame):
        if day == 9:
            frame["price"][7] = 429_491.0

    found, _, incidents = replay(once)
    assert told(found) == []
    assert incidents == ()
    ((day, single),) = [(day, f) for day, f in found if f.question == "quality rows" and f.subject == "price"]
    assert (day, single.verdict, single.n) == (9, "watch", 300)
    assert "1 of 300 rows of 2013-10-31 are odd: price 429,491 (1; " in single.says


def test_a_bad_day_within_an_incident_keeps_it_open():
    def off_and_on(day, frame):
        if day in (8, 10):
            unit(frame)

    found, state, _ = replay(off_and_on)
    assert told(found) == [(8, "size", "watch"), (12, "size", "resolved")]
    (spell,) = state.over
    first, last = FIRST_DAY + 8, FIRST_DAY + 10
    assert (spell.first_day, spell.last_day, spell.whole_from) == (first, last, first)


def test_few_bad_rows_do_not_spoil_the_others_of_their_day():
    _, state, _ = replay(between(8, 10, few_units))
    assert [(spell.subject, spell.whole_from) for spell in state.over] == [("size", None)]


def test_where_few_rows_come_a_week_of_good_days_ends_it():
    found, _, _ = replay(between(8, 10, unit), count=20, days=28)
    assert told(found)[0][:2] == (8, "size")
    assert told(found)[-1] == (17, "size", "resolved")


def test_what_only_differs_from_the_first_data_counts_as_normal_in_time():
    settings = QualitySettings(patience_days=14)
    found, state, _ = replay(between(8, 99, typos), days=60, settings=settings)
    assert told(found) == [(8, "kind", "watch"), (22, "kind", "resolved")]
    assert state.accepted == ("kind",)
    assert state.over == ()  # what is normal is learned from
    assert "counts as normal from now on" in next(f.says for day, f in found if day == 22)


def test_what_is_declared_stays_wrong():
    kinds = msgspec.structs.replace(RULES.columns[2], declared=("categories",), max_unknown=0.0)
    rules = msgspec.structs.replace(RULES, columns=(*RULES.columns[:2], kinds, *RULES.columns[3:]))
    settings = QualitySettings(patience_days=14)
    found, state, _ = replay(between(8, 99, typos), days=60, settings=settings, rules=rules)
    assert told(found) == [(8, "kind", "watch")]
    assert [spell.last_day for spell in state.spells] == [None]


def test_pages_are_asked_for():
    found, _, _ = replay(between(8, 8, unit), days=9, settings=QualitySettings(pages=True))
    assert told(found) == [(8, "size", "page")]


def test_a_new_champion_takes_over_what_is_open():
    _, state, incidents = replay(between(8, 20, unit), days=10)
    found, after, _ = replay(state=state.heir(), incidents=incidents, days=5, seed=3)
    assert told(found) == [(1, "size", "resolved")]
    assert [spell.subject for spell in after.over] == ["size"]


def test_an_incident_that_only_the_ledger_knows_is_resolved_too():
    known = (Incident("quality", "price", datetime(2013, 10, 1, tzinfo=UTC)),)
    found, _, incidents = replay(incidents=known, days=5)
    assert told(found) == [(1, "price", "resolved")]
    assert incidents == ()


@pytest.mark.parametrize(
    ("columns", "subject", "says"),
    [
        (COLUMNS[1:], "price", "The log no longer carries price, which the model reads."),
        ((*COLUMNS, Column("colour", "text")), "colour", "The log carries colour, which the model does not read."),
        (
            (Column("price", "text"), *COLUMNS[1:]),
            "price",
            "The log has price as text, the model reads it as number.",
        ),
    ],
)
def test_a_column_that_went_came_or_changed_its_type_is_found(columns, subject, says):
    def spoil(day, frame):
        if day in (8, 9):
            return {column.name: frame[column.name] for column in COLUMNS if column in columns}
        return None

    found, _, _ = replay(spoil, logged=lambda day: columns if day in (8, 9) else COLUMNS)
    assert told(found) == [(8, subject, "watch"), (10, subject, "resolved")]
    assert next(finding.says for _, finding in found if finding.question == "quality") == says


def test_a_season_is_no_bad_batch():
    # The rows of a day are alike: a reference of half a year says little about the months it has not seen.
    days = np.repeat(np.arange(180), 200)
    frame = {"month": np.floor(days / 30) + 1.0, "x": np.random.default_rng(0).normal(size=len(days))}
    columns = (Column("month", "number"), Column("x", "number"))
    reference = fit(columns, frame, None, blocks=days)
    rules = Rules(
        rows=len(days),
        task="regression",
        target="y",
        columns=(
            Rule(column="month", type="number", low=1.0, high=6.0, max_outside=0.001),
            Rule(column="x", type="number", low=-4.0, high=4.0, max_outside=0.001),
        ),
    )
    kinds = [(rate.kind, rate.subject) for rate in watched(rules, reference)]
    assert kinds == [("extreme", "month"), ("extreme", "x"), ("range", "x")]


def test_old_bundles_are_watched_by_what_their_reference_says():
    found, _, _ = replay(between(8, 9, unit), rules=None, days=14)
    assert told(found)[0] == (8, "size", "watch")


def test_repeats_are_those_of_every_value():
    frame = {
        "a": np.array([1.0, 1.0, np.nan, np.nan, 0.0, -0.0]),
        "b": np.array(["x", "y", "", "", "z", "z"], object),
        "c": np.array([1, 1, 5, 5, 9, 9]),
    }
    assert repeated(frame).tolist() == [False, False, False, True, False, True]
    many = {"a": np.arange(500.0) // 2}
    assert usual_share(many, np.arange(500)) < 0.05
    assert usual_share(many, None) > 0.5


@pytest.mark.parametrize(
    ("rows_", "usual", "fires"), [(0, 300, True), (190, 300, True), (215, 300, False), (460, 300, True)]
)
def test_how_many_rows_come_is_held_against_four_weeks(rows_, usual, fires):
    recent = [(day, 300 + day % 5) for day in range(FIRST_DAY - 28, FIRST_DAY)]
    judged = volume.judge(Flow(days=90, spread=0.05), recent, FIRST_DAY, rows_)
    assert judged is not None
    assert judged.fires == fires
    assert judged.usual == pytest.approx(usual, rel=0.01)


def test_weekends_that_are_usual_are_no_news():
    days = np.arange(70)
    counts = np.where((days + 3) % 7 >= 5, 20, 200)
    flow = volume.fit(np.repeat(days, counts))
    assert flow is not None
    recent = list(zip(days[-28:].tolist(), counts[-28:].tolist(), strict=True))
    found = [volume.judge(flow, recent, 70 + at, 20 if volume.weekday(70 + at) >= 5 else 200) for at in range(7)]
    assert [judged.fires for judged in found if judged is not None] == [False] * 7
    sunday = next(70 + at for at in range(7) if volume.weekday(70 + at) == 6)
    busy = volume.judge(flow, recent, sunday, 200)
    assert busy is not None
    assert busy.fires


@pytest.mark.parametrize("usual", [0, 1, 3, 5])
def test_where_few_rows_come_none_is_no_news(usual):
    recent = [(day, usual) for day in range(28)]
    judged = volume.judge(None, recent, 28, 0)
    assert judged is None or not judged.fires


def test_nothing_is_said_of_the_first_week():
    assert volume.judge(None, [(day, 300) for day in range(6)], 6, 0) is None


def test_the_worst_day_of_the_reference_is_no_bad_day():
    rng = np.random.default_rng(4)
    days = np.repeat(np.arange(30), 100)
    frame = {
        "x": np.where((days == 7) & (rng.random(3000) < 0.4), np.nan, 1.0),
        "kind": np.where(days == 9, np.where(rng.random(3000) < 0.2, "feast", "a"), "a").astype(object),
    }
    rules = Rules(
        rows=3000,
        task="regression",
        target="y",
        columns=(
            Rule(column="x", type="number", max_missing=0.03),
            Rule(column="kind", type="category", categories=("a", "feast"), max_unknown=0.005),
        ),
    )
    found = by_day(rules, frame, days)
    assert found.columns[0].max_missing == pytest.approx(np.isnan(frame["x"][days == 7]).mean())
    assert found.columns[1].max_unknown == pytest.approx((frame["kind"][days == 9] == "feast").mean())
    assert found.flow is not None
    declared = msgspec.structs.replace(rules.columns[0], declared=("missing",))
    strict = by_day(msgspec.structs.replace(rules, columns=(declared,)), frame, days)
    assert strict.columns[0].max_missing == 0.03
    assert by_day(rules, frame, None).columns == rules.columns


@pytest.mark.slow
@pytest.mark.parametrize("family", ["alone", "heavy tails and rare categories", "days that are alike"])
def test_without_change_a_year_brings_no_incident(family):
    """Twenty columns, days of 60 rows: on average at least a year lies between two incidents, for all columns."""
    rng = np.random.default_rng(8)
    columns = [*(Column(f"n{i}", "number") for i in range(10)), *(Column(f"c{i}", "category") for i in range(10))]

    def a_day():
        level = rng.normal() if family == "days that are alike" else 0.0
        frame = {}
        for i in range(10):
            values = rng.normal(size=60) + level
            values = np.exp(1.5 * values) if family == "heavy tails and rare categories" else values
            missing = rng.random(60) < min(0.5, 0.03 * (i % 3) * math.exp(level))
            frame[f"n{i}"] = np.where(missing, np.nan, values)
            frame[f"c{i}"] = np.array([f"v{min(each, 9999)}" for each in rng.zipf(1.5, 60)], object)
        return frame

    known = [a_day() for _ in range(60)]
    frame = {column.name: np.concatenate([day[column.name] for day in known]) for column in columns}
    blocks = np.repeat(np.arange(60), 60)
    sql = duckdb.connect()
    sql.register("frame", frame)
    sql.execute("CREATE TABLE rows AS SELECT * FROM frame")
    file = ProjectFile(project=ProjectSection(name="t"), data=DataSection(source="x", target="none"))
    rules = by_day(infer(profile(sql, "rows", columns), file), frame, blocks)
    reference = fit(columns, frame, None, blocks=blocks)
    state, incidents, opened = QualityState(), (), []
    for day in range(60, 60 + 365):
        start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
        today = Rows(day=day, start=start, end=start + timedelta(days=1), frame=a_day(), rows=60)
        state, found, incidents = assess_day(rules, reference, state, today, incidents, settings=SETTINGS, stamp=stamp)
        opened += [finding.says for finding in found if finding.question == "quality"]
    assert opened == []
