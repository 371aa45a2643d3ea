"""The declaration of a project: `kaizen.toml` as types, with errors that say where and what was meant.

The same structs can be built in Python; there is one set of types. Durations and rates stay text here
(``"36h"``, ``"1/30d"``) and are checked when read.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from kaizen.core import alerting, monitoring, serving
from kaizen.core.alerting import AlertsSection, ChannelSection, RouteSection
from kaizen.core.checks import broken
from kaizen.core.durations import duration, rate
from kaizen.core.errors import ProjectError, nearest
from kaizen.core.monitoring import LimitsSection
from kaizen.core.records import ColumnType, Task
from kaizen.core.serving import AuthSection, LogSection, ServeSection, TelemetrySection, TlsSection

FILE_NAME = "kaizen.toml"


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ProjectSection(_Section, frozen=True, kw_only=True):
    """What it is called and what is asked."""

    name: str
    task: Task = "classification"


class TableSection(_Section, frozen=True, kw_only=True):
    """A table joined to the rows: by key, and as of the row's time where it has one."""

    source: str
    key: str | list[str]
    time: str | None = None
    tolerance: str | None = None  # how old a row may be to be joined; none: any age
    prefix: str = ""  # put before the names of its columns


class RuleSection(_Section, frozen=True, kw_only=True):
    """What must hold for a column, in place of what the reference suggests."""

    min: float | None = None
    max: float | None = None
    max_missing: float | None = None  # share, 0 to 1
    unique: bool | None = None
    categories: list[str] | None = None


class DataSection(_Section, frozen=True, kw_only=True):
    """Where the rows are and what their columns mean."""

    source: str
    target: str
    time: str | None = None
    unit: str | None = None
    label_delay: str = "0s"
    time_zone: str = "UTC"  # of calendar parts and of the days that evidence is counted in
    outcome: list[str] = []  # columns known only afterwards: never features
    ignore: list[str] = []
    types: dict[str, ColumnType] = {}
    tables: dict[str, TableSection] = {}
    rules: dict[str, RuleSection] = {}
    checks: dict[str, str] = {}  # by name: what must hold between the columns of a row (`core/checks.py`)
    max_broken: float = 0.0  # share of rows that may break a declared rule of a row, and are left out then
    max_age: str | None = None  # freshness: the newest row may be this old


class FeaturesSection(_Section, frozen=True, kw_only=True):
    """Where the features are declared; without a module every column gets the default of its type."""

    module: str | None = None


class Gate(_Section, frozen=True, kw_only=True):
    """What a candidate must reach: an absolute bound, or not worse than another by more than a margin."""

    metric: str
    min: float | None = None
    max: float | None = None
    no_worse_than: Literal["champion"] | None = None
    margin: float = 0.0


class LearnSection(_Section, frozen=True, kw_only=True):
    """How a model is found."""

    metric: str | None = None  # none: log_loss, or rmse
    budget: str = "60s"  # a duration, or a number of trials such as "12 trials"
    algorithms: list[str] = msgspec.field(default_factory=lambda: ["lightgbm", "linear", "hist_boosting"])
    gates: list[Gate] = []
    seed: int = 0
    group: str | None = None  # keep rows of one group on one side of a split


class MonitorSection(_Section, frozen=True, kw_only=True):
    """What may wake somebody."""

    max_false_pages: str = "1/30d"
    window: str = "7d"
    mature_share: float | None = None  # of a day's labels, that makes it final before label_delay has passed
    segments: list[str] = []  # columns whose groups are each watched for performance
    fairness: list[str] = []  # columns whose groups should be treated alike
    page_on_quality: bool = False  # whether bad rows wake somebody
    quality_patience: str = "28d"  # so long what only differs from the first data counts as bad
    cpu_hour_price: float | None = None  # of one core, in your money
    limits: LimitsSection = LimitsSection()


class ExperimentSection(_Section, frozen=True, kw_only=True):
    """How a challenger is compared with the champion."""

    mode: Literal["shadow"] = "shadow"
    alpha: float = 0.05
    min_blocks: int = 10
    max_blocks: int = 42


class LoopSection(_Section, frozen=True, kw_only=True):
    """When to retrain, how often at most, and who promotes."""

    retrain_on: list[str] = msgspec.field(default_factory=lambda: ["drift", "performance"])
    cooldown: str = "14d"
    budget: str = "2/30d"
    promote: Literal["auto", "approve"] = "auto"


class ProjectFile(_Section, frozen=True, kw_only=True):
    """The whole declaration."""

    project: ProjectSection
    data: DataSection
    features: FeaturesSection = FeaturesSection()
    learn: LearnSection = LearnSection()
    serve: ServeSection = ServeSection()
    monitor: MonitorSection = MonitorSection()
    alerts: AlertsSection = AlertsSection()
    experiment: ExperimentSection = ExperimentSection()
    loop: LoopSection = LoopSection()

    @property
    def metric(self) -> str:
        """The metric that is searched for and compared."""
        default = "log_loss" if self.project.task == "classification" else "rmse"
        return self.learn.metric or default


def read(path: Path) -> ProjectFile:
    """Return the declaration in a TOML file; raise `ProjectError` with path, value and the nearest right key."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        raise ProjectError("there is no project here", where=str(path), fix="kaizen init DATA --target COLUMN") from err
    except (OSError, UnicodeDecodeError) as err:
        raise ProjectError(f"cannot be read: {err}", where=str(path)) from err
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise ProjectError(f"is not TOML: {err}", where=str(path)) from err
    return parse(raw, where=str(path))


def parse(raw: dict[str, Any], *, where: str = "kaizen.toml") -> ProjectFile:
    """Return the declaration of parsed TOML, checked."""
    _refuse_unknown_tasks(raw, where)
    try:
        file = msgspec.convert(raw, ProjectFile)
    except msgspec.ValidationError as err:
        raise _explained(str(err), raw, where) from err
    _check(file, where)
    return file


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the declaration, for editors."""
    return msgspec.json.schema(ProjectFile)


def _refuse_unknown_tasks(raw: dict[str, Any], where: str) -> None:
    task = raw.get("project", {}).get("task") if isinstance(raw.get("project"), dict) else None
    if task in ("ranking", "forecast"):
        raise ProjectError(
            f"the task {task!r} does not exist yet",
            where=f"{where}: project.task",
            fix=f"use one of: {', '.join(get_args(Task))}",
        )


_UNKNOWN = re.compile(r"Object contains unknown field `(.+?)`(?: - at `\$(.*?)`)?")
_ABSENT = re.compile(r"Object missing required field `(.+?)`(?: - at `\$(.*?)`)?")
_PLACED = re.compile(r"(.+?) - at `\$\.?(.*?)`")


def _explained(message: str, raw: dict[str, Any], where: str) -> ProjectError:
    unknown = _UNKNOWN.match(message)
    if unknown is not None:
        key, path = unknown[1], (unknown[2] or "").lstrip(".")
        named = _named(path, raw)
        place = f"{named}.{key}" if named else key
        return ProjectError(
            f"unknown key {key!r}{_shown(_value_at(raw, place), place)}",
            where=f"{where}: {place}",
            fix=nearest(key, _section_at(path).__struct_fields__),
        )
    absent = _ABSENT.match(message)
    if absent is not None:
        named = _named((absent[2] or "").lstrip("."), raw)
        place = f"{where}: {named}" if named else where
        return ProjectError(f"the key {absent[1]!r} is missing", where=place, fix=f"write {absent[1]} = … there")
    placed = _PLACED.match(message)
    if placed is None:
        return ProjectError(message, where=where)
    what, place = placed[1].replace("`", "'"), _named(placed[2], raw)
    value = _value_at(raw, place)
    shown = "" if value is None or isinstance(value, dict) else _shown(value, place)
    fix = ""
    if what.startswith("Invalid enum value"):
        what, fix = "it is none of the known values", nearest(str(value), _options_at(placed[2]))
    return ProjectError(f"{what[0].lower()}{what[1:]}{shown}", where=f"{where}: {place}" if place else where, fix=fix)


def _shown(value: Any, place: str) -> str:
    """Return the value for the error; not that of a channel, which may be a password or hold one."""
    return "" if place.startswith("alerts.channels.") else f" (value {value!r})"


def _named(path: str, raw: dict[str, Any]) -> str:
    """Return the path with the key that is wrong in place of ``[...]``, which msgspec leaves open."""
    head, dots, tail = path.partition("[...]")
    if not dots:
        return path
    entries = _value_at(raw, head)
    for key, value in entries.items() if isinstance(entries, dict) else ():
        try:
            msgspec.convert(value, _ENTRIES[re.sub(r"\[\d+\]", "[...]", head)])
        except msgspec.ValidationError:
            return f"{head}.{key}{tail}"
    return path


def _options_at(path: str) -> tuple[str, ...]:
    """Return the values that a place allows, where it allows only some."""
    section, _, key = path.rpartition(".")
    allowed = ColumnType if path == "data.types[...]" else get_type_hints(_section_at(section)).get(_bare(key))
    if get_origin(allowed) is list:
        (allowed,) = get_args(allowed)
    return tuple(str(option) for option in get_args(allowed) if option is not None)


def _bare(key: str) -> str:
    """Return a key without the place in its list."""
    return key.partition("[")[0]


_ENTRIES: dict[str, Any] = {"data.tables": TableSection, "data.rules": RuleSection, "data.types": ColumnType}
_ENTRIES |= {"alerts.channels": ChannelSection, "alerts.labels": str, "alerts.links": str}
_ENTRIES["alerts.routes[...].match"] = str | list[str]
_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "": ProjectFile,
    "project": ProjectSection,
    "data": DataSection,
    "data.tables[...]": TableSection,
    "data.rules[...]": RuleSection,
    "features": FeaturesSection,
    "learn": LearnSection,
    "learn.gates[...]": Gate,
    "serve": ServeSection,
    "serve.auth": AuthSection,
    "serve.tls": TlsSection,
    "serve.log": LogSection,
    "serve.telemetry": TelemetrySection,
    "monitor": MonitorSection,
    "monitor.limits": LimitsSection,
    "alerts": AlertsSection,
    "alerts.channels[...]": ChannelSection,
    "alerts.routes[...]": RouteSection,
    "experiment": ExperimentSection,
    "loop": LoopSection,
}


def _section_at(path: str) -> type[msgspec.Struct]:
    return _SECTIONS[re.sub(r"\[.*?\]", "[...]", path)]


def _value_at(raw: Any, path: str) -> Any:
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(raw, dict):
            raw = raw.get(part)
        elif isinstance(raw, list) and part.isdigit() and int(part) < len(raw):
            raw = raw[int(part)]
        else:
            return None
    return raw


def _check(file: ProjectFile, where: str) -> None:
    """Raise for values that have the right type and still cannot be."""
    checks = [
        ("data.label_delay", duration, file.data.label_delay),
        ("data.max_age", duration, file.data.max_age),
        ("monitor.max_false_pages", rate, file.monitor.max_false_pages),
        ("monitor.window", duration, file.monitor.window),
        ("monitor.quality_patience", duration, file.monitor.quality_patience),
        ("loop.cooldown", duration, file.loop.cooldown),
        ("loop.budget", rate, file.loop.budget),
        ("learn.budget", search_budget, file.learn.budget),
        ("data.time_zone", _time_zone, file.data.time_zone),
        *(("loop.retrain_on", trigger, text) for text in file.loop.retrain_on),
        *((f"data.tables.{name}.tolerance", duration, table.tolerance) for name, table in file.data.tables.items()),
    ]
    for path, read_value, value in checks:
        if value is None:
            continue
        try:
            read_value(value)
        except ValueError as err:
            raise ProjectError(f"{err} (value {value!r})", where=f"{where}: {path}") from err
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", file.project.name):
        raise ProjectError(
            f"a name is lower-case letters, digits, '-' and '_' (value {file.project.name!r})",
            where=f"{where}: project.name",
        )
    serving.check(file.serve, where)
    for path, why, bad in monitoring.wrong(file.monitor.limits, file.monitor.cpu_hour_price):
        raise ProjectError(f"{why} (value {bad!r})", where=f"{where}: monitor.{path}")
    alerting.check(file.alerts, where)
    for name, text in file.data.checks.items():
        broken(text, None, where=f"{where}: data.checks.{name}")
    if not 0 <= file.data.max_broken < 1:
        raise ProjectError(
            f"a share lies between 0 and 1 (value {file.data.max_broken})", where=f"{where}: data.max_broken"
        )
    if not 0 < file.experiment.alpha < 0.5:
        raise ProjectError(
            f"alpha lies between 0 and 0.5 (value {file.experiment.alpha})", where=f"{where}: experiment.alpha"
        )
    share = file.monitor.mature_share
    if share is not None and not 0.5 <= share <= 1:
        raise ProjectError(f"it lies between 0.5 and 1 (value {share})", where=f"{where}: monitor.mature_share")
    for index, gate in enumerate(file.learn.gates):
        if gate.min is None and gate.max is None and gate.no_worse_than is None:
            raise ProjectError(
                "a gate needs min, max or no_worse_than",
                where=f"{where}: learn.gates[{index}]",
                fix='such as {metric = "log_loss", no_worse_than = "champion", margin = 0.01}',
            )


def _time_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError) as err:
        close = difflib.get_close_matches(name, available_timezones(), n=1, cutoff=0.6)
        raise ValueError(f"there is no such time zone; {f'did you mean {close[0]!r}?' if close else _ZONES}") from err


_ZONES = "write a name such as 'Europe/Oslo', or 'UTC'"


class SearchBudget(msgspec.Struct, frozen=True):
    """What a search may spend: seconds, or trials. Only trials repeat exactly."""

    seconds: float | None = None
    trials: int | None = None


def search_budget(text: str) -> SearchBudget:
    """Return the budget of ``"60s"`` or ``"12 trials"``."""
    match = re.fullmatch(r"\s*(\d+)\s*trials?\s*", text)
    if match is not None:
        return SearchBudget(trials=max(1, int(match[1])))
    return SearchBudget(seconds=duration(text).total_seconds())


class Trigger(msgspec.Struct, frozen=True):
    """A reason to retrain: ``drift``, ``performance``, ``schedule 7d`` or ``rows 50000``."""

    kind: Literal["drift", "performance", "schedule", "rows"]
    every_s: float = 0.0
    rows: int = 0


def trigger(text: str) -> Trigger:
    """Return the trigger that the text declares."""
    kind, _, argument = text.strip().partition(" ")
    if kind == "drift" and not argument:
        return Trigger("drift")
    if kind == "performance" and not argument:
        return Trigger("performance")
    if kind == "schedule" and argument:
        return Trigger("schedule", every_s=duration(argument).total_seconds())
    if kind == "rows" and argument.strip().isdigit():
        return Trigger("rows", rows=int(argument))
    raise ValueError(f"{text!r} is no trigger; write 'drift', 'performance', 'schedule 7d' or 'rows 50000'")
