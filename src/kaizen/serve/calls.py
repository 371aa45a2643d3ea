"""What is asked, as the batcher sees it: a request's rows, cut by the arm that answers them, and a shadow's copy.

Call (a request, its deadline, its lane) ─┬─ Part (its rows for one arm)    ─▶ batch ─▶ ShadowPart (the same rows)
                                          └─ Part …

A call is answered once: when its last part is, or at the first error, behind which its other parts are dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from kaizen.core.errors import KaizenError, RequestError
from kaizen.core.records import PredictionBatch
from kaizen.graph.frame import Feeds
from kaizen.serve.generation import Generation, LiveArm
from kaizen.serve.lanes import LIVE, NEVER
from kaizen.serve.message import Request
from kaizen.serve.reader import Inputs
from kaizen.serve.stages import Batch

logger = logging.getLogger("kaizen.serve")


class Call:
    """One request for predictions, until it is answered."""

    __slots__ = (
        "arms", "at", "batches", "deadline_ns", "error", "finish", "generation", "ids", "lane", "outputs", "pending",
        "request", "request_id", "rows", "units",
    )  # fmt: skip

    def __init__(
        self,
        request: Request,
        generation: Generation,
        rows: int,
        *,
        finish: Callable[[Call], None],
        ids: list[str] | None = None,
        units: list[str | None] | None = None,
        at: list[int] | None = None,
        request_id: str | None = None,
        deadline_ns: int | None = None,
        lane: int = LIVE,
    ) -> None:
        self.request = request
        self.generation = generation
        self.rows = rows
        self.finish = finish
        self.ids = ids
        self.units = units  # None: rows without a unit
        self.at = at  # None: now
        self.request_id = request_id
        self.deadline_ns = deadline_ns  # by `time.perf_counter_ns`; None: it does not say
        self.lane = lane
        self.outputs: list[float] = []  # (rows,)
        self.arms: list[LiveArm] | None = None  # of each row, where one does not answer them all
        self.error: KaizenError | None = None
        self.pending = 1
        self.batches: tuple[Batch, ...] = ()  # that scored its rows, for who watches

    def settle(self) -> None:
        """Note that a part has its answers; send them if it was the last."""
        self.pending -= 1
        if self.pending or self.error is not None or self.request.connection.lost:
            return
        try:
            self.finish(self)
        except Exception:
            logger.exception("failed route=%s", self.request.head.route.name)
            self.request.refuse(RequestError("an error inside the server; its log says more", status=500))

    def fail(self, error: KaizenError) -> None:
        """Send an error as the answer, if there was none before."""
        if self.error is None:
            self.error = error
            self.request.refuse(error)


class Part:
    """The rows of a call that one arm answers together."""

    __slots__ = ("call", "charge_ns", "deadline_ns", "inputs", "key", "places", "rows", "since_ns")

    def __init__(self, call: Call, arm: LiveArm, inputs: Inputs, places: Sequence[int] | None) -> None:
        self.call = call
        self.key = arm
        self.inputs = inputs
        self.places = places  # of its rows in the call; None: it is the whole call
        self.rows = inputs.rows
        self.deadline_ns = NEVER if call.deadline_ns is None else call.deadline_ns
        self.since_ns = 0
        self.charge_ns = 0.0

    @property
    def is_gone(self) -> bool:
        """Whether nobody waits for it: the caller hung up, or its call was refused."""
        call = self.call
        return call.request.connection.lost or call.error is not None

    def own(self, values: list[Any]) -> list[Any]:
        """Return the values of its rows, of those of the call."""
        return values if self.places is None else [values[place] for place in self.places]


class ShadowPart:
    """A batch that was answered, or some rows of it, to be scored by another arm as well."""

    __slots__ = ("batch", "charge_ns", "deadline_ns", "feeds", "inputs", "is_gone", "key", "places", "rows", "since_ns")

    def __init__(self, arm: LiveArm, feeds: Feeds, batch: PredictionBatch, places: slice) -> None:
        self.key = arm
        self.feeds = feeds  # of the whole batch
        self.batch = batch
        self.places = places  # of its rows in the batch
        self.rows = places.stop - places.start
        self.inputs = Inputs(self.rows, {group: tensor[places] for group, tensor in feeds.items()})
        self.deadline_ns = NEVER
        self.since_ns = 0
        self.charge_ns = 0.0
        self.is_gone = False

    def halves(self) -> list[ShadowPart]:
        """Return its rows in two parts."""
        middle = (self.places.start + self.places.stop) // 2
        cuts = (slice(self.places.start, middle), slice(middle, self.places.stop))
        return [ShadowPart(self.key, self.feeds, self.batch, cut) for cut in cuts]

    def beside(self, outputs: list[float]) -> PredictionBatch:
        """Return the shadow's record of its rows: the same ids, its own answers, no inputs."""
        batch, places = self.batch, self.places
        return PredictionBatch(
            endpoint=batch.endpoint,
            revision=batch.revision,
            bundle=self.key.bundle.id,
            role=self.key.arm.role,
            ids=batch.ids[places],
            at=batch.at[places],
            units=batch.units[places],
            outputs=outputs,
            propensity=[1.0] * self.rows,  # it scores every row
            latency_us=[0] * self.rows,  # nobody waited
            requests=batch.requests[places],
        )
