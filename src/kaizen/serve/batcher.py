"""Natural batching: if nothing runs, go now; what arrives meanwhile goes together next. No polling, no delay.

    admit ─▶ submit ─▶ lanes ─▶ one batch of one key ─▶ score ─▶ deliver ─▶ the next batch
      └─ 503: it could not be answered in time        └─ 504: its time is over; nothing: its caller has gone

Jobs that arrive in one turn of the event loop make one batch. A batch that takes under 2 ms runs on the loop
itself, where handing it to a thread would cost more; a longer one runs in the thread, so that the loop stays
responsive. One batch runs at a time; how many jobs it takes, `lanes.py` says. A batch that fails is cut in halves
until the job that spoils it stands alone (at most 2 log2 n further runs for each bad job), so no job fails for
another's sake.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final, Generic, TypeAlias, TypeVar

from kaizen.core.errors import DeadlineError, OverloadError
from kaizen.serve.cost import Cost
from kaizen.serve.lanes import LIVE, NEVER, SHADOW, J, Lanes

_SWEEP_NS: Final = 20_000_000  # between two looks for jobs whose time is over, at least

R = TypeVar("R")
Outcome: TypeAlias = "tuple[list[J], R | Exception]"


class Batcher(Generic[J, R]):
    """Runs jobs in batches; every job that was taken is delivered exactly once, unless its caller has gone.

    Parameters
    ----------
    score
        Computes the result of jobs of one key; may run in the thread, must not touch shared state.
    deliver
        Takes jobs and their result, or one job and its error; runs on the loop, must not raise.
    cost
        Gives what batches of a job's key cost; it learns from each batch.
    soon, soon_from_thread, later
        The loop's `call_soon`, `call_soon_threadsafe` and `call_later`.
    thread
        An executor with one thread.
    clock_ns
        Monotonic.
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
        cost: Callable[[J], Cost],
        soon: Callable[..., object],
        soon_from_thread: Callable[..., object],
        later: Callable[..., object],
        thread: Executor,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        max_rows: int = 1024,
        max_queued_rows: Sequence[int] = (32_768, 32_768, 32_768, 1_048_576, 262_144),
        inline_s: float = 0.002,
    ) -> None:
        self._score = score
        self._deliver = deliver
        self._cost = cost
        self._soon = soon
        self._soon_from_thread = soon_from_thread
        self._later = later
        self._thread = thread
        self._clock_ns = clock_ns
        self._max_queued_rows = tuple(max_queued_rows)
        self._inline_ns = inline_s * 1e9
        self.lanes: Lanes[J] = Lanes(cost, max_rows)
        self._now_ns = 0  # when the last job was admitted
        self._scheduled = False
        self._busy = False
        self._due_ns = 0  # when the batch in the thread is expected to end
        self._alarm_ns = NEVER  # when jobs whose time is over are looked for
        self._last: tuple[int, int, float] | None = None  # begin, rows, cost: of a batch behind which jobs waited
        self.refused = 0  # that could not have been answered in time, or waited behind too many
        self.expired = 0  # jobs whose time was over before their turn
        self.cancelled = 0  # jobs whose caller had gone
        self.failed_batches = 0
        self.failed_jobs = 0  # that fail alone
        self.thread_ns = 0  # that batches took in the thread

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._busy and not self.lanes.any()

    # Admission

    def admit(self, rows: int, deadline_ns: int, lane: int, cost: Cost, *, held_rows: int = 0) -> None:
        """Raise a 503 if so many more rows would wait behind too many, or could not be answered in time.

        If nothing waits and nothing runs they are taken, whatever they are expected to cost: so an expectation that
        is wrong is corrected. `held_rows` are scored, and still wait for the disk.
        """
        self._now_ns = now = self._clock_ns()
        lanes = self.lanes
        queued = lanes.rows[lane] + held_rows
        if queued and queued + rows > self._max_queued_rows[lane]:
            raise self._overload(f"{queued} rows wait already", lane)
        if deadline_ns == NEVER or not (self._busy or lanes.charged_ns):
            return
        row_ns = cost.row_ns + lanes.around_ns
        room = deadline_ns - now - cost.fixed_ns - cost.slack_ns - row_ns * rows
        if self._busy:
            room -= self._rest_ns(now)
        if lanes.charged_ns + row_ns * lanes.max_rows <= room:  # behind all that waits, in the largest batch
            return
        # In a queue as many come behind a job as were before it, and its batch takes them with it.
        beside = min(lanes.max_rows, lanes.rows[lane])
        if lanes.wait_ns(lane) + row_ns * beside > room:
            raise self._overload("it could not be answered in time", lane)

    def wait_ns(self, lane: int = LIVE) -> float:
        """Return how long a new job would wait for its turn, as far as is known now."""
        return self._rest_ns(self._clock_ns()) + self.lanes.wait_ns(lane)

    def _rest_ns(self, now_ns: int) -> float:
        # A batch that is late is expected to take as long again as it is late: behind one that hangs, all are refused.
        return abs(self._due_ns - now_ns) if self._busy else 0.0

    def _overload(self, why: str, lane: int) -> OverloadError:
        if lane != SHADOW:
            self.refused += 1
        wait_s = self.wait_ns(lane) / 1e9
        return OverloadError(f"overloaded: {why}; the wait is {wait_s:.2g} s", retry_after_s=max(1, math.ceil(wait_s)))

    def submit(self, job: J, lane: int = LIVE) -> None:
        """Take a job that was admitted; its result is delivered in a later turn of the loop."""
        self.lanes.add(job, lane, self._now_ns)
        if self._busy:
            if job.deadline_ns < self._alarm_ns:
                self._set_alarm(job.deadline_ns)
        elif not self._scheduled:
            self._scheduled = True
            self._soon(self._turn)

    # A batch

    def _turn(self) -> None:
        self._scheduled = False
        now = self._clock_ns()
        jobs, rows, dropped = self.lanes.take(now)
        if dropped:
            self._drop(dropped)
        if not jobs:
            self._go_on(None)
            return
        if self._last is not None:
            self._learn_around(now, *self._last)
        cost = self._cost(jobs[0])
        expected = cost.fixed_ns + cost.row_ns * rows
        if expected > self._inline_ns:
            self._hand_over(jobs, rows, now, expected)
            return
        try:
            result = self._score(jobs)
        except Exception:  # whose fault it is takes more runs to find out: off the loop
            self._hand_over(jobs, rows, now, expected)
            return
        took = self._clock_ns() - now
        cost.observe(rows, took)
        self._deliver(jobs, result)
        self._go_on((now, rows, took))

    def _go_on(self, batch: tuple[int, int, float] | None) -> None:
        # In a turn of its own, so that the sockets are read in between.
        self._last = None
        if not self._scheduled and self.lanes.any():
            self._last = batch
            self._scheduled = True
            self._soon(self._turn)

    def _learn_around(self, now_ns: int, began_ns: int, rows: int, took_ns: float) -> None:
        """Learn what a row costs beside its batch: what passed from one batch to the next, where jobs waited."""
        known = self.lanes.around_ns
        around = max(0.0, now_ns - began_ns - took_ns) / rows
        self.lanes.around_ns = known + 0.05 * (min(around, 2.0 * known + 10_000.0) - known)

    def _hand_over(self, jobs: list[J], rows: int, now_ns: int, expected_ns: float) -> None:
        self._busy = True
        self._due_ns = now_ns + int(expected_ns)

        def work() -> None:
            start = self._clock_ns()
            outcomes = isolate(self._score, jobs)
            self._soon_from_thread(self._finish, outcomes, rows, now_ns, self._clock_ns() - start)

        self._thread.submit(work)
        self._set_alarm(max(self.lanes.soonest_ns, now_ns + _SWEEP_NS))

    def _finish(self, outcomes: list[Outcome[J, R]], rows: int, began_ns: int, took_ns: int) -> None:
        self._busy = False
        self.thread_ns += took_ns
        failed = sum([isinstance(result, Exception) for _, result in outcomes])
        if failed:
            self.failed_batches += 1
            self.failed_jobs += failed
        elif len(outcomes) == 1:
            self._cost(outcomes[0][0][0]).observe(rows, took_ns)
        for jobs, result in outcomes:
            self._deliver(jobs, result)
        self._go_on((began_ns, rows, took_ns))

    # Jobs that are not scored

    def _drop(self, jobs: list[J]) -> None:
        for job in jobs:
            if job.is_gone:
                self.cancelled += 1
            else:
                self.expired += 1
                self._deliver([job], DeadlineError("its time was over before its turn"))

    def _set_alarm(self, deadline_ns: int) -> None:
        """Look for jobs whose time is over at this time, if a long batch still runs then; else the next one does."""
        if deadline_ns < self._alarm_ns and self.lanes.soonest_ns != NEVER:
            self._alarm_ns = deadline_ns
            self._later(max(0, deadline_ns - self._clock_ns()) / 1e9, self._look, deadline_ns)

    def _look(self, alarm_ns: int) -> None:
        if alarm_ns != self._alarm_ns:
            return  # an earlier one was set meanwhile, and has set the next
        self._alarm_ns = NEVER
        if self._busy:
            now = self._clock_ns()
            self._drop(self.lanes.sweep(now))
            self._set_alarm(max(self.lanes.soonest_ns, now + _SWEEP_NS))


def isolate(score: Callable[[list[J]], R], jobs: list[J]) -> list[Outcome[J, R]]:
    """Return jobs with their results, in order; a job that cannot be scored stands alone with its error."""
    try:
        return [(jobs, score(jobs))]
    except Exception as err:
        if len(jobs) == 1:
            return [(jobs, err)]
    half = len(jobs) // 2
    return [*isolate(score, jobs[:half]), *isolate(score, jobs[half:])]
