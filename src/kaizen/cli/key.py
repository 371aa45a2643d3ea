"""`kaizen key`: make, list and take back the API keys of a project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from kaizen.cli.output import print_json, print_table, project_options
from kaizen.core.durations import duration
from kaizen.core.errors import UsageError
from kaizen.core.project import Project
from kaizen.serve.apikeys import FILE_NAME, ApiKey, KeyFile
from kaizen.serve.scopes import GIVEN


@click.group()
def command() -> None:
    """Make, list and take back the keys that callers show; a running server follows within a second."""


@command.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(GIVEN),
    default=("predict", "feedback"),
    show_default=True,
    help="What it allows; may be given several times.",
)
@click.option("--expires", help="When it ends, such as 90d. Default: never.")
@project_options
def add(name: str, scopes: Sequence[str], expires: str | None, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Make a key for NAME and print it: this is the only time that it is seen."""
    project = Project.open(folder)
    now = project.clock.now()
    try:
        until = None if expires is None else now + duration(expires)
    except (ValueError, OverflowError) as err:
        raise UsageError(str(err), where="--expires") from err
    token = _file(project).add(name, tuple(dict.fromkeys(scopes)), at=now, expires=until)
    if as_json:
        print_json({"name": name, "key": token, "scopes": list(dict.fromkeys(scopes)), "expires": until})
    else:
        click.echo(token)
        click.echo("Keep it: only a hash of it is stored here. Callers send it as X-API-Key.", err=True)
    if not project.file.serve.auth.api_keys:
        click.echo("Nobody is asked for a key yet: write api_keys = true under [serve.auth] in kaizen.toml.", err=True)


@command.command("list")
@project_options
def list_(folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """List the keys, oldest first: all but the keys themselves."""
    keys = _file(Project.open(folder)).read()
    if as_json:
        print_json([_told(key) for key in keys])
    else:
        rows = [(key.name, key.id, ", ".join(key.scopes), key.at, key.expires) for key in keys]
        print_table(("name", "id", "scopes", "made", "expires"), rows)


@command.command()
@click.argument("name")
@project_options
def revoke(name: str, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Take back a key, by its NAME or its id."""
    key = _file(Project.open(folder)).revoke(name)
    if as_json:
        print_json(_told(key))
    else:
        click.echo(f"{key.name} ({key.id}) is good no more.")


def _file(project: Project) -> KeyFile:
    return KeyFile(project.state / FILE_NAME)


def _told(key: ApiKey) -> dict[str, object]:
    return {"name": key.name, "id": key.id, "scopes": key.scopes, "at": key.at, "expires": key.expires}
