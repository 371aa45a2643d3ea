"""Columns that the log may not hold: hashed, or left out, before a batch is appended.

    hash   {"tailnum": "N14228"}  ─►  {"tailnum.hash": "5f0c…"}   HMAC-SHA256, cut to 128 bits, in hexadecimal
    drop   {"note": "call me"}    ─►  {}

What is hidden goes by another name, or by none, so whoever reads the log finds out that the value is not there and
cannot take a hash for it. Equal values have equal hashes, in every column and in `units`; what is missing stays
missing. Only the log's copy changes: the graph, and the shadows, have seen the true values.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from kaizen.core.errors import StoreError
from kaizen.core.records import Column, PredictionBatch
from kaizen.graph.rows import grouped

_KEPT: Final = 65_536  # hashes, and plans, that are remembered


class Mask:
    """Replaces named columns of predictions. Thread-safe: what two threads look up at once is made twice.

    Parameters
    ----------
    hashed
        Columns whose values are replaced by keyed hashes. One that is neither category nor text is left out.
    dropped
        Columns that are left out.
    unit
        The column that units come from; hidden in `units` too if it is named.
    secret
        Gives the key of the hashes; called with the first batch, for a process that only reads needs none.
    """

    def __init__(
        self, hashed: Sequence[str], dropped: Sequence[str], *, unit: str | None, secret: Callable[[], bytes]
    ) -> None:
        self._hashed = frozenset(hashed)
        self._dropped = frozenset(dropped)
        self._unit = unit
        self._secret = secret
        self._key: bytes | None = None
        self._hashes: dict[str, str] = {}
        self._plans: dict[int, _Plan] = {}

    def apply(self, batch: PredictionBatch) -> PredictionBatch:
        """Return the batch as it may be logged."""
        # The server keeps the columns' tuple, and so does the plan, so its identity says which plan it is.
        plan = self._plans.get(id(batch.columns)) or self._planned(batch.columns)
        rows = len(batch.ids)
        return msgspec.structs.replace(
            batch,
            units=self._units(batch.units),
            columns=plan.after,
            numbers=_kept(batch.numbers, rows, plan.numbers),
            times=_kept(batch.times, rows, plan.times),
            strings=self._strings(batch.strings, rows, plan),
        )

    def _planned(self, columns: tuple[Column, ...]) -> _Plan:
        if len(self._plans) >= 256:  # a caller that makes new tuples must not make this grow
            self._plans.clear()
        plan = self._plans[id(columns)] = _Plan(columns, self._hashed, self._dropped)
        return plan

    def _units(self, units: list[str | None]) -> list[str | None]:
        if self._unit in self._dropped:
            return [None] * len(units)
        if self._unit in self._hashed:
            return [unit and self._hash(unit) for unit in units]
        return units

    def _strings(self, strings: list[str], rows: int, plan: _Plan) -> list[str]:
        if plan.strings is None:
            return strings
        _check(len(strings) == rows * plan.width, rows)
        kept = [""] * (rows * len(plan.strings))
        for place, (source, is_hashed) in enumerate(plan.strings):
            values = strings[source :: plan.width]
            kept[place :: len(plan.strings)] = [v and self._hash(v) for v in values] if is_hashed else values
        return kept

    def _hash(self, value: str) -> str:
        found = self._hashes.get(value)
        if found is None:
            if self._key is None:
                self._key = self._secret()
            if len(self._hashes) >= _KEPT:
                self._hashes.clear()
            found = hmac.digest(self._key, value.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]
            self._hashes[value] = found
        return found


class _Plan:
    """What becomes of a batch's columns, and which of each type stay. Holds on to the columns' tuple."""

    def __init__(self, columns: tuple[Column, ...], hashed: frozenset[str], dropped: frozenset[str]) -> None:
        self.before = columns
        groups = grouped(columns)
        strings = groups.get("strings", ())
        gone = dropped | {c.name for c in columns if c.name in hashed and c not in strings}
        self.after = tuple(
            msgspec.structs.replace(c, name=hashed_name(c.name, columns)) if c.name in hashed else c
            for c in columns
            if c.name not in gone
        )
        self.numbers = _places(groups.get("numbers", ()), gone)
        self.times = _places(groups.get("times", ()), gone)
        self.width = len(strings)
        named = any(c.name in gone or c.name in hashed for c in strings)
        places = [(place, c.name in hashed) for place, c in enumerate(strings) if c.name not in gone]
        self.strings = places if named else None  # None: they stay as they are


def hashed_name(name: str, columns: Sequence[Column]) -> str:
    """Return what a hashed column is called in the log: a name that no column of the row has."""
    taken = {column.name for column in columns}
    name = f"{name}.hash"
    while name in taken:
        name += "_"
    return name


def salt_of(path: Path) -> bytes:
    """Return the project's own salt, made with the first hash; any number of processes may ask at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            draft = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(os.urandom(32).hex())
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)
            except FileExistsError:
                pass  # another process was first, and its salt counts
            finally:
                draft.unlink()
        return bytes.fromhex(path.read_text("ascii"))
    except (OSError, ValueError) as err:
        raise StoreError(f"the salt of the hashed columns cannot be read: {err}", where=str(path)) from err


def _places(group: Sequence[Column], gone: frozenset[str]) -> tuple[int, list[int]] | None:
    """Return how many columns a group has and which stay, or None if all do."""
    kept = [place for place, column in enumerate(group) if column.name not in gone]
    return None if len(kept) == len(group) else (len(group), kept)


def _kept(values: bytes, rows: int, places: tuple[int, list[int]] | None) -> bytes:
    if places is None:
        return values
    width, kept = places
    _check(len(values) == rows * width * 8, rows)
    table: Any = np.frombuffer(values, np.int64).reshape(rows, width)
    return bytes(table[:, kept].tobytes())


def _check(fits: bool, rows: int) -> None:  # noqa: FBT001 (an assertion)
    if not fits:
        raise StoreError(f"the inputs of a batch of {rows} rows do not fit its columns", where="the prediction log")
