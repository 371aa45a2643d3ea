"""`kaizen loop`: run the loop, read its decisions, and steer it."""

from __future__ import annotations

import getpass
import sys
import time
from pathlib import Path

import click

from kaizen.cli.output import log_to, print_json, print_table, project_options
from kaizen.core.errors import DecisionError
from kaizen.core.project import Project
from kaizen.core.records import Bundle, Decision


@click.group()
def command() -> None:
    """Run the loop, read its decisions, and steer it."""


@command.command()
@click.option("--once", is_flag=True, help="Do what is due and stop.")
@click.option(
    "--every",
    default=60.0,
    type=click.FloatRange(min=0, min_open=True),
    show_default=True,
    help="Seconds between looks.",
)
@project_options
def run(once: bool, every: float, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Turn the loop for every event day that is over, and go on as days end, until stopped."""
    from kaizen.loop import cycle, operations, tell

    log_to(sys.stderr)
    project = Project.open(folder)
    if project.endpoint() is None:
        raise nothing_promoted(folder)
    while True:
        with cycle.alone(project):  # let go between looks, so that a person can trigger, approve and roll back
            turned = _turn_what_is_due(project, quiet=as_json)
            _glance(project, quiet=as_json)
            tell.deliver(project)
            project.log.compact()
            if turned:
                operations.file_of(project).fold(project.clock.now())
        if once:
            break
        time.sleep(every)
    if not turned and not as_json:
        click.echo("Nothing is due: every event day that is over had its turn.")


def _turn_what_is_due(project: Project, *, quiet: bool) -> int:
    from kaizen.cli.progress import stage
    from kaizen.loop import cycle

    days = cycle.due(project)
    for day in days:
        with stage(f"event day {cycle.date_of(day)}", quiet=quiet) as shown:
            turn = cycle.turn(project, day, note=shown.update)
            shown.done(f"{len(turn.findings)} findings, {len(turn.decisions)} decisions")
        if quiet:
            print_json({"day": cycle.date_of(turn.day), "findings": turn.findings, "decisions": turn.decisions})
    return len(days)


def _glance(project: Project, *, quiet: bool) -> None:
    from kaizen.loop import cycle

    for finding in cycle.glance(project):
        if quiet:
            print_json({"finding": finding.id, "verdict": finding.verdict, "says": finding.says})
        else:
            click.echo(f"{finding.verdict}: {finding.says}", err=True)


@command.command()
@project_options
def status(folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Show the endpoint, its arms, and the last decision."""
    project = Project.open(folder)
    endpoint = project.endpoint()
    decisions = project.records.find(Decision, newest_first=True, limit=1)
    if as_json:
        print_json({"endpoint": endpoint, "last_decision": decisions[0] if decisions else None})
        return
    if endpoint is None:
        click.echo("No bundle is promoted yet. Next: kaizen learn")
        return
    versions = {bundle.id: bundle.version for bundle in project.records.find(Bundle)}
    click.echo(f"{endpoint.name} at revision {endpoint.revision} since {endpoint.at:%Y-%m-%d %H:%M} UTC")
    for arm in endpoint.arms:
        click.echo(f"  {arm.role:<11} bundle {versions.get(arm.bundle, '?')} ({arm.bundle[:12]})  {arm.share:.0%}")
    if decisions:
        click.echo(f"Last decision: {decisions[0].action}, {decisions[0].reason} ({decisions[0].at:%Y-%m-%d}).")


@command.command()
@click.option("--limit", type=click.IntRange(min=1), help="Only the newest so many.")
@project_options
def decisions(limit: int | None, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """List the ledger: every decision, oldest first."""
    project = Project.open(folder)
    found = project.records.find(Decision)[-(limit or 0) :]
    if as_json:
        print_json(found)
        return
    versions = {bundle.id: bundle.version for bundle in project.records.find(Bundle)}
    rows = [(d.id, d.at, d.action, versions.get(d.bundle or ""), d.revision, d.by, d.reason) for d in found]
    print_table(("id", "at", "action", "bundle", "revision", "by", "reason"), rows)


@command.command()
@click.argument("which")
@project_options
def explain(which: str, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Explain a decision (or a finding, a bundle, a prediction) by what it stands on; WHICH begins its id."""
    from kaizen.loop import lineage

    explained = lineage.explain(Project.open(folder), which)
    if as_json:
        print_json(explained)
        return
    for line in lineage.lines(explained):
        click.echo(line)


@command.command()
@click.option("--reason", default="", help="For the ledger.")
@project_options
def rollback(reason: str, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Put the champion before this one back, now."""
    from kaizen.loop import act

    _said(act.roll_back(Project.open(folder), by=getpass.getuser(), reason=reason), as_json=as_json)


@command.command()
@click.option("--reason", default="", help="For the ledger.")
@project_options
def approve(reason: str, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Promote the challenger that the loop is waiting with, now."""
    from kaizen.loop import act

    _said(act.approve(Project.open(folder), by=getpass.getuser(), reason=reason), as_json=as_json)


@command.command()
@click.argument("which")
@click.option("--reason", default="", help="For the ledger.")
@project_options
def promote(which: str, reason: str, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Make a bundle the champion by hand, now; WHICH is a version, or the beginning of an id."""
    from kaizen.cli.bundle import find
    from kaizen.loop import act

    project = Project.open(folder)
    bundle = find(project, which)
    _said(act.promote(project, bundle.id, by=getpass.getuser(), reason=reason), as_json=as_json)


@command.command()
@click.option("--reason", default="", help="For the ledger.")
@project_options
def trigger(reason: str, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Retrain now, whatever the triggers say; the candidate passes the same gates and goes to shadow."""
    from kaizen.cli.progress import stage
    from kaizen.loop import candidate, cycle

    project = Project.open(folder)
    endpoint = project.endpoint()
    if endpoint is None:
        raise nothing_promoted(folder)
    if endpoint.arm("challenger") is not None:
        raise DecisionError(
            "a challenger is being tried already", where=endpoint.id, fix="kaizen experiment status shows how it stands"
        )
    with cycle.alone(project), stage("candidate", quiet=as_json) as shown:
        decision = candidate.by_hand(project, by=getpass.getuser(), reason=reason, note=shown.update)
        shown.done(f"{decision.action}: {decision.reason}")
    if as_json:
        print_json(decision)


def nothing_promoted(folder: Path) -> DecisionError:
    """Return the error of what needs an endpoint."""
    return DecisionError("this project has no endpoint yet", where=str(folder), fix="kaizen learn")


def _said(decision: Decision, *, as_json: bool) -> None:
    if as_json:
        print_json(decision)
    else:
        click.echo(f"{decision.action}: revision {decision.revision} ({decision.id}). {decision.reason}.")
