"""`kaizen demo`: the whole loop on a year of real flights, from raw rows to a promoted challenger."""

from __future__ import annotations

import shutil
import webbrowser
from datetime import datetime
from pathlib import Path

import click

from kaizen.cli.output import json_option, print_json
from kaizen.core.errors import KaizenError

FAST_SHARE = 0.2
TRIALS = {False: 8, True: 4}


@click.command()
@click.option("--fast", is_flag=True, help="The same story on a fifth of the flights.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the project goes, and stays. Default: kaizen-demo, or kaizen-demo-fast.",
)
@click.option("--seed", default=0, show_default=True, help="Of the search and of the sample.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Stop the replay before this day.")
@click.option("--again", is_flag=True, help="Throw away an earlier demo in this folder first.")
@click.option("--open", "show", is_flag=True, help="Open the story in a browser at the end.")
@json_option
def command(
    fast: bool,  # noqa: FBT001
    folder: Path | None,
    seed: int,
    until: datetime | None,
    again: bool,  # noqa: FBT001
    show: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """See the whole loop work on a year of real flights: learn, serve, watch, retrain, compare, promote.

    Every flight that left New York in 2013, with weather and the planes' register. January and February are
    history; March to December are replayed through a server while the loop works by itself. A demo that is
    stopped goes on where it stood when it is started again.
    """
    from kaizen.cli.demo.tale import tell

    home = (folder or Path("kaizen-demo-fast" if fast else "kaizen-demo")).resolve()
    if again and home.exists():
        _require_demo(home)
        shutil.rmtree(home)
    stop = until.date() if until else None
    story = tell(home, share=FAST_SHARE if fast else 1.0, trials=TRIALS[fast], seed=seed, until=stop, quiet=as_json)
    if as_json:
        print_json(story.summary)
    else:
        for line in story.lines():
            click.echo(line)
    if show:
        webbrowser.open(story.page.resolve().as_uri())


def _require_demo(home: Path) -> None:
    if not (home / "world.parquet").exists():
        raise KaizenError("this folder holds no demo, so it is not thrown away", where=str(home), fix="choose --folder")


__all__ = ["command"]
