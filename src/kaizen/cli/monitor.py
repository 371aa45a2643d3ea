"""`kaizen monitor`: what is watched and what fired."""

from __future__ import annotations

from pathlib import Path

import click

from kaizen.cli.output import print_json, print_table, project_options
from kaizen.core.project import Project
from kaizen.core.records import Finding


@click.group()
def command() -> None:
    """See what is watched and what fired."""


@command.command()
@project_options
def status(folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Show what is open, and what the latest windows said."""
    from kaizen.monitor.status import status as standing

    project = Project.open(folder)
    found = standing(project.records.find(Finding))
    if as_json:
        print_json(
            {"open": found.open, "latest": found.latest, "max_false_pages": project.file.monitor.max_false_pages}
        )
        return
    click.echo(f"False pages allowed: {project.file.monitor.max_false_pages}.")
    if found.open:
        rows = [(f.question, f.subject, f.start, f.estimate, f.evidence, f.says) for f in found.open]
        print_table(("open", "subject", "since", "effect", "evidence", "what it says"), rows)
    else:
        click.echo("Nothing is open.")
    for finding in found.latest:
        click.echo(f"{finding.at:%Y-%m-%d}  {finding.verdict:<5} {finding.says}")
    if not found.latest:
        click.echo("No window is full yet: kaizen loop run turns the loop for each event day that is over.")


@command.command()
@click.option("--limit", default=30, type=click.IntRange(min=1), show_default=True, help="Only the newest so many.")
@project_options
def findings(limit: int, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """List findings, oldest first."""
    found = Project.open(folder).records.find(Finding)[-limit:]
    if as_json:
        print_json(found)
        return
    rows = [(f.id, f.at, f.question, f.subject[:12], f.verdict, f.says) for f in found]
    print_table(("id", "at", "question", "subject", "verdict", "what it says"), rows)
