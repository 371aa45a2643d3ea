"""The jobs that wait, by lane and key; whose turn it is, and how long a new one would wait.

| lane   | goes next                                                   | one batch of it is      |
|--------|-------------------------------------------------------------|-------------------------|
| HIGH   | before all others                                           | what leaves all in time |
| LIVE   | after HIGH, but at the latest when 4 batches have passed it | the same                |
| LOW    | after LIVE, but at the latest when 16 have                  | the same                |
| BULK   | in turn with those: when 1 has passed it                    | 20 ms or one job        |
| SHADOW | when nothing else waits                                     | 20 ms or one job        |

Within a lane the keys take turns, and the jobs of a key go in the order in which they came. Every job is charged with
what it is expected to cost, so the expected wait is a sum that is kept up to date, not one that is made when asked.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Generic, Protocol, TypeVar

from kaizen.serve.cost import Cost

HIGH: Final = 0  # somebody waits, for few rows
LIVE: Final = 1
LOW: Final = 2
BULK: Final = 3  # somebody waits, for many rows
SHADOW: Final = 4  # nobody waits
NAMES: Final = ("high", "live", "low", "bulk", "shadow")
NEVER: Final = 2**63 - 1
QUANTUM_NS: Final = 20_000_000  # for which many rows hold up few

_PATIENCE: Final = (NEVER, 4, 16, 1, NEVER)  # batches of other lanes that may pass a lane that waits


class Job(Protocol):
    """What is batched: some rows for one key."""

    charge_ns: float  # for who keeps the job, as the next
    since_ns: int

    @property
    def rows(self) -> int:
        """How many rows it has, at least 1."""
        ...

    @property
    def key(self) -> Hashable:
        """What it may share a batch with."""
        ...

    @property
    def deadline_ns(self) -> int:
        """When it must be answered, by the batcher's clock."""
        ...

    @property
    def is_gone(self) -> bool:
        """Whether nobody waits for it any more."""
        ...


J = TypeVar("J", bound=Job)


class Lanes(Generic[J]):
    """Jobs that wait.

    Parameters
    ----------
    cost
        Gives what batches of a job's key cost.
    max_rows
        The most rows in one batch, unless a single job has more.
    """

    def __init__(self, cost: Callable[[J], Cost], max_rows: int) -> None:
        self._cost = cost
        self.max_rows = max_rows
        self._waiting: tuple[dict[Hashable, list[J]], ...] = tuple({} for _ in NAMES)
        self._passed = [0] * len(NAMES)  # batches since it began to wait
        self._broken = [False] * len(NAMES)  # the last batch came too late for a job that was admitted
        self._charged_ns = [0.0] * len(NAMES)
        self.charged_ns = 0.0  # of all lanes but the shadows'
        self.rows = [0] * len(NAMES)
        self.around_ns = 0.0  # what a row costs beside its batch: it is read, logged, answered
        self.soonest_ns = NEVER  # no deadline is earlier
        self.waited_ns = 0  # by all jobs that were taken
        self.waited_us = [0] * 32  # jobs that were taken, by `int.bit_length` of the time that they waited

    def any(self) -> bool:
        """Whether a job waits."""
        return any(self._waiting)

    def waiting(self) -> dict[Hashable, int]:
        """Return how many jobs wait, by key; shadows left out, for whom nobody waits."""
        counts: dict[Hashable, int] = {}
        for lane in self._waiting[:SHADOW]:
            for key, jobs in lane.items():
                counts[key] = counts.get(key, 0) + len(jobs)
        return counts

    def add(self, job: J, lane: int, now_ns: int) -> None:
        """Put a job behind those of its lane and key."""
        waiting, rows, key, cost = self._waiting[lane], job.rows, job.key, self._cost(job)
        jobs = waiting.get(key)
        if jobs is None:
            waiting[key] = [job]
            charge = cost.fixed_ns + (cost.row_ns + self.around_ns) * rows
        else:
            jobs.append(job)
            charge = (cost.row_ns + self.around_ns + cost.fixed_ns / self.max_rows) * rows
        job.since_ns = now_ns
        job.charge_ns = charge
        self._charged_ns[lane] += charge
        if lane != SHADOW:
            self.charged_ns += charge
        self.rows[lane] += rows
        if job.deadline_ns < self.soonest_ns:
            self.soonest_ns = job.deadline_ns

    def wait_ns(self, lane: int) -> float:
        """Return how long those who wait now keep a new job of this lane from its turn."""
        charged, rows = self._charged_ns, self.rows
        if lane >= BULK:
            turns = 1 + charged[lane] // QUANTUM_NS
            return charged[lane] + self._share_ns(sum(charged[:BULK]), sum(rows[:BULK]), turns)
        total = sum(charged[: lane + 1])
        turns = 1 + sum(rows[: lane + 1]) // self.max_rows
        if lane == HIGH:  # those behind wait for longer, but not for ever
            total += self._share_ns(charged[LIVE], rows[LIVE], turns // _PATIENCE[LIVE])
        if lane != LOW:
            total += self._share_ns(charged[LOW], rows[LOW], turns // _PATIENCE[LOW])
        return total + min(charged[BULK], turns * QUANTUM_NS)

    def _share_ns(self, charged_ns: float, rows: int, batches: float) -> float:
        return charged_ns * min(1.0, batches * self.max_rows / rows) if rows else 0.0

    def take(self, now_ns: int) -> tuple[list[J], int, list[J]]:
        """Return the next batch, its rows, and jobs that were dropped: their time is over or their caller has gone."""
        lane = self._next()
        waiting = self._waiting[lane]
        if not waiting:
            return [], 0, []
        key = next(iter(waiting))
        jobs = waiting.pop(key)
        cost = self._cost(jobs[0])
        whole = self.rows[lane]
        in_time = now_ns + cost.fixed_ns + cost.slack_ns + cost.row_ns * whole <= self.soonest_ns
        if in_time and lane < BULK and whole <= self.max_rows:  # the common case: all of them
            taken, dropped = [job for job in jobs if not job.is_gone], []
            if len(taken) < len(jobs):
                dropped = [job for job in jobs if job.is_gone]
        else:
            taken, dropped = self._choose(jobs, lane, now_ns, cost)
            seen = len(taken) + len(dropped)
            if seen < len(jobs):
                self._put_back(key, jobs[seen:], lane)
        rows = sum([job.rows for job in taken])
        self._release(taken, rows, lane)
        if dropped:
            self._release(dropped, sum([job.rows for job in dropped]), lane)
        buckets = self.waited_us
        for job in taken:
            waited = now_ns - job.since_ns
            self.waited_ns += waited
            buckets[min((waited // 1000).bit_length(), 31)] += 1
        return taken, rows, dropped

    def _choose(self, jobs: list[J], lane: int, now_ns: int, cost: Cost) -> tuple[list[J], list[J]]:
        """Return the first jobs that can run together in time, and those before them that are dropped."""
        ends, slack_ns, row_ns = now_ns + cost.fixed_ns, cost.slack_ns, cost.row_ns
        least_ns = self._least_ns(cost, lane, jobs[-1].deadline_ns - now_ns) if self._broken[lane] else 0.0
        tight = now_ns + QUANTUM_NS if lane >= BULK else NEVER
        taken: list[J] = []
        late: list[J] = []
        dropped: list[J] = []
        rows = 0
        for job in jobs:
            deadline = job.deadline_ns
            if deadline <= now_ns or job.is_gone:
                dropped.append(job)
                continue
            if ends + row_ns * job.rows > deadline or now_ns + least_ns > deadline:
                late.append(job)
                continue
            more = rows + job.rows
            tight = min(tight, deadline)
            if taken and (more > self.max_rows or ends + slack_ns + row_ns * more > tight):
                break
            rows = more
            taken.append(job)
        self._broken[lane] = bool(late)
        if not taken and late:  # it may be that the expectation is wrong, which only a batch can tell
            taken.append(late.pop(0))
        return taken, dropped + late

    def _put_back(self, key: Hashable, jobs: list[J], lane: int) -> None:
        """Let what was not taken wait behind the other keys."""
        self._waiting[lane][key] = jobs
        fixed_ns = self._cost(jobs[0]).fixed_ns
        jobs[0].charge_ns += fixed_ns  # it begins a batch now
        self._charged_ns[lane] += fixed_ns

    def _least_ns(self, cost: Cost, lane: int, newest_ns: int) -> float:
        """Return what a batch should take at least: what is fixed is a fifth of it, in half the time of the newest job.

        Where promises are broken, the oldest jobs, which have just time for themselves, would make every batch small
        and thereby all behind them late. Then it is better to give those up.
        """
        rows = min(self.rows[lane], self.max_rows, 4.0 * cost.fixed_ns / max(cost.row_ns, 1.0))
        return min(cost.of(int(rows)), newest_ns / 2)

    def sweep(self, now_ns: int) -> list[J]:
        """Take out and return the jobs whose time is over or whose caller has gone."""
        found: list[J] = []
        soonest = NEVER
        for lane, waiting in enumerate(self._waiting):
            for key, jobs in list(waiting.items()):
                over = [job for job in jobs if job.deadline_ns <= now_ns or job.is_gone]
                if over:
                    found += over
                    self._release(over, sum([job.rows for job in over]), lane)
                    gone = set(map(id, over))
                    jobs = waiting[key] = [job for job in jobs if id(job) not in gone]
                if not jobs:
                    del waiting[key]
                soonest = min([soonest, *(job.deadline_ns for job in jobs)])
        self.soonest_ns = soonest
        return found

    def _next(self) -> int:
        """Return the lane whose turn it is."""
        waiting, passed = self._waiting, self._passed
        if waiting[LIVE] and not (waiting[HIGH] or waiting[LOW] or waiting[BULK]):
            passed[LIVE] = 0
            return LIVE
        waits = [lane for lane in range(SHADOW) if waiting[lane]]
        if not waits:
            return SHADOW
        if len(waits) == 1:  # nobody is passed
            passed[LIVE] = passed[LOW] = passed[BULK] = 0
            return waits[0]
        overdue = [lane for lane in waits if passed[lane] >= _PATIENCE[lane]]
        chosen = overdue[-1] if overdue else waits[0]
        for lane in range(SHADOW):
            passed[lane] = passed[lane] + 1 if waiting[lane] and lane != chosen else 0
        return chosen

    def _release(self, jobs: list[J], rows: int, lane: int) -> None:
        left = self.rows[lane] = self.rows[lane] - rows
        charged = self._charged_ns
        charged[lane] = charged[lane] - sum([job.charge_ns for job in jobs]) if left else 0.0
        if left or any(self._waiting):
            self.charged_ns = sum(charged[:SHADOW])
        else:
            self.charged_ns, self.soonest_ns = 0.0, NEVER
