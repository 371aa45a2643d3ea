"""The conformance suite of the framework port: subclass it, say how to make one, and pytest does the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from kaizen.core.ports import Fitted, Framework, Param
from kaizen.core.records import FeatureColumn, Task
from kaizen.graph.run import Session

Array = NDArray[np.float64]
TASKS: tuple[Task, ...] = get_args(Task)
_CATEGORIES = 7


class FrameworkConformance:
    """What every framework must do.

    A subclass says how to make one.

    >>> class TestMine(FrameworkConformance):
    ...     def framework(self): ...
    """

    tolerance = 1e-12  # how far the graph's sums may be from the framework's, relative to their size

    def framework(self) -> Framework:
        """Return the adapter under test."""
        raise NotImplementedError

    def settings(self, task: Task) -> Mapping[str, Param]:
        """Return the parameters that the suite fits with; the defaults, with their small-data guards taken down."""
        return self.framework().defaults(task)

    @pytest.mark.parametrize("task", TASKS)
    def test_defaults_lie_in_the_space(self, task: Task) -> None:
        """The search begins with them."""
        space = {choice.name: choice for choice in self.framework().space(task)}
        for name, value in self.framework().defaults(task).items():
            choice = space[name]
            if choice.options:
                assert value in choice.options
            else:
                assert isinstance(value, int | float)
                assert choice.low <= value <= choice.high
                assert not choice.integer or isinstance(value, int)

    @pytest.mark.parametrize("task", TASKS)
    def test_every_corner_of_the_space_fits(self, task: Task) -> None:
        """Whatever the sampler proposes must be accepted."""
        space = self.framework().space(task)
        columns, features, target = table(self.framework(), task, rows=300)
        for end in ("low", "high"):
            params = {c.name: c.options[0 if end == "low" else -1] if c.options else getattr(c, end) for c in space}
            params |= {c.name: int(getattr(c, end)) for c in space if c.integer}
            fitted = self.framework().fit(task, params, columns, features, target, seed=0, rounds=3)
            assert bool(np.isfinite(fitted.predict(features)).all())

    @pytest.mark.parametrize("task", TASKS)
    def test_the_same_seed_gives_the_same_graph(self, task: Task) -> None:
        """Runs repeat byte for byte."""
        assert self._fitted(task).graph() == self._fitted(task).graph()

    @pytest.mark.parametrize("task", TASKS)
    def test_the_graph_answers_as_the_framework_does(self, task: Task) -> None:
        """On its own rows and on rows at and around every threshold."""
        fitted = self._fitted(task)
        _, features, _ = table(self.framework(), task)
        rows = probes(self.framework(), fitted, features)
        own, graph = fitted.predict(rows), answers(fitted, rows)
        assert own.shape == (len(rows),)
        assert own.dtype == np.float64
        scale = np.maximum(np.abs(own), 1.0)
        assert float(np.max(np.abs(own - graph) / scale)) <= self.tolerance

    @pytest.mark.parametrize("task", TASKS)
    def test_an_answer_does_not_depend_on_the_batch(self, task: Task) -> None:
        """Bit for bit, alone or among a thousand others."""
        fitted = self._fitted(task)
        _, features, _ = table(self.framework(), task)
        session = Session(fitted.graph())
        whole = session.run({"features": features})
        for size in (1, 7, 64):
            parts = [features[start : start + size] for start in range(0, 448, size)]
            split = np.concatenate([session.run({"features": np.ascontiguousarray(part)}) for part in parts])
            assert split.tobytes() == whole[: len(split)].tobytes()

    @pytest.mark.parametrize("task", TASKS)
    def test_importance_is_shares(self, task: Task) -> None:
        """One share a feature, and most of them to the features that matter."""
        columns, _, _ = table(self.framework(), task)
        shares = np.array(self._fitted(task).importance())
        assert shares.shape == (len(columns),)
        assert float(shares.min()) >= 0.0
        assert float(shares.sum()) == pytest.approx(1.0)
        assert float(shares[0]) > 0.05

    @pytest.mark.parametrize("task", TASKS)
    def test_given_rounds_are_kept_and_found_rounds_are_the_best(self, task: Task) -> None:
        """A refit repeats what early stopping found."""
        columns, features, target = table(self.framework(), task)
        framework, params = self.framework(), self.settings(task)
        stopped = framework.fit(
            task, params, columns, features[:800], target[:800], seed=1, validation=(features[800:], target[800:])
        )
        assert stopped.rounds >= 1
        again = framework.fit(task, params, columns, features[:800], target[:800], seed=1, rounds=stopped.rounds)
        assert again.rounds == stopped.rounds
        assert again.graph() == stopped.graph()

    @pytest.mark.parametrize("task", TASKS)
    def test_it_learns(self, task: Task) -> None:
        """Raw answers are log-odds, or values."""
        _, features, target = table(self.framework(), task)
        raw = self._fitted(task).predict(features)
        if task == "classification":
            raw = 1.0 / (1.0 + np.exp(-raw))
        assert float(np.mean((raw - target) ** 2)) < 0.8 * float(np.var(target))

    @pytest.mark.parametrize("task", TASKS)
    def test_empty_and_constant_columns_do_no_harm(self, task: Task) -> None:
        """A column may be missing in every row, or the same."""
        columns, features, target = table(self.framework(), task)
        spoilt = features.copy()
        dense = self.framework().encoding == "dense"
        spoilt[:, 1] = 0.0 if dense else np.nan
        spoilt[:, 2] = 0.0 if dense else -1.0
        fitted = self.framework().fit(task, self.settings(task), columns, spoilt, target, seed=1, rounds=5)
        assert np.allclose(fitted.predict(spoilt), answers(fitted, spoilt), rtol=1e-12, atol=1e-12)

    def _fitted(self, task: Task) -> Fitted:
        columns, features, target = table(self.framework(), task)
        return self.framework().fit(task, self.settings(task), columns, features, target, seed=1, rounds=25)


def table(framework: Framework, task: Task, rows: int = 1200) -> tuple[tuple[FeatureColumn, ...], Array, Array]:
    """Return columns, features (rows, 5) and target (rows,) in the framework's encoding; 2 is a category."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(rows, 5))
    features[:, 3] = np.round(features[:, 3] * 2)  # many ties, and zeros
    codes = rng.integers(-1, _CATEGORIES, rows)
    effect = np.array([0.0, 1.5, -1.0, 0.5, -2.0, 1.0, 0.0, 0.3])[codes]
    signal = 2.0 * features[:, 0] + np.sin(3.0 * features[:, 1]) + effect + 0.5 * features[:, 3]
    dense = framework.encoding == "dense"
    features[:, 2] = effect if dense else codes
    if not dense:
        features[rng.random((rows, 5)) < np.array([0.1, 0.1, 0.0, 0.1, 0.0])] = np.nan
    noisy = signal + rng.logistic(size=rows)
    target = (noisy > 0).astype(np.float64) if task == "classification" else noisy
    names = ("a", "b", "c", "d", "e")
    columns = tuple(FeatureColumn(name, name, _CATEGORIES if name == "c" and not dense else 0) for name in names)
    return columns, features, target


def probes(framework: Framework, fitted: Fitted, features: Array) -> Array:
    """Return the features and rows with one value at or around a threshold, or a special one."""
    if framework.encoding == "dense":
        return features
    special = [np.nan, 0.0, -0.0, 1e-36, -1e-36, 1e-35, -1e-35, 1e300, -1e300]
    special += [float(np.float32(1e-35)), -float(np.float32(1e-35))]
    made = []
    rng = np.random.default_rng(4)
    for column, found in fitted.thresholds().items():
        values: Any = [-1.0, 0.0, 5.0, 6.0, 7.0, 31.0, 32.0, 63.0, 64.0, 65.0, 1000.0]
        if column != 2:
            at = np.array(found)
            single = at.astype(np.float32).astype(np.float64)
            near = [at, np.nextafter(at, np.inf), np.nextafter(at, -np.inf), single, np.nextafter(single, np.inf)]
            values = np.concatenate([*near, np.nextafter(single, -np.inf), special])
        rows = features[rng.integers(0, len(features), len(values))]
        rows[:, column] = values
        made.append(rows)
    return np.concatenate([features, *made])


def answers(fitted: Fitted, features: Array) -> Array:
    """Return what the exported graph says (rows,)."""
    return np.asarray(Session(fitted.graph()).run({"features": np.ascontiguousarray(features)}))[:, 0]
