"""`kaizen bundle`: list, show, verify, import and export what ships."""

from __future__ import annotations

import getpass
from pathlib import Path

import click
import msgspec

from kaizen.bundle import exchange, keys, manifest, verify
from kaizen.cli.output import print_json, print_table, project_options
from kaizen.core.errors import BundleError, NotFoundError
from kaizen.core.project import Project
from kaizen.core.records import Bundle


@click.group()
def command() -> None:
    """List, show, verify, import and export bundles: what ships, signed."""


@command.command("list")
@project_options
def list_(folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """List the project's bundles, newest last."""
    project = Project.open(folder)
    bundles = project.records.find(Bundle)
    if as_json:
        print_json(bundles)
        return
    endpoint = project.endpoint()
    roles = {arm.bundle: arm.role for arm in endpoint.arms} if endpoint else {}
    rows = [(b.version, b.id[:12], b.name, b.task, b.at, roles.get(b.id)) for b in bundles]
    print_table(("version", "id", "name", "task", "made", "role now"), rows)


@command.command()
@click.argument("which")
@project_options
def show(which: str, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Show one bundle: WHICH is a version, or the beginning of an id."""
    project = Project.open(folder)
    bundle = find(project, which)
    files = verify.verify(bundle, project.blobs, keys.trusted(project.keys))
    certificate = msgspec.json.decode(files[manifest.CERTIFICATE])
    if as_json:
        print_json({"bundle": bundle, "certificate": certificate})
        return
    click.echo(f"{bundle.name} version {bundle.version} ({bundle.task}), made {bundle.at:%Y-%m-%d %H:%M} UTC")
    click.echo(f"id            {bundle.id}")
    click.echo(f"run           {bundle.run or 'none: imported'}")
    click.echo(f"signed by     {bundle.public_key}")
    click.echo(f"answers       {bundle.output}")
    click.echo(f"certificate   {certificate['method']}: {certificate['mismatches']} mismatches on")
    click.echo(f"              {certificate['rows']} rows and {certificate['threshold_probes']} threshold probes")
    click.echo("inputs        " + ", ".join(f"{column.name} ({column.type})" for column in bundle.inputs))
    click.echo("files         " + ", ".join(f"{file.path} ({file.size_bytes:,} bytes)" for file in bundle.files))


@command.command("verify")
@click.argument("which")
@project_options
def verify_(which: str, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Check the signature and every file of a bundle; exits with 1 if anything differs."""
    project = Project.open(folder)
    bundle = find(project, which)
    files = verify.verify(bundle, project.blobs, keys.trusted(project.keys))
    if as_json:
        print_json({"bundle": bundle.id, "verified": True, "files": sorted(files)})
    else:
        click.echo(f"{bundle.name} version {bundle.version}: signature and {len(files)} files are as they were signed.")


@command.command()
@click.argument("which")
@click.argument("to", type=click.Path(path_type=Path))
@project_options
def export(which: str, to: Path, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Write a bundle's files to the new folder TO."""
    project = Project.open(folder)
    bundle = find(project, which)
    made = exchange.export(bundle, project.blobs, to, trusted=keys.trusted(project.keys))
    if as_json:
        print_json({"bundle": bundle.id, "folder": str(made)})
    else:
        click.echo(f"Wrote {bundle.name} version {bundle.version} to {made}.")


@command.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--signature",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON with inputs, task and output, for an .onnx file whose inputs do not say enough.",
)
@click.option("--trust", help="A public key (hex) to trust from now on.")
@project_options
def import_(path: Path, signature: Path | None, trust: str | None, folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """Take in an exported bundle's folder, or an .onnx file made elsewhere (signed with this project's key)."""
    project = Project.open(folder)
    if trust is not None:
        keys.trust(project.keys, trust)
    known = project.records.find(Bundle)
    at, by = project.clock.now(), getpass.getuser()
    if path.is_dir():
        bundle = exchange.import_folder(
            path,
            blobs=project.blobs,
            trusted=keys.trusted(project.keys),
            project=project.name,
            known=known,
            at=at,
            by=by,
        )
    else:
        from kaizen.bundle import foreign

        bundle = foreign.import_onnx(
            path,
            signature,
            task=project.file.project.task,
            name=project.name,
            project=project.name,
            blobs=project.blobs,
            key=keys.load(project.keys),
            known=known,
            at=at,
            by=by,
        )
    if not any(other.id == bundle.id for other in known):
        project.records.put([bundle])
    if as_json:
        print_json(bundle)
    else:
        click.echo(f"Imported as {bundle.name} version {bundle.version} ({bundle.id[:12]}).")
        click.echo(f"Next: kaizen loop promote {bundle.version}")


def find(project: Project, which: str) -> Bundle:
    """Return the bundle of a version number or of the beginning of an id."""
    bundles = project.records.find(Bundle)
    if which.isdigit() and len(which) < 8:
        found = [bundle for bundle in bundles if bundle.version == int(which)]
    else:
        found = [bundle for bundle in bundles if bundle.id.startswith(which)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFoundError(f"there is no bundle {which!r}", where=str(project.folder), fix="kaizen bundle list")
    raise BundleError(f"{which!r} fits {len(found)} bundles", fix="give more of the id: kaizen bundle list --json")
