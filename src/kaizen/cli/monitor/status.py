"""`kaizen monitor status`: what is open, and what the latest windows said."""

from __future__ import annotations

from pathlib import Path

import click

from kaizen.cli.output import print_json, print_table, project_options
from kaizen.core.project import Project
from kaizen.core.records import Finding


@click.command()
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
