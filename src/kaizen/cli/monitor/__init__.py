"""`kaizen monitor`: what is watched, what fired, and what two tables say of each other; a command, a file."""

from __future__ import annotations

import click

from kaizen.cli.monitor.alerts import alerts
from kaizen.cli.monitor.backtest import backtest
from kaizen.cli.monitor.compare import compare
from kaizen.cli.monitor.findings import findings
from kaizen.cli.monitor.report import report
from kaizen.cli.monitor.silences import silence, silences
from kaizen.cli.monitor.status import status

__all__ = ["command"]


@click.group()
def command() -> None:
    """See what is watched and what fired."""


command.add_command(status)
command.add_command(findings)
command.add_command(alerts)
command.add_command(silence)
command.add_command(silences)
command.add_command(compare)
command.add_command(backtest)
command.add_command(report)
