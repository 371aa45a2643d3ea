"""NannyML's estimates without labels, asked through files."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.rival import Rival

Float = NDArray[np.float64]
Told = dict[str, list[tuple[float, float, float]]]

NANNYML: Final = Rival("NannyML", ("nannyml", "statsmodels"))  # the second it imports and does not ask for


def estimates(reference: Float, windows: Float, size: int, features: int = 0) -> Told:
    """Return (value, low, high) of each window by metric: CBPE, or with features DLE; both with their defaults.

    Parameters
    ----------
    reference
        Truth, score and features of each row, (rows, columns).
    windows
        The same of the windows one after the other, `size` rows each; the truth is not shown to it.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.npz"
        np.savez(job, reference=reference, windows=windows, size=size, features=features)
        told = json.loads(NANNYML.run("nannyml_estimates.py", str(job)).strip().splitlines()[-1])
    return {name: [(value, low, high) for value, low, high in each] for name, each in told.items()}
