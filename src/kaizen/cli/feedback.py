"""`kaizen feedback`: tell a running endpoint what turned out to be true."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path

import click
import msgspec

from kaizen.cli.output import print_json, project_options
from kaizen.core.errors import KaizenError
from kaizen.core.project import Project


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", help="Of the server. Default: the project's host and port.")
@project_options
def command(file: Path, url: str | None, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Post the labels in FILE, one JSON object a line: {"id": prediction id, "value": truth, "at": optional time}.

    Where the server asks for a key or a token, it is taken from the environment: KAIZEN_TOKEN.
    """
    base = url or _url(Project.open(folder))
    request = urllib.request.Request(
        f"{base}/v1/feedback", data=file.read_bytes(), headers={"Content-Type": "application/x-ndjson"}
    )
    if token := _token():
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            accepted = msgspec.json.decode(answer.read())["accepted"]
    except urllib.error.HTTPError as err:
        fix = "nothing was stored: mend the file and post it again"
        raise KaizenError(f"the server refused it: {_reason(err)}", where=str(file), fix=fix) from err
    except (OSError, ValueError, KeyError) as err:  # nobody listens there, or nobody who speaks as we do
        reason = getattr(err, "reason", err)
        raise KaizenError(f"no kaizen server answers: {reason}", where=base, fix="kaizen serve, or give --url") from err
    if as_json:
        print_json({"accepted": accepted})
    else:
        click.echo(f"{accepted} labels accepted.")


def _token() -> str:
    token = os.environ.get("KAIZEN_TOKEN", "").strip()
    if not (token.isascii() and token.isprintable()):  # said here, for the library's error would show it
        raise KaizenError("this is no key or token", where="KAIZEN_TOKEN", fix="set it to what kaizen key add printed")
    return token


def _reason(err: urllib.error.HTTPError) -> str:
    try:
        return str(msgspec.json.decode(err.read())["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {err.code}"


def _url(project: Project) -> str:
    serve = project.file.serve
    return f"{'http' if serve.tls.cert is None else 'https'}://{serve.host}:{serve.port}"
