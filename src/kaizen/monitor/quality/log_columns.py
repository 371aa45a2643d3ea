"""Does the log carry the columns that the model reads, with their types?"""

from __future__ import annotations

from collections.abc import Sequence

from kaizen.core.records import Column


def changes(expected: Sequence[Column], logged: Sequence[Column], hidden: frozenset[str]) -> dict[str, str]:
    """Return what is wrong with the columns of the log, by column: it went, came, or has another type."""
    types = {column.name: column.type for column in logged}
    found = {}
    for column in expected:
        if column.name in hidden:
            continue
        if column.name not in types:
            found[column.name] = f"The log no longer carries {column.name}, which the model reads."
        elif types[column.name] != column.type:
            found[column.name] = (
                f"The log has {column.name} as {types[column.name]}, the model reads it as {column.type}."
            )
    known = {column.name for column in expected} | {f"{name}.hash" for name in hidden}
    for name in sorted(types.keys() - known):
        found[name] = f"The log carries {name}, which the model does not read."
    return found
