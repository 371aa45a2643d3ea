"""The tree ensemble: any tree, any value, the same bits as plain numpy and for every batch size."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kaizen.graph.run import Session
from kaizen.graph.trees import Tree, constant, ensemble, leaf_of, thresholds

_SPECIAL = [np.nan, 0.0, -0.0, 1e-36, -1e-36, 1e300, -1e300, np.inf, -np.inf, -1.0]


def _grown(rng: np.random.Generator, leaves: int) -> Tree:
    """Return a random tree: feature 0 is a number, feature 1 a category of up to 70 codes."""
    nodes = leaves - 1
    true, false = np.empty(nodes, np.int64), np.empty(nodes, np.int64)
    slots: list[tuple[NDArray[np.int64], int]] = []
    for node in range(nodes):
        if slots:
            side, at = slots.pop(int(rng.integers(len(slots))))
            side[at] = node
        slots += [(true, node), (false, node)]
    for leaf, (side, at) in enumerate(slots):
        side[at] = ~leaf
    feature = rng.integers(0, 2, nodes)
    members = {
        int(node): tuple(sorted(rng.choice(70, int(rng.integers(1, 40)), replace=False).tolist()))
        for node in np.flatnonzero(feature == 1)
    }
    threshold = np.where(feature == 0, rng.normal(size=nodes), 0.0)
    return Tree(feature, threshold, rng.random(nodes) < 0.5, true, false, rng.normal(size=leaves), members)


def _probes(trees: list[Tree], rng: np.random.Generator) -> NDArray[np.float64]:
    found = np.array([*thresholds(trees).get(0, (0.0,)), *_SPECIAL])
    single = float(np.float32(found[0]))
    x = np.concatenate([found, np.nextafter(found, np.inf), np.nextafter(found, -np.inf), [single]])
    codes = np.concatenate([np.arange(-1.0, 75.0), [np.nan, 1e9, -1e9]])
    return np.column_stack([rng.choice(x, 500), rng.choice(codes, 500)])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), sizes=st.lists(st.integers(1, 25), min_size=1, max_size=8))
def test_the_graph_routes_and_adds_like_plain_numpy(seed: int, sizes: list[int]) -> None:
    """Thresholds to the last bit, missing values both ways, sets of codes within and beyond 64."""
    rng = np.random.default_rng(seed)
    trees = [constant(0.25), *(_grown(rng, leaves) for leaves in sizes)]
    rows = _probes(trees, rng)
    expected = np.zeros(len(rows))
    for tree in trees:
        expected += tree.leaves[leaf_of(tree, rows)]
    session = Session(ensemble(trees))
    assert session.run({"features": rows})[:, 0].tobytes() == expected.tobytes()
    for size in (1, 7):
        parts = [session.run({"features": rows[start : start + size]}) for start in range(0, len(rows), size)]
        assert np.concatenate(parts)[:, 0].tobytes() == expected.tobytes()


def test_sums_are_the_same_for_large_batches() -> None:
    """ONNX Runtime takes other loops for many rows and many trees."""
    rng = np.random.default_rng(1)
    trees = [_grown(rng, 12) for _ in range(300)]
    rows = np.concatenate([_probes(trees, rng) for _ in range(10)])
    session = Session(ensemble(trees))
    whole = session.run({"features": rows})
    for size in (64, 1024):
        parts = [session.run({"features": rows[start : start + size]}) for start in range(0, len(rows), size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_thresholds_name_every_split_once_and_only_finite_ones() -> None:
    """They are what the probes of a parity certificate stand around."""
    tree = Tree(
        np.array([0, 0, 1]), np.array([2.5, np.inf, 0.0]), np.zeros(3, bool), np.array([1, 2, -1]),
        np.array([-2, -3, -4]), np.arange(4.0), {2: (3, 1)},
    )  # fmt: skip
    assert thresholds([tree, tree]) == {0: (2.5,), 1: (1.0, 3.0)}


def test_the_same_trees_give_the_same_bytes() -> None:
    """The hash of a bundle rests on it."""
    assert ensemble([_grown(np.random.default_rng(2), 9)]) == ensemble([_grown(np.random.default_rng(2), 9)])
