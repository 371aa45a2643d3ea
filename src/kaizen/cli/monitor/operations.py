"""`kaizen monitor operations`: how the serving does, day by day, and how fast declared limits burn."""

from __future__ import annotations

from pathlib import Path

import click

from kaizen.cli.output import print_json, print_table, project_options
from kaizen.core.project import Project

_HEADERS = {
    "latency p50": "p50 ms",
    "latency p99": "p99 ms",
    "errors": "errors %",
    "refusals": "refused %",
    "traffic": "requests",
    "saturation": "busiest %",
    "cpu": "CPU s/1000",
    "memory": "MiB",
    "cost": "cost/1000",
}
_PERCENT = ("errors", "refusals", "saturation")


@click.command()
@click.option("--days", default=14, type=click.IntRange(1, 91), show_default=True, help="Only the newest so many.")
@project_options
def operations(days: int, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Show latency, errors, traffic, saturation and cost of the serving by day, and how declared limits burn."""
    from kaizen.loop.operations import overview

    seen = overview(Project.open(folder), days)
    if as_json:
        print_json(seen)
        return
    if not seen.days:
        click.echo("No server has told of its work yet: kaizen serve tells every 10 s, into .kaizen/operations.")
        return
    rows = [
        (day, *(_cell(name, values[at]) for name, values in seen.signals.items()), seen.starts[at], seen.took_over[at])
        for at, day in enumerate(seen.days)
    ]
    print_table(("day", *(_HEADERS[name] for name in seen.signals), "starts", "took over"), rows)
    if seen.learnt_days < seen.warm_up:
        click.echo(f"What is usual is being learnt: {seen.learnt_days} of {seen.warm_up} whole days are known.")
    if seen.damaged:
        click.echo(f"{seen.damaged} damaged lines in .kaizen/operations were left out.")
    for limit in seen.limits:
        asked = f"of {limit.requests:,} in the last hour {limit.share:.2%} {limit.says}"
        click.echo(f"{limit.name}: {asked}; {limit.budget:.2%} may (burn rate {limit.burn:.2g}).")


def _cell(name: str, value: float | None) -> float | None:
    return value if value is None or name not in _PERCENT else 100 * value
