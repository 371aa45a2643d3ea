"""CSV, TSV, Parquet and JSON lines, plain or compressed, one file or a pattern, read by DuckDB.

people.csv   people.tsv.gz   parts/*.parquet   events.jsonl
people.csv?header=false&names=age,job,income     a file without a first line of names
people.dat?format=csv&delim=;&encoding=latin-1   what the name and the content do not say
"""

from __future__ import annotations

import difflib
import glob
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from kaizen.adapters.source import csv_text
from kaizen.adapters.source.address import split
from kaizen.core.errors import DataError
from kaizen.core.ports import Sql

_OPTIONS = ("format", "header", "names", "delim", "quote", "encoding", "skip", "compression")
_FORMATS = {
    "csv": "csv",
    "tsv": "tsv",
    "tab": "tsv",
    "txt": "csv",
    "data": "csv",
    "parquet": "parquet",
    "pq": "parquet",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
}
_COMPRESSED = {"gz": "gzip", "zst": "zstd"}
_NOT_MINE = ("db", "sqlite", "sqlite3", "db3")
_MARKERS = ("NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A", "?")
_MISSING = ("", *_MARKERS, *(f" {marker}" for marker in _MARKERS))
"""What stands for a missing value in a CSV file, with the space that often follows a comma."""
_SNIFFED_ROWS = 20_480  # DuckDB's own count of lines that types are found on


class FileSource:
    """Rows of local files. In CSV, spaces around a text are dropped and the usual markers are missing values."""

    def handles(self, address: str) -> bool:
        """Say whether this is a local path that no database claims."""
        path, _ = _located(address)
        return "://" not in path and "#" not in Path(path).name and _suffix(path) not in _NOT_MINE

    def attach(self, sql: Sql, view: str, address: str) -> None:
        """Make `view`: a view on Parquet, a table of what was parsed otherwise; see the port."""
        path, options = _located(address)
        files = _found(path, address)
        format_ = _format(path, options, address)
        try:
            if format_ == "parquet":
                _attach_parquet(sql, _quoted(view), files)
            elif format_ == "jsonl":
                _attach_jsonl(sql, _quoted(view), files)
            else:
                given = {"delim": "\t", **options} if format_ == "tsv" else options
                _attach_csv(sql, _quoted(view), files, given, address)
            empty = sql.execute(f"SELECT 1 FROM {_quoted(view)} LIMIT 1").fetchone() is None
        except duckdb.Error as err:
            raise _unreadable(err, files, format_, options, address) from err
        if empty:
            raise DataError("has no rows", where=address, fix="check that the export that wrote it ran to its end")


def _located(address: str) -> tuple[str, dict[str, str]]:
    path, options = split(address, _OPTIONS)
    return path.removeprefix("file://"), options


def _found(path: str, address: str) -> list[str]:
    if Path(path).is_file():
        if Path(path).stat().st_size == 0:
            raise DataError(
                "the file is empty", where=address, fix="check that the export that wrote it ran to its end"
            )
        return [path]
    matches = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else []
    if matches:
        return matches
    folder = Path(path).parent
    if Path(path).is_dir():
        raise DataError("is a folder", where=address, fix=f"name its files, such as {path.rstrip('/')}/*.parquet")
    there = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    close = difflib.get_close_matches(Path(path).name, there, n=1)
    fix = f"did you mean {close[0]!r}?" if close else "give the path from the project's folder, or an absolute one"
    raise DataError("there is no such file", where=address, fix=fix)


def _suffix(path: str) -> str:
    parts = Path(path).name.lower().split(".")
    return parts[-2] if len(parts) > 2 and parts[-1] in _COMPRESSED else parts[-1] if len(parts) > 1 else ""


def _format(path: str, options: dict[str, str], address: str) -> str:
    name = options.get("format", _suffix(path)).lower()
    if name not in _FORMATS:
        raise DataError(
            f"the format {name!r} is not one that is read here",
            where=address,
            fix=f"use one of {', '.join(_FORMATS)} (also .gz, .zst), unpack an archive first,"
            " or say what it is: ?format=csv",
        )
    return _FORMATS[name]


def _attach_parquet(sql: Sql, view: str, files: Sequence[str]) -> None:
    sql.execute(f"CREATE TEMP VIEW {view} AS SELECT * FROM read_parquet({_list(files)}, union_by_name = true)")


def _attach_jsonl(sql: Sql, view: str, files: Sequence[str]) -> None:
    read = f"read_json({_list(files)}, sample_size = -1, union_by_name = true)"
    sql.execute(f"CREATE TEMP TABLE {view} AS SELECT * FROM {read}")


def _attach_csv(sql: Sql, view: str, files: Sequence[str], options: dict[str, str], address: str) -> None:
    settings = _csv_settings(files, options)
    sniffed = settings if "header" in settings else {**settings, "header": _header(sql, files, settings, address)}
    try:
        texts: list[_Text] | None = _texts(sql, view, _parse(sql, view, files, sniffed))
    except duckdb.ConversionException:
        texts = None
    if texts is None or any(text.late for text in texts):  # the first lines do not show every type: look at all
        texts = _texts(sql, view, _parse(sql, view, files, {**sniffed, "sample_size": "-1"}))
    if "header" not in settings:
        _refuse_names_that_are_values(texts, address)
    _trim(sql, view, [text.name for text in texts if text.padded])


def _csv_settings(files: Sequence[str], options: dict[str, str]) -> dict[str, str]:
    """Return the arguments of DuckDB's reader."""
    settings = {
        "nullstr": _list(_MISSING),
        "union_by_name": "true",
        "skip": str(int(options.get("skip", "0"))),  # said, for DuckDB would skip what it cannot read
        "comment": "''",
    }
    names = [name.strip() for name in options.get("names", "").split(",") if name.strip()]
    if names:
        settings["names"] = _list(names)
    header = options.get("header", "false" if names else "")
    if header:
        settings["header"] = "true" if header.lower() in ("true", "1", "yes") else "false"
    for name in ("delim", "quote", "encoding", "compression"):
        if name in options:
            settings[name] = _literal({"tab": "\t"}.get(options[name], options[name]))
    delimiter = csv_text.delimiter(files[0])
    if delimiter is not None and settings["skip"] == "0":
        settings.setdefault("delim", _literal(delimiter))
    if any(csv_text.has_mixed_line_ends(file) for file in files):
        settings["strict_mode"] = "false"
    return settings


def _parse(sql: Sql, view: str, files: Sequence[str], settings: dict[str, str]) -> list[str]:
    """Make the table and return its columns of text."""
    arguments = ", ".join(f"{name} = {value}" for name, value in settings.items())
    sql.execute(f"CREATE OR REPLACE TEMP TABLE {view} AS SELECT * FROM read_csv({_list(files)}, {arguments})")
    described = sql.execute(f"DESCRIBE SELECT * FROM {view}").fetchall()
    return [str(name) for name, type_, *_ in described if type_ == "VARCHAR"]


class _Text(NamedTuple):
    name: str
    late: bool  # its first value comes after the lines that types were found on
    named: bool  # its name is a frequent value of it
    padded: bool  # some values have spaces around them


def _texts(sql: Sql, view: str, names: Sequence[str]) -> list[_Text]:
    figures = "".join(
        f", count({x}), count({x}) FILTER (rowid < {_SNIFFED_ROWS})"
        f", count(*) FILTER (trim({x}) = trim({_literal(name)})), count(*) FILTER ({x} <> trim({x}))"
        for name, x in ((name, _quoted(name)) for name in names)
    )
    rows, *counts = sql.execute(f"SELECT count(*){figures} FROM {view}").fetchone()
    fours = zip(names, counts[::4], counts[1::4], counts[2::4], counts[3::4], strict=True)
    return [
        _Text(name, late=bool(n and not early), named=same >= 3 and same > rows / 100, padded=bool(padded))
        for name, n, early, same, padded in fours
    ]


def _trim(sql: Sql, view: str, names: Sequence[str]) -> None:
    for name in names:
        x = _quoted(name)
        sql.execute(f"UPDATE {view} SET {x} = CASE WHEN trim({x}) NOT IN {_tuple(_MISSING)} THEN trim({x}) END")


def _header(sql: Sql, files: Sequence[str], settings: dict[str, str], address: str) -> str:
    """Return "true", or raise where the first line looks like data: then the names would be a row."""
    given = {
        name: settings[name]
        for name in ("delim", "quote", "encoding", "skip", "comment", "strict_mode")
        if name in settings
    }
    sniff = "".join(f", {name} = {value}" for name, value in given.items())
    found: Any = sql.execute(f"SELECT HasHeader FROM sniff_csv({_literal(files[0])}{sniff})").fetchone()
    if found[0]:
        return "true"
    raise _no_names(csv_text.first_line(files[0]), address)


def _refuse_names_that_are_values(texts: Sequence[_Text], address: str) -> None:
    named = [text.name for text in texts if text.named]
    if named:
        raise _no_names(", ".join(named), address)


def _no_names(line: str, address: str) -> DataError:
    sign = "&" if "?" in address else "?"
    return DataError(
        f"the first line looks like data, not like names of columns: {line[:80]}",
        where=address,
        fix=f"add {sign}names=a,b,c to the address, or {sign}header=false for the names column0, column1, …;"
        f" {sign}header=true if these are the names",
    )


def _unreadable(
    err: duckdb.Error, files: Sequence[str], format_: str, options: dict[str, str], address: str
) -> DataError:
    if format_ in ("csv", "tsv"):
        ragged = csv_text.ragged_line(files[0], options.get("delim"))
        if ragged is not None:
            return DataError(
                f"line {ragged.line} has {ragged.fields} fields where the first line has {ragged.expected}",
                where=address,
                fix="quote values that hold the separator, or correct the line",
            )
    first = re.sub(r"\s+", " ", str(err).splitlines()[0])
    return DataError(f"cannot be read as {format_}: {first}", where=address, fix=_advice(str(err), format_))


def _advice(message: str, format_: str) -> str:
    if "nicode" in message or ("utf-8" in message.lower() and "encod" in message.lower()):
        return "say which encoding it has: ?encoding=latin-1"
    return "check that the file is whole" + (", or give ?delim= and ?quote=" if format_ in ("csv", "tsv") else "")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _list(texts: Sequence[str]) -> str:
    return "[" + ", ".join(_literal(text) for text in texts) + "]"


def _tuple(texts: Sequence[str]) -> str:
    return "(" + ", ".join(_literal(text) for text in texts) + ")"
