"""The batcher on a loop and a clock of paper: whatever the order of things, each job gets its own result, once."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaizen.core.errors import DeadlineError, OverloadError
from kaizen.serve.batcher import isolate
from kaizen.serve.lanes import BULK, HIGH, LIVE, LOW, NEVER, SHADOW
from tests.serve.virtual import MS, Loop, Work

LANES = [HIGH, LIVE, LIVE, LIVE, LOW, BULK, SHADOW]
ROWS = (50, 50, 50, 50, 50)


def linear(fixed_ns: float, row_ns: float) -> Callable[[str, int], int]:
    return lambda _, rows: round(fixed_ns + row_ns * rows)


arrivals = st.lists(
    st.tuples(
        st.integers(0, 6 * MS),  # after the one before
        st.integers(1, 12),  # rows
        st.sampled_from("abc"),
        st.sampled_from(LANES),
        st.none() | st.integers(0, 40 * MS),  # its deadline, from its arrival
        st.sampled_from([False, False, False, True]),  # bad
        st.none() | st.none() | st.integers(0, 20 * MS),  # when its caller goes, from its arrival
    ),
    max_size=50,
)
costs = st.tuples(st.sampled_from([0, 10_000, MS, 6 * MS]), st.sampled_from([1_000, 200_000, MS]))


def played(events: list[Any], real: tuple[int, int], known: tuple[int, int]) -> tuple[Loop, list[Work], list[Work]]:
    """Return the loop after all of it, the jobs that were taken and those that were refused."""
    loop = Loop(linear(*real), linear(*known), max_rows=8, max_queued_rows=ROWS)
    taken: list[Work] = []
    refused: list[Work] = []
    now = 0

    def leave(work: Work) -> None:
        work.is_gone = True

    for name, (gap, rows, key, lane, deadline, bad, leaves) in enumerate(events):
        now += gap
        due = NEVER if deadline is None or lane == SHADOW else now + deadline
        work = Work(name, rows, key, lane, due, bad)
        loop.at(now, lambda w=work: (taken if loop.ask(w) else refused).append(w))
        if leaves is not None and lane != SHADOW:
            loop.at(now + leaves, leave, work)
    loop.run()
    return loop, taken, refused


@settings(max_examples=200, deadline=None)
@given(arrivals, costs, costs)
def test_no_job_is_lost_doubled_or_misrouted(events: list[Any], real: tuple[int, int], known: tuple[int, int]) -> None:
    loop, taken, refused = played(events, real, known)
    batcher = loop.batcher
    assert batcher.is_idle
    assert batcher.lanes.rows == [0] * 5
    assert batcher.lanes.charged_ns == 0
    assert len(taken) + len(refused) == len(events)
    unanswered = [work for work in taken if not work.answers]
    assert all(work.is_gone for work in unanswered)
    assert len(unanswered) == batcher.cancelled
    for work in taken:
        for _, answer in work.answers:
            if isinstance(answer, DeadlineError):
                assert work.deadline_ns != NEVER
            elif work.bad:
                assert isinstance(answer, ValueError)
            else:
                assert answer == f"{work.key}{work.name}"
        assert len(work.answers) <= 1
    for work in refused:
        assert [type(answer) for _, answer in work.answers] == [OverloadError]
    expired = [work for work in taken if work.answers and isinstance(work.answers[0][1], DeadlineError)]
    assert len(expired) == batcher.expired
    assert sum(batcher.lanes.waited_us) == len(taken) - len(expired) - len(unanswered)
    assert batcher.failed_jobs == sum(
        1 for work in taken if work.answers and isinstance(work.answers[0][1], ValueError)
    )


@settings(max_examples=200, deadline=None)
@given(arrivals, costs, costs)
def test_a_batch_has_one_key_and_lane_few_rows_and_nobody_who_has_gone(
    events: list[Any], real: tuple[int, int], known: tuple[int, int]
) -> None:
    loop, taken, _ = played(events, real, known)
    scored: dict[tuple[int, str], list[int]] = defaultdict(list)
    seen: set[int] = set()
    for began, works in loop.batches:
        assert len({(work.key, work.lane) for work in works}) == 1
        assert len(works) == 1 or sum(work.rows for work in works) <= 8
        fresh = [work.name for work in works if work.name not in seen]
        assert not fresh or len(fresh) == len(works)  # a later run of the same jobs is the search for a bad one
        seen.update(fresh)
        scored[works[0].lane, works[0].key] += fresh
        assert not fresh or all(work.deadline_ns > began for work in works)
    assert all(names == sorted(names) for names in scored.values())  # in the order in which they came
    assert seen == {work.name for work in taken if work.answers and not isinstance(work.answers[0][1], DeadlineError)}


@settings(max_examples=200, deadline=None)
@given(arrivals, costs)
def test_nothing_is_admitted_behind_others_that_could_not_be_in_time_and_nothing_refused_that_could(
    events: list[Any], cost: tuple[int, int]
) -> None:
    loop = Loop(linear(*cost), max_rows=8, max_queued_rows=(10_000,) * 5)
    now = 0
    told: list[str] = []

    def ask(work: Work) -> None:
        batcher = loop.batcher
        model = loop.cost(work.key)
        expected = loop.now_ns + batcher.wait_ns(work.lane) + model.of(work.rows) + model.slack_ns
        around = batcher.lanes.around_ns
        most = expected + model.row_ns * 8 + around * (work.rows + 8)  # its batch may take others with it
        was_idle = not loop.running and not batcher.lanes.charged_ns
        is_taken = loop.ask(work)
        if is_taken and not was_idle and expected > work.deadline_ns:
            told.append(f"{work} admitted, expected at {expected}")
        if not is_taken and (was_idle or most < work.deadline_ns):
            told.append(f"{work} refused, expected before {most}")

    for name, (gap, rows, key, lane, deadline, *_) in enumerate(events):
        now += gap
        due = NEVER if deadline is None else now + deadline
        loop.at(now, ask, Work(name, rows, key, lane, due))
    loop.run()
    assert told == []


def flood(load: float, takes: Callable[[str, int], int], deadline_ns: int, rate: float, seconds: float) -> float:
    """Return how many a second were answered in time where `load` times as many asked as can be answered."""
    loop = Loop(takes)
    rng = random.Random(7)
    works = []
    now = 0.0
    while now < seconds * 1e9:
        now += rng.expovariate(rate * load) * 1e9
        works.append(Work(len(works), deadline_ns=round(now) + deadline_ns))
        loop.at(round(now), loop.ask, works[-1])
    loop.run()
    good = sum(1 for w in works if isinstance(w.answers[0][1], str) and w.answers[0][0] <= w.deadline_ns)
    return good / (max(now, loop.now_ns) / 1e9)


@pytest.mark.parametrize(
    ("fixed_ns", "row_ns", "deadline_ns"),
    [(MS, MS, 50 * MS), (0.4 * MS, 0.044 * MS, 50 * MS), (0.4 * MS, 0.044 * MS, 5 * MS), (5 * MS, 0.05 * MS, 20 * MS)],
    ids=["no gain from batches", "gain", "gain, tight", "great gain, tight"],
)
def test_at_three_times_the_capacity_goodput_stays(fixed_ns: float, row_ns: float, deadline_ns: int) -> None:
    takes = linear(fixed_ns, row_ns)
    rows = min(1024.0, (deadline_ns / 2 - fixed_ns) / row_ns)  # half of its time a job waits for the batch before
    rate = rows / takes("k", int(rows)) * 1e9
    seconds = min(3.0, 2500 / rate)
    goodput = {load: flood(load, takes, deadline_ns, rate, seconds) for load in (0.5, 0.8, 1.0, 1.5, 3.0)}
    assert goodput[3.0] >= 0.9 * max(goodput.values()), goodput
    assert goodput[0.5] >= 0.47 * rate


def test_a_model_ten_times_slower_than_it_was_at_its_start_is_still_of_use_under_a_flood() -> None:
    """Jobs that were promised too much must not make all batches small, and so all jobs behind them late."""
    loop = Loop(linear(0.4 * MS, 0.044 * MS), linear(0.04 * MS, 0.0044 * MS))
    works = [Work(n, deadline_ns=n * 17_000 + 10 * MS) for n in range(24_000)]  # 59,000 a second, of 22,000 at most
    for work in works:
        loop.at(work.name * 17_000, loop.ask, work)
    loop.run()
    late = works[12_000:]  # after a fifth of a second
    good = sum(1 for w in late if isinstance(w.answers[0][1], str) and w.answers[0][0] <= w.deadline_ns)
    assert good / (len(late) * 17e-6) > 15_000


def test_what_arrives_in_one_turn_goes_together_and_what_arrives_meanwhile_next() -> None:
    loop = Loop(linear(5 * MS, 0))
    works = [Work(name) for name in range(6)]
    for work in works[:3]:
        loop.at(0, loop.ask, work)
    for work in works[3:]:
        loop.at(2 * MS, loop.ask, work)
    loop.run()
    assert [(began, [work.name for work in batch]) for began, batch in loop.batches] == [
        (0, [0, 1, 2]),
        (5 * MS, [3, 4, 5]),
    ]


def test_an_idle_batcher_runs_a_job_at_once_and_nothing_else_is_ever_waited_for() -> None:
    loop = Loop(linear(MS, 0))
    for name in range(5):
        loop.at(name * 10 * MS, loop.ask, Work(name))
    loop.run()
    assert [began for began, _ in loop.batches] == [name * 10 * MS for name in range(5)]


def order(loop: Loop, *works: Work) -> list[int]:
    for work in works:
        loop.at(0, loop.ask, work)
    loop.run()
    return [batch[0].name for _, batch in loop.batches]


def test_live_jobs_take_turns_with_bulk_and_shadows_wait_for_both() -> None:
    live = [Work(name, rows=8, key="l") for name in range(3)]
    bulk = [Work(name, rows=8, key="b", lane=BULK) for name in range(3, 6)]
    loop = Loop(linear(MS, 0), max_rows=8)
    assert order(loop, Work(9, key="s", lane=SHADOW), *live, *bulk) == [0, 3, 1, 4, 2, 5, 9]


def test_a_high_priority_goes_first_and_a_low_one_is_not_starved() -> None:
    high = [Work(name, rows=8, lane=HIGH) for name in range(40)]
    live = [Work(name, rows=8, lane=LIVE) for name in range(100, 140)]
    low = [Work(name, rows=8, lane=LOW) for name in range(200, 202)]
    names = order(Loop(linear(MS, 0), max_rows=8), *low, *live, *high)
    assert names[:4] == [0, 1, 2, 3]
    assert names[4] == 100  # four have passed it
    assert 200 in names[:18]
    assert len(names) == len(set(names)) == 82


def test_many_rows_hold_up_few_for_20_ms_at_most() -> None:
    loop = Loop(linear(0, MS))
    for name in range(100):
        loop.at(0, loop.ask, Work(name, rows=5, lane=BULK))
    live = Work(1000, deadline_ns=60 * MS)
    loop.at(5 * MS, loop.ask, live)
    loop.run()
    assert all(sum(work.rows for work in batch) <= 20 for _, batch in loop.batches)
    assert live.answers[0][0] <= 21 * MS


def test_a_full_lane_refuses_and_the_others_do_not() -> None:
    loop = Loop(linear(MS, 0), max_rows=8, max_queued_rows=ROWS)
    batcher, cost = loop.batcher, loop.cost("k")
    for name in range(6):
        assert loop.ask(Work(name, rows=8))
    with pytest.raises(OverloadError, match="overloaded: 48 rows wait already"):
        batcher.admit(3, NEVER, LIVE, cost)
    batcher.admit(2, NEVER, LIVE, cost)
    batcher.admit(50, NEVER, BULK, cost)
    batcher.admit(10_000, NEVER, SHADOW, cost)  # an empty lane takes one of any size
    with pytest.raises(OverloadError, match="rows wait already"):
        batcher.admit(1, NEVER, BULK, cost, held_rows=50)  # on their way to the disk


def test_a_refusal_says_when_to_come_again() -> None:
    loop = Loop(linear(3000 * MS, 0))
    loop.ask(Work(0))
    with pytest.raises(OverloadError, match=r"could not be answered in time; the wait is 3 s") as caught:
        loop.batcher.admit(1, 1000 * MS, LIVE, loop.cost("k"))
    assert caught.value.retry_after_s == 3
    assert caught.value.fix == "try again in 3 s"


def test_a_job_whose_time_is_over_while_a_long_batch_runs_is_told_so_then_and_not_after_it() -> None:
    loop = Loop(linear(500 * MS, 0), linear(5 * MS, 0))  # it was expected to take 5 ms
    waiting = Work(1, deadline_ns=70 * MS)
    loop.at(0, loop.ask, Work(0))
    loop.at(MS // 2, loop.ask, waiting)
    loop.run()
    told, answer = waiting.answers[0]
    assert isinstance(answer, DeadlineError)
    assert 70 * MS <= told <= 90 * MS
    assert [[work.name for work in batch] for _, batch in loop.batches] == [[0]]


def test_behind_a_batch_that_hangs_jobs_are_refused() -> None:
    loop = Loop(linear(60_000 * MS, 0), linear(5 * MS, 0))
    loop.at(0, loop.ask, Work(0))
    works = [Work(n, deadline_ns=n * 1000 * MS + 1000 * MS) for n in range(1, 60)]
    for work in works:
        loop.at(work.name * 1000 * MS, loop.ask, work)
    loop.run()
    assert all(isinstance(work.answers[0][1], OverloadError | DeadlineError) for work in works)
    assert loop.batcher.refused >= 57
    assert [[work.name for work in batch] for _, batch in loop.batches] == [[0]]


def test_a_caller_that_goes_is_not_scored_for_and_harms_nobody() -> None:
    loop = Loop(linear(10 * MS, 0))
    gone = Work(1)
    loop.at(0, loop.ask, Work(0))
    for work in (gone, Work(2)):
        loop.at(MS, loop.ask, work)
    loop.at(2 * MS, setattr, gone, "is_gone", True)
    loop.run()
    assert [[work.name for work in batch] for _, batch in loop.batches] == [[0], [2]]
    assert (loop.batcher.cancelled, gone.answers) == (1, [])


def test_an_expectation_that_is_far_too_high_is_corrected_though_it_refuses_everybody() -> None:
    loop = Loop(linear(MS, 0), linear(10_000 * MS, 0))
    works = [Work(n, deadline_ns=n * 2 * MS + 20 * MS) for n in range(300)]
    for work in works:
        loop.at(work.name * 2 * MS, loop.ask, work)
    loop.run()
    assert all(isinstance(work.answers[0][1], str) for work in works[200:])


@given(st.integers(1, 300), st.data())
def test_a_bad_job_is_found_in_few_runs(count: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, count - 1), max_size=3))
    runs = 0

    def score(works: list[Work]) -> set[int]:
        nonlocal runs
        runs += 1
        names = {work.name for work in works}
        if names & bad:
            raise ValueError
        return names

    outcomes = isolate(score, [Work(name) for name in range(count)])
    assert [work.name for works, _ in outcomes for work in works] == list(range(count))
    assert {works[0].name for works, result in outcomes if isinstance(result, ValueError)} == bad
    assert runs <= 1 + 2 * len(bad) * max(1, (count - 1).bit_length())
