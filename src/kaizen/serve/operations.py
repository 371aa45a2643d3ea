"""What this process tells of its own work: a line every 10 s in the project's file, of counters that are there anyway.

    hot path ─► counters ─┐ each 10 s, on the loop: a copy of them
    tick, 1 s ─► lag ─────┤ what came since the line before ─► a thread ─► `core/operations_file.py`
    the kernel ─► CPU ────┘        └─ is taken off only once it is written: a full disk loses nothing

A process that is killed takes with it what it counted since its last line.
"""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from kaizen.core.clock import Clock, to_us
from kaizen.core.errors import KaizenError
from kaizen.core.operations import Figures, since
from kaizen.core.operations_file import OperationsFile
from kaizen.serve.commit import Commit
from kaizen.serve.feedback import Feedback
from kaizen.serve.message import Route
from kaizen.serve.models import Models
from kaizen.serve.scoring import Scoring

logger = logging.getLogger("kaizen.serve")

EVERY_S: Final = 10.0
_FOLD_S: Final = 3600.0
_STAND: Final = Path("/proc/thread-self/schedstat")  # ns on a core, ns waiting for one, …
_HELD: Final = Path("/proc/self/statm")


class Counters:
    """Everything that this process has counted since its start; read on the loop's thread.

    Parameters
    ----------
    routes
        Whose answers are counted.
    """

    def __init__(
        self, models: Models, routes: Sequence[Route], scoring: Scoring, feedback: Feedback, commit: Commit
    ) -> None:
        self._models = models
        self._routes = routes
        self._scoring = scoring
        self._feedback = feedback
        self._commit = commit

    def total(self) -> Figures:
        """Return the totals; time, memory and what the loop's ticks saw are left to `Operations`."""
        scoring = self._scoring
        batcher, lanes = scoring.batcher, scoring.batcher.lanes
        busy_s, starved_s = _on_core()
        return Figures(
            at=0,
            revisions={
                hosted.name: hosted.generation.endpoint.revision
                for hosted in self._models
                if hosted.generation is not None
            },
            requests=self._requests(),
            overloaded=batcher.refused,
            expired=batcher.expired,
            cancelled=batcher.cancelled,
            latency=_sparse(_answered(self._routes)),
            waited=_sparse(lanes.waited_us),
            batches=_sparse(scoring.batches),
            rows=scoring.batch_rows,
            labels=self._feedback.labels,
            spoilt=batcher.failed_jobs,
            unlogged=scoring.log_failures + self._feedback.log_failures + self._commit.failures,
            busy_s=busy_s,
            starved_s=starved_s,
            scoring_s=batcher.thread_ns / 1e9,
            cpu_s=time.process_time(),
        )

    def _requests(self) -> dict[str, dict[int, int]]:
        found: dict[str, dict[int, int]] = {}
        for route in self._routes:
            for status, count in route.counts.statuses.items():
                of_scope = found.setdefault(route.scope, {})
                of_scope[status] = of_scope.get(status, 0) + count
        return found


class Operations:
    """Appends what was counted; used on the loop's thread, but for `stop`.

    Parameters
    ----------
    file
        Where to.
    every_s
        Between two lines.
    """

    def __init__(self, file: OperationsFile, *, every_s: float = EVERY_S) -> None:
        self._file = file
        self._every_s = every_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kaizen-operations")
        self._told = Figures(at=0)  # what the file has of this process
        self._lag: dict[int, int] = {}
        self._memory_byte_s = 0.0
        self._peak = 0
        self._due = 0.0  # the first line at once: who dies young was there
        self._fold_due = 0.0
        self._is_writing = False
        self._is_refused = False

    def start(self, total: Callable[[], Figures], clock: Clock) -> None:
        """Begin; `total` returns what this process has counted since its start, `clock` the time of the lines."""
        self._total = total
        self._clock = clock
        self._begun = self._ticked = time.monotonic()

    def tick(self, lag_s: float) -> None:
        """Note how late the loop is and how much memory is held; write a line if one is due."""
        now = time.monotonic()
        late = int(max(0.0, lag_s) * 1e6).bit_length()
        self._lag[late] = self._lag.get(late, 0) + 1
        held = memory_bytes()
        self._peak = max(self._peak, held)
        self._memory_byte_s += held * (now - self._ticked)
        self._ticked = now
        if now >= self._due and not self._is_writing:
            self._due = now + self._every_s
            self._is_writing = True
            self._thread.submit(self._write, self._now(now, stops=0), is_fold_due=now >= self._fold_due)
            self._fold_due = now + _FOLD_S if now >= self._fold_due else self._fold_due

    def stop(self, last: Figures) -> None:
        """Write the last line; takes as long as the disk does."""
        self._thread.shutdown()
        self._write(last, is_fold_due=False)

    def last(self) -> Figures:
        """Return what `stop` is to write."""
        return self._now(time.monotonic(), stops=1)

    def _now(self, now: float, *, stops: int) -> Figures:
        return msgspec.structs.replace(
            self._total(),
            at=to_us(self._clock.now()),
            seconds=now - self._begun,
            starts=1,
            stops=stops,
            lag=dict(self._lag),
            memory_byte_s=self._memory_byte_s,
            memory_peak=self._peak,
        )

    def _write(self, total: Figures, *, is_fold_due: bool) -> None:
        """Append what the file does not have yet; in the thread."""
        try:
            self._file.append(since(total, self._told))
            self._told = total
            self._is_refused = False
            if is_fold_due:
                self._file.fold(self._clock.now())
        except KaizenError as err:
            if not self._is_refused:  # said once: what is not written now goes with a later line
                logger.error("figures not kept error=%s", err)  # noqa: TRY400 (a full disk needs no traceback)
            self._is_refused = True
        except Exception:  # in this thread nobody else would hear of it
            logger.exception("figures not kept")
        finally:
            self._is_writing = False


def memory_bytes() -> int:
    """Return how much memory this process holds now; where there is no /proc, the most that it ever held."""
    try:
        return int(_HELD.read_bytes().split()[1]) * resource.getpagesize()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def _on_core() -> tuple[float, float]:
    """Return how long the thread that asks ran, and how long it waited for a core (0 where nobody counts that)."""
    try:
        ran, waited, *_ = map(int, _STAND.read_bytes().split())
    except (OSError, ValueError):
        ran = waited = 0
    return (ran / 1e9, waited / 1e9) if ran else (time.thread_time(), 0.0)


def _answered(routes: Iterable[Route]) -> list[int]:
    """Return how many predictions took how long, of those that were answered."""
    every = (route.counts.latencies.get(200) for route in routes if route.scope == "predict")
    found = [counts for counts in every if counts]
    return [sum(bucket) for bucket in zip(*found, strict=True)]


def _sparse(counts: Sequence[int]) -> dict[int, int]:
    return {bucket: count for bucket, count in enumerate(counts) if count}
