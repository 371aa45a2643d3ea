"""Habits that a tool holds: one Makefile for all, fragments of change, one idea a file."""

from __future__ import annotations

import re

import pytest

from .conftest import ROOT, SOURCE

TARGETS = ("setup", "fmt", "check", "test", "test-all", "bench", "demo", "docs")


@pytest.mark.parametrize("target", TARGETS)
def test_the_makefile_has_the_target(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", [".ci/run", ".pre-commit-config.yaml"])
def test_ci_and_hooks_call_targets_of_the_makefile(path: str) -> None:
    text = (ROOT / path).read_text("utf-8")
    called = {word for line in re.findall(r"(?:^|entry: )make ([a-z -]+)", text, re.MULTILINE) for word in line.split()}
    assert called
    assert called <= set(TARGETS) | {"test-slow"}
    assert not re.search(r"\b(pytest|ruff|mypy)\b", text)


def test_fragments_of_the_change_log_have_the_right_names() -> None:
    for path in (ROOT / "changelog.d").iterdir():
        right = re.fullmatch(r"README\.md|\d+\.(added|changed|fixed|removed|security)(\.\d+)?\.md", path.name)
        assert right, f"{path.name} is no fragment: see changelog.d/README.md"


def test_no_file_holds_two_ideas() -> None:
    lines = {str(path): len(path.read_text("utf-8").splitlines()) for path in SOURCE.rglob("*.py")}
    long = {path: count for path, count in lines.items() if count > 450}
    assert not long


def test_no_file_is_named_for_nothing() -> None:
    names = {part for path in SOURCE.rglob("*") for part in path.relative_to(SOURCE).with_suffix("").parts}
    assert not names & {"utils", "util", "helpers", "helper", "manager", "misc", "common", "legacy", "info"}
