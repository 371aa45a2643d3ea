"""Step functions, each as one tree: a binary search among ascending edges inside the graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaizen.graph.build import ML, Builder, attribute_tensor

_LESS_THAN = 1  # of the enumeration of node modes in ai.onnx.ml 5


@dataclass(frozen=True)
class Steps:
    """A function that is `values[i]` where exactly i of the ascending edges are at or below x."""

    edges: NDArray[np.float64]  # (steps,), at least one
    values: NDArray[np.float64]  # (steps + 1,)


def step(graph: Builder, value: str, functions: Sequence[tuple[int, Steps]]) -> str:
    """Return step functions of columns, double [n, len(functions)]; NaN counts as above all edges.

    Parameters
    ----------
    graph
        Where the node goes.
    value
        A double tensor [n, k].
    functions
        For each answer: which column of `value` it reads, and its steps.
    """
    trees = _Trees()
    for target, (column, steps) in enumerate(functions):
        trees.add(target, column, steps)
    return graph.node("TreeEnsemble", value, domain=ML, n_targets=len(functions), **trees.attributes())


class _Trees:
    def __init__(self) -> None:
        self._roots: list[int] = []
        self._features: list[int] = []
        self._splits: list[float] = []
        self._true: list[tuple[int, int]] = []  # child, is it a leaf
        self._false: list[tuple[int, int]] = []
        self._targets: list[int] = []
        self._weights: list[float] = []

    def add(self, target: int, column: int, steps: Steps) -> None:
        first_leaf = len(self._targets)
        self._roots.append(len(self._features))
        self._targets += [target] * len(steps.values)
        self._weights += steps.values.tolist()
        self._split(column, steps.edges.tolist(), 0, len(steps.edges), first_leaf)

    def _split(self, column: int, edges: list[float], low: int, high: int, first_leaf: int) -> tuple[int, int]:
        # Leaf i stands for "i edges are at or below"; the node asks whether the value is below the middle edge.
        if low == high:
            return first_leaf + low, 1
        middle, node = (low + high) // 2, len(self._features)
        self._features.append(column)
        self._splits.append(edges[middle])
        self._true.append((0, 0))
        self._false.append((0, 0))
        self._true[node] = self._split(column, edges, low, middle, first_leaf)
        self._false[node] = self._split(column, edges, middle + 1, high, first_leaf)
        return node, 0

    def attributes(self) -> dict[str, Any]:
        return {
            "tree_roots": self._roots,
            "nodes_featureids": self._features,
            "nodes_splits": attribute_tensor("splits", np.array(self._splits)),
            "nodes_modes": attribute_tensor("modes", np.full(len(self._features), _LESS_THAN, np.uint8)),
            "nodes_truenodeids": [child for child, _ in self._true],
            "nodes_trueleafs": [leaf for _, leaf in self._true],
            "nodes_falsenodeids": [child for child, _ in self._false],
            "nodes_falseleafs": [leaf for _, leaf in self._false],
            "leaf_targetids": self._targets,
            "leaf_weights": attribute_tensor("leaves", np.array(self._weights, np.float64)),
        }
