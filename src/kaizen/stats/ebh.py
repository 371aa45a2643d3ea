"""Which of many hypotheses to name, when each has an e-value and they may depend on each other in any way."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def e_bh(e_values: ArrayLike, alpha: float) -> NDArray[np.bool_]:
    """Return which hypotheses the e-BH procedure rejects, shape (hypotheses,).

    With K hypotheses the k largest are rejected, k the most for which the k-th largest is at least ``K / (alpha k)``.
    The expected share of false ones among those named is at most `alpha` under any dependence (Wang & Ramdas, *Journal
    of the Royal Statistical Society B* 84 (2022), section 4 and theorem 2).

    Of e-detectors, which are no e-values, it controls what can be controlled over a stream that never ends: the share
    of false names at any stopping time, over the expected time until then, is at most `alpha` (the error over patience
    of Dandapanthula & Ramdas, *Multiple testing in multi-stream sequential change detection*, arXiv 2501.04130).

    Parameters
    ----------
    e_values
        At least 0, shape (hypotheses,); NaN counts as 0.
    alpha
        0 < alpha <= 1.

    Examples
    --------
    >>> e_bh([60.0, 1.0, 30.0, 0.2], alpha=0.1).tolist()
    [True, False, True, False]
    """
    values = np.nan_to_num(np.asarray(e_values, dtype=np.float64), nan=0.0, posinf=np.inf)
    ranked = np.sort(values)[::-1]
    ranks = np.arange(1, len(values) + 1)
    passed = np.flatnonzero(ranked * ranks * alpha >= len(values))
    limit = ranked[passed[-1]] if len(passed) else np.inf
    return np.asarray((values >= limit) & (values > 0))
