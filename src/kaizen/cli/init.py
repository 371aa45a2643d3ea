"""`kaizen init`: make a project from a table."""

from __future__ import annotations

import re
from pathlib import Path

import click
import msgspec

from kaizen.cli.output import json_option, print_json
from kaizen.core import projectfile
from kaizen.core.errors import DataError, ProjectError, nearest
from kaizen.core.project import STATE_FOLDER
from kaizen.core.projectfile import DataSection, ProjectFile, ProjectSection
from kaizen.core.records import Task

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
        raise ProjectError("there is a project here already", where=str(path), fix="edit it, or choose --folder")
    data = DataSection(source=_address(source, folder), target=target, time=time_column, unit=unit)
    draft = ProjectFile(project=ProjectSection(name=_name(name, source)), data=data)
    found = _looked_at(draft, folder, task)
    folder.mkdir(parents=True, exist_ok=True)
    write_schema(folder)
    public = _make_keys(folder)
    path.write_text(_toml(draft, found), encoding="utf-8")
    if as_json:
        print_json({"project": draft.project.name, "file": str(path), "task": found, "public_key": public})
        return
    click.echo(f"Made {path}: {found} of {target!r}.")
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
    """Return the address as the project file should hold it: a local file relative to the project's folder."""
    path, mark, options = source.partition("?")
    if "://" in source or not Path(path).exists():
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


def _looked_at(draft: ProjectFile, folder: Path, task: Task | None) -> Task:
    """Read the table once: the columns named must be there, and the target says which task it is."""
    from kaizen.data import columns as typed
    from kaizen.data import tables

    with tables.connect(draft, folder) as sql:
        columns = {column.name: column for column in typed.columns_of(sql, file=draft)}
        for option, named in (("target", draft.data.target), ("time", draft.data.time), ("unit", draft.data.unit)):
            if named is not None and named not in columns:
                fix = nearest(named, columns)
                raise DataError(f"there is no column {named!r} for --{option}", where=draft.data.source, fix=fix)
        if task is not None:
            return task
        quoted = '"' + draft.data.target.replace('"', '""') + '"'
        row = sql.execute(f"SELECT count(DISTINCT {quoted}) FROM rows").fetchone()
    distinct = int(row[0]) if row else 0
    if distinct <= 1:
        raise DataError(
            f"the target {draft.data.target!r} has {distinct} different values, so there is nothing to learn",
            where=draft.data.source,
        )
    if distinct == 2:
        return "classification"
    if columns[draft.data.target].type == "number":
        return "regression"
    raise DataError(
        f"the target {draft.data.target!r} has {distinct} classes; classification takes two so far",
        where=draft.data.source,
        fix='make it a yes-or-no question, such as "is it class A?"',
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
