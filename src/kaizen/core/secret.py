"""Secrets that stand outside the project's file, and words that are to be shown without them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

from kaizen.core.errors import ProjectError

_SOURCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:(?!//).+")
_PUBLIC = re.compile(  # of an address: the scheme and the host, but not who logs in there
    r"^[A-Za-z][A-Za-z0-9+.-]*://(?:(?P<user>[^/?#]*)@)?(?:[\w-]+(?:\.[\w-]+)+|localhost)?"
)


def is_source(text: str) -> bool:
    """Say whether this names a place, ``env:NAME`` or ``file:PATH``, and is not the value itself."""
    return _SOURCE.fullmatch(text) is not None


def read(source: str, home: Path, *, where: str) -> str:
    """Return what stands at a place, stripped; a text that names no place is returned as it is.

    Parameters
    ----------
    source
        ``env:NAME``, ``file:PATH`` (relative to `home`), or the value.
    where
        The key of the project file that the error names. The error never quotes what was read.

    Raises
    ------
    ProjectError
        There is nothing at that place.
    """
    if not is_source(source):
        return source.strip()
    kind, _, name = source.partition(":")
    if kind == "env":
        found, place = os.environ.get(name, ""), f"the environment variable {name}"
    else:
        found, place = _file(home / name), f"the file {name}"
    if not found.strip():
        raise ProjectError(f"{place} is not set, or empty", where=where, fix="set it where this process is started")
    return found.strip()


def _file(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def redacted(text: str, *secrets: str) -> str:
    """Return a text without any piece of these addresses and secrets; a host name with a dot in it may stay.

    A piece is four letters or digits or more. Schemes stay too.

    >>> redacted("no POST to https://hooks.example.org/T0AB/c3cret", "https://hooks.example.org/T0AB/c3cret")
    'no POST to https://hooks.example.org/***/***'
    """
    pieces: set[str] = set()
    for secret in secrets:
        rest = _PUBLIC.sub(r"\g<user> ", secret).strip()
        for spelled in (rest, unquote(rest)):
            pieces |= {spelled, *re.findall(r"[^\W_]{4,}", spelled), *re.findall(r"[^/?&#=:@,\s]{4,}", spelled)}
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= 4:
            text = text.replace(piece, "***")
    return text
