"""Small models and a server on them, for the tests; run as a program it serves a folder.

    python -m tests.serve.small FOLDER [PORT]     prints its ports (HTTP, gRPC or 0), serves until SIGTERM

The folder holds `endpoint.json` (an Endpoint; written again for a swap) and, once it serves, `log/`. A bundle's id
is its recipe: ``sum-1`` adds up the numbers of a row, times 1, minus the length of its text; ``slow-…`` does so
in 1 ms a row, ``crawl-…`` in 10; ``absent-…`` cannot be loaded; ``weak-…`` chokes on the number 665; ``big-…`` has
64 MiB; ``huge-…`` does not fit in memory. Every model chokes on 666 and answers NaN to 667. The worker whose number is
in the file `TROUBLE` cannot load ``picky-…`` and dies of ``deadly-…``.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop
from numpy.typing import NDArray

from kaizen.adapters.log.segments import SegmentLog
from kaizen.bundle.manifest import Signature
from kaizen.core.errors import BundleError, StoreError
from kaizen.core.records import Arm, Bundle, Column, Endpoint, Seen
from kaizen.core.rules import Check, Rule, Rules
from kaizen.core.serving import ServeSection
from kaizen.serve.app import Server
from kaizen.serve.commit import Durability
from kaizen.serve.listener import Limits
from kaizen.serve.models import EndpointSource
from kaizen.serve.seat import Seat
from kaizen.serve.security import guard_of, tls_of
from kaizen.serve.telemetry import Telemetry

COLUMNS = (
    Column("width", "number"),
    Column("a name, with signs/%é", "number"),
    Column("at", "time"),
    Column("shop", "category"),
    Column("heavy", "boolean"),
    Column("owner", "text"),
)
NOON = 1_370_088_000_000_000  # 2013-06-01T12:00:00Z
ROW: dict[str, Any] = {
    "width": 3.5,
    "a name, with signs/%é": 2,
    "at": "2013-06-01T12:00:00Z",
    "shop": "UA",
    "heavy": True,
    "owner": "N1",
}


RULES = Rules(
    rows=1000,
    task="regression",
    target="y",
    columns=(
        Rule(column="width", type="number", low=0.5, high=9.0, never_missing=True),
        Rule(column="a name, with signs/%é", type="number", min=0.0, declared=("range",)),
        Rule(column="at", type="time"),
        Rule(column="shop", type="category", categories=("UA", "DL")),
        Rule(column="heavy", type="boolean"),
        Rule(column="owner", type="text", never_missing=True, max_missing=0.0, declared=("missing",)),
    ),
    checks=(Check("heavy", "width < 100 or heavy"),),
)
SEEN = (Seen("width", low=0.5, high=9.0), Seen("shop", values=("UA", "DL"), is_all=True))


class SmallModel:
    """Adds up the numbers, times a factor."""

    def __init__(self, identity: str) -> None:
        kind, _, factor = identity.partition("-")
        if kind == "absent":
            raise BundleError("the file is not there", where=identity)
        if kind in ("picky", "deadly"):
            _find_trouble(kind)
        if kind == "huge":
            raise MemoryError
        self.ballast = np.ones(8 << 20) if kind == "big" else None  # 64 MiB
        version = int(factor)
        self.inputs = COLUMNS
        self.kind = kind
        self.factor = float(factor)
        self.bundle = Bundle(
            id=identity,
            project="small",
            at=datetime(2013, 1, 1, tzinfo=UTC),
            by="tests",
            name="small",
            version=version,
            task="regression",
            run=None,
            inputs=COLUMNS,
            output="value",
            files=(),
            public_key="",
            signature="",
        )

    def signature(self) -> Signature:
        return Signature(task="regression", inputs=COLUMNS, output="value", examples=(ROW,), seen=SEEN)

    def rules(self) -> Rules | None:
        return RULES if self.kind == "ruled" else None

    def run(self, feeds: Mapping[str, NDArray[Any]], /) -> NDArray[np.float64]:
        numbers, strings = feeds["numbers"], feeds["strings"]
        assert feeds["times"].dtype == np.int64
        if (numbers == 666).any():
            raise ValueError("choked")
        if self.kind == "weak" and (numbers == 665).any():
            raise ValueError("choked")
        if self.kind in ("slow", "crawl"):
            time.sleep((0.001 if self.kind == "slow" else 0.01) * len(numbers))
        lengths = np.array([len(text) for text in strings[:, 1]])
        answers: NDArray[np.float64] = np.nansum(numbers, axis=1) * self.factor - lengths
        answers[(numbers == 667).any(axis=1)] = np.nan
        return answers


def _find_trouble(kind: str) -> None:
    trouble = Path(os.environ["TROUBLE"])
    if trouble.exists() and trouble.read_text() == os.environ["WORKER"]:
        if kind == "picky":
            raise BundleError("this worker has no memory left", where=kind)
        trouble.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def expected(row: Mapping[str, Any], factor: float = 1.0) -> float:
    """Return what a small model answers to a row."""
    numbers = (row["width"], row["a name, with signs/%é"], row["heavy"])
    return sum(float(v) for v in numbers if v is not None) * factor - len(row["owner"] or "")


def endpoint(revision: int, *arms: Arm) -> Endpoint:
    """Return a revision of the endpoint `small`."""
    return Endpoint(
        id=f"small@{revision}",
        project="small",
        at=datetime(2013, 1, 1, tzinfo=UTC),
        by="tests",
        name="small",
        revision=revision,
        arms=arms or (Arm("sum-1", "champion", 1.0),),
        decision="d",
    )


def publish(folder: Path, record: Endpoint) -> None:
    """Make this the newest revision."""
    fresh = folder / "endpoint.new"
    fresh.write_bytes(msgspec.json.encode(record))
    fresh.rename(folder / "endpoint.json")


def newest(folder: Path) -> Endpoint | None:
    """Return the newest revision."""
    path = folder / "endpoint.json"
    return msgspec.json.decode(path.read_bytes(), type=Endpoint) if path.exists() else None


class Disk(SegmentLog):
    """The log on a disk that takes its time (`SYNC_S`), or that has failed (`SYNC_FAILS`)."""

    def sync(self) -> None:
        time.sleep(float(os.environ.get("SYNC_S", "0")))
        super().sync()
        if "SYNC_FAILS" in os.environ:
            raise StoreError("the disk is gone", where=str(self.folder))


def beside(told: str) -> list[EndpointSource]:
    """Return what is served beside `small`: ``other=sum-3,lame=absent-1``."""
    pairs = [pair.split("=") for pair in told.split(",") if pair]
    return [
        EndpointSource(
            name=name,
            endpoint=lambda name=name, bundle=bundle: msgspec.structs.replace(
                endpoint(1, Arm(bundle, "champion", 1.0)), id=f"{name}@1", name=name
            ),
            load=SmallModel,
        )
        for name, bundle in pairs
    ]


def by_request(name: str, path: Path) -> EndpointSource:
    """Return what a folder holds whose file `recipe` has the id of a bundle."""
    model = SmallModel((path / "recipe").read_text())
    record = msgspec.structs.replace(endpoint(1, Arm(model.bundle.id, "champion", 1.0)), id=f"{name}@1", name=name)
    return EndpointSource(name=name, endpoint=lambda: record, load=lambda _: model)


class Known:
    """A repository of bundles by name, ``other=sum-3,lame=absent-1``; a file ``NAME.bundle`` names another bundle."""

    def __init__(self, folder: Path, told: str) -> None:
        self._folder = folder
        self._bundles = dict(pair.split("=") for pair in told.split(","))
        self._loads = 0

    def names(self) -> list[str]:
        return list(self._bundles)

    def source(self, name: str) -> EndpointSource:
        told = self._folder / f"{name}.bundle"
        bundle = told.read_text() if told.exists() else self._bundles[name]
        self._loads += 1
        record = msgspec.structs.replace(endpoint(self._loads, Arm(bundle, "champion", 1.0)), name=name)
        return EndpointSource(name=name, endpoint=lambda: record, load=SmallModel)


def main(seat: Seat | None = None) -> None:
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO"))
    folder = Path(sys.argv[1])
    if "FILE_BYTES" in os.environ:  # a disk that is full, as far as this process can tell
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["FILE_BYTES"]),) * 2)
    small = EndpointSource(name="small", endpoint=lambda: newest(folder), load=SmallModel, time="at", unit="owner")
    section = msgspec.json.decode(os.environ.get("SERVE", "{}"), type=ServeSection)
    server = Server(
        [small, *beside(os.environ.get("BESIDE", ""))],
        port=int(sys.argv[2]) if len(sys.argv) > 2 else 0,
        log=Disk(folder / "log"),
        durability=msgspec.convert(os.environ.get("DURABILITY", "os"), Durability),
        limits=Limits(head_s=int(os.environ.get("HEAD_S", "10")), body_bytes=1 << 20),
        telemetry=Telemetry(section.telemetry, folder),
        grpc_port=int(os.environ["GRPC_PORT"]) if "GRPC_PORT" in os.environ else None,
        repository=Known(folder, os.environ["REPOSITORY"]) if "REPOSITORY" in os.environ else None,
        deadline_s=float(os.environ.get("DEADLINE_S", "1")) or None,
        guard=guard_of(section, home=folder, state=folder),
        tls=tls_of(section.tls, home=folder),
        stop_with_parent=seat is None,
        seat=seat,
        load_path=by_request if "BY_REQUEST" in os.environ else None,
        predict_route=os.environ.get("PREDICT_ROUTE"),
        health_route=os.environ.get("HEALTH_ROUTE"),
        on_violation=section.on_violation,
    )
    uvloop.run(server.run(lambda: print(server.port, server.grpc_port or 0, flush=True)))


if __name__ == "__main__":
    main()
