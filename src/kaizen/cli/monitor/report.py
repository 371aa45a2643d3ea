"""`kaizen monitor report`: how the project stands, or what changed between two tables, as a page."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from kaizen.cli.loop import nothing_promoted
from kaizen.cli.output import print_json, project_options
from kaizen.core.errors import UsageError
from kaizen.core.project import Project


@click.command()
@click.argument("reference", required=False)
@click.argument("current", required=False)
@click.option("--time", "time_column", help="The column with each row's own time. Default: one is looked for.")
@click.option("--ignore", multiple=True, help="A column to leave out; may be given again.")
@click.option("--out", default="report.html", show_default=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--open", "show", is_flag=True, help="Open it in a browser.")
@project_options
def report(
    reference: str | None,
    current: str | None,
    time_column: str | None,
    ignore: tuple[str, ...],
    out: Path,
    show: bool,  # noqa: FBT001
    folder: Path,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Write a self-contained HTML page: how the project stands or, of REFERENCE and CURRENT, what changed."""
    if reference is None:
        _of_project(folder, out, as_json=as_json)
    elif current is None:
        raise UsageError("there is nothing to hold it against", where=reference, fix="name a second table, or none")
    else:
        _of_tables(reference, current, time_column, ignore, out, as_json=as_json)
    if show:
        webbrowser.open(out.resolve().as_uri())


def _of_project(folder: Path, out: Path, *, as_json: bool) -> None:
    from kaizen.cli.progress import stage
    from kaizen.loop.standing import gathered
    from kaizen.monitor.report import board

    with stage("report", quiet=as_json) as shown:
        found = gathered(Project.open(folder))
        if not found:
            raise nothing_promoted(folder)
        standing = found[0].standing
        out.write_text(board.html(*found[0]), encoding="utf-8")
        shown.done(str(out))
    if as_json:
        print_json({"report": str(out), "endpoint": standing.endpoint, "open": len(standing.fired)})


def _of_tables(
    reference: str, current: str, time_column: str | None, ignore: tuple[str, ...], out: Path, *, as_json: bool
) -> None:
    from kaizen.cli.progress import stage
    from kaizen.loop import compare as comparing
    from kaizen.monitor.report import report as reports

    with stage("report", quiet=as_json) as shown:
        found, changes = comparing.walk(reference, current, time=time_column, ignore=ignore, note=shown.update)
        out.write_text(reports.html(found, changes), encoding="utf-8")
        shown.done(str(out))
    if as_json:
        print_json({"report": str(out), "page": found.page, "says": found.says})
    else:
        click.echo(found.says)
