"""`kaizen serve`: the serving side on one screen: endpoints, their bundles, a log, one server.

records ──► endpoint ──► bundles, verified ──► server ──► answers
files ───► bundle or graph, trusted ──────────►  └──► prediction log
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kaizen.cli.output import print_json, project_options

if TYPE_CHECKING:
    from kaizen.core.ports import Log
    from kaizen.core.project import Project
    from kaizen.core.projectfile import ServeSection
    from kaizen.core.records import Endpoint
    from kaizen.serve.models import EndpointSource
    from kaizen.serve.repository import Repository


@click.command()
@click.argument("paths", nargs=-1, metavar="[[NAME=]PATH]...")
@click.option("--host", help="Default: the project's.")
@click.option("--port", type=int, help="Default: the project's.")
@click.option("--grpc-port", type=int, help="Answer gRPC here as well. Needs the extra [grpc]. Default: off.")
@click.option("--trust", is_flag=True, help="Serve files that no known key has signed: you know where they come from.")
@click.option("--trust-key", multiple=True, metavar="KEY", help="A public key (hex) whose bundles are served.")
@click.option(
    "--signature",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON that says what an .onnx file does not: the names of its columns, which output is the answer.",
)
@click.option(
    "--log", "log_folder", type=click.Path(file_okay=False, path_type=Path), help="Where files' predictions are kept."
)
@click.option("--allow-load", is_flag=True, help="Let requests unload these files' models by name and load them again.")
@click.option("--stop-with-parent", is_flag=True, help="Stop when standard input ends: when whoever started this ends.")
@project_options
def command(
    paths: tuple[str, ...],
    host: str | None,
    port: int | None,
    grpc_port: int | None,
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
    """
    from kaizen.serve.app import Server

    if paths:
        trusting = None if trust else [*trust_key, *_known_keys(folder)]
        served = _files(paths, folder, trusting, signature, log_folder, allow_load=allow_load)
    else:
        _refuse_file_options(
            trust=trust, trust_key=trust_key, signature=signature, log=log_folder, allow_load=allow_load
        )
        served = _project(folder)
    server = Server(
        served.sources,
        host=host or served.section.host,
        port=served.section.port if port is None else port,
        log=served.log,
        durability=served.section.durability,
        grpc_port=grpc_port,
        repository=served.repository,
        stop_with_parent=stop_with_parent,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    server.serve_forever(ready=lambda: _ready(served, server.host, server.port, server.grpc_port, as_json=as_json))


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
    section: ServeSection
    log: Log | None
    example: bytes | None
    repository: Repository | None = None

    @property
    def names(self) -> list[str]:
        """The endpoints."""
        return [source.name for source in self.sources]


def _project(folder: Path) -> Served:
    """Return a project's endpoint, once the bundle of every arm is proven."""
    from kaizen.bundle import keys, load
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

    def model(bundle: str) -> load.Model:
        return load.load(project.records.get(Bundle, bundle), project.blobs, keys.trusted(project.keys))

    source = EndpointSource(
        name=project.name,
        endpoint=project.endpoint,
        load=model,
        time=project.file.data.time,
        unit=project.file.data.unit,
    )
    return Served(sources=[source], section=project.file.serve, log=project.log, example=_verified(project, endpoint))


def _files(
    paths: Sequence[str],
    folder: Path,
    trusted: Sequence[str] | None,
    signature: Path | None,
    log_folder: Path | None,
    *,
    allow_load: bool,
) -> Served:
    """Return what files hold; where this is a project its `[serve]` counts, else the defaults."""
    from typing import cast

    from kaizen.bundle.told import read_signature
    from kaizen.cli import files
    from kaizen.core import plugins, projectfile

    told = None if signature is None else read_signature(signature)
    sources = files.sources(paths, trusted=trusted, signature=told)
    declared = folder / projectfile.FILE_NAME
    section = projectfile.read(declared).serve if declared.exists() else projectfile.ServeSection()
    log = None if log_folder is None else cast("Log", plugins.load("log", "segments")(log_folder))
    repository = files.Files(paths, trusted=trusted, signature=told) if allow_load else None
    return Served(sources=sources, section=section, log=log, example=files.example(sources[0]), repository=repository)


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


def _ready(served: Served, host: str, port: int, grpc_port: int | None, *, as_json: bool) -> None:
    url = f"http://{host}:{port}"
    names = served.names
    beside = {} if grpc_port is None else {"grpc": f"{host}:{grpc_port}"}
    if as_json:
        print_json({"endpoint": names[0], "endpoints": names, "url": url} | beside)
        sys.stdout.flush()
        return
    asked = "/v1/predict" if len(names) == 1 else f"/v1/predict/{names[0]}"
    click.echo(f"Serving {', '.join(names)} on {url}  (POST {asked}, POST /v1/feedback, GET /healthz, GET /v2)")
    if beside:
        click.echo(f"gRPC on {beside['grpc']}  (Open Inference Protocol v2)")
    if served.log is None:
        click.echo("Nothing is logged and no label is taken: --log FOLDER keeps them")
    if served.example is not None:
        click.echo(f"Try: curl {url}{asked} -d {shlex.quote(served.example.decode())}")
    click.echo(f"In a browser: {url}/docs{'' if len(names) == 1 else f'/{names[0]}'}")
