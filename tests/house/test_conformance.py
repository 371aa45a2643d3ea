"""The conformance matrix in docs/serve-conformance.md is made from the tests that verify it.

A test carries `@pytest.mark.conformance("protocol", "what is asked", client="who asks")`; write the page again with

    python -m tests.house.test_conformance
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "serve-conformance.md"
HEAD = """# Conformance

What `kaizen serve` speaks, who asks in the test that proves it, and where that test is. This page is made from the
tests (`tests/house/test_conformance.py`): a row whose test is gone is gone as well. "slow" stands behind the tests that
`make test` leaves out and `make test-all` runs. "played" means that the test itself sends what the platform's contract
says, because the platform cannot be started here; all other clients are programs that nobody here wrote.

| protocol | call | client | test |
|---|---|---|---|
"""


def rows() -> Iterator[tuple[str, str, str, str]]:
    """Yield protocol, call, client and test of every marked test."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef):
                continue
            marks = [mark for mark in map(_mark, node.decorator_list) if mark is not None]
            slow = " (slow)" if any("pytest.mark.slow" in ast.unparse(d) for d in node.decorator_list) else ""
            for protocol, call, client in marks:
                yield protocol, call, client, f"`{path.relative_to(ROOT)}::{node.name}`{slow}"


def _mark(decorator: ast.expr) -> tuple[str, str, str] | None:
    if not isinstance(decorator, ast.Call) or ast.unparse(decorator.func) != "pytest.mark.conformance":
        return None
    protocol, call = (ast.literal_eval(argument) for argument in decorator.args)
    client = next(ast.literal_eval(keyword.value) for keyword in decorator.keywords if keyword.arg == "client")
    return protocol, call, client


def page() -> str:
    """Return the page as the tests have it."""
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in sorted(rows()))


def test_the_matrix_says_what_the_tests_verify() -> None:
    assert PAGE.read_text("utf-8") == page(), "write it again: python -m tests.house.test_conformance"


def test_every_protocol_is_verified() -> None:
    wanted = {"Open Inference REST", "Open Inference gRPC", "plain rows"}
    assert wanted <= {protocol for protocol, *_ in rows()}


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    sys.stdout.write(f"{PAGE}\n")
