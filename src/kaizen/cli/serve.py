"""`kaizen serve`: the serving side on one screen: the project's endpoint, its bundles, its log, one server.

records ──► endpoint ──► bundles, verified ──► server ──► answers
                                                 └──► prediction log
"""

from __future__ import annotations

from pathlib import Path

import click

from kaizen.cli.output import folder_option


@click.command()
@click.option("--host", help="Default: the project's.")
@click.option("--port", type=int, help="Default: the project's.")
@click.option("--stop-with-parent", is_flag=True, help="Stop when standard input ends: when whoever started this ends.")
@folder_option
def command(host: str | None, port: int | None, stop_with_parent: bool, folder: Path) -> None:  # noqa: FBT001
    """Serve the project's endpoint until stopped; a new revision of it is swapped in without a pause."""
    from kaizen.bundle import keys, load
    from kaizen.core.errors import DecisionError
    from kaizen.core.project import Project
    from kaizen.core.records import Bundle
    from kaizen.serve.app import Server

    project = Project.open(folder)
    if project.endpoint() is None:
        raise DecisionError(
            "no bundle is promoted yet, so there is nothing to serve", where=project.name, fix="kaizen learn"
        )

    def model(bundle: str) -> load.Model:
        return load.load(project.records.get(Bundle, bundle), project.blobs, keys.trusted(project.keys))

    server = Server(
        name=project.name,
        host=host or project.file.serve.host,
        port=port or project.file.serve.port,
        endpoint=project.endpoint,
        load=model,
        log=project.log,
        time=project.file.data.time,
        unit=project.file.data.unit,
        clock=project.clock,
        stop_with_parent=stop_with_parent,
    )
    server.serve_forever()
