"""What DuckDB does not say about a CSV file that it cannot read: which line, and how lines end."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
from pathlib import Path
from typing import NamedTuple, cast

_SAMPLE_BYTES = 1 << 20
_LINES = 200_000  # how far a line with a wrong count of fields is searched for
_DELIMITERS = ",;\t|"


class Ragged(NamedTuple):
    """A line with another count of fields than the first."""

    line: int
    fields: int
    expected: int


def has_mixed_line_ends(path: str) -> bool:
    """Say whether some lines end in CR LF and some in LF alone, which a strict reader refuses."""
    with _open(path) as file:
        sample = file.read(_SAMPLE_BYTES)
    windows = sample.count(b"\r\n")
    return 0 < windows < sample.count(b"\n")


def first_line(path: str) -> str:
    """Return the first line, without its end."""
    with _open(path) as file:
        return file.readline(_SAMPLE_BYTES).decode("utf-8", "replace").rstrip("\r\n")


def delimiter(path: str) -> str | None:
    """Return the separator that the first line has most of, or None if it has none."""
    line = first_line(path)
    best = max(_DELIMITERS, key=line.count)
    return best if best in line else None


def ragged_line(path: str, separator: str | None = None) -> Ragged | None:
    """Return the first line whose count of fields differs from the first line's, or None."""
    separator = separator if separator in tuple(_DELIMITERS) else delimiter(path)
    with _open(path) as file, io.TextIOWrapper(file, "utf-8", "replace", newline="") as text:
        reader = csv.reader(text, delimiter=separator or ",")
        expected = len(next(reader, []))
        try:
            for fields in itertools.islice(reader, _LINES):
                if fields and len(fields) != expected:
                    return Ragged(reader.line_num, len(fields), expected)
        except csv.Error:
            return None
    return None


def _open(path: str) -> io.BufferedReader:
    if Path(path).suffix.lower() == ".gz":
        return cast("io.BufferedReader", gzip.open(path, "rb"))
    return open(path, "rb")
