"""`kaizen learn`: find a model, pack it and register it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kaizen.cli.output import print_json, print_table, project_options
from kaizen.cli.progress import stage

if TYPE_CHECKING:
    from kaizen.core.records import Run

_NEXT = {
    "promote": "kaizen serve",
    "shadow": "kaizen serve, then kaizen experiment status shows how it stands against the champion",
    "hold": "kaizen experiment status",
}


@click.command()
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Where the HTML report goes.")
@project_options
def command(report: Path | None, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Read the rows, search for a model within the budget, pack the best and register it.

    The first bundle of a project becomes champion; a later one passes the gates and goes to shadow.
    """
    import msgspec

    from kaizen.core.project import Project
    from kaizen.core.records import Decision, Run

    project = Project.open(folder)  # what is wrong with it is said before a second goes into importing the learners
    from kaizen.loop import pipeline

    with stage("learn", quiet=as_json) as shown:
        learned = pipeline.learn(project, note=shown.update, warn=shown.warn)
        shown.done(learned.says)
    run = project.records.get(Run, learned.run)
    path = report or project.folder / "report.html"
    if run.report is not None:
        part = path.with_name(path.name + ".part")
        part.write_bytes(project.blobs.path(run.report).read_bytes())
        part.replace(path)  # a full disk leaves the report before this one
    decision = project.records.get(Decision, learned.decision)
    if as_json:
        figures = {"metrics": run.metrics, "baselines": run.baselines}
        print_json({**msgspec.structs.asdict(learned), **figures, "report": str(path), "decision": decision})
        return
    _print_metrics(run)
    click.echo(f"Report: {path}")
    click.echo(f"Decision: {decision.action}, {decision.reason}.")
    click.echo(f"Next: {_NEXT.get(decision.action, f'kaizen loop explain {decision.id}')}")


def _print_metrics(run: Run) -> None:
    """Print every metric with its interval, and beside it what one gets without learning."""
    baselines = {name: {metric.name: metric.value for metric in run.baselines[name]} for name in run.baselines}
    rows = [
        (m.name, m.value, f"[{m.low:.4g}, {m.high:.4g}]", *(figures.get(m.name) for figures in baselines.values()))
        for m in run.metrics
    ]
    print_table(("metric", "value", "95 % interval", *(name.replace("_", " ") for name in baselines)), rows)
