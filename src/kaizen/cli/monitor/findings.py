"""`kaizen monitor findings`: the evidence, oldest first."""

from __future__ import annotations

from pathlib import Path

import click

from kaizen.cli.output import print_json, print_table, project_options
from kaizen.core.project import Project
from kaizen.core.records import Finding


@click.command()
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
