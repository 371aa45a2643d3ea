"""Sizes as people write them: ``64MiB``."""

from __future__ import annotations

import re

_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"\s*(\d+)\s*(B|KiB|MiB|GiB)\s*")


def size_bytes(text: str) -> int:
    """Return the bytes of a whole number and a unit (B, KiB, MiB, GiB).

    >>> size_bytes("64MiB")
    67108864
    """
    match = _SIZE.fullmatch(text)
    if match is None or int(match[1]) < 1:
        raise ValueError(f"{text!r} is no size; write a whole number and a unit (B, KiB, MiB, GiB), such as '64MiB'")
    return int(match[1]) * _UNITS[match[2]]
