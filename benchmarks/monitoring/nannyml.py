"""NannyML, installed from PyPI into an environment of its own, and asked through files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Told = dict[str, list[tuple[float, float, float]]]

CACHE: Final = Path(os.environ.get("KAIZEN_BENCH_CACHE", Path(__file__).resolve().parents[2] / ".bench")) / "nannyml"
SCRIPT: Final = Path(__file__).with_name("rivals") / "nannyml_estimates.py"
PACKAGES: Final = ("nannyml", "statsmodels")  # which it imports and does not ask for


@cache
def problem() -> str:
    """Install it, once; return why it cannot be, or nothing."""
    made, wanted = CACHE / ".made", "\n".join(PACKAGES)
    if made.exists() and made.read_text() == wanted:
        return ""
    print(f"  installing NannyML into {CACHE} ...", flush=True)
    made.unlink(missing_ok=True)
    for command in (
        [sys.executable, "-m", "venv", "--clear", CACHE],
        [CACHE / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    made.write_text(wanted)
    return ""


def version() -> str:
    """Return what is installed."""
    code = "from importlib.metadata import version; print(version('nannyml'))"
    return _run("-c", code).strip()


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
        told = json.loads(_run(str(SCRIPT), str(job)).strip().splitlines()[-1])
    return {name: [(value, low, high) for value, low, high in each] for name, each in told.items()}


def _run(*arguments: str) -> str:
    environment = {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1", "PYTHONWARNINGS": "ignore"}
    command = [str(CACHE / "bin" / "python"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
