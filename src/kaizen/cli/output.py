"""What verbs print: JSON for programs, text for people; errors in the same two ways."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click
import msgspec

from kaizen.core.errors import KaizenError

C = TypeVar("C", bound=Callable[..., Any])

folder_option = click.option(
    "-C",
    "--folder",
    default=".",
    type=click.Path(file_okay=False, path_type=Path),
    help="The project's folder (default: this one).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value, for programs.")


def project_options(command: C) -> C:
    """Add `--folder` and `--json` to a command."""
    return folder_option(json_option(command))


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in aligned columns, wide as the terminal, whole where it is a pipe."""
    if not sys.stdout.isatty():
        for row in (header, *rows):
            click.echo("\t".join(_text(cell) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(_text(cell) for cell in row))
    Console().print(table)


def _text(cell: object) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if 1e4 <= abs(cell) < 1e15 else f"{cell:.4g}"
    if isinstance(cell, datetime):
        return cell.strftime("%Y-%m-%d %H:%M")
    return str(cell)


def report_error(err: KaizenError, *, as_json: bool) -> None:
    """Write an error to standard error: what, where and what to do."""
    if as_json:
        body = {"error": {"code": err.code, "what": err.what, "where": err.where, "fix": err.fix}}
        sys.stderr.write(msgspec.json.encode(body).decode() + "\n")
    else:
        click.echo(f"{click.style('error', fg='red', bold=True)} {err}", err=True)


def log_to(stream: TextIO) -> None:
    """Send structured logs, one line an event, to a stream: standard output belongs to what a verb prints."""
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
