"""The demo from beginning to end: make the project, learn, serve, replay ten months in lockstep with the loop."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import msgspec

from kaizen.bundle import keys
from kaizen.cli.demo import flights
from kaizen.cli.demo.replay import Caller, Served, World, replay_day
from kaizen.cli.demo.story import Story, write
from kaizen.cli.init import write_schema
from kaizen.cli.output import log_to
from kaizen.cli.progress import stage
from kaizen.core.clock import EventClock
from kaizen.core.errors import KaizenError
from kaizen.core.project import Project
from kaizen.core.records import Bundle
from kaizen.loop import cycle, pipeline
from kaizen.stats.blocks import day_start

_EPOCH = date(1970, 1, 1)
_SLOT_MINUTES = 10  # of all flights; with a share of them longer, so that a request has about as many


def tell(folder: Path, *, share: float, trials: int, seed: int, until: date | None, quiet: bool) -> Story:
    """Run the demo in a folder, or go on with the one that is there, and return its story.

    Parameters
    ----------
    share
        Of the flights, 0 to 1.
    until
        The first day that is not replayed; None: to the end.
    """
    with stage("project", quiet=quiet) as shown:
        flights.make(folder, seed=seed, trials=trials, share=share)
        write_schema(folder)
        project = Project.open(folder)
        keys.create(project.keys)
        zone = project.file.data.time_zone
        first = (date.fromisoformat(flights.START) - _EPOCH).days
        project.clock = EventClock(day_start(first, zone))
        log_to((project.state / "loop.log").open("a", encoding="utf-8", buffering=1))
        shown.done(f"{folder.name}: kaizen.toml, features.py, data; key {keys.load(project.keys).public[:12]}…")
    _learn(project, quiet=quiet)
    world = World(folder / "world.parquet", project.file, folder, seed=seed, slot_minutes=round(_SLOT_MINUTES / share))
    last = cycle.day_of(world.span()[1], zone) if until is None else (until - _EPOCH).days - 1
    _replay(project, world, range(first, last + 1), quiet=quiet)
    with stage("story", quiet=quiet) as shown:
        story = write(project, folder, range(first, last + 1))
        shown.done(str(story.page))
    return story


def _learn(project: Project, *, quiet: bool) -> None:
    with stage("validate", quiet=quiet) as shown:
        looked = pipeline.looked_at(project)
        shown.done(looked.says)
    with stage("learn", quiet=quiet) as shown:
        learned = pipeline.learn(project, note=shown.update)
        shown.done(learned.says)


def _replay(project: Project, world: World, days: range, *, quiet: bool) -> None:
    done = cycle.last_turn(project)
    left = [day for day in days if done is None or day >= done.day]  # the last one again: it may have been cut off
    if not left:
        return
    clock = project.clock
    assert isinstance(clock, EventClock)
    zone = project.file.data.time_zone
    with cycle.alone(project), stage("replay", quiet=quiet) as shown, _server(project) as port:
        caller, total = Caller("127.0.0.1", port), Served()
        for day in left:
            endpoint = project.endpoint()
            assert endpoint is not None
            caller.wait_for(endpoint.revision)
            columns = project.records.get(Bundle, endpoint.champion.bundle).inputs
            start, end = day_start(day, zone), day_start(day + 1, zone)
            served = replay_day(world, caller, project.log, columns, start, end)
            caller.wait_for(endpoint.revision)
            _keep(project, day, served)
            total.add(served)
            clock.advance(max(end, clock.now()))
            when = cycle.date_of(day)
            cycle.turn(project, day, note=shown.update)
            shown.update(f"{when}  {total.flights:,} flights asked about, {total.labels:,} labels told")
        shown.done(f"{total.flights:,} flights asked about in {total.requests:,} requests, {total.failed} failed")


@contextmanager
def _server(project: Project) -> Iterator[int]:
    """Run `kaizen serve` in a process of its own, on a free port; it stops when this one does, however that ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "kaizen.cli", "serve", "--folder", str(project.folder), "--port", str(port)]
    with (project.state / "serve.log").open("ab") as log:
        process = subprocess.Popen([*command, "--stop-with-parent"], stdin=subprocess.PIPE, stdout=log, stderr=log)
    try:
        yield port
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            code = process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
    if code != 0:
        raise KaizenError(f"the server ended with exit code {code}", where=str(project.state / "serve.log"))


def _keep(project: Project, day: int, served: Served) -> None:
    """Add a day's figures to the file the story reads; appended in one write, so a crash leaves whole lines."""
    line = msgspec.json.encode({"day": day, "served": served}) + b"\n"
    handle = os.open(project.state / "replay.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)
