"""The floors: the contracts hold, they catch what they are there to catch, and nothing heavy is imported early."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from .conftest import ROOT, SOURCE

# One violation of each rule: (module that is added, what it imports, what the report must say).
SEEDS = (
    ("data/seed.py", "kaizen.serve", "kaizen.data.seed -> kaizen.serve"),
    ("monitor/seed.py", "kaizen.loop", "kaizen.monitor.seed -> kaizen.loop"),
    ("loop/seed.py", "kaizen.cli", "kaizen.loop.seed -> kaizen.cli"),
    ("graph/seed.py", "kaizen.features", "kaizen.graph.seed -> kaizen.features"),
    ("page/seed.py", "kaizen.stats", "kaizen.page.seed -> kaizen.stats"),
    ("core/seed.py", "numpy", "kaizen.core.seed -> numpy"),
    ("stats/seed.py", "duckdb", "kaizen.stats.seed -> duckdb"),
    ("learn/seed.py", "lightgbm", "kaizen.learn.seed -> lightgbm"),
    ("bundle/seed.py", "pandas", "kaizen.bundle.seed -> pandas"),
    ("client/seed.py", "msgspec", "kaizen.client.seed -> msgspec"),
)
HEAVY = (
    *("numpy", "onnxruntime", "onnx", "scipy", "duckdb", "sklearn", "pandas", "lightgbm", "matplotlib", "optuna"),
    *("cryptography", "uvloop", "httptools", "prometheus_client"),
)
NOT_IN_SERVING = (
    *("onnx", "scipy", "duckdb", "sklearn", "pandas", "lightgbm", "matplotlib", "optuna", "pyarrow", "mlflow"),
    *("fastapi", "pydantic", "sqlalchemy", "kaizen.learn", "kaizen.data", "kaizen.features", "kaizen.loop"),
    *("grpc", "google.protobuf", "jwt", "opentelemetry", "requests", "apprise"),
)


def test_the_import_contracts_hold() -> None:
    report = _lint_imports(ROOT)
    assert report.returncode == 0, report.stdout


def test_the_import_contracts_catch_seeded_violations(tmp_path: Path) -> None:
    copy = _copied(tmp_path)
    for path, imported, _ in SEEDS:
        (copy / path).write_text(f"import {imported}  # noqa\n")
    (copy / "utils").mkdir()
    (copy / "utils" / "__init__.py").touch()
    report = _lint_imports(tmp_path)
    assert report.returncode != 0
    missed = [says for _, _, says in SEEDS if says not in report.stdout]
    assert not missed, report.stdout


def test_a_new_folder_without_a_floor_is_caught(tmp_path: Path) -> None:
    copy = _copied(tmp_path)
    (copy / "utils").mkdir()
    (copy / "utils" / "__init__.py").touch()
    report = _lint_imports(tmp_path)
    assert report.returncode != 0
    assert "kaizen.utils" in report.stdout


def test_only_one_module_imports_by_name() -> None:
    found = {path for path in SOURCE.rglob("*.py") if _imports_by_name(ast.parse(path.read_text("utf-8")))}
    assert found == {SOURCE / "core" / "plugins.py"}


@pytest.mark.parametrize(
    "code",
    [
        "import importlib; importlib.import_module('x')",
        "from importlib import import_module as load; load('x')",
        "__import__('x')",
        "import pkgutil; pkgutil.resolve_name('x:y')",
        "from importlib.metadata import entry_points; entry_points(group='x')",
        "import importlib.metadata as m; m.entry_points()",
        "import runpy; runpy.run_module('x')",
    ],
)
def test_imports_by_name_are_recognised_in_every_form(code: str) -> None:
    assert _imports_by_name(ast.parse(code))


def test_imports_of_the_usual_kind_are_not_mistaken() -> None:
    code = "import importlib.metadata, importlib.util\nfrom x import y\nimportlib.metadata.version('x')"
    assert not _imports_by_name(ast.parse(code))


def test_importing_kaizen_imports_nothing_heavy() -> None:
    assert _loaded("import kaizen", HEAVY) == []


def test_the_help_imports_nothing_heavy() -> None:
    code = "from kaizen.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    assert _loaded(code, HEAVY) == []


def test_the_serving_process_imports_no_builder_no_learner_and_no_web_framework() -> None:
    paths = (SOURCE / "serve").glob("[a-z]*.py")  # those of gRPC, tokens and traces are imported where asked for
    apart = ("grpc", "jwks", "tokens", "spans")
    serving = sorted(f"kaizen.serve.{path.stem}" for path in paths if not path.stem.startswith(apart))
    stores = [("records", "sqlite"), ("blobs", "files"), ("log", "segments"), ("notifier", "log")]
    lines = [f"import {module}" for module in ["kaizen.cli.serve", "kaizen.bundle.load", *serving]]
    lines += ["from kaizen.core import plugins", *(f"plugins.load({port!r}, {name!r})" for port, name in stores)]
    assert _loaded("\n".join(lines), NOT_IN_SERVING) == []


def _loaded(code: str, modules: Sequence[str]) -> list[str]:
    """Return which of these modules a fresh interpreter has after the code."""
    ask = f"\nimport sys\nprint()\nprint(*[m for m in {tuple(modules)!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + ask], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


def _copied(folder: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", folder)
    copy = folder / "src" / "kaizen"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src"), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


_BY_NAME = {"import_module", "__import__", "resolve_name", "entry_points", "run_module"}


def _imports_by_name(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and _BY_NAME & {alias.name for alias in node.names}:
            return True
        if isinstance(node, ast.Attribute) and node.attr in _BY_NAME:
            return True
        if isinstance(node, ast.Name) and node.id in _BY_NAME:
            return True
    return False
