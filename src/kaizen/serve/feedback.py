"""What turned out to be true: ``POST /v1/feedback``, answered when the labels are in the log.

{"id": …, "value": true | 0 | 3.2, "at": "2013-06-01T12:00:00Z"}      one label; at: when it became known
{"labels": [{…}, …]}                                                  several
one label a line, with the content type application/x-ndjson          many

A label may also have the form that SageMaker's ground truth has (`groundtruth.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from kaizen.core.clock import Clock, to_us
from kaizen.core.errors import KaizenError, RequestError
from kaizen.core.ports import Log
from kaizen.core.records import LabelBatch
from kaizen.graph.rows import parse_time
from kaizen.serve import groundtruth
from kaizen.serve.aside import Aside
from kaizen.serve.commit import Commit
from kaizen.serve.message import Request
from kaizen.serve.reader import explained
from kaizen.serve.rows import PredictionId


class _Label(msgspec.Struct, forbid_unknown_fields=True):
    id: PredictionId
    value: bool | float
    at: str | int | float | None = None


class _Labels(msgspec.Struct, forbid_unknown_fields=True):
    labels: list[_Label]


class Feedback:
    """Takes labels: all of a request, or none.

    Parameters
    ----------
    log
        Where labels go.
    commit
        Tells when they are safe enough to be acknowledged.
    clock
        Tells when a label became known that does not say.
    aside
        Reads large bodies.
    """

    def __init__(self, log: Log, commit: Commit, clock: Clock, aside: Aside) -> None:
        self._log = log
        self._commit = commit
        self._clock = clock
        self._aside = aside
        self._one = msgspec.json.Decoder(_Label)
        self._many = msgspec.json.Decoder(_Labels)
        self.labels = 0
        self.log_failures = 0

    def handle(self, request: Request) -> None:
        """Log the labels, then answer how many they are."""
        self._aside.run(request, lambda: self._batch(request), lambda batch: self._accept(request, batch))

    def _batch(self, request: Request) -> LabelBatch:
        labels, path = self._read(request)
        now_us = to_us(self._clock.now())
        return LabelBatch(
            ids=[label.id for label in labels],
            values=[_finite(label, path, index) for index, label in enumerate(labels)],
            at=[_moment(label, now_us, path, index) for index, label in enumerate(labels)],
        )

    def _accept(self, request: Request, batch: LabelBatch) -> None:
        try:
            self._log.append(batch)
        except Exception as err:  # whatever it is, nothing may be acknowledged that is not logged
            raise self._not_logged(err) from err

        def answer(error: KaizenError | None) -> None:
            if error is not None:
                request.refuse(self._not_logged(error))
                return
            self.labels += len(batch.ids)
            request.reply(b'{"accepted":%d}' % len(batch.ids))

        self._commit.after(answer)

    def _not_logged(self, err: Exception) -> RequestError:
        self.log_failures += 1
        return RequestError(f"no label was taken, for the log cannot be written: {err}", status=503)

    def _read(self, request: Request) -> tuple[list[_Label], Callable[[int], str]]:
        kind = request.head.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind in (b"application/x-ndjson", b"application/jsonl", b"application/jsonlines"):
            lines = [line for line in request.body.splitlines() if line.strip()]
            return [self._line(line, index) for index, line in enumerate(lines)], lambda index: f"line {index + 1}"
        # One label has "id", several are in "labels": the body's own shape says which decoder to believe.
        try:
            return self._many.decode(request.body).labels, lambda index: f"labels[{index}]"
        except (msgspec.MsgspecError, ValueError, RecursionError) as many:
            try:
                return [self._one.decode(request.body)], lambda _: ""
            except (msgspec.MsgspecError, ValueError, RecursionError) as one:
                if groundtruth.MARK in request.body:
                    return [_Label(*groundtruth.read(request.body))], lambda _: ""
                err, fields = (many, ("labels",)) if b'"labels"' in request.body else (one, _Label.__struct_fields__)
                wrong = explained(err, fields)
                if len(request.body.splitlines()) > 1 and "trailing characters" in wrong.what:
                    wrong.fix = "one label a line goes with the content type application/x-ndjson"
                raise wrong from one

    def _line(self, line: bytes, index: int) -> _Label:
        try:
            return self._one.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as err:
            wrong = explained(err, _Label.__struct_fields__)
            if groundtruth.MARK in line:
                try:
                    return _Label(*groundtruth.read(line))
                except RequestError as other:
                    wrong = other
            where = f"line {index + 1}: {wrong.where}" if wrong.where else f"line {index + 1}"
            raise RequestError(wrong.what.replace("the body", "it"), where=where) from err


def _finite(label: _Label, path: Callable[[int], str], index: int) -> float:
    value = float(label.value)
    if not math.isfinite(value):
        raise RequestError("expected a finite number or a boolean", where=f"{path(index)}.value".lstrip("."))
    return value


def _moment(label: _Label, now_us: int, path: Callable[[int], str], index: int) -> int:
    if label.at is None:
        return now_us
    try:
        return parse_time(label.at)
    except (ValueError, OverflowError) as err:
        what = "expected an ISO 8601 time or microseconds since 1970"
        raise RequestError(what, where=f"{path(index)}.at".lstrip(".")) from err
