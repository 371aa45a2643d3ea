"""Functions of strings as tables: one look-up of a key's number serves every category, test and small table.

    strings [n, k] ─ LabelEncoder ─ number of the key ─ Min ─ Add ─ Gather ─ [n, functions]

A function is a mapping from keys to doubles and an answer for all other keys. The keys of all functions share
one numbering in which the keys of small mappings come first; `Min` sends every key behind a function's own ones
to its default, so a table is no longer than it must be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kaizen.graph.build import ML, Builder, attribute_tensor


@dataclass(frozen=True)
class Table:
    """A function of a string: the answer of each key, and of every other."""

    answers: Mapping[str, float]
    default: float


def encode(graph: Builder, strings: str, columns: int, tables: Sequence[tuple[int, Table]]) -> str:
    """Return the answers, double [n, len(tables)], of functions of the columns of a string tensor [n, columns]."""
    numbers: dict[str, int] = {}
    for _, table in sorted(tables, key=lambda pair: len(pair[1].answers)):
        for key in table.answers:
            numbers.setdefault(key, len(numbers))
    ids = _numbered(graph, strings, numbers)  # int64 [n, columns]
    read = [column for column, _ in tables]
    if read != list(range(columns)):
        ids = graph.node("Gather", ids, graph.constant(np.array(read)), axis=1)
    ends = [max((numbers[key] + 1 for key in table.answers), default=0) for _, table in tables]
    starts = np.cumsum([0, *(end + 1 for end in ends)])[:-1]
    place = graph.node("Add", graph.node("Min", ids, graph.constant(np.array(ends))), graph.constant(starts))
    return graph.node("Gather", graph.constant(_flat(tables, numbers, ends)), place)


def _numbered(graph: Builder, strings: str, numbers: Mapping[str, int]) -> str:
    return graph.node(
        "LabelEncoder",
        strings,
        domain=ML,
        keys_tensor=attribute_tensor("keys", list(numbers) or [""]),
        values_tensor=attribute_tensor("values", np.array(list(numbers.values()) or [0], np.int64)),
        default_tensor=attribute_tensor("default", np.array([len(numbers)], np.int64)),
    )


def _flat(
    tables: Sequence[tuple[int, Table]], numbers: Mapping[str, int], ends: Sequence[int]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    pieces = []
    for (_, table), end in zip(tables, ends, strict=True):
        piece = np.full(end + 1, table.default)
        for key, answer in table.answers.items():
            piece[numbers[key]] = answer
        pieces.append(piece)
    return np.concatenate(pieces)
