"""The wheel: builds, installs into an empty environment without any extra, and can serve a bundle there."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from .conftest import ROOT, SOURCE


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_installs_in_an_empty_environment_and_runs(tmp_path: Path) -> None:
    _run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, cwd=ROOT)
    wheel = next(tmp_path.glob("*.whl"))
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("kaizen/")}
    assert packed == {f"kaizen/{path.relative_to(SOURCE)}" for path in _shipped()}

    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    _run(binaries / "python", "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    assert "Verbs" in _run(binaries / "kaizen", "--help", cwd=tmp_path)
    _run(binaries / "python", "-c", "import kaizen.bundle.load, kaizen.cli.serve", cwd=tmp_path)
    (tmp_path / "any.csv").write_text("x,y\n1,0\n2,1\n")
    done = subprocess.run(
        [str(binaries / "kaizen"), "init", "any.csv", "--target", "y"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert 'pip install "kaizen-ml[learn]"' in done.stderr
    assert "Traceback" not in done.stderr


def _shipped() -> list[Path]:
    return [path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
