"""A training part and a validation part that share nothing which would flatter the model.

| declared         | split                                                    |
|------------------|----------------------------------------------------------|
| time             | the newest whole blocks validate                         |
| group            | a group is on one side                                   |
| neither          | at random, every class (or range of values) on both sides |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaizen.core.errors import DataError
from kaizen.graph.frame import MISSING_TIME

_MIN_ROWS = 20  # on each side; fewer cannot be told from chance
_STRATA = 10  # ranges of a target with many values


@dataclass(frozen=True)
class Split:
    """Positions of the rows to train on and to validate on, each in order."""

    train: NDArray[np.int64]  # (rows of the training part,)
    valid: NDArray[np.int64]  # (rows of the validation part,)


def split(
    target: NDArray[np.float64],
    *,
    times: NDArray[np.int64] | None = None,
    blocks: NDArray[np.int64] | None = None,
    groups: NDArray[Any] | None = None,
    valid_share: float = 0.25,
    seed: int = 0,
) -> Split:
    """Return the split that the declaration asks for: by time if there is one, else by group, else stratified."""
    if times is not None and blocks is not None:
        return time_split(times, blocks, valid_share=valid_share, groups=groups)
    if groups is not None:
        return group_split(groups, valid_share=valid_share, seed=seed)
    return stratified_split(target, valid_share=valid_share, seed=seed)


def time_split(
    times: NDArray[np.int64],
    blocks: NDArray[np.int64],
    *,
    valid_share: float = 0.25,
    groups: NDArray[Any] | None = None,
) -> Split:
    """Return the split whose validation part is the newest whole blocks.

    Parameters
    ----------
    times
        Microseconds since 1970, UTC (rows,).
    blocks
        The block (event day) of each row (rows,); it never decreases with time.
    valid_share
        About how many of the rows validate, 0 to 1.
    groups
        If given, training rows of groups that occur in the validation part are left out.

    Raises
    ------
    DataError
        A row has no time, there is one block only, or a side would have fewer than 20 rows.
    """
    untimed = int(np.count_nonzero(times == MISSING_TIME))
    if untimed:
        raise DataError(f"{untimed} rows have no time", fix="leave them out of the source, or declare no time")
    numbers, counts = np.unique(blocks, return_counts=True)
    if len(numbers) < 2:
        raise DataError(
            "all rows lie in one block of time, and a split keeps blocks whole",
            fix="take rows of more days, or declare no time",
        )
    # From the newest block backwards, as many as come nearest to the share; at least one block stays on each side.
    valid_rows = np.cumsum(counts[::-1])[:-1]
    taken = int(np.argmin(np.abs(valid_rows - valid_share * len(blocks)))) + 1
    valid = blocks >= numbers[-taken]
    train = ~valid if groups is None else ~valid & ~np.isin(_codes(groups), _codes(groups)[valid])
    return _checked(np.flatnonzero(train), np.flatnonzero(valid))


def group_split(groups: NDArray[Any], *, valid_share: float = 0.25, seed: int = 0) -> Split:
    """Return a random split in which each group is on one side; a row without a group is a group of its own.

    Raises
    ------
    DataError
        There is one group only, or a side would have fewer than 20 rows.
    """
    codes = _codes(groups)
    count = int(codes.max()) + 1 if len(codes) else 0
    if count < 2:
        raise DataError("all rows are of one group, and a split keeps groups whole", fix="declare another group")
    order = np.random.default_rng(seed).permutation(count)
    sizes = np.bincount(codes, minlength=count)[order]
    valid_rows = np.cumsum(sizes)[:-1]
    taken = int(np.argmin(np.abs(valid_rows - valid_share * len(codes)))) + 1
    valid = np.isin(codes, order[:taken])
    return _checked(np.flatnonzero(~valid), np.flatnonzero(valid))


def stratified_split(target: NDArray[np.float64], *, valid_share: float = 0.25, seed: int = 0) -> Split:
    """Return a random split with the same share of every class, or of every tenth of the values, on both sides.

    Raises
    ------
    DataError
        A class has one row only, or a side would have fewer than 20 rows.
    """
    strata = _strata(target)
    numbers, counts = np.unique(strata, return_counts=True)
    if counts.size and counts.min() < 2:
        raise DataError("a class of the target has one row, and both parts need it", fix="take more rows")
    generator = np.random.default_rng(seed)
    valid = np.zeros(len(target), np.bool_)
    for number, count in zip(numbers, counts, strict=True):
        size = min(max(1, round(valid_share * int(count))), int(count) - 1)
        valid[generator.permutation(np.flatnonzero(strata == number))[:size]] = True
    return _checked(np.flatnonzero(~valid), np.flatnonzero(valid))


def _strata(target: NDArray[np.float64]) -> NDArray[np.int64]:
    if np.isnan(target).any():
        raise DataError("some rows have no target", fix="leave them out before splitting")
    if len(np.unique(target[:1000])) <= 2 and len(np.unique(target)) <= 2:
        return np.asarray(target == target.max(initial=-np.inf), np.int64)
    ranks = np.argsort(np.argsort(target, kind="stable"), kind="stable")
    return np.asarray(ranks * _STRATA // max(len(target), 1), np.int64)


def _codes(groups: NDArray[Any]) -> NDArray[np.int64]:
    """Return a number a group; missing values each get their own."""
    if groups.dtype == np.object_:
        index: dict[Any, int] = {}
        codes = np.fromiter((index.setdefault(value, len(index)) for value in groups.tolist()), np.int64, len(groups))
        missing = groups == ""
    else:
        codes = np.unique(groups, return_inverse=True)[1].astype(np.int64)
        missing = np.isnan(groups) if groups.dtype.kind == "f" else groups == MISSING_TIME
    alone = int(np.count_nonzero(missing))
    if not alone:
        return codes
    codes = codes.copy()
    codes[missing] = np.arange(alone) + (int(codes.max()) + 1)
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def _checked(train: NDArray[np.int64], valid: NDArray[np.int64]) -> Split:
    if min(len(train), len(valid)) < _MIN_ROWS:
        raise DataError(
            f"a split gives {len(train)} rows to train on and {len(valid)} to validate on; {_MIN_ROWS} are needed",
            fix="take more rows",
        )
    return Split(train, valid)
