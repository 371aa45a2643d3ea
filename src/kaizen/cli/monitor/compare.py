"""`kaizen monitor compare`: what changed between two tables."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from kaizen.cli.output import json_option, print_json, print_table


@click.command()
@click.argument("reference")
@click.argument("current")
@click.option("--time", "time_column", help="The column with each row's own time. Default: one is looked for.")
@click.option("--ignore", multiple=True, help="A column to leave out; may be given again.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if it pages.")
@json_option
def compare(
    reference: str,
    current: str,
    time_column: str | None,
    ignore: tuple[str, ...],
    exit_code: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Say what changed from the table REFERENCE to the table CURRENT; no project is needed.

    Both are addresses: a CSV, Parquet or JSONL file, a pattern of files, or a table in SQLite.
    """
    from kaizen.cli.progress import stage
    from kaizen.loop import compare as comparing

    with stage("compare", quiet=as_json) as shown:
        found = comparing.compare(
            reference,
            current,
            time=time_column,
            ignore=ignore,
            folder=Path(),
            note=shown.update,
        )
        shown.done(f"{found.current.rows:,} rows against {found.reference.rows:,}")
    if as_json:
        print_json(found)
    else:
        rows = [
            ("page" if c.page else "", c.name, c.type, c.evidence, c.limit, c.effect, c.matters, c.detectable, c.why)
            for c in found.columns
        ]
        print_table(("", "column", "type", "evidence", "needs", "effect", "matters", "detectable", "why"), rows)
        click.echo(found.says)
    if exit_code and found.page:
        sys.exit(1)
