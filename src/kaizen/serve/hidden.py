"""What `[serve.log]` hides, held against the columns that there are, before the first row is logged.

A name that leads nowhere would leave a column in plain, so it is an error. Nobody would miss it otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable

from kaizen.core.errors import ProjectError, nearest
from kaizen.core.projectfile import LogSection
from kaizen.core.records import Column

_TEXTS = ("category", "text")


def check(section: LogSection, columns: Iterable[Column], unit: str | None) -> None:
    """Raise unless each named column is one of these or the unit's, and what is hashed can be.

    Parameters
    ----------
    section
        What is hidden.
    columns
        All that the project knows: those of the rows that were learned from, and those that a model reads.
    unit
        The column of units. As a number it may be hashed all the same: its text is, in the units of the log, and
        the number itself is left out.

    Raises
    ------
    ProjectError
        A name is no column, or a number, boolean or time is to be hashed.
    """
    types = {column.name: column.type for column in columns}
    known = {*types, unit} - {None}
    for key, names in (("hash", section.hash), ("drop", section.drop)):
        for name in names:
            if name not in known:
                what = f"there is no column {name!r}, so nothing would be hidden"
                fix = nearest(name, [each for each in known if each is not None])
                raise ProjectError(what, where=f"kaizen.toml: serve.log.{key}", fix=fix)
    for name in section.hash:
        if name != unit and types[name] not in _TEXTS:
            raise ProjectError(
                f"{name!r} is a {types[name]} column; only category and text can be hashed",
                where="kaizen.toml: serve.log.hash",
                fix="put it in drop",
            )
