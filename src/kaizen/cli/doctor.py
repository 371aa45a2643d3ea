"""`kaizen doctor`: what is installed, reachable and misconfigured."""

from __future__ import annotations

import importlib.metadata
import platform
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import click
import msgspec

from kaizen.cli.output import print_json, project_options
from kaizen.core import plugins, projectfile
from kaizen.core.errors import KaizenError
from kaizen.core.project import Project

_LEARN = ("duckdb", "lightgbm", "matplotlib", "onnx", "optuna", "scikit-learn", "scipy")
_SERVE = ("httptools", "msgspec", "numpy", "onnxruntime", "uvloop")


class Check(msgspec.Struct, frozen=True):
    """One thing looked at."""

    name: str
    state: Literal["ok", "warning", "error"]
    says: str
    fix: str = ""


@click.command()
@project_options
def command(folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Look at the installation and, where there is one, the project; exits with 1 if something is wrong."""
    checks = [*_installation(), *_project(folder)]
    if as_json:
        print_json(checks)
    else:
        marks = {"ok": click.style("✓", fg="green"), "warning": click.style("!", fg="yellow")}
        for check in checks:
            click.echo(f"{marks.get(check.state, click.style('✗', fg='red'))} {check.name}: {check.says}")
            if check.fix:
                click.echo(f"    → {check.fix}")
    if any(check.state == "error" for check in checks):
        raise click.exceptions.Exit(1)


def _installation() -> list[Check]:
    checks = [Check("python", "ok", f"{platform.python_version()} on {platform.platform()}")]
    checks.append(_distributions("serving", _SERVE, "error", "pip install kaizen-ml"))
    checks.append(_distributions("learning", _LEARN, "warning", 'pip install "kaizen-ml[learn]"'))
    for port in ("source", "records", "blobs", "log", "framework", "notifier"):
        found = plugins.adapters(port)
        state: Literal["ok", "error"] = "ok" if found else "error"
        checks.append(Check(f"{port} adapters", state, ", ".join(found) or "none"))
    return checks


def _distributions(name: str, wanted: tuple[str, ...], missing_is: Literal["warning", "error"], install: str) -> Check:
    versions, missing = [], []
    for distribution in wanted:
        try:
            versions.append(f"{distribution} {importlib.metadata.version(distribution)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(distribution)
    if missing:
        return Check(name, missing_is, f"missing: {', '.join(missing)}", install)
    return Check(name, "ok", ", ".join(versions))


def _project(folder: Path) -> list[Check]:
    if not (folder / projectfile.FILE_NAME).exists():
        return [Check("project", "ok", f"none in {folder}")]
    try:
        project = Project.open(folder)
    except KaizenError as err:
        return [Check("project", "error", str(err))]
    return [
        Check("project", "ok", f"{project.name}: {project.file.project.task} of {project.file.data.target!r}"),
        _tried("source", lambda: _source(project)),
        _tried("signing key", lambda: _keys(project)),
        _tried("records", lambda: _endpoint(project)),
        *(_tried(f"channel {name}", partial(_channel, project, name)) for name in project.file.alerts.channels),
        _port(project),
    ]


def _tried(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except KaizenError as err:
        return Check(name, "error", err.what if not err.where else f"{err.where}: {err.what}", err.fix)


def _source(project: Project) -> Check:
    from kaizen.data import tables

    with tables.connect(project.file, project.folder) as sql:
        row = sql.execute("SELECT count(*) FROM rows").fetchone()
    return Check("source", "ok", f"{row[0] if row else 0:,} rows in {project.file.data.source}")


def _keys(project: Project) -> Check:
    from kaizen.bundle import keys

    return Check("signing key", "ok", f"public key {keys.load(project.keys).public[:16]}…")


def _endpoint(project: Project) -> Check:
    endpoint = project.endpoint()
    if endpoint is None:
        return Check("records", "warning", "no bundle is promoted yet", "kaizen learn")
    arms = ", ".join(f"{arm.role} {arm.bundle[:12]}" for arm in endpoint.arms)
    return Check("records", "ok", f"endpoint {endpoint.name} at revision {endpoint.revision}: {arms}")


def _channel(project: Project, name: str) -> Check:
    project.notifier(name)
    return Check(f"channel {name}", "ok", f"can be used; kaizen monitor alerts --test {name} sends a message")


def _port(project: Project) -> Check:
    host, port = project.file.serve.host, project.file.serve.port
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as err:
            return Check("port", "warning", f"{host}:{port} cannot be bound: {err.strerror}", "change serve.port")
    return Check("port", "ok", f"{host}:{port} is free")
