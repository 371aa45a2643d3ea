"""Addresses with options: ``people.csv.gz?header=false&delim=;``."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import parse_qsl

from kaizen.core.errors import DataError, nearest


def split(address: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """Return the path and the options of an address; an unknown option raises `DataError` with the nearest one.

    >>> split("people.csv?header=false", ["header"])
    ('people.csv', {'header': 'false'})
    """
    path, mark, query = address.rpartition("?")
    if not mark or "=" not in query:  # a question mark may also be a wild card
        return address, {}
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in known:
            raise DataError(f"unknown option {name!r}", where=address, fix=nearest(name, known))
    return path, options
