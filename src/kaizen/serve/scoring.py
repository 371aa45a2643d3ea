"""From rows to logged answers: parts of requests are batched, scored, logged, and only then answered.

Call (a request) ─┬─ Part (its rows for one arm) ─▶ Batcher ─▶ score ─▶ log.append ─▶ Commit ─▶ Call.settle
                  └─ Part …                                                          └─▶ ShadowPart, behind the answers
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from itertools import islice, repeat
from math import isfinite
from typing import Final, TypeAlias

from kaizen.core.clock import Clock, to_us
from kaizen.core.errors import DeadlineError, KaizenError, RequestError
from kaizen.core.ids import ulids
from kaizen.core.ports import Log
from kaizen.core.records import PredictionBatch
from kaizen.graph.frame import Feeds, to_log
from kaizen.serve.batcher import Batcher
from kaizen.serve.calls import Call, Part, ShadowPart
from kaizen.serve.commit import Commit
from kaizen.serve.generation import Generation, LiveArm
from kaizen.serve.lanes import BULK, LIVE, NEVER, QUANTUM_NS, SHADOW
from kaizen.serve.message import Request
from kaizen.serve.reader import Inputs, pick
from kaizen.serve.stages import Batch, Marks, Stages

logger = logging.getLogger("kaizen.serve")

CHUNK: Final = 512  # rows: a larger request is scored in chunks, so that small ones get between
_SMALL_BYTES: Final = 16 << 10  # a body that may be refused unread

Scored: TypeAlias = "tuple[Feeds, list[float], Marks]"


class Scoring:
    """Scores calls in batches and logs every prediction before it is answered.

    Parameters
    ----------
    log
        Where predictions go. Appended to on the loop's thread only.
    commit
        Tells when what was appended is safe enough to be answered.
    clock
        Tells the event time of rows that do not have one.
    soon, soon_from_thread, later
        The loop's `call_soon`, `call_soon_threadsafe` and `call_later`.
    thread
        An executor with one thread, for long batches.
    deadline_s
        When a request must be answered that does not say, after it arrived; None: it may wait for ever.
    """

    def __init__(
        self,
        log: Log,
        commit: Commit,
        clock: Clock,
        soon: Callable[..., object],
        soon_from_thread: Callable[..., object],
        later: Callable[..., object],
        thread: Executor,
        *,
        deadline_s: float | None = None,
    ) -> None:
        self._log = log
        self._commit = commit
        self._clock = clock
        self.batcher: Batcher[Part | ShadowPart, Scored] = Batcher(
            score=_score,
            deliver=self._deliver,
            cost=lambda part: part.key.cost,
            soon=soon,
            soon_from_thread=soon_from_thread,
            later=later,
            thread=thread,
        )
        self._deadline_ns = None if deadline_s is None else int(deadline_s * 1e9)
        self.lag_s = 0.0  # how late the loop comes to read what has arrived
        self.held_rows = [0, 0]  # live, bulk: scored and not yet on the disk
        self.batches = [0] * 24  # by power of two of their rows
        self.batch_rows = 0
        self.log_rows = 0
        self.log_bytes = 0  # of inputs; strings by their length
        self.log_s = 0.0
        self.log_failures = 0
        self.stages: dict[tuple[str, str], Stages] = {}  # by endpoint and version
        self.is_watched = False
        self.shadow_pending = 0  # rows
        self.shadow_dropped = 0
        self.shadow_failed = 0

    def shed(self, request: Request, generation: Generation, deadline_ns: int | None) -> None:
        """Raise a 503 if a request with a few rows could not be answered in time: before its body is read.

        Only a body so small that it holds few rows; what it would say itself of its time must be known.
        """
        if self.batcher.lanes.charged_ns and len(request.body) <= _SMALL_BYTES:
            self.batcher.admit(1, self._due_ns(request, deadline_ns), LIVE, generation.arms[0].cost)

    def submit(self, call: Call, inputs: Sequence[Inputs], pinned: LiveArm | None = None) -> None:
        """Take a call and its rows, in chunks of at most `CHUNK`; `call.finish` is called when it is done.

        A `pinned` arm answers all of it; otherwise the router chooses. Raises a 503 if it cannot be done in time.
        """
        arms = call.generation.arms
        if len(inputs) == 1:
            lane = call.lane
            call.deadline_ns = self._due_ns(call.request, call.deadline_ns)
        else:
            lane = call.lane = BULK
            if call.deadline_ns is None:
                call.deadline_ns = NEVER  # many rows take as long as they take
        held = self.held_rows[lane == BULK]
        self.batcher.admit(call.rows, call.deadline_ns, lane, (pinned or arms[0]).cost, held_rows=held)
        if len(inputs) == 1 and len(arms) == 1:
            self.batcher.submit(Part(call, arms[0], inputs[0], None), lane)
            return
        parts = self._split(call, inputs, pinned)
        call.pending = len(parts)
        for part in parts:
            self.batcher.submit(part, lane)

    def _due_ns(self, request: Request, own_ns: int | None) -> int:
        if own_ns is not None:
            return own_ns
        return NEVER if self._deadline_ns is None else request.arrived_ns + self._deadline_ns

    def _split(self, call: Call, inputs: Sequence[Inputs], pinned: LiveArm | None) -> list[Part]:
        generation = call.generation
        if call.ids is None:
            call.ids = ulids(to_us(self._clock.now()) // 1000, call.rows)
        units = call.units or [None] * call.rows
        keys = [identity if unit is None else unit for unit, identity in zip(units, call.ids, strict=True)]
        call.arms = generation.arms_of(keys) if pinned is None else [pinned] * call.rows
        call.outputs = [0.0] * call.rows
        parts: list[Part] = []
        start = 0
        for chunk in inputs:
            places = range(start, start + chunk.rows)
            for arm in generation.arms:
                own = [place for place in places if call.arms[place] is arm]
                few = _few(arm) if call.lane == BULK else CHUNK
                for places_of_part in [own[i : i + few] for i in range(0, len(own), few)]:
                    whole = len(places_of_part) == chunk.rows
                    index = [place - start for place in places_of_part]
                    rows = chunk if whole else pick(chunk, index, generation.reader)
                    parts.append(Part(call, arm, rows, places_of_part))
            start += chunk.rows
        return parts

    def _deliver(self, parts: list[Part | ShadowPart], scored: Scored | Exception) -> None:
        if isinstance(parts[0], ShadowPart):
            shadows = [part for part in parts if isinstance(part, ShadowPart)]
            self._deliver_shadows(shadows, scored)
            return
        live = [part for part in parts if isinstance(part, Part)]
        if self.is_watched:
            _show(live)
        stages = live[0].key.stages or self._stages(live[0])
        if isinstance(scored, Exception):
            _fail(stages, live, scored if isinstance(scored, DeadlineError) else _refusal(live[0], scored))
            return
        feeds, outputs, marks = scored
        try:
            batch = self._logged(live, feeds, outputs)
        except Exception as err:  # whatever it is, nothing may be answered that is not logged
            logger.error("not logged rows=%d error=%s", len(outputs), err)  # noqa: TRY400 (a full disk needs no traceback)
            self._not_logged(stages, live, err)
            return

        is_bulk = live[0].call.lane == BULK
        self.held_rows[is_bulk] += len(outputs)

        def answer(error: KaizenError | None) -> None:
            self.held_rows[is_bulk] -= len(outputs)
            safe_ns = time.perf_counter_ns()
            if self.is_watched:
                _note(live, batch, marks, safe_ns)
            if error is not None:
                self._not_logged(stages, live, error)
                return
            _settle(live, outputs)
            _count(stages, live, len(outputs), marks, safe_ns)
            rowwatch = live[0].call.generation.rowwatch
            if rowwatch is not None:
                rowwatch.count([part.inputs for part in live])
            self._shadow(live[0].key, feeds, batch)

        self._commit.after(answer)

    def _not_logged(self, stages: Stages, parts: list[Part], err: Exception) -> None:
        self.log_failures += 1
        _fail(stages, parts, RequestError(f"nothing was answered, for it could not be logged: {err}", status=503))

    def _stages(self, part: Part) -> Stages:
        """Return the figures of the version that answers this, which stay when a revision goes."""
        arm = part.key
        if arm.stages is None:
            version = (part.call.generation.endpoint.name, str(arm.bundle.version))
            arm.stages = self.stages.setdefault(version, Stages())
        return arm.stages

    def _logged(self, parts: list[Part], feeds: Feeds, outputs: list[float]) -> PredictionBatch:
        """Return the batch's record, which is in the log."""
        arm = parts[0].key
        call = parts[0].call
        endpoint = call.generation.endpoint
        now_us = to_us(self._clock.now())
        now_ns = time.perf_counter_ns()
        ids: list[str] = []
        at: list[int] = []
        units: list[str | None] = []
        latency_us: list[int] = []
        requests: list[str | None] = []
        fresh = iter(ulids(now_us // 1000, sum([part.rows for part in parts if part.call.ids is None])))
        for part in parts:
            call, rows = part.call, part.rows
            if call.ids is None:
                call.ids = list(islice(fresh, rows))
            ids += part.own(call.ids)
            at += part.own(call.at) if call.at else repeat(now_us, rows)
            units += part.own(call.units) if call.units else repeat(None, rows)
            latency_us += repeat((now_ns - call.request.arrived_ns) // 1000, rows)
            requests += repeat(call.request_id, rows)
        columns = call.generation.reader.columns
        numbers, times, strings = to_log(columns, feeds)
        batch = PredictionBatch(
            endpoint=endpoint.name,
            revision=endpoint.revision,
            bundle=arm.bundle.id,
            role=arm.arm.role,
            ids=ids,
            at=at,
            units=units,
            outputs=outputs,
            propensity=[arm.propensity] * len(ids),
            latency_us=latency_us,
            requests=requests,
            columns=columns,
            numbers=numbers,
            times=times,
            strings=strings,
        )
        self._append(batch)
        arm.rows += len(ids)
        self.batches[len(ids).bit_length()] += 1
        self.batch_rows += len(ids)
        return batch

    def _append(self, batch: PredictionBatch) -> None:
        start = time.perf_counter()
        self._log.append(batch)
        self.log_s += time.perf_counter() - start
        self.log_rows += len(batch.ids)
        self.log_bytes += len(batch.numbers) + len(batch.times) + sum(map(len, batch.strings))

    def _shadow(self, arm: LiveArm, feeds: Feeds, batch: PredictionBatch) -> None:
        rows = len(batch.ids)
        for shadow in arm.shadows:
            try:
                self.batcher.admit(rows, NEVER, SHADOW, shadow.cost)
            except RequestError:
                self.shadow_dropped += rows  # live traffic needs the whole core; better this than waiting
                continue
            self.shadow_pending += rows
            few = _few(shadow)
            for start in range(0, rows, few):
                self.batcher.submit(ShadowPart(shadow, feeds, batch, slice(start, min(start + few, rows))), SHADOW)

    def _deliver_shadows(self, parts: list[ShadowPart], scored: Scored | Exception) -> None:
        if isinstance(scored, Exception) and parts[0].rows > 1:
            for half in parts[0].halves():  # one of its rows is bad; the others are not lost for it
                self.batcher.submit(half, SHADOW)
            return
        rows = sum(part.rows for part in parts)
        self.shadow_pending -= rows
        arm = parts[0].key
        error = scored if isinstance(scored, Exception) else self._log_shadows(parts, scored[1])
        if error is None:
            arm.rows += rows
            return
        # Users have their answers already; the shadow has a gap here, which its log shows.
        self.shadow_failed += rows
        logger.warning("shadow failed bundle=%s rows=%d error=%s", arm.bundle.id, rows, error)

    def _log_shadows(self, parts: list[ShadowPart], outputs: list[float]) -> Exception | None:
        start = 0
        try:
            for part in parts:
                self._append(part.beside(outputs[start : start + part.rows]))
                start += part.rows
        except Exception as err:
            return err
        self._commit.touch()
        return None


def _score(parts: list[Part | ShadowPart]) -> Scored:
    """Return the tensors and answers of parts of one arm; raise if any answer is no number."""
    arm = parts[0].key
    begun_ns = time.perf_counter_ns()
    feeds = arm.reader.pack([part.inputs for part in parts])
    packed_ns = time.perf_counter_ns()
    outputs: list[float] = arm.score(feeds).tolist()
    run_ns = time.perf_counter_ns()
    if not isfinite(sum(outputs)) and not all(map(isfinite, outputs)):  # the sum alone may overflow
        raise RequestError("the model's answer to this row is not a number", status=422)
    return feeds, outputs, (begun_ns, packed_ns, run_ns)


def _show(parts: list[Part]) -> None:
    """Leave with each request its call, for who is told of the answer; who has gone is told of already."""
    for part in parts:
        if not part.is_gone:
            part.call.request.call = part.call


def _note(parts: list[Part], record: PredictionBatch, marks: Marks, safe_ns: int) -> None:
    """Leave with each call what scored it."""
    batch = Batch(record.endpoint, record.revision, record.bundle, record.role, len(record.ids), marks, safe_ns)
    for part in parts:
        part.call.batches += (batch,)


def _settle(parts: list[Part], outputs: list[float]) -> None:
    """Give each call its answers."""
    start = 0
    for part in parts:
        call = part.call
        end = start + part.rows
        if part.places is None:
            call.outputs = outputs[start:end]
        else:
            for place, value in zip(part.places, outputs[start:end], strict=True):
                call.outputs[place] = value
        start = end
        call.settle()


def _count(stages: Stages, parts: list[Part], rows: int, marks: Marks, safe_ns: int) -> None:
    """Count a batch that was answered, and the requests that it ended."""
    now_ns = time.perf_counter_ns()
    stages.observe(len(parts), rows, sum([part.call.request.arrived_ns for part in parts]), marks, safe_ns, now_ns)
    calls = [part.call for part in parts]
    ended = [call.request.arrived_ns for call in calls if not call.pending and call.error is None]
    stages.answer(len(ended), sum(ended), now_ns)


def _fail(stages: Stages, parts: list[Part], error: KaizenError) -> None:
    fresh = [part.call.request.arrived_ns for part in parts if part.call.error is None]
    stages.fail(len(fresh), sum(fresh), time.perf_counter_ns())
    for part in parts:
        part.call.fail(error)


def _few(arm: LiveArm) -> int:
    """Return how many rows may hold up others: those that take 20 ms, at most `CHUNK`."""
    cost = arm.cost
    return max(1, min(CHUNK, int((QUANTUM_NS - cost.fixed_ns) / max(cost.row_ns, 1.0))))


def _refusal(part: Part, err: Exception) -> RequestError:
    """Return why this call cannot be answered, with the first of its rows that the model does not take."""
    place = _first_bad(part) if part.rows > 1 else 0
    row = place if part.places is None else part.places[place]
    what = err.what if isinstance(err, KaizenError) else f"the model failed: {type(err).__name__}"
    if not isinstance(err, KaizenError):
        logger.error("model failed bundle=%s error=%r", part.key.bundle.id, err)
    return RequestError(what, status=422, where=f"rows[{row}]")


def _first_bad(part: Part) -> int:
    """Return the place of the first row that spoils the part, found in log2 n runs."""
    low, high = 0, part.rows
    while high - low > 1:
        middle = (low + high) // 2
        half = pick(part.inputs, range(low, middle), part.key.reader)
        try:
            _score([Part(part.call, part.key, half, None)])
        except Exception:
            high = middle
        else:
            low = middle
    return low
