"""Days without labels: silent while nothing changes, a page when both keys turn, and trust that labels can end."""

import re
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from kaizen.monitor.estimates import unlabelled
from kaizen.monitor.estimates.estimate import BLIND, fit
from kaizen.monitor.estimates.trust import labelled
from kaizen.monitor.estimates.unlabelled import KEY, UnlabelledState, assess, seen
from kaizen.stats import metrics
from tests.monitor.days import stamp
from tests.monitor.unlabelled_world import Rows, reference

REFERENCE, KEPT = reference(np.random.default_rng(0), 12_000, 40, "log_loss")
LIMIT = 62.0
START = datetime(2026, 1, 1, tzinfo=UTC)
LESS_SURE = {"wider": 0.4, "moved": 0.3}  # scores near one half: the model knows less about such rows


def replay(spoil, days=56, seed=1, reference=REFERENCE, kept=KEPT, delay=2):
    """Return the Findings of so many days; `spoil` says how the rows of a day are made. Labels come after two days."""
    rng = np.random.default_rng(seed)
    state, incidents, found, window, waiting = UnlabelledState(), (), [], {}, []
    for day in range(days):
        rows = Rows(rng, 300, **(spoil(day) or {}))
        start = START + timedelta(days=day)
        counts = {KEY: reference.outcomes.count(rows.s), **rows.counts()}
        state = seen(reference, state, day, counts[KEY])
        window = {key: window.get(key, 0) + value for key, value in counts.items()}
        waiting.append((day, metrics.per_row("log_loss", rows.y, rows.s)))
        if day % 7 == 6:
            state, more, incidents = assess(
                reference, state, window, incidents, profiles={k: np.full(v.shape, 99) for k, v in window.items()},
                rows=kept, limit=LIMIT, start=start - timedelta(days=6), end=start + timedelta(days=1),
                days=f"day {day - 6} to {day}", stamp=stamp,
            )  # fmt: skip
            found, window = [*found, *more], {}
        for known, losses in [w for w in waiting if w[0] == day - delay]:
            state, more, incidents = labelled(
                reference, state, known, losses, incidents, window_days=7, start=start - timedelta(days=delay),
                stamp=stamp,
            )  # fmt: skip
            found += more
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=UnlabelledState)
    return found


def told(found, question):
    return [f.verdict for f in found if f.question == question]


@pytest.mark.parametrize("seed", range(3))
def test_quiet_weeks_say_one_sentence_each(seed):
    found = replay(lambda day: None, seed=seed)
    assert told(found, unlabelled.SUMMARY) == ["ok"] * 8
    assert len(found) == 8


def test_every_sentence_says_that_estimates_are_blind_to_concept_drift():
    found = replay(lambda day: LESS_SURE if day >= 14 else {"concept": 0.3}, days=35)
    assert {f.question for f in found} == {unlabelled.QUESTION, unlabelled.SUMMARY, unlabelled.TRUST}
    assert all(BLIND in f.says for f in found if f.verdict != "resolved" or f.question != unlabelled.TRUST)


def test_inputs_of_which_the_model_knows_less_page_once_without_a_label_and_resolve():
    found = replay(lambda day: LESS_SURE if 14 <= day < 35 else None)
    assert told(found, unlabelled.QUESTION) == ["page", "resolved"]
    assert told(found, unlabelled.SUMMARY) == ["ok", "ok", "watch", "watch", "watch", "ok", "ok", "ok"]
    page = next(f for f in found if f.verdict == "page")
    assert page.subject == "log_loss"
    assert page.end == START + timedelta(days=21)
    assert page.evidence >= page.limit == LIMIT
    assert page.low < page.estimate < page.high
    assert page.estimate >= page.matters > 0
    assert page.estimate == page.impact > page.detectable > 0
    assert page.says.startswith("Without labels, log_loss from day 14 to 20 is put at 0.")
    assert told(found, unlabelled.TRUST) == []


def test_inputs_that_the_model_knows_well_page_nobody():
    found = replay(lambda day: {"wider": 1.5} if day >= 14 else None)
    assert told(found, unlabelled.QUESTION) == []
    assert [f for f in found if f.question == unlabelled.SUMMARY][-1].estimate < 0


def test_concept_drift_leaves_the_estimate_as_it_is_and_labels_end_the_trust():
    found = replay(lambda day: {"concept": 0.3} if 14 <= day < 42 else None, days=63)
    assert told(found, unlabelled.QUESTION) == []
    assert told(found, unlabelled.TRUST) == ["watch", "resolved"]
    end = next(f for f in found if f.question == unlabelled.TRUST)
    assert timedelta(days=14) < end.end - START <= timedelta(days=26)
    assert end.estimate > 0
    assert abs(end.began - START - timedelta(days=14)) <= timedelta(days=4)
    doubts = ["do not trust" in f.says for f in found if f.question == unlabelled.SUMMARY]
    assert doubts[:2] == [False, False]
    assert any(doubts[2:7])
    assert not doubts[-1]


def test_early_labels_set_the_estimate_right():
    """Days whose outcomes turned less sure since day 14: the last mature days show a higher loss than is expected."""
    found = [f for f in replay(lambda day: {"concept": 0.3} if day >= 14 else None, days=35) if "put at" in f.says]
    told = [re.search(r"labels of (\d+) of (\d+) days, the brier of a day is put at ([\d.]+)", f.says) for f in found]
    known = [(int(m[1]), int(m[2]), float(m[3])) for m in told if m]
    assert {(k, d) for k, d, _ in known[1:]} == {(7, 10)}
    rows = Rows(np.random.default_rng(2), 50_000, concept=0.3)
    calm = Rows(np.random.default_rng(2), 50_000)
    assert known[0][2] == pytest.approx(((calm.y - calm.s) ** 2).mean(), abs=0.015)
    assert known[-1][2] == pytest.approx(((rows.y - rows.s) ** 2).mean(), abs=0.015)


def test_labels_that_nobody_waits_for_and_too_few_of_them_change_nothing():
    state = seen(REFERENCE, UnlabelledState(), 3, REFERENCE.outcomes.count(Rows(np.random.default_rng(0), 300).s))
    given = {"window_days": 7, "start": START, "stamp": stamp}
    assert labelled(REFERENCE, state, 4, np.ones(300), (), **given)[0] == state
    assert labelled(REFERENCE, state, 3, np.append(np.ones(5), np.full(300, np.nan)), (), **given)[0] == state
    after, found, _ = labelled(REFERENCE, state, 3, np.full(300, 0.1), (), **given)
    assert (after.pending, found, len(after.misses)) == ((), [], 1)


def test_days_of_few_rows_are_passed_over_and_days_that_wait_are_bounded():
    count = REFERENCE.outcomes.count
    assert seen(REFERENCE, UnlabelledState(), 0, count(np.full(10, 0.5))) == UnlabelledState()
    state = UnlabelledState()
    for day in range(410):
        state = seen(REFERENCE, state, day, count(np.full(300, 0.5)))
    assert len(state.pending) == 400
    assert state.pending[-1].day == 409


def test_a_reference_without_days_estimates_and_pages_nobody():
    rows = Rows(np.random.default_rng(1), 2000)
    timeless, _ = fit("classification", "auc", rows.s, rows.y, None)
    found = replay(lambda day: LESS_SURE, days=14, reference=timeless, kept=None)
    assert told(found, unlabelled.SUMMARY) == ["ok", "ok"]
    assert found[0].estimate > found[0].matters


def test_a_window_without_scores_says_nothing():
    given = {"profiles": {}, "rows": None, "limit": LIMIT, "start": START, "end": START, "days": "", "stamp": stamp}
    assert assess(REFERENCE, UnlabelledState(), {}, (), **given) == (UnlabelledState(), [], ())
    nothing = {KEY: np.zeros(REFERENCE.outcomes.size, np.int64)}
    assert assess(REFERENCE, UnlabelledState(), nothing, (), **given)[1] == []


@pytest.mark.slow
def test_the_times_between_false_pages_and_false_ends_of_trust_keep_to_the_contract():
    """40 references of 20 to 60 days, 90 days each, days that differ: at most 2 pages where 58 were allowed (the limit
    is 62 days), and at most 20 ends of trust where 10 were (365 days), the reference's bound failing in one of 20.
    """
    pages = ends = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        days = int(rng.integers(20, 60))
        parts = [Rows(rng, 300, moved=rng.normal(0, 0.1, 2)) for _ in range(days)]
        made, _ = fit(
            "classification", "auc", np.concatenate([p.s for p in parts]), np.concatenate([p.y for p in parts]),
            np.repeat(np.arange(days), 300),
        )  # fmt: skip
        drawn = np.random.default_rng(seed + 500)
        found = replay(lambda day, drawn=drawn: {"moved": drawn.normal(0, 0.1, 2)}, 90, seed + 900, made, None)
        pages += told(found, unlabelled.QUESTION).count("page")
        ends += told(found, unlabelled.TRUST).count("watch")
    assert pages <= 2
    assert ends <= 20
