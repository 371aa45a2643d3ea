"""`kaizen data`: profile, validate and freeze a project's rows."""

from __future__ import annotations

from pathlib import Path

import click

from kaizen.cli.output import print_json, print_table, project_options
from kaizen.core.clock import from_us
from kaizen.core.project import Project
from kaizen.core.records import ColumnType


@click.group()
def command() -> None:
    """Profile, validate and freeze a project's rows."""


@command.command()
@project_options
def profile(folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Describe every column: type, missing, distinct, range, the most frequent values."""
    from kaizen.data import columns as typed
    from kaizen.data import profile as profiles
    from kaizen.data import tables

    project = Project.open(folder)
    with tables.connect(project.file, project.folder) as sql:
        found = profiles.profile(sql, "rows", typed.columns_of(sql, file=project.file))
    if as_json:
        print_json(found)
        return
    click.echo(f"{found.rows:,} rows in {project.file.data.source}")
    rows = [
        (
            c.name,
            c.type,
            f"{c.missing / max(found.rows, 1):.1%}",
            f"{c.distinct:,}",
            _bound(c.type, c.min),
            _bound(c.type, c.max),
            c.mean,
            ", ".join(value for value, _ in c.top[:3]),
            ", ".join(c.flags),
        )
        for c in found.columns
    ]
    print_table(("column", "type", "missing", "distinct", "min", "max", "mean", "most frequent", "flags"), rows)


def _bound(type_: ColumnType, value: float | None) -> object:
    return from_us(int(value)) if type_ == "time" and value is not None else value


@command.command()
@click.argument("table", required=False)
@project_options
def validate(table: str | None, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Check the source, or another TABLE against it: types, ranges, missing, categories, keys, freshness, leaks.

    Exits with 1 if a rule fails; what only differs is named and passes.
    """
    from kaizen.loop import pipeline

    looked = pipeline.looked_at(Project.open(folder), source=table)
    failed = [violation for violation in looked.violations if violation.verdict == "fail"]
    if as_json:
        print_json({"rows": looked.rows, "violations": looked.violations, "leaks": looked.leaks, "passed": not failed})
    else:
        click.echo(f"{looked.rows:,} rows looked at.")
        for violation in looked.violations:
            click.echo(f"{'✗' if violation.verdict == 'fail' else '!'} {violation.says}")
        for leak in looked.leaks:
            click.echo(f"! leak: {leak.says}")
        if not looked.violations:
            click.echo("✓ every rule holds")
    if failed:
        raise click.exceptions.Exit(1)


@command.command()
@project_options
def snapshot(folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Freeze the source's rows as a Dataset; the same rows give the same id."""
    from kaizen.loop import pipeline

    dataset = pipeline.frozen(Project.open(folder))
    if as_json:
        print_json(dataset)
    else:
        click.echo(f"dataset {dataset.id}: {dataset.rows:,} rows, {len(dataset.columns)} columns")
