"""Where a bundle was made: interpreter, platform, versions, and the revision of the code around it.

It holds no time and nothing of the process (such as which modules happen to be imported): the same machine and
the same code give the same bytes, so a step that is run again packs the same bundle.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from kaizen.core.version import __version__

# What the answers of a bundle can depend on, through the data, the fit or the graph.
DISTRIBUTIONS = ("duckdb", "lightgbm", "msgspec", "numpy", "onnx", "onnxruntime", "optuna", "scikit-learn", "scipy")


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `environment.json`."""

    kaizen: str
    python: str
    platform: str
    distributions: dict[str, str]
    revision: str | None = None  # of the git repository around the project; "-dirty" when files were changed


def environment(folder: Path | None = None) -> Environment:
    """Return what the code runs on now; `folder` is where the project's code is, for its git revision."""
    return Environment(
        kaizen=__version__,
        python=platform.python_version(),
        platform=f"{sys.platform}-{platform.machine()}",
        distributions=versions(),
        revision=None if folder is None else _revision(folder),
    )


def versions() -> dict[str, str]:
    """Return the versions of the libraries that answers can depend on, those that are installed."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _revision(folder: Path) -> str | None:
    describe = ["git", "--no-optional-locks", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run([*describe, "--exclude=*"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None  # no git here: a bundle needs none
    return done.stdout.strip() or None
