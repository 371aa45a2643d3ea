"""`kaizen monitor alerts`: what is wrong, who was told of it, and what keeps it from others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kaizen.cli.output import print_json, project_options
from kaizen.core.alerting import LOG
from kaizen.core.errors import UsageError, nearest
from kaizen.core.project import Project

if TYPE_CHECKING:
    from kaizen.monitor.alerts.deliveries import Standing, Trouble

_TIME = "%Y-%m-%d %H:%M"


@click.command()
@click.option("--limit", default=10, type=click.IntRange(min=0), show_default=True, help="Of those that are over.")
@click.option("--test", "channel", metavar="CHANNEL", help="Send a message that says it is a test to a channel, now.")
@project_options
def alerts(limit: int, channel: str | None, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Show alerts: severity, what fired, since when, who was told, what failed and when it is tried again."""
    from kaizen.loop import tell

    project = Project.open(folder)
    if channel is not None:
        _try(project, channel, as_json=as_json)
        return
    found = tell.standing(project)
    is_open = [each for each in found if each.alert.state == "open"]
    over = [each for each in found if each.alert.state == "resolved"][:limit]
    if as_json:
        print_json({"open": is_open, "resolved": over})
        return
    for each in [*is_open, *over]:
        click.echo("\n".join(described(each)))
    if not is_open:
        click.echo("No alert is open.")


def described(standing: Standing) -> Iterator[str]:
    """Yield an alert's title and, below it, how it stands, one line each; times in UTC."""
    alert = standing.alert
    yield alert.title
    over = sum(part.closed is not None for part in alert.parts)
    parts = f", {over} of {len(alert.parts)} parts over" if alert.state == "open" and over else ""
    yield f"  alert {alert.id}, {alert.key}: {alert.state} since {alert.at:{_TIME}}{parts}"
    told = ", ".join(f"{channel} ({at:{_TIME}})" for channel, at in standing.told.items())
    yield f"  told: {told or 'nobody'}"
    if standing.silenced_until is not None:
        yield f"  silenced until {standing.silenced_until:{_TIME}}: kaizen monitor silences"
    elif standing.quiet_until is not None:
        yield f"  it was over shortly before: told if it is open still at {standing.quiet_until:{_TIME}}"
    elif waiting := set(standing.waiting) - {each.channel for each in standing.trouble}:
        yield f"  to be told by kaizen loop run: {', '.join(sorted(waiting))}"
    elif not standing.told and not standing.trouble and alert.state == "open":
        yield "  its route leads to no channel"
    for trouble in standing.trouble:
        yield f"  {trouble.channel}: {trouble.says} ({_again(trouble)})"


def _again(trouble: Trouble) -> str:
    tries = "1 try" if trouble.attempts == 1 else f"{trouble.attempts} tries"
    return f"{tries}, given up" if trouble.retry_at is None else f"{tries}, next {trouble.retry_at:{_TIME}}"


def _try(project: Project, channel: str, *, as_json: bool) -> None:
    from kaizen.loop import tell

    known = {LOG, *project.file.alerts.channels}
    if channel not in known:
        raise UsageError(f"there is no channel {channel!r}", where="--test", fix=nearest(channel, known))
    tell.trial(project, channel)
    if as_json:
        print_json({"channel": channel, "delivered": True})
    else:
        click.echo(f"{channel} took a test message.")
