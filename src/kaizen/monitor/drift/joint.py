"""All columns at once: has the way in which they go together changed, though each by itself has not?

| question                                    | answer                                                     |
|---------------------------------------------|------------------------------------------------------------|
| can a classifier tell the two tables apart? | its AUC on blocks that it was not fitted on, and by what   |
| how far apart are they?                     | the maximum mean discrepancy, by random Fourier features   |
| do rows lie off what used to span them?     | the distance of the errors of reconstruction by components |

The first pages: from an AUC of 0.65 on, with the evidence that whole blocks of rows (days, or stretches) rank apart.
Rows of one day are alike, so a classifier that is judged on days it has seen knows them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from kaizen.core.records import Column, FeatureColumn
from kaizen.graph.frame import Frame, rows_of
from kaizen.monitor.columns.binning import bins_of, tally
from kaizen.stats.calibrators import e_of_p
from kaizen.stats.distances import js_distance
from kaizen.stats.metrics import auc
from kaizen.stats.mmd import features, mmd, permuted_p
from kaizen.stats.pca import components
from kaizen.stats.serial import mid_ranks

Float: TypeAlias = NDArray[np.float64]

SUMMARY = "joint drift"
METHOD = "AUC of a classifier cross-fitted on blocks; Mann-Whitney test of blocks as an e-value"
MATTERS = 0.65  # AUC
FOLDS = 5
LABELS = 63  # of a category that are told apart
FEWEST_BLOCKS = 5  # of either table: fewer days are cut into stretches
STRETCHES = 10
_RANKED = ("number", "category", "boolean")
_COVERED = 0.5  # share of the rows that have one of the labels that are told apart
_GRID = 256  # quantiles of the reference that numbers are placed among
_WIDEST = 3.0  # normal scores: no absurd value decides


class Fit(NamedTuple):
    """What a classifier came to: its scores of other rows, and each column's share in it."""

    scores: Float  # (rows,)
    importance: Float  # (columns,) summing to 1


Classify: TypeAlias = Callable[[Sequence[FeatureColumn], Float, Float, Float], Fit]
"""Fit on features (rows, columns) and target (rows,), 0 or 1, and score other rows."""


class Side(NamedTuple):
    """Rows of one of the tables, and the block of each, shape (rows,)."""

    frame: Frame
    blocks: NDArray[np.int64]


class Joint(msgspec.Struct, frozen=True, kw_only=True):
    """What all columns together show."""

    auc: float
    evidence: float  # e-value
    importance: dict[str, float]  # share of each column in telling the tables apart, the largest first
    mmd: float
    mmd_p_value: float
    reconstruction: float  # debiased Jensen-Shannon distance of the errors of reconstruction
    rows: int

    @property
    def says(self) -> str:
        """What it comes to, for people: no full stop."""
        by = ", ".join(f"{name} {share:.0%}" for name, share in list(self.importance.items())[:3] if share > 0)
        return f"a classifier tells the rows of the two apart with an AUC of {self.auc:.3f}{f', by {by}' if by else ''}"


def joint(columns: Sequence[Column], old: Side, new: Side, classify: Classify, *, seed: int = 0) -> Joint:
    """Return what all columns together show of the rows of two tables.

    Parameters
    ----------
    columns
        Numbers, categories and booleans; others, and labels that hardly repeat, are passed over.
    old, new
        A few thousand rows of each are enough.
    classify
        See `Classify`.
    """
    used = [column for column in columns if column.type in _RANKED and not _names_rows(column, old.frame)]
    blocks = np.concatenate((_counted(old.blocks), _counted(new.blocks) + 1_000_000))
    is_new = np.concatenate((np.zeros(rows_of(old.frame), bool), np.ones(rows_of(new.frame), bool)))
    scores, importance = _told_apart(used, old.frame, new.frame, is_new, blocks, classify, seed)
    numbers, at = np.unique(blocks, return_inverse=True)
    sizes = np.bincount(at).astype(np.float64)
    second = numbers >= 1_000_000
    means = np.bincount(at, scores) / sizes
    standard = [_standardised(used, old.frame, frame) for frame in (old.frame, new.frame)]
    kernel = features(standard[0], seed=seed)
    mapped = [kernel.of(rows) for rows in standard]
    both = np.concatenate(mapped)
    block_means = np.stack([np.bincount(at, both[:, place]) for place in range(both.shape[1])], axis=1) / sizes[:, None]
    ranked = sorted(zip((c.name for c in used), importance.tolist(), strict=True), key=lambda pair: -pair[1])
    return Joint(
        auc=auc(is_new.astype(np.float64), scores),
        evidence=e_of_p(_ranks_apart(means, second)),
        importance=dict(ranked),
        mmd=mmd(*mapped),
        mmd_p_value=permuted_p(block_means, sizes, second, seed=seed),
        reconstruction=_reconstruction(*standard),
        rows=len(is_new),
    )


def _names_rows(column: Column, frame: Frame) -> bool:
    """Say whether a category has more labels than can be learned from, such as a number of an order."""
    if column.type != "category":
        return False
    _, counts = np.unique(frame[column.name].astype(str), return_counts=True)
    return float(np.sort(counts)[::-1][:LABELS].sum()) < _COVERED * len(frame[column.name])


def _counted(blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the blocks numbered from 0; of too few, stretches of rows in their place."""
    numbers, at = np.unique(blocks, return_inverse=True)
    if len(numbers) >= FEWEST_BLOCKS:
        return at.astype(np.int64)
    return np.arange(len(blocks), dtype=np.int64) * STRETCHES // max(1, len(blocks))


def _told_apart(
    columns: Sequence[Column],
    old: Frame,
    new: Frame,
    is_new: NDArray[np.bool_],
    blocks: NDArray[np.int64],
    classify: Classify,
    seed: int,
) -> tuple[Float, Float]:
    """Return the score of each row by a classifier that has seen no row of its block, and the mean importance."""
    encoded, kinds = _encoded(columns, old, new)
    target = is_new.astype(np.float64)
    rng = np.random.default_rng(seed)
    fold_of: dict[int, int] = {}
    for second in (False, True):  # both tables in every fold
        mine = rng.permutation(np.unique(blocks[is_new == second]))
        fold_of |= {int(block): place % FOLDS for place, block in enumerate(mine)}
    folds = np.array([fold_of[int(block)] for block in blocks])
    scores, importance = np.zeros(len(target)), np.zeros(len(columns))
    for fold in range(FOLDS):
        held = folds == fold
        fit = classify(kinds, encoded[~held], target[~held], encoded[held])
        scores[held] = mid_ranks(fit.scores) / (len(fit.scores) + 1)  # the folds' scores on one scale
        importance += fit.importance / FOLDS
    return scores, importance


def _encoded(columns: Sequence[Column], old: Frame, new: Frame) -> tuple[Float, list[FeatureColumn]]:
    parts, kinds = [], []
    for column in columns:
        values = np.concatenate((old[column.name], new[column.name]))
        if column.type == "category":
            labels, counts = np.unique(values.astype(str), return_counts=True)
            ranked = labels[np.argsort(-counts, kind="stable")][:LABELS].tolist()
            codes: Mapping[str, int] = {label: code for code, label in enumerate(ranked)}
            parts.append(np.array([codes.get(label, LABELS) for label in values.tolist()], np.float64))
            kinds.append(FeatureColumn(column.name, column.name, LABELS + 1))
        else:
            parts.append(values.astype(np.float64))
            kinds.append(FeatureColumn(column.name, column.name))
    return np.stack(parts, axis=1), kinds


def _standardised(columns: Sequence[Column], reference: Frame, rows: Frame) -> Float:
    """Return columns as normal scores by the reference: numbers by their rank, labels by how frequent they were."""
    parts: list[Float] = []
    for column in columns:
        known, values = _as_numbers(column, reference[column.name], rows[column.name])
        present = known[~np.isnan(known)]
        if len(present) == 0:
            parts.append(np.zeros(len(values)))
            continue
        filled = np.where(np.isnan(values), np.median(present), values)
        grid = np.quantile(present, np.linspace(0, 1, _GRID))
        place = (np.searchsorted(grid, filled, side="left") + np.searchsorted(grid, filled, side="right")) / 2 / _GRID
        parts.append(np.clip(ndtri(np.clip(place, 1e-9, 1 - 1e-9)), -_WIDEST, _WIDEST))
    return np.stack(parts, axis=1)


def _as_numbers(column: Column, known: NDArray[Any], values: NDArray[Any]) -> tuple[Float, Float]:
    if column.type != "category":
        return known.astype(np.float64), values.astype(np.float64)
    labels, counts = np.unique(known.astype(str), return_counts=True)
    share = dict(zip(labels.tolist(), (counts / len(known)).tolist(), strict=True))
    first, second = (np.array([share.get(label, 0.0) for label in each.tolist()]) for each in (known, values))
    return first, second


def _ranks_apart(means: Float, second: NDArray[np.bool_]) -> float:
    """Return the one-sided p-value that the blocks of the second table do not rank higher (Mann & Whitney 1947)."""
    n, m = int(second.sum()), int((~second).sum())
    ranks = mid_ranks(means)
    above = float(ranks[second].sum()) - n * (n + 1) / 2
    _, ties = np.unique(means, return_counts=True)
    total = n + m
    variance = n * m / 12 * (total + 1 - float(np.sum(ties**3 - ties)) / max(1, total * (total - 1)))
    return float(ndtr(-(above - n * m / 2 - 0.5) / np.sqrt(variance))) if variance > 0 else 1.0


def _reconstruction(known: Float, rows: Float) -> float:
    centre, deviation = known.mean(axis=0), known.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    axes = components((known - centre) / deviation)
    before, after = (axes.errors((each - centre) / deviation) for each in (known, rows))
    bins = bins_of("number", before)
    return js_distance(bins.compared(tally(bins, before)), bins.compared(tally(bins, after)))
