"""Who is told of each answer: traces and the access log, as the project file asks for them.

Request.reply ─▶ Watch ─┬─▶ is it sampled? ─▶ spans.py, in a thread ─▶ the collector
                        └─▶ accesslog.py ─▶ lines.py, in a thread ─▶ a file
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

from kaizen.core.serving import TelemetrySection
from kaizen.serve.accesslog import AccessLog
from kaizen.serve.lines import Lines
from kaizen.serve.message import Request, Watch
from kaizen.serve.tracecontext import Parent, is_left_out, parent_of

if TYPE_CHECKING:
    from kaizen.serve.spans import Spans

OFF: Final = "off"


class Telemetry:
    """Traces and the access log of one process.

    Parameters
    ----------
    section
        What is asked for.
    home
        What a path of the section is relative to.
    """

    def __init__(self, section: TelemetrySection, home: Path) -> None:
        self._section = section
        self._home = home
        self._bound = round(section.sample * (1 << 64))  # as OpenTelemetry's TraceIdRatioBased has it
        self._random = Random()
        self._lines: Lines | None = None
        self._access: AccessLog | None = None
        self._spans: Spans | None = None

    def start(self, later: Callable[..., object]) -> Watch | None:
        """Begin, and return who is to be told of each answer, None if nobody is.

        Raises
        ------
        KaizenError
            The access log cannot be opened, or the extra `[otel]` is not installed.
        """
        self._random.seed()  # once more: a process that was forked has the numbers of its siblings
        if self._section.access_log != OFF:
            path = None if self._section.access_log == "-" else self._home / self._section.access_log
            self._lines = Lines(path, later)
            self._access = AccessLog(self._lines)
        if self._section.traces != OFF and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true":
            self._spans = _spans(None if self._section.traces == "otlp" else self._section.traces)
        if self._spans is None:
            return None if self._access is None else self._log_only
        return self._watch

    def stop(self) -> None:
        """Pass on what is here, for a few seconds at most."""
        if self._spans is not None:
            self._spans.stop()
        if self._lines is not None:
            self._lines.stop()

    def figures(self) -> Iterator[tuple[str, str, Mapping[str, int]]]:
        """Yield name, meaning and counts by outcome of what was passed on."""
        if self._spans is not None:
            yield "kaizen_traces", "Requests that were sampled, by what became of their spans.", self._spans.outcomes
        if self._lines is not None:
            outcomes = {"written": self._lines.written, "dropped": self._lines.dropped}
            yield "kaizen_access_log_lines", "Lines of the access log.", outcomes

    # On the loop, for each answer

    def _log_only(self, request: Request, status: int, size_bytes: int) -> None:
        took_ns = time.perf_counter_ns() - request.arrived_ns
        parent = None if request.trace is None else parent_of(request.trace[0])
        self._tell(request, status, size_bytes, took_ns, 0 if parent is None else parent.trace_id)
        request.call = None  # which holds the request: a ring that would wait for the collector of garbage

    def _watch(self, request: Request, status: int, size_bytes: int) -> None:
        if self._access is None and request.trace is not None and is_left_out(request.trace[0]):
            request.call = None
            return
        took_ns = time.perf_counter_ns() - request.arrived_ns
        parent = None if request.trace is None else parent_of(request.trace[0])
        trace_id = self._trace_id(parent)
        if trace_id and self._spans is not None:
            self._spans.take(request, status, took_ns, trace_id, parent)
        if self._access is not None:
            self._tell(request, status, size_bytes, took_ns, trace_id or (parent.trace_id if parent else 0))
        request.call = None

    def _trace_id(self, parent: Parent | None) -> int:
        """Return the trace that a request is part of if it is sampled, 0 if it is not."""
        if parent is not None:
            return parent.trace_id if parent.is_sampled else 0
        low = self._random.getrandbits(64)
        return self._random.getrandbits(64) << 64 | low if low < self._bound else 0

    def _tell(self, request: Request, status: int, size_bytes: int, took_ns: int, trace_id: int) -> None:
        if self._access is not None:
            self._access.tell(request, status, size_bytes, took_ns, f"{trace_id:032x}" if trace_id else "")


def _spans(url: str | None) -> Spans:
    from kaizen.core.plugins import missing

    try:
        from kaizen.serve.spans import Spans  # here, for it stands on an extra
    except ModuleNotFoundError as err:
        raise missing(err) from err
    return Spans(url)
