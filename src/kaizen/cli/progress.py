"""Progress of stages that take longer than two seconds: a moving line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click


class Stage:
    """One stage that is under way.

    Parameters
    ----------
    title
        What is being done.
    quiet
        Print nothing (for `--json`).
    """

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self._title = title
        self._quiet = quiet
        self._live = sys.stderr.isatty() and not quiet
        self._started = self._shown = time.monotonic()
        self._note = ""

    def update(self, note: str) -> None:
        """Say how far it is; shown at most ten times a second on a terminal, every five seconds elsewhere."""
        self._note = note
        now = time.monotonic()
        if self._quiet or now - self._shown < (0.1 if self._live else 5.0):
            return
        self._shown = now
        if self._live:
            room = shutil.get_terminal_size().columns - len(self._title) - 8  # a line that wraps cannot be rewritten
            sys.stderr.write(f"\r\033[K  {click.style('…', fg='cyan')} {self._title}: {note[: max(room, 10)]}")
            sys.stderr.flush()
        else:
            sys.stderr.write(f"  … {self._title}: {note}\n")

    def warn(self, text: str) -> None:
        """Say, on a line that stays, what the person should know."""
        if self._quiet:
            return
        start = "\r\033[K" if self._live else ""
        sys.stderr.write(f"{start}  {click.style('!', fg='yellow') if self._live else '!'} {text}\n")
        sys.stderr.flush()

    def done(self, outcome: str) -> None:
        """Close the line with what came out."""
        if self._quiet:
            return
        taken = f"{time.monotonic() - self._started:5.1f}s"
        start = "\r\033[K" if self._live else ""
        mark = click.style("✓", fg="green") if self._live else "✓"
        sys.stderr.write(f"{start}  {mark} {taken}  {self._title}: {outcome}\n")
        sys.stderr.flush()

    def failed(self) -> None:
        """Leave the line as it stands, so that the error below it has its place."""
        if self._live:
            sys.stderr.write("\n")


@contextmanager
def stage(title: str, *, quiet: bool = False) -> Iterator[Stage]:
    """Show a stage while the block runs; the block closes it with `done`."""
    shown = Stage(title, quiet=quiet)
    try:
        yield shown
    except BaseException:
        shown.failed()
        raise
