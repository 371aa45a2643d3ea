"""How far two binned tables are apart: a p-value for "the same", and an effect that does not grow with the rows."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri, fdtrc, fdtri, gammaln

Float = NDArray[np.float64]


class Spread(msgspec.Struct, frozen=True):
    """How blocks of rows differ from independent rows (Rao & Scott 1984).

    ``factor`` is the design effect: so many rows are worth one independent row. ``freedom`` is the share of the
    degrees of freedom that the differences between blocks really have (1: all bins vary as if independent), and
    ``blocks`` how many blocks told so (0: rows are independent, nothing was estimated).
    """

    factor: float = 1.0
    freedom: float = 1.0
    blocks: int = 0

    def p_value(self, statistic: float, freedom: int) -> float:
        """Return P(Pearson's statistic is at least this large) without change."""
        free = freedom * self.freedom
        x = statistic / self.factor * self.freedom
        if self.blocks == 0:
            return float(chdtrc(free, x))
        return float(fdtrc(free, free * (self.blocks - 1), x / free))

    def quantile(self, level: float, freedom: int) -> float:
        """Return the statistic whose p-value is the level."""
        free = freedom * self.freedom
        x = chdtri(free, level) if self.blocks == 0 else free * fdtri(free, free * (self.blocks - 1), 1 - level)
        return float(x * self.factor / self.freedom)


INDEPENDENT = Spread()


def chi2_test(
    reference: Float, current: Float, spread: Spread = INDEPENDENT, *, least_expected: float = 5.0
) -> tuple[float, int]:
    """Return the p-value of Pearson's test that two tables of counts come from one distribution, and its freedom.

    Bins whose expected count is below `least_expected` in either table are pooled into one, which is kept (with the
    next rarer ones until it expects as many). With a
    spread the statistic is corrected for rows that are alike within blocks (Rao & Scott, *Annals of Statistics* 12
    (1984), second-order correction with Satterthwaite's freedom; F in place of chi2, as the factor is estimated).

    Parameters
    ----------
    reference, current
        Counts by bin, shape (bins,).
    """
    reference, current = _pooled(reference, current, least_expected)
    m, n = reference.sum(), current.sum()
    freedom = len(reference) - 1
    if freedom < 1 or m <= 0 or n <= 0:
        return 1.0, 0
    # For two samples the statistic is m n sum (p - q)^2 / (r + c).
    statistic = m * n * np.sum((reference / m - current / n) ** 2 / (reference + current))
    return spread.p_value(float(statistic), freedom), freedom


def _pooled(reference: Float, current: Float, least_expected: float) -> tuple[Float, Float]:
    """Return the tables with their rare bins as one, and as many of the next rarer as it needs to be no rare one."""
    total = reference + current
    expected = min(reference.sum(), current.sum()) * total / max(total.sum(), 1e-300)
    order = np.argsort(expected, kind="stable")
    rare = int(np.count_nonzero(expected < least_expected))
    if rare == 0:
        return reference, current
    # A pool that expected 0.1 rows and met two would be "evidence": at 200 rows one window in twelve paged falsely.
    enough = int(np.searchsorted(np.cumsum(expected[order]), least_expected)) + 1
    pool, kept = np.split(order, [max(rare, enough)])
    return np.append(reference[kept], reference[pool].sum()), np.append(current[kept], current[pool].sum())


def js_divergence(reference: Float, current: Float) -> float:
    """Return the Jensen-Shannon divergence of two tables of counts, in nats (Lin 1991): 0 to log 2.

    >>> js_divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == np.log(2)
    np.True_
    """
    m, n = reference.sum(), current.sum()
    if m <= 0 or n <= 0:
        return 0.0
    p, q = reference / m, current / n
    middle = (p + q) / 2
    terms = _times_log(p, middle) + _times_log(q, middle)
    return float(max(terms.sum() / 2, 0.0))


def _times_log(p: Float, middle: Float) -> Float:
    ratio = np.divide(p, middle, out=np.ones_like(p), where=p > 0)
    return p * np.log(ratio)


def js_distance(reference: Float, current: Float, spread: Spread = INDEPENDENT) -> float:
    """Return the debiased Jensen-Shannon distance: about 0 without change, however few the rows.

    Under the null ``JSD ~ (1/8)(1/n + 1/m) chi2(B - 1)``, B the bins that either table fills; its mean, times the
    spread's factor, is subtracted before the root is taken.
    """
    freedom, noise = _null(reference, current, spread)
    return float(np.sqrt(max(0.0, js_divergence(reference, current) - freedom * noise)))


def js_detectable(reference: Float, current: Float, level: float, spread: Spread = INDEPENDENT) -> float:
    """Return the debiased distance from which on the chi2 test at this level speaks: what the rows could have shown.

    At most the largest there is, the root of log 2.
    """
    freedom, noise = _null(reference, current, spread)
    if freedom < 1:
        return float(np.sqrt(np.log(2)))
    # Pearson's statistic is about 8 times the divergence over (1/m + 1/n).
    excess = spread.quantile(level, freedom) / spread.factor - freedom
    return float(np.sqrt(min(max(0.0, excess * noise), np.log(2))))


def _null(reference: Float, current: Float, spread: Spread) -> tuple[int, float]:
    """Return the freedom of the divergence without change, and its mean for one degree."""
    m, n = reference.sum(), current.sum()
    if m <= 0 or n <= 0:
        return 0, 0.0
    return int(np.count_nonzero(reference + current)) - 1, float((1 / m + 1 / n) / 8 * spread.factor)


def hypergeometric_test(hits: float, n: float, reference_hits: float, reference_n: float) -> float:
    """Return the exact p-value (twice the smaller tail) that two proportions are one (Fisher 1935).

    Counts are rounded to whole ones.
    """
    k, n_, k_ref, m = (round(x) for x in (hits, n, reference_hits, reference_n))
    total = k + k_ref
    if n_ == 0 or m == 0 or total == 0 or total == n_ + m:
        return 1.0
    support = np.arange(max(0, total - m), min(n_, total) + 1, dtype=np.float64)
    log_p = _log_choose(n_, support) + _log_choose(m, total - support) - _log_choose(n_ + m, np.array(float(total)))
    p = np.exp(log_p)
    at = int(k - support[0])
    return float(min(1.0, 2 * min(p[: at + 1].sum(), p[at:].sum())))


def _log_choose(n: float, k: Float) -> Float:
    chosen: Float = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return chosen


def spread_of(tables: Float, *, level: float = 0.01) -> Spread:
    """Return how much more the tables of blocks differ than tables of independent rows would.

    The factor is Pearson's statistic of "every block has one distribution" over its degrees of freedom; the freedom
    comes from the covariance of the standardised bins, with its trace of squares freed of bias (Srivastava, *Journal
    of the Japan Statistical Society* 35 (2005)). Blocks that do not differ at `level` count as independent rows.

    Parameters
    ----------
    tables
        Counts, shape (blocks, bins).
    """
    tables = np.asarray(tables, dtype=np.float64)
    tables = tables[tables.sum(axis=1) > 0][:, tables.sum(axis=0) > 0]
    blocks, bins = tables.shape
    if blocks < 3 or bins < 2:
        return INDEPENDENT
    expected = tables.sum(axis=1, keepdims=True) * tables.sum(axis=0) / tables.sum()
    z = (tables - expected) / np.sqrt(expected)  # (blocks, bins)
    statistic, free = float(np.sum(z * z)), (blocks - 1) * (bins - 1)
    if statistic <= chdtri(free, level):
        return INDEPENDENT
    n = blocks - 1
    covariance = z.T @ z / n
    trace = float(np.trace(covariance))
    squares = n * n / ((n - 1) * (n + 2)) * (float(np.sum(covariance * covariance)) - trace * trace / n)
    effective = trace * trace / max(squares, trace * trace / (bins - 1))
    return Spread(statistic / free, min(1.0, max(1.0, effective) / (bins - 1)), blocks)
