"""`kaizen serve`: the serving side on one screen: the project's endpoint, its bundles, its log, one server.

records ──► endpoint ──► bundles, verified ──► server ──► answers
                                                 └──► prediction log
"""

from __future__ import annotations

import logging
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kaizen.cli.output import print_json, project_options

if TYPE_CHECKING:
    from kaizen.core.project import Project
    from kaizen.core.records import Endpoint


@click.command()
@click.option("--host", help="Default: the project's.")
@click.option("--port", type=int, help="Default: the project's.")
@click.option("--grpc-port", type=int, help="Answer gRPC here as well. Needs the extra [grpc]. Default: off.")
@click.option("--stop-with-parent", is_flag=True, help="Stop when standard input ends: when whoever started this ends.")
@project_options
def command(
    host: str | None,
    port: int | None,
    grpc_port: int | None,
    stop_with_parent: bool,  # noqa: FBT001
    folder: Path,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Serve the project's endpoint until stopped; a new revision of it is swapped in without a pause.

    A bundle that is corrupted, unsigned or signed by an unknown key is refused: at the start with exit code 1,
    later by going on with the revision that serves.
    """
    from kaizen.bundle import keys, load
    from kaizen.core.durations import duration
    from kaizen.core.errors import DecisionError
    from kaizen.core.project import Project
    from kaizen.core.records import Bundle
    from kaizen.serve.app import Server

    project = Project.open(folder)
    endpoint = project.endpoint()
    if endpoint is None:
        raise DecisionError(
            "no bundle is promoted yet, so there is nothing to serve", where=project.name, fix="kaizen learn"
        )

    example = _verified(project, endpoint)

    def model(bundle: str) -> load.Model:
        return load.load(project.records.get(Bundle, bundle), project.blobs, keys.trusted(project.keys))

    server = Server(
        name=project.name,
        host=host or project.file.serve.host,
        port=project.file.serve.port if port is None else port,
        endpoint=project.endpoint,
        load=model,
        log=project.log,
        time=project.file.data.time,
        unit=project.file.data.unit,
        clock=project.clock,
        durability=project.file.serve.durability,
        deadline_s=duration(project.file.serve.deadline).total_seconds() or None,
        grpc_port=grpc_port,
        stop_with_parent=stop_with_parent,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    server.serve_forever(
        ready=lambda: _ready(
            server.host, server.port, project.name, example, grpc_port=server.grpc_port, as_json=as_json
        )
    )


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


def _ready(host: str, port: int, name: str, example: bytes | None, *, grpc_port: int | None, as_json: bool) -> None:
    url = f"http://{host}:{port}"
    beside = {} if grpc_port is None else {"grpc": f"{host}:{grpc_port}"}
    if as_json:
        print_json({"endpoint": name, "url": url} | beside)
        sys.stdout.flush()
    else:
        click.echo(f"Serving {name} on {url}  (POST /v1/predict, POST /v1/feedback, GET /healthz, GET /v2)")
        if beside:
            click.echo(f"gRPC on {beside['grpc']}  (Open Inference Protocol v2)")
        if example is not None:
            click.echo(f"Try: curl {url}/v1/predict -d {shlex.quote(example.decode())}")
        click.echo(f"In a browser: {url}/docs")
