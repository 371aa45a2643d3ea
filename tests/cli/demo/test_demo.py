"""The demo as a whole, as a person runs it: a process that may be killed, and a ledger that must come out the same."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from kaizen.cli.demo import flights
from kaizen.core.project import Project
from kaizen.core.records import Bundle, Decision, Finding
from kaizen.loop import cycle
from tests.cli.demo.ledger import ledger

KAIZEN = [sys.executable, "-m", "kaizen.cli"]


def demo(folder: Path, *options: str) -> dict[str, Any]:
    """Run the fast demo to its end and return its summary."""
    done = subprocess.run(
        [*KAIZEN, "demo", "--fast", "--json", "--folder", str(folder), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def kill_when(folder: Path, days: int, *options: str) -> None:
    """Start the fast demo and kill it, with nothing said, once so many event days had their turn."""
    process = subprocess.Popen(
        [*KAIZEN, "demo", "--fast", "--json", "--folder", str(folder), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None and turns(folder) < days:
        time.sleep(0.05)
    assert process.poll() is None, "the demo ended before it was killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def turns(folder: Path) -> int:
    """Return how many event days had their turn."""
    if not (folder / ".kaizen" / "records.db").exists():
        return 0
    last = cycle.last_turn(Project.open(folder))
    return last.day - 15764 if last else 0  # 15765 is 1 March 2013


def answered(folder: Path) -> list[str]:
    """Return the ids of the champions' answers, in the order of the log."""
    log = Project.open(folder).log
    return [identity for batch in log.predictions() if batch.role == "champion" for identity in batch.ids]


@pytest.mark.slow
def test_a_demo_killed_twice_ends_in_the_ledger_of_one_that_was_not(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    demo(whole, "--until", "2013-04-05")
    kill_when(cut, 7, "--until", "2013-04-05")
    kill_when(cut, 29, "--until", "2013-04-05")
    summary = demo(cut, "--until", "2013-04-05")
    assert ledger(cut) == ledger(whole)
    assert len(ledger(whole)["decisions"]) >= 3
    ids = answered(cut)
    assert len(ids) == len(set(ids)), "an acknowledged flight was asked about twice"
    assert sorted(ids) == sorted(answered(whole))
    assert summary["failed"] == 0


@pytest.mark.slow
def test_a_poisoned_future_changes_nothing_before_it(tmp_path: Path) -> None:
    """Every flight from 10 April on is given the opposite truth; up to then, both demos must decide alike."""
    clean, poisoned = tmp_path / "clean", tmp_path / "poisoned"
    demo(clean, "--until", "2013-04-12")
    demo(poisoned, "--until", "2013-03-03")
    world = poisoned / "world.parquet"
    bad = poisoned / "bad.parquet"
    with duckdb.connect() as sql:
        sql.execute("SET TimeZone = 'UTC'")
        sql.execute(
            f"""COPY (SELECT * REPLACE (CASE WHEN scheduled_departure >= TIMESTAMPTZ '2013-04-10 04:00:00+00'
                THEN NOT late ELSE late END AS late, CASE WHEN scheduled_departure >= TIMESTAMPTZ
                '2013-04-10 04:00:00+00' THEN 99999 ELSE distance END AS distance)
                FROM '{world}') TO '{bad}' (FORMAT parquet)"""
        )
    bad.replace(world)
    demo(poisoned, "--until", "2013-04-12")
    assert ledger(poisoned, before="2013-04-11") == ledger(clean, before="2013-04-11")
    assert len(ledger(clean, before="2013-04-11")["decisions"]) >= 3


@pytest.mark.slow
def test_the_fast_story_runs_to_its_end_though_it_is_killed_half_way(tmp_path: Path) -> None:
    folder = tmp_path / "story"
    kill_when(folder, 150)
    summary = demo(folder)
    project = Project.open(folder)
    decisions, findings = project.records.find(Decision), project.records.find(Finding)
    actions = [decision.action for decision in decisions]
    assert actions[0] == "promote"
    assert {"retrain", "shadow", "stop"} <= set(actions)
    assert actions.count("promote") >= 2, "no challenger was ever promoted"
    known = {finding.id for finding in findings}
    assert all(set(decision.findings) <= known for decision in decisions)
    retrained = [decision.at for decision in decisions if decision.action == "retrain"]
    assert all((later - earlier).days >= 14 for earlier, later in itertools.pairwise(retrained))
    assert summary["failed"] == 0
    assert [month["month"] for month in summary["score"]["months"]] == [f"2013-{month:02}" for month in range(3, 13)]
    page = (folder / "story.html").read_text()
    assert page.count("<svg") >= 2
    assert ("does not beat" in page) != summary["beats_frozen"]
    for verb in (
        ["loop", "decisions"],
        ["loop", "explain", decisions[-1].id],
        ["monitor", "status"],
        ["bundle", "list"],
    ):
        done = subprocess.run([*KAIZEN, *verb, "--folder", str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout
    explained = subprocess.run(
        [*KAIZEN, "loop", "explain", answered(folder)[-1], "--folder", str(folder), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    chain = [record["kind"] for record in json.loads(explained.stdout)["stands_on"]]
    assert {"bundle", "run", "dataset", "endpoint", "decision"} <= set(chain)


@pytest.mark.slow
def test_the_log_agrees_with_the_bundles_it_names(tmp_path: Path) -> None:
    """Each logged answer is what the bundle it names answers to the logged inputs, to the last bit."""
    from kaizen.bundle import keys, load
    from kaizen.loop import history

    folder = tmp_path / "short"
    demo(folder, "--until", "2013-03-05")
    project = Project.open(folder)
    for group in history.champions(project.log):
        bundle = project.records.get(Bundle, group.bundle)
        model = load.load(bundle, project.blobs, keys.trusted(project.keys))
        assert model.predict(group.frame).tolist() == group.outputs.tolist()


@pytest.mark.slow
def test_what_is_known_only_afterwards_is_named_when_asked_to_be_learned_from(tmp_path: Path) -> None:
    flights.make(tmp_path, seed=0, trials=1, share=0.05)
    module = tmp_path / "features.py"
    module.write_text(module.read_text().replace('"temp": col.temp,', '"temp": col.temp, "delay": col.dep_delay,'))
    done = subprocess.run(
        [*KAIZEN, "learn", "--folder", str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert "'dep_delay' would not be known when the prediction is asked for" in done.stderr
    assert Project.open(tmp_path).endpoint() is None
    looked = subprocess.run(
        [*KAIZEN, "data", "validate", "--folder", str(tmp_path), "--json"], capture_output=True, text=True, check=False
    )
    named = {leak["column"] for leak in json.loads(looked.stdout)["leaks"]}
    assert {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"} <= named
