"""`kaizen monitor silence` and `silences`: what is not to be told for a while."""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from kaizen.cli.output import print_json, print_table, project_options
from kaizen.core.durations import duration
from kaizen.core.errors import UsageError
from kaizen.core.project import Project
from kaizen.core.records import Silence


@click.command()
@click.argument("match", nargs=-1, required=True)
@click.option("--for", "lasts", required=True, metavar="DURATION", help="How long, such as 2h.")
@click.option("--reason", required=True, help="Why, for whoever wonders.")
@project_options
def silence(match: tuple[str, ...], lasts: str, reason: str, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Tell nobody of the alerts that MATCH, such as question=drift subject='wind*', for a while.

    Several patterns of one label: one must fit. Several labels: all must.
    """
    from kaizen.loop import silences

    try:
        span = duration(lasts)
    except ValueError as err:
        raise UsageError(str(err), where="--for") from err
    made = silences.silence(Project.open(folder), _matched(match), lasts=span, reason=reason, by=getpass.getuser())
    if as_json:
        print_json(made)
    else:
        click.echo(f"{made.id}: {spelled(made)} is silent until {made.until:%Y-%m-%d %H:%M} UTC.")


@click.command()
@click.option("--end", "which", metavar="ID", help="End the silence whose id begins so, now.")
@project_options
def silences(which: str | None, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """List the silences that hold, or end one."""
    from kaizen.loop import silences as held

    project = Project.open(folder)
    if which is not None:
        ended = held.end(project, which, by=getpass.getuser())
        if as_json:
            print_json(ended)
        else:
            click.echo(f"{spelled(ended)} is told again.")
        return
    found = held.in_force(project)
    if as_json:
        print_json(found)
    elif found:
        rows = [(each.id, spelled(each), each.until, each.by, each.reason) for each in found]
        print_table(("id", "match", "until", "by", "reason"), rows)
    else:
        click.echo("Nothing is silenced.")


def spelled(silence: Silence) -> str:
    """Return what a silence matches, as it is written on a command line."""
    return " ".join(f"{label}={pattern}" for label, told in silence.match.items() for pattern in told)


def _matched(match: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for text in match:
        label, equals, pattern = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r} is no match; write LABEL=PATTERN", where="MATCH", fix="such as question=drift")
        found[label] = (*found.get(label, ()), pattern)
    return found
