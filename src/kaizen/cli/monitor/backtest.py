"""`kaizen monitor backtest`: what the monitors would have said of a table."""

from __future__ import annotations

from pathlib import Path

import click

from kaizen.cli.output import json_option, print_json, print_table


@click.command()
@click.argument("reference")
@click.argument("stream")
@click.option("--time", "time_column", help="The column with each row's own time. Default: one is looked for.")
@click.option("--target", help="The column with the truth, to watch performance; needs --prediction.")
@click.option("--prediction", help="The column with a model's answer.")
@click.option("--rows-a-day", type=click.IntRange(min=1), help="How many rows stand for a day, without a time.")
@click.option("--ignore", multiple=True, help="A column to leave out; may be given again.")
@click.option(
    "--max-false-pages", default="1/30d", show_default=True, help="Pages without a cause that are acceptable."
)
@json_option
def backtest(
    reference: str,
    stream: str,
    time_column: str | None,
    target: str | None,
    prediction: str | None,
    rows_a_day: int | None,
    ignore: tuple[str, ...],
    max_false_pages: str,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Replay the table STREAM day by day against the table REFERENCE, and say what would have paged, and when."""
    from kaizen.cli.progress import stage
    from kaizen.core.projectfile import MonitorSection
    from kaizen.loop import backtest as testing

    with stage("backtest", quiet=as_json) as shown:
        found = testing.backtest(
            reference,
            stream,
            time=time_column,
            target=target,
            prediction=prediction,
            rows_a_day=rows_a_day,
            ignore=ignore,
            section=MonitorSection(max_false_pages=max_false_pages),
            folder=Path(),
            note=shown.update,
        )
        shown.done(f"{found.rows:,} rows on {found.days} days")
    if as_json:
        print_json(found)
        return
    rows = [(f.at, f.verdict, f.question, f.subject, f.began, f.says) for f in found.told]
    if rows:
        print_table(("on", "", "question", "subject", "began", "what it says"), rows)
    click.echo(found.says)
