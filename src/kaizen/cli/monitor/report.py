"""`kaizen monitor report`: what changed, as a page."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from kaizen.cli.output import json_option, print_json


@click.command()
@click.argument("reference")
@click.argument("current")
@click.option("--time", "time_column", help="The column with each row's own time. Default: one is looked for.")
@click.option("--ignore", multiple=True, help="A column to leave out; may be given again.")
@click.option("--out", default="report.html", show_default=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--open", "show", is_flag=True, help="Open it in a browser.")
@json_option
def report(
    reference: str,
    current: str,
    time_column: str | None,
    ignore: tuple[str, ...],
    out: Path,
    show: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Write a self-contained HTML page of what changed from REFERENCE to CURRENT, distributions side by side."""
    from kaizen.cli.progress import stage
    from kaizen.loop import compare as comparing
    from kaizen.monitor import report as reports

    with stage("report", quiet=as_json) as shown:
        found, changes = comparing.walk(reference, current, time=time_column, ignore=ignore, note=shown.update)
        out.write_text(reports.html(found, changes), encoding="utf-8")
        shown.done(str(out))
    if as_json:
        print_json({"report": str(out), "page": found.page, "says": found.says})
    else:
        click.echo(found.says)
    if show:
        webbrowser.open(out.resolve().as_uri())
