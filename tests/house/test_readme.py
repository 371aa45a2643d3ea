"""README and docs run: their blocks, in order, in an empty folder, as a reader would run them.

A block of ```bash or ```python is run unless a comment before it says otherwise:

    <!-- test: skip -->               not run (it installs, or takes minutes, and is tested elsewhere)
    <!-- test: background URL -->     started and left running; the next block waits until the URL answers
    <!-- test: run                    not shown to a reader, but run: what he already has, such as a table
    ... commands of the shell ...
    -->
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import ROOT

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(
    r"<!-- test: run\n(?P<hidden>.*?)-->"
    r"|(?:<!-- test: (?P<mark>[^\n]*?) -->\s*)?^```(?P<language>bash|python)\n(?P<code>.*?)^```",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A piece of the README that is run."""

    language: str
    code: str
    mark: str

    @property
    def command(self) -> list[str]:
        run = [sys.executable] if self.language == "python" else ["bash", "-euo", "pipefail"]
        return [*run, "-c", self.code]


def blocks(text: str) -> list[Block]:
    """Return the blocks of a document, in order, those marked `skip` left out."""
    found = [
        Block(match["language"] or "bash", match["code"] or match["hidden"], match["mark"] or "")
        for match in _BLOCK.finditer(text)
    ]
    return [block for block in found if block.mark != "skip"]


def test_blocks_are_found_with_their_marks() -> None:
    text = (
        "<!-- test: skip -->\n```bash\nmake demo\n```\n"
        "<!-- test: run\necho hidden > table.csv\n-->\n"
        "```bash\ncat table.csv\n```\n```toml\nx = 1\n```\n"
        "<!-- test: background http://127.0.0.1:1/ -->\n```bash\nserve\n```\n"
        "```python\nprint(1)\n```\n"
    )
    assert blocks(text) == [
        Block("bash", "echo hidden > table.csv\n", ""),
        Block("bash", "cat table.csv\n", ""),
        Block("bash", "serve\n", "background http://127.0.0.1:1/"),
        Block("python", "print(1)\n", ""),
    ]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_mark_is_known(path: Path) -> None:
    marks = re.findall(r"<!-- test: (.*?)(?: -->|\n)", path.read_text("utf-8"))
    assert all(re.fullmatch(r"skip|run|background http://\S+", mark) for mark in marks), marks


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [path for path in PAGES if blocks(path.read_text("utf-8"))], ids=lambda path: path.name
)
def test_a_page_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
    running: list[subprocess.Popen[bytes]] = []
    try:
        for block in blocks(path.read_text("utf-8")):
            if block.mark:
                running.append(_started(block, tmp_path, environment))
                continue
            done = subprocess.run(
                block.command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
            )
            assert done.returncode == 0, f"{block.code}\n{done.stdout}\n{done.stderr}"
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=20)


def _started(block: Block, folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    url = block.mark.removeprefix("background ")
    process = subprocess.Popen(
        block.command, cwd=folder, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return process
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    raise AssertionError(f"{url} did not answer within 30 s of:\n{block.code}")
