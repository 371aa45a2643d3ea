"""`kaizen experiment`: how the challenger stands."""

from __future__ import annotations

from pathlib import Path

import click

from kaizen.cli.output import print_json, print_table, project_options
from kaizen.core.project import Project
from kaizen.core.records import Finding


@click.group()
def command() -> None:
    """See how the challenger stands against the champion."""


@command.command()
@project_options
def status(folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Show the latest comparison of every arm in shadow."""
    project = Project.open(folder)
    endpoint = project.endpoint()
    arms = endpoint.arms[1:] if endpoint else ()
    latest = {arm.bundle: next(iter(_newest(project, arm.bundle)), None) for arm in arms}
    if as_json:
        print_json([{"arm": arm, "finding": latest[arm.bundle]} for arm in arms])
        return
    if not arms:
        click.echo("Nothing is in shadow.")
        return
    rows = []
    for arm in arms:
        found = latest[arm.bundle]
        interval = (
            f"[{found.low:+.4f}, {found.high:+.4f}]"
            if found and found.low is not None and found.high is not None
            else None
        )
        rows.append(
            (
                arm.role,
                arm.bundle[:12],
                found.n if found else 0,
                found.estimate if found else None,
                interval,
                found.evidence if found else None,
                found.limit if found else None,
                found.verdict if found else "no mature day yet",
            )
        )
    print_table(("role", "bundle", "days", "gain", "interval", "evidence", "limit", "verdict"), rows)


def _newest(project: Project, bundle: str) -> list[Finding]:
    found = project.records.find(Finding, where={"subject": bundle}, newest_first=True, limit=1)
    return [finding for finding in found if finding.question.startswith("comparison")]
