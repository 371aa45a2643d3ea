"""`kaizen monitor skew`: is a column filled the same way for training and for serving, value by value?"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from kaizen.cli.output import print_json, print_table, project_options
from kaizen.core.project import Project


def _moment(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    """Return an ISO 8601 time, in UTC where it does not say."""
    from kaizen.core.clock import from_us
    from kaizen.graph.rows import parse_time

    try:
        return None if text is None else from_us(parse_time(text))
    except (ValueError, OverflowError) as err:
        raise click.BadParameter(f"{text!r} is no time; write 2026-01-31 or 2026-01-31T12:00:00Z") from err


@click.command()
@click.argument("source", required=False)
@click.option(
    "--id", "identity", metavar="COLUMN", help="The table's prediction ids. Default: prediction_id, if it has it."
)
@click.option("--since", metavar="TIME", callback=_moment, help="Only predictions with this event time or a later one.")
@project_options
def skew(source: str | None, identity: str | None, since: datetime | None, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Compare logged predictions with the project's source, or another table, row by row."""
    from kaizen.cli.progress import stage
    from kaizen.loop import skew as loop_skew

    project = Project.open(folder)
    with stage("training against serving", quiet=as_json) as shown:
        report = loop_skew.compare(project, source=source, identity=identity, since=since, note=shown.update)
        skewed = [column for column in report.columns if column.verdict == "watch"]
        shown.done(f"{len(skewed)} of {len(report.columns)} columns differ")
    if as_json:
        found = loop_skew.findings(project, report, "by hand")
        print_json({"is_skewed": report.is_skewed, "report": report, "findings": found})
        return
    click.echo(report.joined)
    rows = [
        (column.name, column.type, column.verdict, _share(column.share, column.distance), column.pairs, column.cause)
        for column in sorted(report.columns, key=lambda column: (column.verdict == "ok", -column.share))
    ]
    print_table(("column", "type", "verdict", "differs", "pairs", "likely cause"), rows)
    for column in skewed:
        click.echo(column.says)
        if len(column.examples) > 1:
            print_table(("id", "in the table", "served"), [(e.id, e.source, e.served) for e in column.examples])
    if report.not_logged:
        click.echo(f"Not compared, for the log does not carry them: {', '.join(report.not_logged)}.")


def _share(share: float, distance: float | None) -> str:
    return f"{share:.2%}" if distance is None else f"distance {distance:.3f}"
