"""Trees of any framework as one `TreeEnsemble` node, in double, with nothing rounded.

    features double [n, k] ──► TreeEnsemble (ai.onnx.ml 5) ──► raw double [n, 1]

Leaves are added up tree after tree, from 0, in the order given: the order in which LightGBM and scikit-learn
add theirs, so that sums agree to the last bits. With one thread ONNX Runtime does so for every batch size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LEQ, MEMBER = 0, 6  # of the enumeration of node modes in ai.onnx.ml 5
_OPSET, _ML_OPSET, _IR = 21, 5, 10


@dataclass(frozen=True)
class Tree:
    """A binary tree; node 0 is the root. A child >= 0 is a node; a child c < 0 is the leaf ~c.

    A node sends a row to its true child when ``x <= threshold``, or, where `members` has an entry for the node,
    when x is one of these codes. A NaN goes to the true child where `missing_true` says so. A tree without
    nodes is its only leaf.
    """

    feature: NDArray[np.int64]  # (nodes,)
    threshold: NDArray[np.float64]  # (nodes,)
    missing_true: NDArray[np.bool_]  # (nodes,)
    true: NDArray[np.int64]  # (nodes,)
    false: NDArray[np.int64]  # (nodes,)
    leaves: NDArray[np.float64]  # (leaves,)
    members: Mapping[int, Sequence[int]] = field(default_factory=dict)  # node: codes, each a whole number


def constant(value: float) -> Tree:
    """Return the tree that answers `value` to every row."""
    empty = np.empty(0, dtype=np.int64)
    return Tree(empty, empty.astype(np.float64), empty.astype(np.bool_), empty, empty, np.array([value]))


def ensemble(trees: Sequence[Tree]) -> bytes:
    """Return the graph of the sum of the trees: ``features`` double [n, k] to ``raw`` double [n, 1].

    Parameters
    ----------
    trees
        At least one; an empty sequence would leave nothing to add.
    """
    node = helper.make_node(
        "TreeEnsemble", ["features"], ["raw"], domain="ai.onnx.ml", n_targets=1, **_attributes(list(trees))
    )
    features = helper.make_tensor_value_info("features", TensorProto.DOUBLE, [None, None])
    raw = helper.make_tensor_value_info("raw", TensorProto.DOUBLE, [None, 1])
    model = helper.make_model(
        helper.make_graph([node], "trees", [features], [raw]),
        opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)],
        ir_version=_IR,
        producer_name="kaizen",
    )
    return bytes(model.SerializeToString(deterministic=True))


def thresholds(trees: Sequence[Tree]) -> dict[int, tuple[float, ...]]:
    """Return the distinct thresholds of each feature index, ascending; codes stand for themselves."""
    found: dict[int, set[float]] = {}
    for tree in trees:
        for node, feature in enumerate(tree.feature.tolist()):
            values = tree.members.get(node, (float(tree.threshold[node]),))
            found.setdefault(feature, set()).update(float(value) for value in values if np.isfinite(value))
    return {feature: tuple(sorted(values)) for feature, values in sorted(found.items())}


def leaf_of(tree: Tree, features: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the leaf (rows,) that each row of features (rows, k) ends in; plain numpy, to check graphs by."""
    at = np.zeros(len(features), dtype=np.int64)
    if len(tree.feature) == 0:
        return at
    rows = np.arange(len(features))
    while len(rows):
        node = at[rows]
        goes = _goes_true(tree, node, features[rows, tree.feature[node]])
        at[rows] = np.where(goes, tree.true[node], tree.false[node])
        rows = rows[at[rows] >= 0]
    return ~at


def _goes_true(tree: Tree, node: NDArray[np.int64], x: NDArray[np.float64]) -> NDArray[np.bool_]:
    goes = x <= tree.threshold[node]
    for categorical, codes in tree.members.items():
        here = node == categorical
        goes[here] = np.isin(x[here], np.asarray(codes, dtype=np.float64))
    missing = np.isnan(x)
    goes[missing] = tree.missing_true[node[missing]]
    return goes


def _attributes(trees: list[Tree]) -> dict[str, Any]:
    whole = [_with_root(tree) for tree in trees]
    node_start = np.cumsum([0] + [len(tree.feature) for tree in whole])
    leaf_start = np.cumsum([0] + [len(tree.leaves) for tree in whole])
    true = [_children(tree.true, *start) for tree, *start in zip(whole, node_start, leaf_start, strict=False)]
    false = [_children(tree.false, *start) for tree, *start in zip(whole, node_start, leaf_start, strict=False)]
    modes = np.concatenate([_modes(tree) for tree in whole])
    attributes: dict[str, Any] = {
        "tree_roots": node_start[:-1].tolist(),
        "nodes_featureids": np.concatenate([tree.feature for tree in whole]).tolist(),
        "nodes_splits": _tensor(np.concatenate([tree.threshold for tree in whole]), "splits"),
        "nodes_modes": _tensor(modes, "modes"),
        "nodes_missing_value_tracks_true": np.concatenate([tree.missing_true for tree in whole]).astype(int).tolist(),
        "nodes_truenodeids": np.concatenate([ids for ids, _ in true]).tolist(),
        "nodes_trueleafs": np.concatenate([leafs for _, leafs in true]).tolist(),
        "nodes_falsenodeids": np.concatenate([ids for ids, _ in false]).tolist(),
        "nodes_falseleafs": np.concatenate([leafs for _, leafs in false]).tolist(),
        "leaf_targetids": [0] * int(leaf_start[-1]),
        "leaf_weights": _tensor(np.concatenate([tree.leaves for tree in whole]), "leaves"),
    }
    if MEMBER in modes:
        attributes["membership_values"] = _tensor(_memberships(whole), "members")
    return attributes


def _with_root(tree: Tree) -> Tree:
    # The operator knows no tree of a single leaf; a node with both branches on that leaf says the same.
    if len(tree.feature):
        return tree
    zero, leaf = np.zeros(1, dtype=np.int64), np.full(1, -1, dtype=np.int64)
    return Tree(zero, np.zeros(1), np.zeros(1, dtype=np.bool_), leaf, leaf, tree.leaves)


def _children(
    child: NDArray[np.int64], node_start: int, leaf_start: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    is_leaf = child < 0
    return np.where(is_leaf, ~child + leaf_start, child + node_start), is_leaf.astype(np.int64)


def _modes(tree: Tree) -> NDArray[np.uint8]:
    modes = np.full(len(tree.feature), LEQ, dtype=np.uint8)
    modes[list(tree.members)] = MEMBER
    return modes


def _memberships(trees: list[Tree]) -> NDArray[np.float64]:
    # One list of codes a member node, in the order of the nodes, each ended by a NaN.
    parts = [[*tree.members[node], np.nan] for tree in trees for node in sorted(tree.members)]
    return np.array([value for part in parts for value in part], dtype=np.float64)


def _tensor(values: NDArray[Any], name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(values), name)
