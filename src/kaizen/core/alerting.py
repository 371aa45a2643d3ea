"""Who is told of what is wrong, as the project's file declares it: ``[alerts]`` and the sections below it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Literal, get_args

import msgspec

from kaizen.core.durations import duration
from kaizen.core.errors import ProjectError, nearest
from kaizen.core.records import Severity
from kaizen.core.secret import is_source

LOG = "log"  # the channel that is always there
LABELS = ("endpoint", "question", "segment", "severity", "subject")


class ChannelSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where alerts go: an address of apprise or, with a secret, a signed webhook."""

    url: str  # "env:NAME" and "file:PATH": it stands there
    secret: str | None = None  # where the webhook's key stands: "env:NAME" or "file:PATH"
    adapter: str | None = None  # none: webhook with a secret, apprise without


class RouteSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which alerts go to which channels."""

    match: dict[str, str | list[str]] = {}  # label: a pattern, or several, one of which must fit
    to: list[str]


class AlertsSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is told of what is wrong, and how often."""

    split_by: list[Literal["segment", "subject"]] = []  # what makes an alert of its own, beside the question
    critical_from: float = 0.1  # of the metric: a share by which it is worse
    cooldown: str = "1d"
    repeat_after: str | None = None
    labels: dict[str, str] = {}
    links: dict[str, str] = {}
    channels: dict[str, ChannelSection] = {}
    routes: list[RouteSection] = []


def patterns(match: dict[str, str | list[str]]) -> dict[str, tuple[str, ...]]:
    """Return the patterns of each label of a declared match."""
    return {label: (told,) if isinstance(told, str) else tuple(told) for label, told in match.items()}


def why_no_match(match: dict[str, tuple[str, ...]], labels: dict[str, str]) -> str:
    """Return what keeps these patterns from ever fitting an alert, where `labels` are the project's own; "" if nothing.

    >>> why_no_match({"severity": ("criticl",)}, {})
    "no severity fits 'criticl'; did you mean 'critical'?"
    """
    for label, found in match.items():
        if label not in LABELS and label not in labels:
            return f"there is no label {label!r}; {nearest(label, {*LABELS, *labels})}"
        if not found:
            return f"{label} has no pattern"
        severities = get_args(Severity)
        for pattern in found if label == "severity" else ():
            if not any(fnmatchcase(severity, pattern) for severity in severities):
                return f"no severity fits {pattern!r}; {nearest(pattern, severities)}"
    return ""


def check(alerts: AlertsSection, where: str) -> None:
    """Raise `ProjectError` for values that have the right type and still cannot be."""
    for path, wrong in _wrong(alerts):
        raise ProjectError(wrong, where=f"{where}: alerts.{path}")


def _wrong(alerts: AlertsSection) -> Iterator[tuple[str, str]]:
    for path, text in (("cooldown", alerts.cooldown), ("repeat_after", alerts.repeat_after)):
        try:
            if text is not None and not duration(text) and path == "repeat_after":
                yield path, "it would be told at every look; write a longer time, or leave it out"
        except ValueError as err:
            yield path, f"{err} (value {text!r})"
    if not 0 < alerts.critical_from < 1000:
        yield "critical_from", f"it is a share above 0, such as 0.1 for a tenth (value {alerts.critical_from})"
    for label in alerts.labels:
        if label in LABELS or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", label):
            yield f"labels.{label}", f"a label of yours is letters, digits and '_', and none of {', '.join(LABELS)}"
    for name, channel in alerts.channels.items():
        yield from ((f"channels.{name}{path}", wrong) for path, wrong in _wrong_in_channel(name, channel))
    known = {LOG, *alerts.channels}
    for index, route in enumerate(alerts.routes):
        why = why_no_match(patterns(route.match), alerts.labels)
        if why:
            yield f"routes[{index}].match", why
        for name in route.to:
            if name not in known:
                yield f"routes[{index}].to", f"there is no channel {name!r}; {nearest(name, known)}"


def _wrong_in_channel(name: str, channel: ChannelSection) -> Iterator[tuple[str, str]]:
    """Yield what is wrong; values are left out, for an address may hold a password."""
    if name == LOG or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", name):
        yield "", f"a channel's name is lower-case letters, digits, '-' and '_', and not {LOG!r}, which is always there"
    if not is_source(channel.url) and not re.match(r"[a-z][a-z0-9+.-]*://.", channel.url, re.IGNORECASE):
        yield (
            ".url",
            'write an address such as "mailto://…" or "https://…", or where it stands: "env:NAME", "file:PATH"',
        )
    if channel.secret is not None and not is_source(channel.secret):
        yield ".secret", 'write where it stands: "env:NAME" or "file:PATH"'
