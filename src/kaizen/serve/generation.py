"""The models of one revision, loaded and warm: what a request is answered with from start to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import BundleError, RequestError
from kaizen.core.records import Arm, Bundle, Column, Endpoint
from kaizen.graph.frame import Feeds
from kaizen.serve.cost import Cost
from kaizen.serve.reader import Reader, union
from kaizen.serve.router import Router
from kaizen.serve.stages import Stages
from kaizen.serve.told import told
from kaizen.serve.violations import rowwatch

_WARM_ROWS: Final = (1, 2, 4, 8, 16, 32, 64)
_WARM_S: Final = 0.05  # no larger batch is tried after this: a model may take seconds


class Model(Protocol):
    """A loaded bundle, as `Server` needs it. `run` is called from one thread at a time."""

    @property
    def bundle(self) -> Bundle:
        """What it was loaded from."""
        ...

    @property
    def inputs(self) -> tuple[Column, ...]:
        """The raw columns that it reads."""
        ...

    def run(self, feeds: Mapping[str, NDArray[Any]], /) -> NDArray[Any]:
        """Return one answer a row, (rows,), from tensors grouped by type."""
        ...


class LiveArm:
    """An arm with its model, its share of the traffic, and what its batches cost."""

    def __init__(self, arm: Arm, model: Model, reader: Reader, propensity: float) -> None:
        self.arm = arm
        self.model = model
        self.bundle = model.bundle
        self.propensity = propensity
        self.rows = 0  # scored so far
        self.stages: Stages | None = None  # of its version, from its first batch on
        self.shadows: tuple[LiveArm, ...] = ()  # what is scored behind each of its batches
        self.reader = reader
        self._selection = reader.selection(model.inputs)
        self.cost = Cost()
        self.tail = f',"bundle":"{self.bundle.id}","arm":"{arm.role}"}}'  # how its answers to plain rows end

    def score(self, feeds: Feeds) -> NDArray[np.float64]:
        """Return the model's answers, (rows,)."""
        return np.asarray(self.model.run(self._selected(feeds)), np.float64)

    def warm_up(self) -> None:
        """Run the model on its own examples, else on rows of missing values: to try it, and to learn what it costs."""
        seen = []
        start = time.perf_counter()
        for rows in _WARM_ROWS:
            feeds = self._warm_rows(rows)
            for _ in range(2):  # the first of a size makes room for it
                before = time.perf_counter_ns()
                outputs = self.score(feeds)
                took_ns = time.perf_counter_ns() - before
                if outputs.shape != (rows,):
                    raise BundleError(f"its graph answers {rows} rows with shape {outputs.shape}", where=self.bundle.id)
            seen.append((rows, float(took_ns)))
            if rows > 1 and time.perf_counter() - start > _WARM_S:
                break
        self.cost.begin(seen)

    def _warm_rows(self, rows: int) -> Feeds:
        examples, _ = told(self.model)
        if not examples:
            return self.reader.missing(rows)
        columns = [column.name for column in self.reader.columns]
        wanted = [{name: example.get(name) for name in columns} for example in examples]
        return self.reader.pack([self.reader.read_carefully([wanted[i % len(wanted)] for i in range(rows)])])

    def _selected(self, feeds: Feeds) -> Feeds:
        if self._selection is None:
            return feeds
        return {group: feeds[group][:, index] for group, index in self._selection.items()}


class Generation:
    """One revision of the endpoint, ready to answer.

    Parameters
    ----------
    endpoint
        The revision.
    models
        The loaded model of each arm's bundle.
    """

    def __init__(self, endpoint: Endpoint, models: Mapping[str, Model]) -> None:
        self.endpoint = endpoint
        self.models = models
        answering = [arm for arm in endpoint.arms if arm.share > 0]
        if not answering:
            raise BundleError(f"no arm of revision {endpoint.revision} has a share", where=endpoint.name)
        answering.sort(key=lambda arm: arm.role != "champion")
        required = models[answering[0].bundle].inputs
        self.reader = Reader(union([required, *(models[arm.bundle].inputs for arm in endpoint.arms)]), len(required))
        self.router = Router(endpoint.name, answering)
        self.arms = tuple(
            LiveArm(arm, models[arm.bundle], self.reader, propensity)
            for arm, propensity in zip(answering, self.router.propensities, strict=True)
        )
        beside = [arm for arm in endpoint.arms if arm.share == 0]
        self.shadows = tuple(LiveArm(arm, models[arm.bundle], self.reader, 0.0) for arm in beside)
        for arm in self.arms:
            arm.shadows = self.shadows
        self.matrix = self._matrix()
        self.rowwatch = rowwatch(self.arms[0].model, self.reader)
        self.says = f'"endpoint":"{endpoint.name}","revision":{endpoint.revision}'

    @property
    def output(self) -> str:
        """The name of the answer: "probability" or "value"."""
        return self.arms[0].bundle.output

    def _matrix(self) -> tuple[str, str] | None:
        """Return the name and the datatype of the one tensor that a request may give all columns in, if there is one.

        Its columns are all those of a row, in order and of one type.
        """
        model = self.arms[0].model
        name: str | None = getattr(model, "matrix", None)
        columns = self.reader.columns
        if name is None or tuple(model.inputs) != columns or name in [column.name for column in columns]:
            return None
        return name, getattr(model, "matrix_datatype", "FP64")

    def bundles(self) -> dict[str, str]:
        """Return the bundle of each role."""
        return {arm.arm.role: arm.bundle.id for arm in (*self.arms, *self.shadows)}

    def of_version(self, version: str) -> LiveArm:
        """Return the arm whose bundle has this version; raise a 404 naming what answers."""
        return _found(version, {str(arm.bundle.version): arm for arm in self.arms}, "version")

    def of_role(self, role: str) -> LiveArm:
        """Return the arm of this role; raise a 404 naming what answers."""
        return _found(role, {arm.arm.role: arm for arm in reversed(self.arms)}, "label")

    def arms_of(self, units: Sequence[str]) -> list[LiveArm]:
        """Return the arm that answers each of these units."""
        if len(self.arms) == 1:
            return [self.arms[0]] * len(units)
        return [self.arms[self.router.arm_of(unit)] for unit in units]


def prepare(endpoint: Endpoint, load: Callable[[str], Model], loaded: Mapping[str, Model]) -> Generation:
    """Return the revision's models loaded and warm; those that are `loaded` already are used again.

    Raises
    ------
    KaizenError
        A bundle cannot be loaded or does not answer; nothing has changed then.
    """
    models = {arm.bundle: loaded.get(arm.bundle) or load(arm.bundle) for arm in endpoint.arms}
    generation = Generation(endpoint, models)
    for arm in (*generation.arms, *generation.shadows):
        arm.warm_up()
    return generation


def _found(name: str, arms: Mapping[str, LiveArm], what: str) -> LiveArm:
    if name not in arms:
        raise RequestError(f"there is no {what} {name[:32]!r}", status=404, fix=f"known: {', '.join(arms)}")
    return arms[name]
