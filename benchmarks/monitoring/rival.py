"""A rival: installed from PyPI into an environment of its own, and asked through files by a script in `rivals/`."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

CACHE: Final = Path(os.environ.get("KAIZEN_BENCH_CACHE", Path(__file__).resolve().parents[2] / ".bench"))
SCRIPTS: Final = Path(__file__).with_name("rivals")


class Rival(NamedTuple):
    """What is installed, and under which name; the first package's version is told."""

    name: str
    packages: tuple[str, ...]

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return CACHE / self.name.lower() / "bin" / "python"

    @cache  # noqa: B019 (rivals live as long as the process)
    def problem(self) -> str:
        """Install it, once; return why it cannot be, or nothing."""
        home = CACHE / self.name.lower()
        made, wanted = home / ".made", "\n".join(self.packages)
        if made.exists() and made.read_text() == wanted:
            return ""
        print(f"  installing {self.name} into {home} ...", flush=True)
        made.unlink(missing_ok=True)
        pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *self.packages]
        for command in ([sys.executable, "-m", "venv", "--clear", home], pip):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                return (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        made.write_text(wanted)
        return ""

    def version(self) -> str:
        """Return what is installed."""
        code = f"from importlib.metadata import version; print(version({self.packages[0]!r}))"
        return f"{self.name} {self._run('-c', code).strip()}"

    def run(self, script: str, *arguments: str) -> str:
        """Return what a script of `rivals/` prints."""
        return self._run(str(SCRIPTS / script), *arguments)

    def _run(self, *arguments: str) -> str:
        quiet = {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1", "PYTHONWARNINGS": "ignore"}
        done = subprocess.run([str(self.python), *arguments], env=quiet, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{self.name} failed: {done.stderr.strip().splitlines()[-1:]}")
        return done.stdout


RIVER: Final = Rival("River", ("river", "numpy"))
EVIDENTLY: Final = Rival("Evidently", ("evidently", "numpy", "pandas<3", "pyarrow"))
