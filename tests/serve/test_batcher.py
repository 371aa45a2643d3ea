"""The batcher on a loop that the test turns by hand: whatever the order of things, each job gets its own result."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen.core.errors import RequestError
from kaizen.serve.batcher import BULK, LIVE, SHADOW, Batcher, isolate


@dataclass(frozen=True)
class Work:
    """A job; a bad one spoils its batch."""

    name: int
    rows: int = 1
    key: str = "k"
    bad: bool = False
    slow: bool = False


class Loop:
    """A loop and a thread that run one step when told to."""

    def __init__(self) -> None:
        self.ready: deque[Callable[[], object]] = deque()
        self.thread: deque[Callable[[], object]] = deque()
        self.batches: list[list[Work]] = []
        self.delivered: list[tuple[Work, Any]] = []
        self.running = 0
        self.batcher: Batcher[Work, dict[int, str]] = Batcher(
            score=self.score,
            deliver=self.deliver,
            estimate_s=lambda work, rows: 1.0 if work.slow else 0.0,
            soon=self.soon,
            soon_from_thread=self.soon,
            thread=self,  # type: ignore[arg-type]
            max_rows=8,
            max_queued_rows=(50, 50, 50),
        )

    def soon(self, call: Callable[..., object], *arguments: object) -> None:
        self.ready.append(lambda: call(*arguments))

    def submit(self, call: Callable[[], object]) -> Future[None]:
        assert not self.thread, "one batch at a time"
        self.thread.append(call)
        return Future()

    def score(self, works: list[Work]) -> dict[int, str]:
        self.batches.append(works)
        assert len({work.key for work in works}) == 1
        assert len(works) == 1 or sum(work.rows for work in works) <= 8
        if any(work.bad for work in works):
            raise ValueError("spoilt")
        return {work.name: f"{work.key}{work.name}" for work in works}

    def deliver(self, works: list[Work], result: dict[int, str] | Exception) -> None:
        for work in works:
            self.delivered.append((work, result if isinstance(result, Exception) else result[work.name]))

    def step(self, *, thread: bool) -> None:
        steps = self.thread if thread and self.thread else self.ready
        if steps:
            steps.popleft()()

    def finish(self) -> None:
        while self.ready or self.thread:
            self.step(thread=True)


jobs = st.tuples(
    st.builds(
        Work,
        name=st.just(0),
        rows=st.integers(1, 12),
        key=st.sampled_from("abc"),
        bad=st.sampled_from([False, False, True]),
        slow=st.sampled_from([False, False, True]),
    ),
    st.sampled_from([LIVE, LIVE, BULK, SHADOW]),
)


@given(st.lists(jobs | st.booleans(), max_size=60))
def test_no_job_is_lost_doubled_or_misrouted(events: list[Any]) -> None:
    loop = Loop()
    taken: list[Work] = []
    for number, event in enumerate(events):
        if isinstance(event, bool):
            loop.step(thread=event)
            continue
        work, lane = replace(event[0], name=number), event[1]
        try:
            loop.batcher.admit(work.rows, lane)
        except RequestError:
            continue
        loop.batcher.submit(work, lane)
        taken.append(work)
    loop.finish()
    assert loop.batcher.is_idle
    assert loop.batcher.queued_rows == [0, 0, 0]
    assert sorted(work.name for work, _ in loop.delivered) == [work.name for work in taken]
    for work, result in loop.delivered:
        if work.bad:
            assert isinstance(result, ValueError)
        else:
            assert result == f"{work.key}{work.name}"


def test_what_arrives_in_one_turn_goes_together_and_what_arrives_meanwhile_next() -> None:
    loop = Loop()
    for name in range(3):
        loop.batcher.submit(Work(name, slow=True))
    assert loop.batches == []
    loop.step(thread=False)
    for name in range(3, 6):
        loop.batcher.submit(Work(name))
    loop.finish()
    assert [[work.name for work in works] for works in loop.batches] == [[0, 1, 2], [3, 4, 5]]


def test_live_jobs_take_turns_with_bulk_and_shadows_wait_for_both() -> None:
    loop = Loop()
    loop.batcher.submit(Work(9, key="s"), SHADOW)
    for name in range(3):
        loop.batcher.submit(Work(name, rows=8, key="l"), LIVE)
        loop.batcher.submit(Work(name + 3, rows=8, key="b"), BULK)
    loop.finish()
    assert [works[0].name for works in loop.batches] == [0, 3, 1, 4, 2, 5, 9]


def test_a_full_lane_refuses_and_the_others_do_not() -> None:
    loop = Loop()
    for name in range(6):
        loop.batcher.submit(Work(name, rows=8))
    with pytest.raises(RequestError, match="overloaded: 48 rows wait already"):
        loop.batcher.admit(3, LIVE)
    loop.batcher.admit(2, LIVE)
    loop.batcher.admit(50, BULK)
    loop.batcher.admit(10_000, SHADOW)


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
