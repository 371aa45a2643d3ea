"""Fairness: the rates by hand, few false pages, a gap that opens is found soon, one that was there is not."""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from kaizen.core.records import Column
from kaizen.monitor.columns.groups import groups_of
from kaizen.monitor.segments import fairness, fairwatch
from kaizen.monitor.segments.fairness import Tally
from kaizen.monitor.segments.fairwatch import FairState
from tests.monitor.days import FIRST_DAY, stamp

COLUMNS = [Column("sex", "category")]
RATES = ["selection rate", "true positive rate", "false positive rate", "loss"]


def day_of(rng, count=300, less=0.0):
    """Return group, answers, labels and losses of a day; women's answers are lower by so much in log odds."""
    sex = rng.choice(np.array(["f", "m"], object), count, p=[0.4, 0.6])
    odds = -0.5 + 1.2 * rng.normal(size=count) + 0.2 * rng.normal() + np.where(sex == "m", 0.3, 0.0)
    answers = 1 / (1 + np.exp(-(odds - np.where(sex == "f", less, 0.0))))
    target = (rng.random(count) < 1 / (1 + np.exp(-odds))).astype(float)
    losses = np.minimum(-np.where(target > 0, np.log(answers), np.log1p(-answers)), 4.6)
    return sex, answers, target, losses


def reference(rng, days=45, **settings):
    made = [np.array(part) for part in zip(*[day_of(rng, **settings) for _ in range(days)], strict=True)]
    sex, answers, target, losses = (part.reshape(-1) for part in made)
    blocks = np.repeat(np.arange(days), len(sex) // days)
    return fairness.fit(
        COLUMNS,
        ("sex",),
        {"sex": sex},
        answers,
        target.astype(float),
        losses.astype(float),
        blocks,
        task="classification",
    )


def watched(known, rng, changes, limit=31.3):
    """Return the Findings of days whose women get answers so much lower, with the number of the day."""
    state, incidents, found = FairState(), (), []
    (of_sex,) = known
    for number, less in enumerate(changes):
        sex, answers, target, losses = day_of(rng, less=less)
        codes = of_sex.groups.codes(sex)
        sums = fairness.tallies(codes, 2, answers, target, losses, scale=of_sex.scale, task="classification")
        start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=FIRST_DAY + number)
        state, findings, incidents = fairwatch.observe(
            known,
            state,
            FIRST_DAY + number,
            {"sex": sums},
            incidents,
            limit=limit,
            window_days=7,
            start=start,
            stamp=stamp,
        )
        found += [(number, finding) for finding in findings]
    return state, found


def pages(found):
    return [(number, finding.subject) for number, finding in found if finding.verdict == "page"]


def test_rates_by_hand():
    codes = np.array([0, 0, 0, 1, 1, 1, -1])
    answers = np.array([0.9, 0.2, 0.6, 0.1, 0.5, 0.7, 0.9])
    target = np.array([1.0, 1, 0, 0, 1, 0, 1])
    losses = np.array([1.0, 2, 3, 4, 5, 6, 7])
    found = fairness.tallies(codes, 2, answers, target, losses, scale=2.0, task="classification")
    shown = {rate: (tally.top.tolist(), tally.bottom.tolist()) for rate, tally in found.items()}
    assert shown == {
        "selection rate": ([2, 2], [3, 3]),
        "true positive rate": ([1, 1], [2, 1]),
        "false positive rate": ([1, 1], [1, 2]),
        "loss": ([3, 7.5], [3, 3]),
    }


def test_without_labels_only_the_selection_rate_is_known_and_numbers_have_only_a_loss():
    codes, answers = np.array([0, 1]), np.array([0.9, 0.1])
    assert list(fairness.tallies(codes, 2, answers, None, None, scale=1.0, task="classification")) == ["selection rate"]
    assert list(fairness.tallies(codes, 2, answers, answers, answers, scale=1.0, task="regression")) == ["loss"]


def test_a_gap_is_between_the_largest_and_the_smallest_with_days_as_blocks():
    groups = groups_of("g", "category", np.array(["a", "b", "c"] * 3, object), least_rows=1)
    days = [
        Tally(np.array([5.0, 2, 8]), np.array([10.0, 10, 10])),
        Tally(np.array([5.0, 4, 6]), np.array([10.0, 10, 10])),
    ]
    gap = fairness.gap_of("selection rate", days, groups)
    assert (gap.largest, gap.smallest) == ("g=c", "g=b")
    assert gap.value == pytest.approx(0.7 - 0.3)
    assert gap.low < 0.4 < gap.high
    assert fairness.gap_of("selection rate", [Tally(np.array([1.0, 0, 0]), np.array([2.0, 0, 0]))], groups) is None


def test_the_distance_of_a_group_is_to_all_others_and_few_rows_have_none():
    apart = fairness.distance(Tally(np.array([8.0, 2, 1]), np.array([10.0, 10, 2])))
    assert apart[:2] == pytest.approx([0.8 - 3 / 12, 0.2 - 9 / 12])
    assert np.isnan(apart[2])


def test_false_pages_are_rarer_than_the_contract_allows():
    # Five stories of 120 days at "1/31d": 19 pages are allowed.
    count = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        count += len(pages(watched(reference(rng, days=30), rng, [0.0] * 120)[1]))
    assert count <= 9


def test_a_gap_that_opens_is_paged_within_three_weeks_and_the_label_free_part_is_first():
    rng = np.random.default_rng(21)
    _, found = watched(reference(rng), rng, [0.0] * 28 + [0.8] * 28)
    told = pages(found)
    assert told[0][1] == "sex: selection rate"
    assert 28 <= told[0][0] <= 28 + 20
    page = next(finding for _, finding in found if finding.verdict == "page")
    assert page.estimate >= page.matters == 0.05
    assert page.low < page.estimate < page.high
    assert page.blames == ("sex=m", "sex=f")
    assert "in the reference 0." in page.says
    assert abs((page.began - datetime(1970, 1, 1, tzinfo=UTC)).days - (FIRST_DAY + 28)) <= 7


def test_a_gap_that_was_there_from_the_start_pages_nobody():
    rng = np.random.default_rng(22)
    known = reference(rng, less=1.0)
    assert known[0].rates[0].gap.value > 0.2
    assert pages(watched(known, rng, [1.0] * 60)[1]) == []


def test_it_pages_once_and_is_resolved_when_the_gap_is_back():
    rng = np.random.default_rng(23)
    _, found = watched(reference(rng), rng, [1.0] * 35 + [0.0] * 28)
    of_selection = [finding for _, finding in found if finding.subject == "sex: selection rate"]
    assert [finding.verdict for finding in of_selection if finding.question == "fairness"] == ["page", "resolved"]
    assert any(finding.verdict == "watch" for finding in of_selection)


def test_gaps_over_time_are_kept_for_a_page():
    rng = np.random.default_rng(24)
    state, found = watched(reference(rng), rng, [0.0] * 28)
    assert [point.day for point in state.series if point.rate == "loss"] == [FIRST_DAY + day for day in (6, 13, 20, 27)]
    assert sorted({point.rate for point in state.series}) == sorted(RATES)
    assert len(found) == 16
    assert msgspec.json.decode(msgspec.json.encode(state), type=FairState) == state


def test_labels_that_come_later_fill_their_own_windows():
    rng = np.random.default_rng(25)
    known = reference(rng)
    sex, answers, *_ = day_of(rng)
    at_once = fairness.tallies(known[0].groups.codes(sex), 2, answers, None, None, scale=1.0, task="classification")
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=FIRST_DAY)
    state, found, _ = fairwatch.observe(
        known, FairState(), FIRST_DAY, {"sex": at_once}, (), limit=31.3, window_days=1, start=start, stamp=stamp
    )
    assert list(state.detectors) == ["sex: selection rate"]
    assert [finding.subject for finding in found] == ["sex: selection rate"]


def test_one_group_is_no_gap():
    rng = np.random.default_rng(26)
    _, answers, target, losses = day_of(rng, 2000)
    alone = {"sex": np.full(2000, "f", object)}
    assert (
        fairness.fit(COLUMNS, ("sex",), alone, answers, target, losses, np.arange(2000) % 9, task="classification")
        == ()
    )
