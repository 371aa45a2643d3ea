"""A loop, a thread and a clock that exist on paper: time passes only where a test says what takes how long.

    at(time, call) ─▶ heap ─▶ run: the earliest next, at its time or when the loop is free ─▶ …

A batch on the loop holds it up for as long as it takes; one in the thread reports back when it would be done.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from kaizen.core.errors import DeadlineError, RequestError
from kaizen.serve.batcher import Batcher
from kaizen.serve.cost import Cost
from kaizen.serve.lanes import LIVE, NEVER

MS = 1_000_000


@dataclass(eq=False)
class Work:
    """A job; a bad one spoils its batch."""

    name: int
    rows: int = 1
    key: str = "k"
    lane: int = LIVE
    deadline_ns: int = NEVER
    bad: bool = False
    is_gone: bool = False
    charge_ns: float = 0.0
    since_ns: int = 0
    answers: list[tuple[int, Any]] = field(default_factory=list)  # when, and what


class Loop:
    """Runs a batcher. `takes` says how long a batch of a key really takes, `known` what is believed at first."""

    def __init__(
        self,
        takes: Callable[[str, int], int],
        known: Callable[[str, int], int] | None = None,
        **options: Any,
    ) -> None:
        self.now_ns = 0
        self._ahead_ns = 0  # how far the thread's clock is ahead, while it is its turn
        self._in_thread = False
        self._events: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0
        self._takes = takes
        self.costs: dict[str, Cost] = {}
        self._known = known or takes
        self.batches: list[tuple[int, list[Work]]] = []  # when it began, what was in it; each run of a bisection
        self.running = 0
        self.batcher: Batcher[Work, dict[int, str]] = Batcher(
            score=self._score,
            deliver=self._deliver,
            cost=lambda work: self.cost(work.key),
            soon=lambda call, *arguments: self.at(self.now_ns, call, *arguments),
            soon_from_thread=lambda call, *arguments: self.at(self.clock_ns(), call, *arguments),
            later=lambda delay_s, call, *arguments: self.at(self.now_ns + round(delay_s * 1e9), call, *arguments),
            thread=self,  # type: ignore[arg-type]
            clock_ns=self.clock_ns,
            **options,
        )

    def cost(self, key: str) -> Cost:
        if key not in self.costs:
            self.costs[key] = Cost()
            self.costs[key].begin([(rows, self._known(key, rows)) for rows in (1, 2, 4, 8)])
        return self.costs[key]

    def clock_ns(self) -> int:
        return self.now_ns + self._ahead_ns

    def at(self, time_ns: int, call: Callable[..., object], *arguments: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (time_ns, self._count, call, arguments))

    def run(self) -> None:
        """Run until nothing is left to do."""
        while self._events:
            time_ns, _, call, arguments = heapq.heappop(self._events)
            self.now_ns = max(self.now_ns, time_ns)
            call(*arguments)

    def submit(self, work: Callable[[], object]) -> Future[None]:
        assert not self.running, "one batch at a time"
        self.running += 1
        self._in_thread = True
        work()
        self._in_thread = False
        self._ahead_ns = 0
        return Future()

    def ask(self, work: Work) -> bool:
        """Hand a job in; return whether it was taken."""
        try:
            self.batcher.admit(work.rows, work.deadline_ns, work.lane, self.cost(work.key))
        except RequestError as err:
            work.answers.append((self.now_ns, err))
            return False
        self.batcher.submit(work, work.lane)
        return True

    def _score(self, works: list[Work]) -> dict[int, str]:
        self.batches.append((self.clock_ns(), works))
        took = self._takes(works[0].key, sum(work.rows for work in works))
        if self._in_thread:
            self._ahead_ns += took
        else:
            self.now_ns += took
        if any(work.bad for work in works):
            raise ValueError("spoilt")
        return {work.name: f"{work.key}{work.name}" for work in works}

    def _deliver(self, works: Sequence[Work], result: dict[int, str] | Exception) -> None:
        if not isinstance(result, DeadlineError):
            self.running = 0
        for work in works:
            work.answers.append((self.now_ns, result if isinstance(result, Exception) else result[work.name]))
