"""A disk that is full at any moment: a clear error, nothing half-written, and the next run goes on."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from kaizen.core.project import Project
from tests.cli.conftest import Run_, inventory, post, served

pytestmark = pytest.mark.slow

# No file may grow over so many bytes; which one hits the limit first depends on it.
_REPORTS_AND_GRAPHS = 100_000
_RECORDS = 20_000
_ROWS = 1_000


def _learn_with(folder: Path, file_bytes: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kaizen.cli", "learn", "--folder", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes)),
    )


@pytest.mark.parametrize("file_bytes", [_REPORTS_AND_GRAPHS, _RECORDS, _ROWS])
def test_a_full_disk_is_said_and_leaves_nothing_half_written(file_bytes: int, kaizen: Run_, draft: Path) -> None:
    said = _learn_with(draft, file_bytes)
    assert said.returncode == 1
    assert "error " in said.stderr
    assert "→" in said.stderr
    assert "Traceback" not in said.stderr
    assert not (draft / "report.html").exists()
    after = inventory(draft)
    after.pop("Dataset")  # frozen rows are whole, and found again
    after.pop("Step")
    assert not any(after.values())
    assert kaizen("loop", "decisions", "--folder", draft).code == 0


def test_learning_goes_on_when_there_is_room_again(kaizen: Run_, draft: Path) -> None:
    assert _learn_with(draft, _REPORTS_AND_GRAPHS).returncode == 1
    assert kaizen("learn", "--folder", draft).code == 0
    assert kaizen("bundle", "verify", "1", "--folder", draft).code == 0


def test_a_server_on_a_full_disk_answers_only_what_it_could_log(learned: Path) -> None:
    row = {"age": 61, "city": "Oslo", "seen_at": "2024-02-01T10:00:00Z"}
    acknowledged: list[str] = []
    statuses = set()
    with served(learned, file_bytes=64_000) as url:
        for _ in range(40):
            status, answer = post(f"{url}/v1/predict", {"rows": [row] * 40})
            statuses.add(status)
            acknowledged += [given["id"] for given in answer.get("predictions", ())]
        assert statuses == {200, 503}
        assert "could not be logged" in answer["error"]
        assert "free space on this disk" in answer["error"]
    logged = [identity for batch in Project.open(learned).log.predictions() for identity in batch.ids]
    assert sorted(logged) == sorted(acknowledged)
