"""The JSON Schema of a row: what the reader accepts, and beside it, as annotations, what the model was made from.

Ranges and categories of the training rows never refuse a row, so they are not `minimum` or `enum` here, which
would say so; they stand under `x-seen`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kaizen.core.records import Column, Seen
from kaizen.serve.generation import Generation
from kaizen.serve.told import told

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_LARGEST: Final = 1.7976931348623157e308  # a double's; beyond, a number is refused as infinite
_EARLIEST_US: Final = -62_135_596_800_000_000  # the years 1 to 9999
_LATEST_US: Final = 253_402_300_799_999_999

MOMENT: Final[Mapping[str, Any]] = {
    "description": "ISO 8601 (no offset: UTC; a date: its midnight), or whole microseconds since 1970.",
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "string", "format": "date"},
        {"type": "integer", "minimum": _EARLIEST_US, "maximum": _LATEST_US},
    ],
}
_TYPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "number": {"type": ["number", "null"], "minimum": -_LARGEST, "maximum": _LARGEST},
    "boolean": {"type": ["boolean", "integer", "null"], "minimum": 0, "maximum": 1},
    "time": {"description": MOMENT["description"], "anyOf": [*MOMENT["anyOf"], {"type": "null"}]},
    "category": {"type": ["string", "null"]},
    "text": {"type": ["string", "null"]},
}


def row_schema(generation: Generation) -> dict[str, Any]:
    """Return the JSON Schema of one row of the champion; columns that only other arms read may be left out."""
    reader = generation.reader
    examples, seen = told(generation.arms[0].model)
    known = {each.name: each for each in seen}
    return {
        "title": f"A row of {generation.endpoint.name}",
        "type": "object",
        "properties": {c.name: _column(c, known.get(c.name), examples) for c in reader.columns},
        "required": [column.name for column in reader.columns[: reader.required]],
        "additionalProperties": False,
        **({"examples": examples} if examples else {}),
    }


def _column(column: Column, seen: Seen | None, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    schema: dict[str, Any] = {**_TYPES[column.type], "x-type": column.type}
    if seen is not None:
        schema["x-seen"] = _seen(seen)
    values: list[Any] = []
    for example in examples:
        value = example.get(column.name)
        if value is not None and value not in values:
            values.append(value)
    return schema | {"examples": values} if values else schema


def _seen(seen: Seen) -> dict[str, Any]:
    if seen.low is not None:
        return {"minimum": seen.low, "maximum": seen.high}
    return {"values": list(seen.values), "all": seen.is_all}
