"""`kaizen learn`: find a model, pack it and register it."""

from __future__ import annotations

from pathlib import Path

import click

from kaizen.cli.output import print_json, project_options
from kaizen.cli.progress import stage


@click.command()
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Where the HTML report goes.")
@project_options
def command(report: Path | None, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Read the rows, search for a model within the budget, pack the best and register it.

    The first bundle of a project becomes champion; a later one passes the gates and goes to shadow.
    """
    from kaizen.core.project import Project
    from kaizen.core.records import Decision, Run
    from kaizen.loop import pipeline

    project = Project.open(folder)
    with stage("learn", quiet=as_json) as shown:
        learned = pipeline.learn(project, note=shown.update)
        shown.done(learned.says)
    run = project.records.get(Run, learned.run)
    path = report or project.folder / "report.html"
    if run.report is not None:
        path.write_bytes(project.blobs.path(run.report).read_bytes())
    decision = project.records.find(Decision, newest_first=True, limit=1)[0]
    if as_json:
        print_json({**_plain(learned), "report": str(path), "decision": decision, "metrics": run.metrics})
        return
    click.echo(f"Report: {path}")
    click.echo(f"Decision: {decision.action}, {decision.reason}.")
    click.echo("Next: kaizen serve")


def _plain(learned: object) -> dict[str, object]:
    import msgspec

    return msgspec.structs.asdict(learned)  # type: ignore[arg-type]
