"""`kaizen init`: make a project from a table."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from kaizen.cli.output import json_option, print_json
from kaizen.core import projectfile
from kaizen.core.errors import DataError, ProjectError
from kaizen.core.project import STATE_FOLDER
from kaizen.core.projectfile import DataSection, ProjectFile, ProjectSection
from kaizen.core.records import Column, Task

if TYPE_CHECKING:
    import duckdb

    from kaizen.data.target import Target

SCHEMA_FILE = "kaizen.schema.json"


@click.command()
@click.argument("source")
@click.option("--target", required=True, help="The column to predict.")
@click.option("--time", "time_column", help="The column with each row's own time; splits follow it.")
@click.option("--unit", help="The column that says whom a row is about.")
@click.option("--task", type=click.Choice(["classification", "regression"]), help="Default: read from the target.")
@click.option("--name", help="The project's name. Default: the file's.")
@click.option(
    "-C", "--folder", default=".", type=click.Path(file_okay=False, path_type=Path), help="Where the project goes."
)
@json_option
def command(
    source: str,
    target: str,
    time_column: str | None,
    unit: str | None,
    task: Task | None,
    name: str | None,
    folder: Path,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Make a project in this folder from SOURCE: a CSV, Parquet or JSONL file, or a table in SQLite.

    Writes kaizen.toml, its JSON Schema for editors, and the key pair that signs the project's bundles.
    """
    path = folder / projectfile.FILE_NAME
    if path.exists():
        raise ProjectError(
            "there is a project here already",
            where=str(path),
            fix="edit it, or choose another folder: kaizen init … --folder FOLDER",
        )
    data = DataSection(source=_address(source, folder), target=target, time=time_column, unit=unit)
    draft = ProjectFile(project=ProjectSection(name=_name(name, source)), data=data)
    found = _looked_at(draft, folder, task)
    text = _toml(draft, found.task)
    projectfile.parse(tomllib.loads(text), where=str(path))  # refused before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    write_schema(folder)
    public = _make_keys(folder)
    path.write_text(text, encoding="utf-8")
    if as_json:
        made = {"project": draft.project.name, "file": str(path), "public_key": public}
        print_json({**made, **msgspec.structs.asdict(found)})
        return
    click.echo(f"Made {path}: {found.task} of {target!r}.")
    for line in found.says:
        click.echo(f"  {line}")
    click.echo("Next: kaizen learn")


def write_schema(folder: Path) -> None:
    """Write the JSON Schema of kaizen.toml beside the stores, and keep the stores out of version control."""
    state = folder / STATE_FOLDER
    state.mkdir(parents=True, exist_ok=True)
    (state / SCHEMA_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(projectfile.json_schema()), indent=2))
    (state / ".gitignore").write_text("*\n", encoding="utf-8")


def _make_keys(folder: Path) -> str:
    from kaizen.bundle import keys

    return keys.create(folder / STATE_FOLDER / "keys")


def _address(source: str, folder: Path) -> str:
    """Return the address as the project file should hold it: a local path relative to the project's folder."""
    path, mark, options = source.partition("?")
    if "://" in source:
        return source
    there = Path(path).resolve()
    try:
        shown = there.relative_to(folder.resolve())
    except ValueError:
        shown = there
    return f"{shown}{mark}{options}"


def _name(name: str | None, source: str) -> str:
    stem = Path(source.partition("?")[0]).name.partition(".")[0]
    return name or re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-_") or "project"


class Found(msgspec.Struct, frozen=True):
    """What a first look at the table says."""

    task: Task
    rows: int
    columns: tuple[Column, ...]
    says: tuple[str, ...]  # for people


def _looked_at(draft: ProjectFile, folder: Path, task: Task | None) -> Found:
    """Read the table once: the columns named must be there, and the target says which task it is."""
    from kaizen.data import columns as typed
    from kaizen.data import tables

    with tables.connect(draft, folder) as sql:
        columns = typed.columns_of(sql, file=draft)
        target = _target(sql, draft, task)
        times = _times(sql, draft, columns)
    found: Task = "regression" if target.positive is None else "classification"
    return Found(found, target.rows, columns, (_table(target.rows, columns), _question(target), *times))


def _target(sql: duckdb.DuckDBPyConnection, draft: ProjectFile, task: Task | None) -> Target:
    """Return how the target is read: as the task says, else as a yes-or-no question if it can be one."""
    from kaizen.data import target

    def read_as(task: Task) -> Target:
        project = msgspec.structs.replace(draft.project, task=task)
        return target.target_of(sql, file=msgspec.structs.replace(draft, project=project))

    if task is not None:
        return read_as(task)
    try:
        return read_as("classification")
    except DataError as no_question:
        try:
            return read_as("regression")
        except DataError:
            raise no_question from None


def _times(sql: duckdb.DuckDBPyConnection, draft: ProjectFile, columns: tuple[Column, ...]) -> list[str]:
    from kaizen.data import columns as typed

    name = draft.data.time
    if name is not None:
        at = typed.quoted(name)
        span = sql.execute(f"SELECT strftime(min({at}), '%Y-%m-%d'), strftime(max({at}), '%Y-%m-%d') FROM rows")
        first, last = span.fetchall()[0]
        if first is None:
            raise DataError(f"the time {name!r} has no value", where=draft.data.source, fix="name another with --time")
        return [f"time: {name!r} from {first} to {last}; what comes later judges what comes before"]
    others = [column.name for column in columns if column.type == "time" and column.name != draft.data.target]
    if not others:
        return ["time: none, so rows are split at random"]
    hint = f"If it is each row's own time, write time = {_quoted(others[0])} under [data]."
    return [f"time: none declared, so rows are split at random, though {others[0]!r} holds times. {hint}"]


def _table(rows: int, columns: tuple[Column, ...]) -> str:
    kinds = Counter(column.type for column in columns)
    return f"rows: {rows:,} of {len(columns)} columns ({', '.join(f'{n} {kind}' for kind, n in kinds.most_common())})"


def _question(target: Target) -> str:
    left_out = f"; {target.missing:,} rows have none and are left out" if target.missing else ""
    if target.positive is None:
        return f"target: {target.name!r}, a number, {target.mean:.4g} on average{left_out}"
    return (
        f"target: is {target.name!r} {target.positive!r} (not {target.negative!r})? yes in {target.mean:.1%}{left_out}"
    )


def _toml(draft: ProjectFile, task: Task) -> str:
    data = draft.data
    lines = [
        f"#:schema {STATE_FOLDER}/{SCHEMA_FILE}",
        "# Every key is in docs/project-file.md; an unknown key is an error.",
        "[project]",
        f"name = {_quoted(draft.project.name)}",
        f'task = "{task}"',
        "",
        "[data]",
        f"source = {_quoted(data.source)}",
        f"target = {_quoted(data.target)}",
        *(f"{key} = {_quoted(value)}" for key, value in (("time", data.time), ("unit", data.unit)) if value),
        "",
        "[learn]",
        'budget = "60s"          # or a number of trials, such as "12 trials", which repeats exactly',
        "",
        "[serve]",
        "port = 8080",
        "",
        "[monitor]",
        'max_false_pages = "1/30d"',
        "",
        "[loop]",
        'retrain_on = ["drift", "performance"]',
        'cooldown = "14d"',
        'budget = "2/30d"',
        'promote = "auto"        # or "approve"',
        "",
    ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """Return text as a TOML basic string, which is also a JSON string."""
    return msgspec.json.encode(text).decode()
