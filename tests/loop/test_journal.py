from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kaizen.core.project import Project
from kaizen.core.records import Decision, Record, Step
from kaizen.loop.act import act, first
from kaizen.loop.journal import Journal


def test_a_step_runs_once_for_its_inputs(project: Project) -> None:
    journal, runs = Journal(project), []
    for inputs in ((1,), (1,), (2,)):
        assert journal.step("double", inputs, lambda _, n=inputs[0]: runs.append(n) or n * 2, int) == inputs[0] * 2
    assert runs == [1, 2]


def test_a_large_result_comes_back(project: Project) -> None:
    text = "x" * 100_000
    for _ in range(2):
        assert Journal(project).step("large", (), lambda _: text, str) == text


def test_a_step_that_fails_leaves_nothing(project: Project) -> None:
    def fails(made: list[Record]) -> int:
        made.extend(act(project, first("b"), None, by="test", key="k"))
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        Journal(project).step("fails", (), fails, int)
    assert project.records.find(Decision) == []
    assert project.records.find(Step) == []


WORKER = """
import os, sys, time
from pathlib import Path
from kaizen.core.project import Project
from kaizen.loop.act import act, first
from kaizen.loop.journal import Journal
project = Project.open(sys.argv[1])
journal = Journal(project)
trace = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
from kaizen.core.clock import EventClock
from datetime import datetime, UTC
project.clock = EventClock(datetime(2026, 1, 1, tzinfo=UTC))
def run(made, number):
    time.sleep(0.002)
    endpoint = project.endpoint()
    from kaizen.loop.policy import Proposal
    from kaizen.core.records import Arm
    arms = (Arm(f"bundle {number}", "champion", 1.0),)
    made.extend(act(project, Proposal("promote", "", (), f"bundle {number}", arms), endpoint, by="t", key=str(number)))
    return number
for number in range(400):
    journal.step("promote", (number,), lambda made, number=number: run(made, number), int)
    os.write(trace, f"{number}\\n".encode())
"""


def test_kill_9_at_any_moment_repeats_and_loses_no_step(project: Project, tmp_path: Path) -> None:
    worker, trace = tmp_path / "worker.py", tmp_path / "trace"
    worker.write_text(WORKER)
    command = [sys.executable, str(worker), str(project.folder), str(trace)]
    for _ in range(6):
        process = subprocess.Popen(command)
        started, before = time.monotonic(), trace.stat().st_size if trace.exists() else 0
        while time.monotonic() - started < 20 and not (trace.exists() and trace.stat().st_size > before):
            time.sleep(0.005)
        time.sleep(0.07)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert subprocess.run(command, check=False).returncode == 0
    decisions = project.records.find(Decision)
    assert [decision.bundle for decision in decisions] == [f"bundle {number}" for number in range(400)]
    assert [decision.revision for decision in decisions] == list(range(1, 401))
    endpoint = project.endpoint()
    assert endpoint is not None
    assert (endpoint.revision, endpoint.champion.bundle) == (400, "bundle 399")
