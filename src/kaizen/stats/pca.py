"""Principal components, and how far rows lie from what they span: a change of how columns go together shows there."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Float: TypeAlias = NDArray[np.float64]

EXPLAINED = 0.65  # share of the variance that the components kept explain


class Components(NamedTuple):
    """The directions that most of the variance of standardised columns lies in, orthonormal, shape (kept, columns)."""

    axes: Float

    def errors(self, standardised: Float) -> Float:
        """Return the distance of each row from its projection, shape (rows,)."""
        left = standardised - (standardised @ self.axes.T) @ self.axes
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", left, left)))


def components(standardised: Float, explained: float = EXPLAINED) -> Components:
    """Return as many principal components as it takes to explain that share of the variance.

    Jolliffe, *Principal Component Analysis*, 2nd ed. (2002), sections 2.1 and 6.1. The error of reconstruction as a
    sign of multivariate drift: NannyML's documentation, which takes the same share.

    Parameters
    ----------
    standardised
        Columns of mean 0 and variance 1, shape (rows, columns).
    """
    covariance = standardised.T @ standardised / max(1, len(standardised))
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    total = values.sum()
    kept = 1 if total <= 0 else int(np.searchsorted(np.cumsum(values) / total, explained)) + 1
    return Components(np.ascontiguousarray(vectors[:, : min(kept, len(values))].T))
