"""Performance: few false pages, real harm found, silence while it lasts, and word when it is over."""

from datetime import UTC, datetime, timedelta

import numpy as np

from kaizen.monitor.performance.performance import PerformanceState, mature
from tests.monitor.days import FIRST_DAY, losses, reference, stamp


def watched(loss, days, levels, rng, limit=30.0):
    """Return the Findings of so many days with these levels of loss."""
    state, incidents, found = PerformanceState(), (), []
    for day, level in zip(range(FIRST_DAY, FIRST_DAY + days), levels, strict=True):
        start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
        state, findings, incidents = mature(
            loss,
            state,
            day,
            losses(rng, 200, level),
            incidents,
            limit=limit,
            window_days=7,
            start=start,
            stamp=stamp,
        )
        found += findings
    return found


def pages(found):
    return [f for f in found if f.verdict == "page"]


def test_false_pages_are_rarer_than_the_contract_allows():
    # "1/30d" over 30 stories of 240 days: 240 pages allowed; the bound of the reference keeps it far below.
    rng = np.random.default_rng(21)
    found = [watched(reference(rng, days=30, a_day=200).loss, 240, [0.5] * 240, rng) for _ in range(30)]
    assert sum(len(pages(f)) for f in found) <= 240


def test_a_rise_by_a_fifth_pages_within_a_month_and_says_since_when():
    rng = np.random.default_rng(22)
    rise = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=FIRST_DAY + 30)
    first = [
        pages(watched(reference(rng, days=40, a_day=200).loss, 90, [0.5] * 30 + [0.6] * 60, rng))[0] for _ in range(20)
    ]
    late = [page for page in first if page.end > rise]
    assert len(late) >= 15  # the others are false pages, still open when the rise comes
    delays = [(page.end - rise).days for page in late]
    assert np.median(delays) <= 14
    assert max(delays) <= 30
    assert all("worse since about" in page.says for page in late)


def test_an_incident_pages_once_and_is_resolved_when_it_is_over():
    rng = np.random.default_rng(23)
    found = watched(reference(rng).loss, 90, [1.0] * 40 + [0.4] * 50, rng)
    told = [f.verdict for f in found if f.question == "performance"]
    assert told == ["page", "resolved"]


def test_a_quiet_week_says_one_sentence():
    rng = np.random.default_rng(24)
    found = watched(reference(rng).loss, 70, [0.45] * 70, rng)
    assert len(found) == 10
    assert {f.question for f in found} == {"performance window"}
    assert {f.verdict for f in found} == {"ok"}


def test_labels_that_never_came_are_no_news():
    loss = reference(np.random.default_rng(25)).loss
    state, found, _ = mature(
        loss,
        PerformanceState(),
        FIRST_DAY,
        np.full(5, np.nan),
        (),
        limit=30.0,
        window_days=7,
        start=datetime(2013, 1, 1, tzinfo=UTC),
        stamp=stamp,
    )
    assert (state, found) == (PerformanceState(), [])
