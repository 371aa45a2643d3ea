"""The real command line in this process, on small made-up tables, and a way to see that nothing was written."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
import structlog

from kaizen import cli
from kaizen.core.project import Project
from kaizen.core.records import Bundle, Dataset, Decision, Endpoint, FeatureSet, Finding, Run, Step

KINDS = (Bundle, Dataset, Decision, Endpoint, FeatureSet, Finding, Run, Step)


class Said(NamedTuple):
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return what was printed for programs: the error where it failed."""
        return msgspec.json.decode(self.out if self.code == 0 else self.err)


Run_ = Callable[..., Said]


@pytest.fixture
def kaizen(capsys: pytest.CaptureFixture[str]) -> Iterator[Run_]:
    """Return a function that runs `kaizen` with these arguments."""

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Said(int(ended.value.code or 0), printed.out, printed.err)

    yield run
    structlog.reset_defaults()  # it may write to what was captured


def people(rows: int = 400, seed: int = 1) -> str:
    """Return a CSV of people who pay or not: a number, a category, a time in order, and the answer."""
    random = np.random.default_rng(seed)
    lines = ["age,city,seen_at,paid"]
    for row in range(rows):
        age, city = random.integers(18, 80), random.choice(["Oslo", "Rome", "Lima"])
        at = np.datetime64("2024-01-01T00:00:00") + np.timedelta64(row * 20 * 86400 // rows, "s")
        says = "pays" if random.random() < 0.1 + 0.7 * (age > 50) else "never"
        lines.append(f"{age},{city},{at}Z,{says}")
    return "\n".join(lines) + "\n"


def houses(rows: int = 300, seed: int = 1) -> str:
    """Return a CSV of houses with a price, some of which nobody knows; no times."""
    random = np.random.default_rng(seed)
    lines = ["rooms,area,street,price"]
    for row in range(rows):
        rooms, street = random.integers(1, 8), random.choice(["High Street", "Mill Lane", "The Green"])
        area = 20.0 * rooms + random.normal(0, 5)
        price = "" if row % 50 == 0 else f"{900 * area + 5000 * (street == 'The Green') + random.normal(0, 3000):.0f}"
        lines.append(f"{rooms},{area:.1f},{street},{price}")
    return "\n".join(lines) + "\n"


def declare(folder: Path, **keys: str) -> None:
    """Put keys into kaizen.toml: `learn__budget='"2 trials"'` sets budget under [learn]."""
    path = folder / "kaizen.toml"
    lines = path.read_text().splitlines()
    for name, value in keys.items():
        section, key = name.split("__")
        if f"[{section}]" not in lines:
            lines.append(f"[{section}]")
        start = lines.index(f"[{section}]") + 1
        end = next((i for i in range(start, len(lines)) if lines[i].startswith("[")), len(lines))
        kept = [line for line in lines[start:end] if not line.startswith(f"{key} =")]
        lines[start:end] = [f"{key} = {value}", *kept]
    path.write_text("\n".join(lines) + "\n")


def inventory(folder: Path) -> dict[str, set[str]]:
    """Return the ids of all records, by kind."""
    records = Project.open(folder).records
    return {kind.__name__: {record.id for record in records.find(kind)} for kind in KINDS}


@pytest.fixture
def draft(kaizen: Run_, tmp_path: Path) -> Path:
    """Return a new project of people, not learned from yet."""
    folder = tmp_path / "people"
    folder.mkdir()
    (folder / "people.csv").write_text(people())
    said = kaizen("init", folder / "people.csv", "--target", "paid", "--time", "seen_at", "--folder", folder)
    assert said.code == 0, said.err
    declare(folder, learn__budget='"2 trials"', learn__algorithms='["lightgbm", "linear"]')
    return folder


@pytest.fixture(scope="session")
def _kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {"home": tmp_path_factory.mktemp("learned")}


@pytest.fixture
def learned(draft: Path, kaizen: Run_, _kept: dict[str, Path]) -> Path:
    """Return a project of people with one bundle, the champion; learned once, copied for every test."""
    if "learned" not in _kept:
        said = kaizen("learn", "--folder", draft)
        assert said.code == 0, said.err
        _kept["learned"] = Path(shutil.copytree(draft, _kept["home"] / "learned"))
    shutil.rmtree(draft)
    return Path(shutil.copytree(_kept["learned"], draft))


@contextmanager
def served(folder: Path, *, file_bytes: int | None = None) -> Iterator[str]:
    """Run `kaizen serve` in a process of its own, on a free port, and give its URL once it is ready.

    With `file_bytes` no file that it writes may grow longer, as on a full disk.
    """
    command = [sys.executable, "-m", "kaizen.cli", "serve", "--folder", str(folder), "--port", "0", "--json"]
    limit = None if file_bytes is None else partial(resource.setrlimit, resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    errors = (folder.parent / "serve.err").open("wb")
    with (
        errors,
        subprocess.Popen(
            [*command, "--stop-with-parent"], stdin=PIPE, stdout=PIPE, stderr=errors, preexec_fn=limit
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url = msgspec.json.decode(process.stdout.readline())["url"]
            until(lambda: get(f"{url}/healthz")["status"] == "ok")
            yield url
        finally:
            process.stdin.close()
            process.wait(timeout=20)


def get(url: str) -> Any:
    """Return what a GET answers, whatever its status."""
    return _answered(urllib.request.Request(url))[1]


def post(url: str, body: bytes | dict[str, Any], kind: str = "application/json") -> tuple[int, Any]:
    """Return the status of a POST, and what it answers."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return _answered(urllib.request.Request(url, data=data, headers={"Content-Type": kind}))


def _answered(request: urllib.request.Request) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, msgspec.json.decode(answer.read())
    except urllib.error.HTTPError as err:
        with err:
            return err.code, msgspec.json.decode(err.read())


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.02)
