"""`kaizen serve`: the serving side on one screen: endpoints, their bundles, a log, one server.

records ──► endpoint ──► bundles, verified ──► server ──► answers
files ───► bundle or graph, trusted ──────────►  └──► prediction log

With `--workers` a supervisor does none of this: each worker does, with a seat beside the others.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kaizen.cli.output import print_json, project_options

if TYPE_CHECKING:
    from kaizen.bundle.shelf import Shelf
    from kaizen.core.ports import Log
    from kaizen.core.project import Project
    from kaizen.core.records import Endpoint
    from kaizen.core.serving import ServeSection
    from kaizen.serve.models import EndpointSource
    from kaizen.serve.pathloader import LoadPath
    from kaizen.serve.repository import Repository
    from kaizen.serve.seat import Seat

_SECURE = "set api_keys under [serve.auth] in kaizen.toml, then kaizen key add NAME"


@click.command()
@click.argument("paths", nargs=-1, metavar="[[NAME=]PATH]...")
@click.option("--host", help="Default: the project's.")
@click.option("--port", "--http_port", type=int, help="Default: the project's.")
@click.option(
    "--grpc-port", "--grpc_port", type=int, help="Answer gRPC here as well. Needs the extra [grpc]. Default: off."
)
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that answer. Default: the project's, or 1.")
@click.option("--model_dir", metavar="PATH", help="A path, as KServe names it.")
@click.option("--model_name", metavar="NAME", help="The name of the model at --model_dir.")
@click.option(
    "--trust",
    is_flag=True,
    envvar="KAIZEN_TRUST",
    help="Serve files that no known key has signed: you know where they come from.",
)
@click.option(
    "--trust-key",
    multiple=True,
    metavar="KEY",
    envvar="KAIZEN_TRUST_KEY",
    help="A public key (hex) whose bundles are served.",
)
@click.option(
    "--signature",
    envvar="KAIZEN_SIGNATURE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON that says what an .onnx file does not: the names of its columns, which output is the answer.",
)
@click.option(
    "--log",
    "log_folder",
    envvar="KAIZEN_LOG",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where files' predictions are kept.",
)
@click.option("--allow-load", is_flag=True, help="Let requests unload these files' models by name and load them again.")
@click.option("--stop-with-parent", is_flag=True, help="Stop when standard input ends: when whoever started this ends.")
@project_options
def command(
    paths: tuple[str, ...],
    host: str | None,
    port: int | None,
    grpc_port: int | None,
    workers: int | None,
    model_dir: str | None,
    model_name: str | None,
    trust: bool,  # noqa: FBT001
    trust_key: tuple[str, ...],
    signature: Path | None,
    log_folder: Path | None,
    allow_load: bool,  # noqa: FBT001
    stop_with_parent: bool,  # noqa: FBT001
    folder: Path,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Serve the project's endpoint, or the bundles and .onnx files at some paths, until stopped.

    A new revision of the endpoint is swapped in without a pause. A bundle that is corrupted, unsigned or signed by
    an unknown key is refused: at the start with exit code 1, later by going on with the revision that serves.
    In a container the port and the model may be told by its platform: SageMaker, Vertex AI, Azure ML, KServe.
    """
    from kaizen.cli import platform

    asked = platform.told(os.environ, paths, model_dir, model_name)
    is_files = bool(asked.paths) or asked.is_multi_model
    if not is_files:
        _refuse_file_options(
            trust=trust, trust_key=trust_key, signature=signature, log=log_folder, allow_load=allow_load
        )
    section = _section(folder, is_needed=not is_files)
    host = host or asked.host or section.host
    port = next(each for each in (port, asked.port, section.port) if each is not None)
    if asked.is_multi_model:
        workers = _only_one(workers)
    if allow_load and (workers or section.workers) > 1:
        raise click.UsageError("--allow-load is for one process: a request would reach one worker of several")
    seat = _seat(workers or section.workers, host, port, grpc_port, folder, stop_with_parent=stop_with_parent)

    from kaizen.core.durations import duration  # only now: a supervisor imports little
    from kaizen.core.project import STATE_FOLDER
    from kaizen.core.sizes import size_bytes
    from kaizen.serve.app import Server
    from kaizen.serve.listener import Limits
    from kaizen.serve.security import guard_of, is_open_to_strangers, tls_of
    from kaizen.serve.telemetry import Telemetry

    shelf = _shelf(seat)
    trusting: Sequence[str] | None = None
    if is_files:
        trusting = None if trust else [*trust_key, *_known_keys(folder)]
        served = _files(asked.paths, folder, trusting, signature, log_folder, shelf, allow_load=allow_load)
    else:
        served = _project(folder, shelf)
    server = Server(
        served.sources,
        host=host,
        port=port,
        log=served.log,
        durability=section.durability,
        deadline_s=duration(section.deadline).total_seconds() or None,
        limits=Limits(body_bytes=size_bytes(section.max_body)),
        guard=guard_of(section, home=folder, state=folder / STATE_FOLDER),
        tls=tls_of(section.tls, home=folder),
        telemetry=Telemetry(section.telemetry, folder),
        grpc_port=grpc_port,
        repository=served.repository,
        stop_with_parent=stop_with_parent and seat is None,
        seat=seat,
        load_path=_loader(trusting) if asked.is_multi_model else None,
        predict_route=asked.predict_route,
        health_route=asked.health_route,
        on_violation=section.on_violation,
    )
    is_first = seat is None or (seat.worker == 0 and not seat.is_late)
    if is_first and is_open_to_strangers(section, server.host):
        says = f"warning: {server.host} is reached from elsewhere, and nobody is asked who he is: {_SECURE}"
        click.echo(says, err=True)
    _log_to_stderr()
    server.serve_forever(
        ready=lambda: _ready(served, section, server.host, server.port, server.grpc_port, as_json=as_json)
    )


def _section(folder: Path, *, is_needed: bool) -> ServeSection:
    """Return what a project declares; the defaults where there is none and none is needed."""
    from kaizen.core import projectfile, serving

    declared = folder / projectfile.FILE_NAME
    return projectfile.read(declared).serve if is_needed or declared.exists() else serving.ServeSection()


def _seat(
    workers: int, host: str, port: int, grpc_port: int | None, folder: Path, *, stop_with_parent: bool
) -> Seat | None:
    """Return the seat of this process among several workers, None where it is the only one."""
    if workers == 1:
        return None
    from kaizen.core import project, projectfile
    from kaizen.serve.workers import supervise

    _log_to_stderr()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "kaizen"
    is_project = (folder / projectfile.FILE_NAME).exists()
    shared = (folder / project.STATE_FOLDER if is_project else cache) / "shared"
    return supervise(
        workers, host=host, port=port, grpc_port=grpc_port, folder=shared, stop_with_parent=stop_with_parent
    )


def _only_one(workers: int | None) -> int:
    if workers not in (None, 1):
        raise click.UsageError("models that are loaded by request are in one process: leave --workers out")
    return 1


def _log_to_stderr() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")


def _shelf(seat: Seat | None) -> Shelf | None:
    from kaizen.bundle.shelf import Shelf

    return None if seat is None or seat.folder is None else Shelf(seat.folder)


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a server is made of, wherever it comes from.

    Attributes
    ----------
    example
        The body of a request to try.
    repository
        What requests may load and unload; None: nothing.
    """

    sources: Sequence[EndpointSource]
    log: Log | None
    example: bytes | None
    repository: Repository | None = None

    @property
    def names(self) -> list[str]:
        """The endpoints."""
        return [source.name for source in self.sources]


def _loader(trusted: Sequence[str] | None) -> LoadPath:
    """Return what loads a model that is named in a request."""
    from kaizen.cli import files

    return lambda name, path: files.only(name, path, trusted=trusted)


def _project(folder: Path, shelf: Shelf | None) -> Served:
    """Return a project's endpoint, once the bundle of every arm is proven."""
    from kaizen.bundle import keys, load
    from kaizen.cli import hidden
    from kaizen.core.errors import DecisionError
    from kaizen.core.project import Project
    from kaizen.core.records import Bundle
    from kaizen.serve.models import EndpointSource

    project = Project.open(folder)
    endpoint = project.endpoint()
    if endpoint is None:
        raise DecisionError(
            "no bundle is promoted yet, so there is nothing to serve", where=project.name, fix="kaizen learn"
        )

    example = _verified(project, endpoint)
    hidden.check(project, [project.records.get(Bundle, arm.bundle) for arm in endpoint.arms])

    def model(bundle: str) -> load.Model:
        return load.load(project.records.get(Bundle, bundle), project.blobs, keys.trusted(project.keys), shelf)

    source = EndpointSource(
        name=project.name,
        endpoint=project.endpoint,
        load=model,
        time=project.file.data.time,
        unit=project.file.data.unit,
    )
    return Served(sources=[source], log=project.log, example=example)


def _files(
    paths: Sequence[str],
    folder: Path,
    trusted: Sequence[str] | None,
    signature: Path | None,
    log_folder: Path | None,
    shelf: Shelf | None,
    *,
    allow_load: bool,
) -> Served:
    """Return what files hold; where this is a project, what its log hides is hidden."""
    from kaizen.bundle.told import read_signature
    from kaizen.cli import files, hidden
    from kaizen.core import projectfile, serving
    from kaizen.core.project import Project, open_log

    told = None if signature is None else read_signature(signature)
    sources = files.sources(paths, trusted=trusted, signature=told, shelf=shelf)
    project = Project.open(folder) if (folder / projectfile.FILE_NAME).exists() else None
    log = None
    if log_folder is not None:
        if project is not None:
            hidden.check(project, [files.bundle(source) for source in sources])
        section = serving.LogSection() if project is None else project.file.serve.log
        log = open_log(log_folder, section, home=folder, unit=None if project is None else project.file.data.unit)
    repository = files.Files(paths, trusted=trusted, signature=told) if allow_load else None
    shown = files.example(sources[0]) if sources else None
    return Served(sources=sources, log=log, example=shown, repository=repository)


def _known_keys(folder: Path) -> Sequence[str]:
    from kaizen.bundle import keys
    from kaizen.core import projectfile
    from kaizen.core.project import Project

    return sorted(keys.trusted(Project.open(folder).keys)) if (folder / projectfile.FILE_NAME).exists() else []


def _refuse_file_options(**given: object) -> None:
    for name, value in given.items():
        if value:
            raise click.UsageError(f"--{name.replace('_', '-')} is for files: kaizen serve PATH")


def _verified(project: Project, endpoint: Endpoint) -> bytes | None:
    """Return the body of a request to try, from the champion's signature, once every arm's bundle is proven."""
    import msgspec

    from kaizen.bundle import keys, manifest, verify
    from kaizen.core.records import Bundle

    trusted = keys.trusted(project.keys)
    signatures = {
        arm.role: verify.verify(project.records.get(Bundle, arm.bundle), project.blobs, trusted)[manifest.SIGNATURE]
        for arm in endpoint.arms
    }
    examples = msgspec.json.decode(signatures["champion"], type=manifest.Signature).examples
    return msgspec.json.encode({"rows": examples[:1]}) if examples else None


def _ready(
    served: Served, section: ServeSection, host: str, port: int, grpc_port: int | None, *, as_json: bool
) -> None:
    url = f"http{'' if section.tls.cert is None else 's'}://{host}:{port}"
    names = served.names
    beside = {} if grpc_port is None else {"grpc": f"{host}:{grpc_port}"}
    if as_json:
        print_json({"endpoint": names[0] if names else None, "endpoints": names, "url": url} | beside)
        sys.stdout.flush()
        return
    if not names:
        click.echo(f"Serving on {url} what is loaded by request  (POST /models, GET /healthz)")
        return
    asked = "/v1/predict" if len(names) == 1 else f"/v1/predict/{names[0]}"
    click.echo(f"Serving {', '.join(names)} on {url}  (POST {asked}, POST /v1/feedback, GET /healthz, GET /v2)")
    if beside:
        click.echo(f"gRPC on {beside['grpc']}  (Open Inference Protocol v2)")
    if served.log is None:
        click.echo("Nothing is logged and no label is taken: --log FOLDER keeps them")
    if served.example is not None:
        shows = ' -H "X-API-Key: $KEY"' if section.auth.api_keys else ""
        click.echo(f"Try: curl {url}{asked}{shows} -d {shlex.quote(served.example.decode())}")
    click.echo(f"In a browser: {url}/docs{'' if len(names) == 1 else f'/{names[0]}'}")
