"""The world of the demo: it asks the server about each flight at its scheduled time and tells it the truth when known.

A day is sent in event order, in lockstep with the loop. Ids are functions of the flight, and what the log has already
acknowledged is not sent again, so a replay that was killed goes on where it stood.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from kaizen.core.clock import from_us, to_us
from kaizen.core.errors import KaizenError
from kaizen.core.ids import derived
from kaizen.core.ports import Log
from kaizen.core.projectfile import ProjectFile
from kaizen.core.records import Column
from kaizen.data import tables

_ENCODER = msgspec.json.Encoder()
_BUCKETS_PER_DECADE = 60


class Served(msgspec.Struct):
    """What a day of replay did; latencies are counted in 60 logarithmic buckets a decade, from 1 microsecond."""

    requests: int = 0
    failed: int = 0
    flights: int = 0
    labels: int = 0
    latency_buckets: dict[int, int] = {}

    def add(self, other: Served) -> None:
        """Add another day."""
        self.requests += other.requests
        self.failed += other.failed
        self.flights += other.flights
        self.labels += other.labels
        for bucket, count in other.latency_buckets.items():
            self.latency_buckets[bucket] = self.latency_buckets.get(bucket, 0) + count

    def quantile_ms(self, share: float) -> float:
        """Return a quantile of the requests' latency in milliseconds, to 4 % (NaN before any request)."""
        total, seen = sum(self.latency_buckets.values()), 0
        for bucket in sorted(self.latency_buckets):
            seen += self.latency_buckets[bucket]
            if seen >= share * total:
                return float(10 ** ((bucket + 0.5) / _BUCKETS_PER_DECADE) / 1000)
        return float("nan")


class World:
    """What is going to happen, read a day at a time.

    Parameters
    ----------
    path
        The table of what happens, with `known_at` and the target.
    file
        The project's declaration: the tables that are joined to a row before it is sent.
    folder
        The project's folder.
    seed
        Part of the prediction ids.
    slot_minutes
        Flights scheduled in the same so many minutes are asked about in one request.
    """

    def __init__(self, path: Path, file: ProjectFile, folder: Path, *, seed: int, slot_minutes: int) -> None:
        data = msgspec.structs.replace(file.data, source=str(path))
        self._sql = tables.connect(msgspec.structs.replace(file, data=data), folder)
        self._sql.execute(
            f"""CREATE TEMP TABLE world AS SELECT *, row_number() OVER () AS position,
                epoch_us({_quoted(file.data.time or "")}) AS event_us, epoch_us(known_at) AS known_us FROM rows"""
        )
        self._file = file
        self._seed = str(seed)
        self.slot_us = slot_minutes * 60_000_000

    def span(self) -> tuple[datetime, datetime]:
        """Return the first and the last event time."""
        first, last = self._one("SELECT min(event_us), max(event_us) FROM world")
        return from_us(first), from_us(last)

    def flights(self, start_us: int, end_us: int, columns: tuple[Column, ...]) -> list[tuple[int, str, dict[str, Any]]]:
        """Return (event time, prediction id, row) of what is asked in [start, end), in event order."""
        picked = ", ".join(_wire(column) for column in columns)
        names = [column.name for column in columns]
        rows = self._sql.execute(
            f"SELECT event_us, position, {picked} FROM world WHERE event_us >= ? AND event_us < ? ORDER BY position",
            [start_us, end_us],
        ).fetchall()
        return [(at, self._id(at, position), dict(zip(names, row, strict=True))) for at, position, *row in rows]

    def labels(self, start_us: int, end_us: int) -> list[tuple[int, str, float]]:
        """Return (when known, prediction id, truth) of what becomes known in [start, end), in that order."""
        rows = self._sql.execute(
            f"""SELECT known_us, event_us, position, CAST({_quoted(self._file.data.target)} AS DOUBLE) FROM world
                WHERE known_us >= ? AND known_us < ? ORDER BY known_us, position""",
            [start_us, end_us],
        ).fetchall()
        return [(known, self._id(at, position), value) for known, at, position, value in rows]

    def _id(self, at_us: int, position: int) -> str:
        return derived(from_us(at_us), "demo", self._seed, str(position))

    def _one(self, query: str) -> tuple[Any, ...]:
        found = self._sql.execute(query).fetchone()
        assert found is not None
        return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _wire(column: Column) -> str:
    name = _quoted(column.name)
    return f"strftime({name}, '%Y-%m-%dT%H:%M:%SZ') AS {name}" if column.type == "time" else name


class Caller:
    """A client with one keep-alive connection."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=60)

    def post(self, path: str, body: object) -> tuple[int, bytes]:
        """Send JSON and return status and answer."""
        return self._send("POST", path, _ENCODER.encode(body))

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and answer."""
        return self._send("GET", path, None)

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = self._connection
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def wait_for(self, revision: int, *, timeout_s: float = 60.0) -> None:
        """Return when the server serves this revision and has no shadow work left."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                status, body = self.get("/healthz")
                health = msgspec.json.decode(body)
                if status == 200 and health["revision"] == revision and health["shadow_pending"] == 0:
                    return
            except (OSError, http.client.HTTPException):
                self._connection.close()
            time.sleep(0.01)
        raise KaizenError(
            f"the server did not report revision {revision} within {timeout_s:g} s",
            where="GET /healthz",
            fix="read .kaizen/serve.log in the project's folder",
        )


def replay_day(
    world: World, caller: Caller, log: Log, columns: tuple[Column, ...], start: datetime, end: datetime
) -> Served:
    """Send what happens in [start, end): questions at their time, labels when known. Skips what the log has."""
    span = (to_us(start), to_us(end))
    asked = {identity for batch in log.predictions(start, end) for identity in batch.ids}
    told = {identity for batch in log.labels(start, end) for identity in batch.ids}
    flights = [flight for flight in world.flights(*span, columns) if flight[1] not in asked]
    labels = [label for label in world.labels(*span) if label[1] not in told]
    served = Served()
    for kind, events in _in_order(flights, labels, world.slot_us):
        (_ask if kind == "ask" else _tell)(caller, events, served)
    return served


def _in_order(flights: list[Any], labels: list[Any], slot: int) -> Iterator[tuple[str, list[Any]]]:
    hour = 3_600_000_000
    groups = [(key * slot, "ask", list(events)) for key, events in groupby(flights, lambda event: event[0] // slot)]
    groups += [((key + 1) * hour, "tell", list(events)) for key, events in groupby(labels, lambda e: e[0] // hour)]
    for _, kind, events in sorted(groups, key=lambda group: group[:2]):
        yield kind, events


def _ask(caller: Caller, events: list[tuple[int, str, dict[str, Any]]], served: Served) -> None:
    body = {"id": events[0][1], "ids": [identity for _, identity, _ in events], "rows": [row for *_, row in events]}
    started = time.perf_counter()
    status, answer = caller.post("/v1/predict", body)
    bucket = int(np.log10(max(1.0, (time.perf_counter() - started) * 1e6)) * _BUCKETS_PER_DECADE)
    served.requests += 1
    served.flights += len(events)
    served.latency_buckets[bucket] = served.latency_buckets.get(bucket, 0) + 1
    if status != 200:
        served.failed += 1
        raise KaizenError(f"the server answered {status}: {answer.decode()[:300]}", where="POST /v1/predict")


def _tell(caller: Caller, events: list[tuple[int, str, float]], served: Served) -> None:
    labels = [{"id": identity, "value": value, "at": from_us(at).isoformat()} for at, identity, value in events]
    status, answer = caller.post("/v1/feedback", {"labels": labels})
    served.labels += len(labels)
    if status != 200:
        raise KaizenError(f"the server answered {status}: {answer.decode()[:300]}", where="POST /v1/feedback")
