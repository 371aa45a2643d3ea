"""Natural batching: if nothing runs, go now; what arrives meanwhile goes together next. No polling, no delay.

    submit ─▶ lane (live, bulk, shadow) ─▶ one batch of one key ─▶ score ─▶ deliver ─▶ the next batch

Jobs that arrive in one turn of the event loop make one batch. A batch that takes under 2 ms runs on the loop
itself, where handing it to a thread would cost more; a longer one runs in the thread, so that the loop stays
responsive. One batch runs at a time. A batch that fails is cut in halves until the job that spoils it stands
alone (at most 2 log2 n further runs for each bad job), so no job fails for another's sake.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

from kaizen.core.errors import OverloadError

LIVE: Final = 0  # somebody waits, for few rows
BULK: Final = 1  # somebody waits, for many rows; takes turns with live batches
SHADOW: Final = 2  # nobody waits: when nothing else does


class Job(Protocol):
    """What is batched: some rows for one key."""

    @property
    def rows(self) -> int:
        """How many rows it has, at least 1."""
        ...

    @property
    def key(self) -> Hashable:
        """What it may share a batch with."""
        ...


J = TypeVar("J", bound=Job)
R = TypeVar("R")
Outcome: TypeAlias = "tuple[list[J], R | Exception]"


class Batcher(Generic[J, R]):
    """Runs jobs in batches; every job that was taken is delivered exactly once, with a result or its own error.

    Parameters
    ----------
    score
        Computes the result of jobs of one key; may run in the thread, must not touch shared state.
    deliver
        Takes jobs and their result, or one job and its error; runs on the loop, must not raise.
    estimate_s
        Says how long a batch of this key and so many rows will take, in seconds.
    soon, soon_from_thread
        The loop's `call_soon` and `call_soon_threadsafe`.
    thread
        An executor with one thread.
    max_rows
        The most rows in one batch, unless a single job has more.
    max_queued_rows
        The most rows that wait, a lane; more are refused.
    inline_s
        A batch that takes longer runs in the thread.
    """

    def __init__(
        self,
        *,
        score: Callable[[list[J]], R],
        deliver: Callable[[list[J], R | Exception], None],
        estimate_s: Callable[[J, int], float],
        soon: Callable[..., object],
        soon_from_thread: Callable[..., object],
        thread: Executor,
        max_rows: int = 1024,
        max_queued_rows: Sequence[int] = (32_768, 1_048_576, 262_144),
        inline_s: float = 0.002,
    ) -> None:
        self._score = score
        self._deliver = deliver
        self._estimate_s = estimate_s
        self._soon = soon
        self._soon_from_thread = soon_from_thread
        self._thread = thread
        self._max_rows = max_rows
        self._max_queued_rows = tuple(max_queued_rows)
        self._inline_s = inline_s
        self._lanes: tuple[dict[Hashable, list[J]], ...] = ({}, {}, {})
        self.queued_rows = [0, 0, 0]
        self._scheduled = False
        self._busy = False
        self._was_live = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._busy and not any(self._lanes)

    def waiting(self) -> Mapping[Hashable, int]:
        """Return how many jobs wait, by key; shadows left out, for whom nobody waits."""
        counts: dict[Hashable, int] = {}
        for lane in self._lanes[:SHADOW]:
            for key, jobs in lane.items():
                counts[key] = counts.get(key, 0) + len(jobs)
        return counts

    def admit(self, rows: int, lane: int) -> None:
        """Raise a 503 if so many more rows would have to wait behind too many."""
        queued = self.queued_rows[lane]
        if queued and queued + rows > self._max_queued_rows[lane]:
            raise OverloadError(f"overloaded: {queued} rows wait already")

    def submit(self, job: J, lane: int = LIVE) -> None:
        """Take a job; its result is delivered in a later turn of the loop."""
        waiting = self._lanes[lane]
        jobs = waiting.get(job.key)
        if jobs is None:
            waiting[job.key] = [job]
        else:
            jobs.append(job)
        self.queued_rows[lane] += job.rows
        if not self._scheduled and not self._busy:
            self._scheduled = True
            self._soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        jobs = self._take()
        if not jobs:
            return
        if self._estimate_s(jobs[0], sum([job.rows for job in jobs])) > self._inline_s:
            self._hand_over(jobs)
            return
        try:
            result = self._score(jobs)
        except Exception:  # whose fault it is takes more runs to find out: off the loop
            self._hand_over(jobs)
            return
        self._deliver(jobs, result)
        self._go_on()

    def _go_on(self) -> None:
        # In a turn of its own, so that the sockets are read in between.
        if not self._scheduled and any(self._lanes):
            self._scheduled = True
            self._soon(self._turn)

    def _take(self) -> list[J]:
        lane = self._next_lane()
        waiting = self._lanes[lane]
        if not waiting:
            return []
        self._was_live = lane == LIVE
        key = next(iter(waiting))
        jobs = waiting.pop(key)
        rows = count = 0
        for job in jobs:
            if count and rows + job.rows > self._max_rows:
                break
            rows += job.rows
            count += 1
        if count < len(jobs):
            waiting[key] = jobs[count:]  # behind the other keys
            jobs = jobs[:count]
        self.queued_rows[lane] -= rows
        return jobs

    def _next_lane(self) -> int:
        live, bulk, _ = self._lanes
        if live and not (bulk and self._was_live):
            return LIVE
        return BULK if bulk else SHADOW

    def _hand_over(self, jobs: list[J]) -> None:
        self._busy = True

        def work() -> None:
            outcomes = isolate(self._score, jobs)
            self._soon_from_thread(self._finish, outcomes)

        self._thread.submit(work)

    def _finish(self, outcomes: list[Outcome[J, R]]) -> None:
        self._busy = False
        for jobs, result in outcomes:
            self._deliver(jobs, result)
        self._go_on()


def isolate(score: Callable[[list[J]], R], jobs: list[J]) -> list[Outcome[J, R]]:
    """Return jobs with their results, in order; a job that cannot be scored stands alone with its error."""
    try:
        return [(jobs, score(jobs))]
    except Exception as err:
        if len(jobs) == 1:
            return [(jobs, err)]
    half = len(jobs) // 2
    return [*isolate(score, jobs[:half]), *isolate(score, jobs[half:])]
