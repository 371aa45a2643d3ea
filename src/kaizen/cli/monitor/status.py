"""`kaizen monitor status`: what is watched, what fired, since when, what it costs, and what was done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kaizen.cli.output import print_json, print_table, project_options
from kaizen.core.project import Project

if TYPE_CHECKING:
    from kaizen.monitor.standing import EndpointStanding, Fired

_DAY = "%Y-%m-%d"


@click.command()
@project_options
def status(folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Show what is watched, what fired, since when it probably began, who is to blame, and what was done."""
    from kaizen.loop.standing import standing

    found = standing(Project.open(folder))
    if as_json:
        print_json({"endpoints": found})
        return
    for each in found:
        _show(each)
    if not found:
        click.echo("No bundle is promoted yet. Next: kaizen learn")


def _show(standing: EndpointStanding) -> None:
    watched_to = f"watched up to {standing.watched_to:{_DAY}}" if standing.watched_to else "no day watched yet"
    click.echo(f"{standing.endpoint}: bundle {standing.version} ({standing.champion[:12]}), {watched_to}")
    click.echo(f"False pages allowed: {standing.max_false_pages}, all watching together.")
    for fired in standing.fired:
        click.echo("\n".join(("", *described(fired))))
    if not standing.fired:
        click.echo("Nothing is open.")
    click.echo("")
    rows = [
        (each.question, f"{each.at:{_DAY}}" if each.at else "-", each.says or _unsaid(each.how))
        for each in standing.watched
    ]
    print_table(("watched", "last", "what it said"), rows)


def _unsaid(how: str | None) -> str:
    return f"nothing yet ({how})" if how else "nothing yet"


def described(fired: Fired) -> Iterator[str]:
    """Yield what fired and, below it, how it stands, one line each."""
    where = f" where {fired.segment}" if fired.segment else ""
    yield f"[{fired.severity or 'open'}] {fired.question} of {fired.subject}{where}: {fired.says}"
    yield f"  found {fired.since:{_DAY}}, began probably {fired.began:{_DAY}}"
    if fired.effect is not None:
        matters = f", matters from {fired.matters:.3g}" if fired.matters is not None else ""
        least = f", {fired.detectable:.3g} could have been seen" if fired.detectable is not None else ""
        yield f"  effect {fired.effect:.3g}{matters}{least}"
    if fired.evidence is not None and fired.limit is not None:
        yield f"  evidence {fired.evidence:.3g}, needed {fired.limit:.3g}"
    if fired.blames:
        yield f"  to blame: {', '.join(fired.blames)}"
    if fired.at_stake is not None:
        direction = "worse" if fired.at_stake >= 0 else "better"
        yield f"  at stake: the metric is about {abs(fired.at_stake):.1%} {direction}"
    for done in fired.done:
        yield f"  {done.at:{_DAY}} {done.what}"
    if not fired.done:
        yield "  nothing was done yet"
