"""One tree of errors; each says what, where, why and what to do next, and has a stable code.

KaizenError
├── ProjectError          the project file or folder
├── DataError             rows, columns, sources
│   └── LeakageError      a column that knows the answer
├── FeatureError          declarations and the graph
├── LearnError            fitting and search
├── BundleError           packing, verifying, loading
│   └── SignatureError    corrupted, unsigned or signed by another key
├── RequestError          a request the server refuses, with its HTTP status
│   ├── OverloadError     too much waits already
│   └── DeadlineError     its time is over
├── UnreachableError      a server that does not answer a client, or not in time
├── DeliveryError         a message that whoever it was for did not take
├── StoreError            records, blobs, log
│   ├── NotFoundError
│   └── ConflictError     the same id with other content; a stale revision
├── DecisionError         an action that the endpoint's state does not allow
├── UsageError            a command line that asks for what there is not
└── MissingExtraError     an optional part that is not installed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class KaizenError(Exception):
    """The root of every error that kaizen raises on purpose.

    Parameters
    ----------
    what
        What is wrong, in one sentence, with the value.
    where
        The file and path, the column, the endpoint.
    fix
        What to do next, as a sentence or a command.
    """

    code: ClassVar[str] = "kaizen"

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.fix:
            lines.append(f"  → {self.fix}")
        return "\n".join(lines)


class ProjectError(KaizenError):
    """The project file or folder is missing or says something that cannot be."""

    code = "project"


class DataError(KaizenError):
    """Rows, columns or a source are not what was declared."""

    code = "data"


class LeakageError(DataError):
    """A column that would not be known when the prediction is asked for."""

    code = "leakage"


class FeatureError(KaizenError):
    """A feature cannot be declared, fitted or compiled as asked."""

    code = "feature"


class LearnError(KaizenError):
    """The target or the settings do not allow a fit."""

    code = "learn"


class BundleError(KaizenError):
    """A bundle cannot be packed or loaded."""

    code = "bundle"


class SignatureError(BundleError):
    """A bundle is corrupted, unsigned, or signed by a key that the project does not trust."""

    code = "signature"


class RequestError(KaizenError):
    """A request that the server refuses; `status` is the HTTP status of the answer, `headers` go with it, as lines."""

    code = "request"

    def __init__(self, what: str, *, status: int = 400, where: str = "", fix: str = "", headers: bytes = b"") -> None:
        super().__init__(what, where=where, fix=fix)
        self.status = status
        self.headers = headers


class OverloadError(RequestError):
    """A request that would have to wait for too long; it may be sent again in `retry_after_s`."""

    code = "overload"

    def __init__(self, what: str, *, retry_after_s: int = 1) -> None:
        super().__init__(what, status=503, fix=f"try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class DeadlineError(RequestError):
    """A request whose time is over before it could be answered."""

    code = "deadline"

    def __init__(self, what: str) -> None:
        super().__init__(what, status=504, fix="allow more time, or try again when less is asked")


class UnreachableError(KaizenError):
    """A server does not answer, or not in time."""

    code = "unreachable"


class DeliveryError(KaizenError):
    """A message was refused by whoever it was for."""

    code = "delivery"


class StoreError(KaizenError):
    """A store could not do what it was asked."""

    code = "store"


class NotFoundError(StoreError):
    """Nothing is stored under that id."""

    code = "not_found"


class ConflictError(StoreError):
    """The id is taken by other content, or the revision is not the next one."""

    code = "conflict"


class DecisionError(KaizenError):
    """The state of the endpoint does not allow this action."""

    code = "decision"


class UsageError(KaizenError):
    """The command line asks for a verb, an option or a value that there is not."""

    code = "usage"


class MissingExtraError(KaizenError):
    """An optional part is needed and not installed."""

    code = "missing_extra"

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is needed here and not installed", fix=f'pip install "kaizen-ml[{extra}]"')


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean …?" for the nearest known name, or the list of known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
