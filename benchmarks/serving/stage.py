"""What the claims share: one project with a promoted bundle, one model, some rows, and servers that take turns.

Servers stand on the first core and `wrk` on the last. All are up at once, all but one of them stopped (SIGSTOP)
while it is measured, in turn (A B C A B C ...), because the speed of a machine drifts.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import _orders
import _servers
from _report import cannot_run
from _servers import Running

from kaizen.bundle import keys, load
from kaizen.core.project import Project
from kaizen.core.records import Bundle

TREES: Final = 300


class Asked(NamedTuple):
    """A server, and the request that it is asked again and again."""

    server: Running
    body: bytes
    path: str = "/v1/predict"
    headers: Mapping[str, str] = {}
    name: str = ""  # where one server is asked in several ways


class Runs(NamedTuple):
    """What a server did in the rounds that count."""

    runs: list[dict[str, Any]]
    requests: int  # with those that warmed it up

    def of(self, key: str) -> float:
        """Return the median of a figure."""
        return median(run[key] for run in self.runs)

    @property
    def errors(self) -> int:
        """How many answers were none."""
        return sum(run["errors"] for run in self.runs)


class Stage:
    """A project made by `kaizen init`, with a bundle of 300 trees promoted.

    Parameters
    ----------
    folder
        Where it is; thrown away afterwards.
    quick
        A few seconds, to see that it runs.
    """

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.folder = folder
        self.quick = quick
        self.seconds, self.rounds = (1.0, 1) if quick else (3.0, 3)
        self.project: Project = _orders.serving_project(folder, orders=6000 if quick else 20_000, rounds=TREES)
        endpoint = self.project.endpoint()
        assert endpoint is not None
        self.bundle = self.project.records.get(Bundle, endpoint.champion.bundle)
        self.model = load.load(self.bundle, self.project.blobs, keys.trusted(self.project.keys))
        self.graph = self.project.blobs.path(next(f.blob for f in self.bundle.files if f.path == "graph.onnx"))
        self.rows = _orders.wire_rows(256)

    @contextmanager
    def kaizen(self, env: Mapping[str, str] | None = None) -> Iterator[Running]:
        """Serve the project as users do, all that is on by default on."""
        server = _servers.kaizen(self.folder, env)
        try:
            server.wait()
            yield server
        finally:
            server.stop()

    def own(self, name: str) -> Path:
        """Return an empty folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    def in_turn(
        self, every: Sequence[Asked], *, connections: int, seconds: float = 0.0, rounds: int = 0
    ) -> dict[str, Runs]:
        """Return what each did by its name; a first round of a second warms up and does not count."""
        found: dict[str, Runs] = {(asked.name or asked.server.name): Runs([], 0) for asked in every}
        for number in range((rounds or self.rounds) + 1):
            for asked in every:
                name = asked.name or asked.server.name
                _alone(asked.server, [other.server for other in every])
                run = _servers.load(
                    asked.server,
                    asked.body,
                    connections=connections,
                    seconds=(seconds or self.seconds) if number else 1.0,
                    folder=self.folder,
                    path=asked.path,
                    headers=asked.headers,
                )
                kept = [*found[name].runs, run] if number else []
                found[name] = Runs(kept, found[name].requests + run["requests"])
        for asked in every:
            asked.server.resume()
        return found


@contextmanager
def staged(*, quick: bool) -> Iterator[Stage]:
    """Set the stage, or end where a tool that it needs is not installed."""
    for tool in ("nginx", "wrk"):
        if shutil.which(tool) is None:
            cannot_run(f"{tool} is not installed; on Debian and Ubuntu: apt-get install {tool}")
    with tempfile.TemporaryDirectory(prefix="kaizen-bench-", ignore_cleanup_errors=True) as name:
        yield Stage(Path(name), quick=quick)


def _alone(server: Running, every: Sequence[Running]) -> None:
    for other in every:
        if other is not server:
            other.pause()
    server.resume()
