"""`kaizen.Detector`: anything with a stream, watched for a change, with a promise about false alarms.

>>> import numpy as np
>>> rng = np.random.default_rng(7)
>>> detector = Detector(rng.normal(size=2000), max_false_alarms="1/10000")
>>> detector.observe(rng.normal(size=1000)) is None
True
>>> found = detector.observe(rng.normal(1.0, size=200))
>>> found.verdict, 0 <= detector.alarmed_at - 1000 < 60
('page', True)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kaizen.core.clock import Clock, SystemClock
from kaizen.core.errors import DataError, nearest
from kaizen.core.ids import derived
from kaizen.core.records import Finding
from kaizen.monitor.detector.engines import Engine, RiseEngine, engine_of
from kaizen.stats.ebh import e_bh

Columns: TypeAlias = dict[str, NDArray[Any]]

MARGIN = 1.25  # by how much the limit is raised: a reference may be unlike what it comes from (simulated)
_TOGETHER = 64  # values taken in at a time
_LEAST = 50  # values of a reference


class Detector:
    """Watches a stream of numbers or labels, or several, and says when it has changed.

    While nothing changes, the mean number of values until an alarm is at least what `max_false_alarms` says: over
    references exactly, for exchangeable values of any law and for several streams however they depend on each other,
    and `MARGIN` makes it so for more than 95 of 100 references by themselves. Values that resemble their neighbours
    are counted in blocks; `plan` says which.

    Parameters
    ----------
    reference
        Values from before any change: (values,), (values, streams), or a mapping of names to (values,). None: the
        first `warm_up` values of the stream are taken for it.
    max_false_alarms
        How many alarms without a cause are acceptable in how many values: ``"1/10000"``.
    watch
        ``any`` change of the distribution, or only a ``rise`` of the mean of losses in [0, 1] over the upper 95 %
        bound of the reference's mean, which asks for no exchangeable values.
    matters
        The effect from which on an alarm is raised: a Jensen-Shannon distance, or for a rise a difference of means,
        which the bound then allows. 0: evidence alone decides.
    block
        Values a block. None: chosen from the reference.
    warm_up
        Length of a reference that is taken from the stream.
    rebase
        Take what comes after an alarm for the new reference. False: the old one stays, and a change that goes on is
        told again.
    name
        What the stream is called, where the reference does not name it.
    seed
        Of the chance that breaks ties among equal values.

    Raises
    ------
    DataError
        The reference is too short, or holds what cannot be watched.
    """

    def __init__(
        self,
        reference: Any = None,
        *,
        max_false_alarms: str = "1/10000",
        watch: Literal["any", "rise"] = "any",
        matters: float = 0.0,
        block: int | None = None,
        warm_up: int = 500,
        rebase: bool = True,
        name: str = "value",
        seed: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self._asked = {
            "reference": reference,
            "max_false_alarms": max_false_alarms,
            "watch": watch,
            "matters": matters,
            "block": block,
            "warm_up": warm_up,
            "rebase": rebase,
            "name": name,
            "seed": seed,
            "clock": clock,
        }
        self.limit = MARGIN * values_of(max_false_alarms)
        self._watch, self._matters, self._block, self._rebase = watch, matters, block, rebase
        self._warm_up, self._name = max(warm_up, _LEAST), name
        self._seed = seed
        self._clock = clock or SystemClock()
        self.n = 0
        """How many values came so far."""
        self.alarmed_at: int | None = None
        """The number of the value that raised the newest alarm, counted from 0."""
        self.findings: list[Finding] = []
        """Every alarm."""
        self._engines: dict[str, Engine] = {}
        self._learning: list[Columns] = []
        self._evidence = 0.0
        self._drift = False
        if reference is not None:
            self._learn(_columns(reference, self._name))

    @property
    def plan(self) -> str:
        """How values are counted, for people."""
        if not self._engines:
            return f"learning what is usual from {self._warm_up} values"
        said: dict[str, list[str]] = {}
        for name, engine in self._engines.items():
            said.setdefault(engine.says, []).append(name)
        return "; ".join(f"{', '.join(names)}: {says}" for says, names in said.items())

    @property
    def evidence(self) -> float:
        """The evidence of a change so far, to be held against `limit`; both are counted in values."""
        return self._evidence

    @property
    def drift_detected(self) -> bool:
        """Whether the last `update` or `observe` raised an alarm."""
        return self._drift

    @property
    def warning_detected(self) -> bool:
        """Whether the evidence is half way to an alarm, by its logarithm, and there is none."""
        return not self._drift and self._evidence >= self.limit**0.5

    def update(self, x: Any) -> Finding | None:
        """Take one value in (or a mapping or sequence with one of each stream) and return the alarm it raises, if any.

        The name and the meaning that River's detectors have.
        """
        if isinstance(x, Mapping):
            return self.observe({str(name): [value] for name, value in x.items()})
        return self.observe([x])

    def observe(self, values: Any) -> Finding | None:
        """Take values in, in their order, and return the first alarm that they raise; `findings` has all."""
        self._drift = False
        before = len(self.findings)
        columns = _columns(values, self._name)
        rows = len(next(iter(columns.values()), ()))
        place = 0
        while place < rows:
            if not self._engines:
                place += self._taken(columns, place)
                continue
            part = {name: own[place : place + _TOGETHER] for name, own in columns.items()}
            place += self._watched(part)
        self._drift = len(self.findings) > before
        return self.findings[before] if self._drift else None

    def clone(self) -> Detector:
        """Return a detector as this one was when it was made."""
        return Detector(**self._asked)

    def _taken(self, columns: Columns, place: int) -> int:
        """Take values for the reference that is being learnt, and return how many."""
        have = sum(len(next(iter(part.values()))) for part in self._learning)
        part = {name: own[place : place + self._warm_up - have] for name, own in columns.items()}
        taken = len(next(iter(part.values())))
        self._learning.append(part)
        self.n += taken
        if have + taken >= self._warm_up:
            known = {name: np.concatenate([each[name] for each in self._learning]) for name in part}
            self._learning = []
            self._learn(known)
        return taken

    def _learn(self, reference: Columns) -> None:
        rows = len(next(iter(reference.values()), ()))
        if rows < _LEAST:
            raise DataError(
                f"a reference of {rows} values is too short", where="Detector", fix=f"give {_LEAST} or more"
            )
        self._engines = {name: self._engine(own, place) for place, (name, own) in enumerate(reference.items())}
        self._evidence = 0.0

    def _engine(self, reference: NDArray[Any], place: int) -> Engine:
        if self._watch == "rise":
            return RiseEngine(np.asarray(reference, np.float64), self._matters)
        chance = np.random.default_rng((self._seed, place, self.n))
        return engine_of(reference, block=self._block, chance=chance)

    def _watched(self, part: Columns) -> int:
        """Take values in, at most `_TOGETHER`, and return how many."""
        for name in self._engines:
            if name not in part:
                raise DataError(f"the stream {name!r} is missing", where="Detector", fix=nearest(name, part))
        taken = len(next(iter(part.values())))
        paths = np.stack([engine.advance(part[name], self.n) for name, engine in self._engines.items()])
        mean = paths.mean(axis=0)  # (values,)
        first, self.n = self.n, self.n + taken
        self._evidence = float(mean[-1])
        over = np.flatnonzero(mean >= self.limit)
        if len(over):
            self._alarm(first + int(over[0]), paths[:, over[0]])
        return taken

    def _alarm(self, at: int, evidence: NDArray[np.float64]) -> None:
        """Hold an alarm against the effect: say it, or start anew in silence."""
        names = list(self._engines)
        named = e_bh(evidence, 1 / self.limit)
        if not named.any():
            named = evidence == evidence.max()
        blamed = sorted(
            (name for name, has in zip(names, named, strict=True) if has), key=lambda n: -evidence[names.index(n)]
        )
        began = {name: self._engines[name].start(at) for name in blamed}
        effects = {name: self._engines[name].effect(began[name], self.n) for name in blamed}
        worst = max(blamed, key=lambda name: effects[name])
        for engine in self._engines.values():
            engine.rest()
        if self._watch == "any" and effects[worst] < self._matters:
            self._evidence = 0.0
            return
        self.alarmed_at = at
        self.findings.append(self._finding(at, blamed, worst, began[worst], effects[worst], float(evidence.mean())))
        if self._rebase:
            self._engines = {}

    def _finding(self, at: int, blamed: list[str], worst: str, began: int, effect: float, evidence: float) -> Finding:
        now = self._clock.now()
        what = "has risen" if self._watch == "rise" else "has changed"
        return Finding(
            id=derived(now, "detector", *blamed, str(at), str(len(self.findings))),
            project="detector",
            at=now,
            by="detector",
            question="rise" if self._watch == "rise" else "drift",
            subject=worst,
            method="e-SR on losses against the reference's upper bound" if self._watch == "rise" else "conformal e-SR",
            estimate=effect,
            low=None,
            high=None,
            evidence=evidence,
            limit=self.limit,
            verdict="page",
            n=at + 1,
            says=f"{', '.join(blamed)} {what}, probably {at - began + 1:,} values ago: {worst} by {effect:.3g}.",
            matters=self._matters or None,
            blames=tuple(blamed),
        )


def values_of(max_false_alarms: str) -> float:
    """Return how many values lie between two alarms without a cause.

    >>> values_of("1/10000"), values_of("2 / 1e6")
    (10000.0, 500000.0)
    """
    match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+(?:\.\d+)?(?:[eE]\+?\d+)?)\s*", max_false_alarms)
    if match is None or int(match[1]) == 0 or float(match[2]) < int(match[1]):
        raise DataError(
            f"{max_false_alarms!r} does not say how many false alarms in how many values",
            where="Detector(max_false_alarms=…)",
            fix='write a count and a number of values, such as "1/10000"',
        )
    return float(match[2]) / int(match[1])


def _columns(values: Any, name: str) -> Columns:
    """Return values as named columns: float64, or object for labels."""
    if isinstance(values, Mapping):
        columns = {str(key): _column(own) for key, own in values.items()}
        if len({len(own) for own in columns.values()}) > 1:
            raise DataError("the streams differ in length", where="Detector")
        return columns
    array = values if isinstance(values, np.ndarray) else np.array(values, dtype=_dtype(values))
    if array.ndim == 2:
        return {f"{name} {index}": _column(array[:, index]) for index in range(array.shape[1])}
    if array.ndim != 1:
        raise DataError(
            f"values have the shape {array.shape}", where="Detector", fix="give (values,) or (values, streams)"
        )
    return {name: _column(array)}


def _dtype(values: Any) -> Any:
    return np.object_ if any(isinstance(value, str) for value in values) else None


def _column(values: Any) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)
    listed = array.tolist()
    if array.dtype.kind == "O" and not any(isinstance(value, str) for value in listed):
        return np.array([np.nan if value is None else float(value) for value in listed], np.float64)
    return np.array(["" if value is None else str(value) for value in listed], np.object_)
