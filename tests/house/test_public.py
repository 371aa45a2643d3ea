"""Public names: `__all__` is exactly what a package shows, and every package says in one sentence what it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from .conftest import SOURCE

MODULES = sorted(SOURCE.rglob("*.py"))
PACKAGES = [path for path in MODULES if path.name == "__init__.py"]


def _name(path: Path) -> str:
    return str(path.relative_to(SOURCE.parent))


@pytest.mark.parametrize("path", PACKAGES, ids=_name)
def test_a_package_says_what_it_is_and_exports_what_it_imports(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), f"{path} has no docstring"
    exported = _all(tree)
    ours = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kaizen")
        for alias in node.names
    }
    if exported is None:
        assert not ours, f"{path} re-exports {sorted(ours)} without __all__"


@pytest.mark.parametrize("path", [path for path in MODULES if "__all__" in path.read_text("utf-8")], ids=_name)
def test_all_names_exist_once_and_in_order(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    exported = _all(tree) or []
    assert sorted(set(exported)) == sorted(exported)
    assert set(exported) <= _bound(tree), f"{path}: {set(exported) - _bound(tree)} do not exist"


@pytest.mark.parametrize("path", [path for path in PACKAGES if "__all__" in path.read_text("utf-8")], ids=_name)
def test_all_public_names_of_a_package_are_in_all(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    made_here = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    if path.parent.name == "cli":
        return  # a command line is called, not imported; only `main` is
    assert made_here <= set(_all(tree) or [])


def _all(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


def _bound(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names
