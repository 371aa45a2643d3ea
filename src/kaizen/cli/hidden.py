"""What `[serve.log]` hides, held against the columns that there are, before the first row is logged.

A name that leads nowhere would leave a column in plain, and nobody would miss it: so it is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from kaizen.core.errors import ProjectError, nearest
from kaizen.core.project import Project
from kaizen.core.projectfile import ProjectFile
from kaizen.core.records import Bundle, Column, Dataset

_TEXTS: Final = ("category", "text")


def check(project: Project, bundles: Sequence[Bundle]) -> None:
    """Raise unless each hidden name is a column and can be hidden so; say what that costs the loop.

    Known are the columns that these bundles read, those of every dataset of the project, and the unit's. As a number
    the unit's may be hashed all the same: its text is, in the units of the log, and the number itself is left out.

    Raises
    ------
    ProjectError
        A name is no column, or a number, boolean or time is to be hashed.
    """
    file = project.file
    section = file.serve.log
    if not section.hash and not section.drop:
        return
    read = [column for bundle in bundles for column in bundle.inputs]
    rows = [column for dataset in project.records.find(Dataset) for column in dataset.columns]
    _check_names(file, [*rows, *read])
    for name in section.hash:
        odd = next((c for c in (*rows, *read) if c.name == name and c.type not in _TEXTS), None)
        if odd is not None and name != file.data.unit:
            raise ProjectError(
                f"{name!r} is a {odd.type} column; only category and text can be hashed",
                where="kaizen.toml: serve.log.hash",
                fix="put it in drop",
            )
    lost = [name for name in (*section.hash, *section.drop) if name in {column.name for column in read}]
    if lost:
        what = f"The log hides what a model reads: {', '.join(lost)}."
        click.echo(f"{what} The loop does not watch it, and cannot retrain from the log.", err=True)


def _check_names(file: ProjectFile, columns: Sequence[Column]) -> None:
    known = {column.name for column in columns} | ({file.data.unit} if file.data.unit else set())
    for key, names in (("hash", file.serve.log.hash), ("drop", file.serve.log.drop)):
        for name in names:
            if name not in known:
                what = f"there is no column {name!r}, so nothing would be hidden"
                raise ProjectError(what, where=f"kaizen.toml: serve.log.{key}", fix=nearest(name, known))
