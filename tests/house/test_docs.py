"""Documents and code agree: every key of the project file and every verb is described, and nothing else."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import click
import msgspec
import pytest

from kaizen.cli import verbs
from kaizen.core.projectfile import ProjectFile, parse

from .conftest import ROOT

PAGE = ROOT / "docs" / "project-file.md"
VERBS = ROOT / "docs" / "verbs.md"


def _sections(kind: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (heading in the page, struct type) of every section of the project file."""
    for field in msgspec.structs.fields(kind):
        place = f"{path}.{field.name}" if path else field.name
        for struct, heading in _structs_in(msgspec.inspect.type_info(field.type), place):
            yield heading, struct
            yield from _sections(struct, heading.strip("[]"))


def _structs_in(shape: Any, place: str) -> Iterator[tuple[Any, str]]:
    if isinstance(shape, msgspec.inspect.StructType):
        yield shape.cls, f"[{place}]"
    elif isinstance(shape, msgspec.inspect.ListType) and isinstance(shape.item_type, msgspec.inspect.StructType):
        yield shape.item_type.cls, f"[[{place}]]"
    elif isinstance(shape, msgspec.inspect.DictType) and isinstance(shape.value_type, msgspec.inspect.StructType):
        key = "COLUMN" if place.endswith("rules") else "NAME"
        yield shape.value_type.cls, f"[{place}.{key}]"


SECTIONS = dict(_sections(ProjectFile))


def _documented() -> dict[str, dict[str, tuple[str, str, str]]]:
    """Return heading -> key -> (meaning, default, example) of the page."""
    found: dict[str, dict[str, tuple[str, str, str]]] = {}
    heading = ""
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
            found[heading] = {}
        elif row := re.fullmatch(r"\| `(\w+)` \| (.+) \| (.+) \| `(.+)` \|", line):
            found[heading][row[1]] = (row[2], row[3].strip("`"), row[4])
    return found


DOCUMENTED = _documented()


def test_every_section_is_documented_and_no_other() -> None:
    assert sorted(DOCUMENTED) == sorted(SECTIONS)


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_is_documented_with_its_default_and_no_other(heading: str) -> None:
    fields = msgspec.structs.fields(SECTIONS[heading])
    assert list(DOCUMENTED[heading]) == [field.name for field in fields]
    for field in fields:
        assert DOCUMENTED[heading][field.name][1] == _default(field), f"{heading} {field.name}"


def test_every_example_is_a_value_that_the_project_file_takes() -> None:
    for heading, keys in DOCUMENTED.items():
        for key, (_, _, example) in keys.items():
            value = tomllib.loads(f"x = {example}")["x"]
            kind = next(field.type for field in msgspec.structs.fields(SECTIONS[heading]) if field.name == key)
            assert msgspec.convert(value, kind) is not None


def test_every_toml_block_is_a_project_file() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        parse(tomllib.loads(block))


def _default(field: Any) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return "none" if value is None else msgspec.json.encode(value).decode().replace(",", ", ")


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from _commands(inner, f"{path} {name}")
    if command.invoke_without_command:
        yield path, command


def _every_command() -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for verb in verbs.SUMMARIES:
        command = verbs.command(verb)
        assert command is not None
        found.update(_commands(command, f"kaizen {verb}"))
    return found


@pytest.fixture(scope="module")
def commands() -> dict[str, click.Command]:
    return _every_command()


def test_every_verb_is_documented_with_its_options(commands: dict[str, click.Command]) -> None:
    page = VERBS.read_text("utf-8")
    missing = [path for path in commands if not re.search(rf"`{re.escape(path)}[` ]", page)]
    options = {
        option
        for command in commands.values()
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for option in parameter.opts
        if option.startswith("--")
    }
    missing += sorted(option for option in options if f"`{option}" not in page)
    assert not missing, f"docs/verbs.md says nothing of {missing}"


def test_no_verb_is_documented_that_does_not_exist(commands: dict[str, click.Command]) -> None:
    groups = {path.rpartition(" ")[0] for path in commands} | {"kaizen"}
    for line in re.findall(r"`kaizen ([a-z][^`]*)`", VERBS.read_text("utf-8")):
        words = [word for word in line.split() if re.fullmatch(r"[a-z]+", word)]
        paths = {" ".join(["kaizen", *words[:length]]) for length in (1, 2)}
        assert paths & (set(commands) | groups), f"there is no `kaizen {line}`"


def test_every_verb_answers_in_json_when_asked(commands: dict[str, click.Command]) -> None:
    silent = [path for path, command in commands.items() if not any("--json" in p.opts for p in command.params)]
    assert not silent


def test_every_verb_says_what_it_does(commands: dict[str, click.Command]) -> None:
    assert all(command.help for command in commands.values())
