"""A project: the declaration and the stores it opens; context for every verb, not a record."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import cast

from kaizen.core import plugins, projectfile, secret
from kaizen.core.alerting import LOG, AlertsSection
from kaizen.core.clock import Clock, SystemClock
from kaizen.core.ports import Blobs, Log, Notifier, Records
from kaizen.core.projectfile import ProjectFile
from kaizen.core.records import Endpoint
from kaizen.core.serving import LogSection

STATE_FOLDER = ".kaizen"


class Project:
    """The declaration in a folder and its stores, opened when first used.

    Parameters
    ----------
    folder
        Where `kaizen.toml` is; addresses in it are relative to this folder.
    file
        The declaration.
    clock
        The time that decisions are made at.
    """

    def __init__(self, folder: Path, file: ProjectFile, *, clock: Clock | None = None) -> None:
        self.folder = folder
        self.file = file
        self.clock: Clock = clock or SystemClock()

    @classmethod
    def open(cls, folder: str | Path = ".", *, clock: Clock | None = None) -> Project:
        """Return the project in a folder; `ProjectError` if there is none or its file is wrong."""
        home = Path(folder).resolve()
        return cls(home, projectfile.read(home / projectfile.FILE_NAME), clock=clock)

    @property
    def name(self) -> str:
        """The project's name, which is also its endpoint's."""
        return self.file.project.name

    @property
    def state(self) -> Path:
        """The folder that holds the stores."""
        return self.folder / STATE_FOLDER

    @cached_property
    def records(self) -> Records:
        """The records store."""
        return cast("Records", plugins.load("records", "sqlite")(self.state / "records.db"))

    @cached_property
    def blobs(self) -> Blobs:
        """The blob store."""
        return cast("Blobs", plugins.load("blobs", "files")(self.state / "blobs"))

    @cached_property
    def log(self) -> Log:
        """The prediction log."""
        return open_log(self.state / "log", self.file.serve.log, home=self.folder, unit=self.file.data.unit)

    def notifier(self, channel: str) -> Notifier:
        """Return what takes alerts to a channel of `[alerts]`, or to ``log``, which is always there."""
        return open_notifier(channel, self.file.alerts, home=self.folder)

    @property
    def keys(self) -> Path:
        """The folder of the key pair that signs this project's bundles."""
        return self.state / "keys"

    def endpoint(self) -> Endpoint | None:
        """Return the endpoint's newest revision, or None before the first bundle is promoted."""
        newest = self.records.find(Endpoint, where={"name": self.name}, newest_first=True, limit=1)
        return newest[0] if newest else None


def open_log(folder: Path, section: LogSection, *, home: Path, unit: str | None) -> Log:
    """Return the log in a folder, encrypted and masked as declared; `home` is what the address of a key starts from.

    `unit` is the column that units come from.
    """
    return cast("Log", plugins.load("log", "segments").declared(folder, section, home=home, unit=unit))


def open_notifier(channel: str, section: AlertsSection, *, home: Path) -> Notifier:
    """Return what takes alerts to a declared channel; `home` is what the address of a secret's file starts from."""
    if channel == LOG:
        return cast("Notifier", plugins.load("notifier", LOG)(url="", secret=None))
    declared, where = section.channels[channel], f"alerts.channels.{channel}"
    key = None
    if declared.secret is not None:
        key = secret.read(declared.secret, home, where=f"{where}.secret")
    adapter = plugins.load("notifier", declared.adapter or ("webhook" if declared.secret else "apprise"))
    return cast("Notifier", adapter(url=secret.read(declared.url, home, where=f"{where}.url"), secret=key))
