"""Adapters come in by entry point only: what is declared is installed, loads, and is held to its port's suite."""

from __future__ import annotations

import ast
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

from kaizen.core import plugins

from .conftest import ROOT


def _declared() -> dict[tuple[str, str], str]:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    return {(group, name): target for group, points in groups.items() for name, target in points.items()}


DECLARED = _declared()
ADAPTERS = [(group.removeprefix("kaizen."), name, target) for (group, name), target in DECLARED.items()]


def test_declared_entry_points_are_the_installed_ones() -> None:
    points = distribution("kaizen-ml").entry_points
    installed = {(point.group, point.name): point.value for point in points if point.group.startswith("kaizen.")}
    assert installed == DECLARED, "install again: make setup"


@pytest.mark.parametrize(("port", "name", "target"), ADAPTERS)
def test_every_adapter_loads_by_its_name(port: str, name: str, target: str) -> None:
    module, _, attribute = target.partition(":")
    loaded = plugins.load(port, name)
    assert (loaded.__module__, loaded.__qualname__) == (module, attribute)


@pytest.mark.parametrize(("port", "name", "target"), ADAPTERS)
def test_every_adapter_subclasses_the_suite_of_its_port(port: str, name: str, target: str) -> None:
    adapter = target.partition(":")[2]
    folder = ROOT / "tests" / "adapters" / port
    held = [path.name for path in sorted(folder.glob("test_*.py")) if _holds_to_suite(path, adapter)]
    assert held, f"no test in {folder} uses {adapter} in a class that subclasses a suite of kaizen.testing"


def _holds_to_suite(path: Path, adapter: str) -> bool:
    """Say whether a class `Test…` of the file descends from a suite, and the file uses the adapter."""
    tree = ast.parse(path.read_text("utf-8"))
    suites = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kaizen.testing")
        for alias in node.names
    }
    for node in tree.body:  # a class below its suite in the file is a suite for those below it
        if isinstance(node, ast.ClassDef) and suites & {base.id for base in node.bases if isinstance(base, ast.Name)}:
            suites.add(node.name)
    is_used = any(isinstance(node, ast.Name) and node.id == adapter for node in ast.walk(tree))
    return is_used and any(name.startswith("Test") for name in suites)
