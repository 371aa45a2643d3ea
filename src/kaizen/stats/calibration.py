"""Chances along a score: a smooth curve in log-odds through counts of positives, straight where the counts say no more.

    score ─► log-odds x ─► B-splines ─► log-odds of a positive       penalty on the curve's bends, none on a line

Without a bend it is Platt's sigmoid; how much it may bend, held-out groups of rows decide.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline

Float = NDArray[np.float64]

STIFFNESS = tuple(float(10.0**power) for power in range(-1, 6))
_SPLINES = 24
_REACH = 12.0  # log-odds beyond count as this
_ROUNDS, _HALVINGS = 40, 12


def basis(score: Float) -> Float:
    """Return cubic B-splines at the log-odds of these scores, evenly spaced over their range, (bins, splines)."""
    held = np.clip(score, 1 / (1 + np.exp(_REACH)), 1 / (1 + np.exp(-_REACH)))
    odds = np.log(held) - np.log1p(-held)
    low, high = float(odds.min()), float(odds.max())
    step = max((high - low) / (_SPLINES - 3), 1e-6)
    knots = low + step * np.arange(-3, _SPLINES + 1)
    return np.asarray(BSpline.design_matrix(np.clip(odds, low, knots[_SPLINES] - 1e-9 * step), knots, 3).toarray())


def fitted(splines: Float, count: Float, positives: Float, stiffness: float | Float) -> Float:
    """Return the chance of a positive in each bin, shape (..., bins): penalised likelihood (Eilers & Marx 1996).

    The line is not penalised, so that with the rows it was fitted on the expected share of positives and the expected
    log loss are the observed ones, exactly.

    Parameters
    ----------
    splines
        Of the bins, as `basis` gives them.
    count, positives
        Rows and positives in each bin, shape (..., bins); fractions where rows have weights.
    stiffness
        The weight of the squared second differences of neighbouring splines; shape (...) or one for all.
    """
    width = splines.shape[1]
    bends = np.diff(np.eye(width), 2, axis=0)
    penalty = np.asarray(stiffness)[..., None, None] * (bends.T @ bends)
    shape = np.broadcast_shapes(count.shape[:-1], np.shape(stiffness))
    # Half a row of each outcome, spread as the rows are: classes that a line parts would else have no fit.
    share = count / count.sum(axis=-1, keepdims=True)
    rows, hits = count + share, positives + 0.5 * share
    heights = np.zeros((*shape, width))
    before = _loss(splines, heights, rows, hits, penalty)
    for _ in range(_ROUNDS):
        chance = _logistic(heights @ splines.T)
        slope = (hits - rows * chance) @ splines - (penalty @ heights[..., None])[..., 0]
        curve = (splines.T * (rows * chance * (1 - chance))[..., None, :]) @ splines + penalty
        curve = curve + 1e-9 * np.trace(curve, axis1=-2, axis2=-1)[..., None, None] * np.eye(width)
        step = np.linalg.solve(curve, slope[..., None])[..., 0]
        for _ in range(_HALVINGS):  # where the whole step would not help, as with classes that a line nearly parts
            after = _loss(splines, heights + step, rows, hits, penalty)
            worse = ~(after <= before + 1e-9 * np.abs(before))
            if not worse.any():
                break
            step = step * np.where(worse, 0.5, 1.0)[..., None]
        else:
            step, after = step * ~worse[..., None], np.where(worse, before, after)
        heights, gain, before = heights + step, before - after, after
        if float(np.max(gain, initial=0.0)) < 1e-8 * float(np.max(np.abs(before), initial=1.0)):
            break
    inside = 0.5 / (count.sum(axis=-1, keepdims=True) + 1.0)
    return np.clip(_logistic(heights @ splines.T), inside, 1 - inside)


def _loss(splines: Float, heights: Float, rows: Float, hits: Float, penalty: Float) -> Float:
    odds = heights @ splines.T
    rough = 0.5 * (heights * (penalty @ heights[..., None])[..., 0]).sum(axis=-1)
    return np.asarray((rows * np.logaddexp(0.0, odds) - hits * odds).sum(axis=-1) + rough)


def stiffness_of(splines: Float, count: Float, positives: Float, folds: int = 5) -> float:
    """Return the stiffness under which held-out groups are likeliest.

    Parameters
    ----------
    count, positives
        By group and bin, shape (groups, bins); whole groups are held out, in turn.
    """
    fold = np.arange(len(count)) % min(folds, len(count))
    rest = (fold[None, :] != np.unique(fold)[:, None]).astype(np.float64)  # (folds, groups)
    grid = np.asarray(STIFFNESS)
    chance = fitted(splines, rest @ count, rest @ positives, grid[:, None])[:, fold]  # (stiffnesses, groups, bins)
    likely = positives * np.log(chance) + (count - positives) * np.log1p(-chance)
    return float(grid[int(np.argmax(likely.sum(axis=(-2, -1))))])


def _logistic(x: Float) -> Float:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))
