"""Durable steps: each runs once for its inputs, and its result and records are stored together or not at all.

    step(name, inputs) ──► known? ──yes──► the stored result
                              │no
                              ▼
                     run, collecting records
                              │
                              ▼
             one transaction: records + the step itself

A process killed before the transaction leaves nothing behind; killed after it, the step is never run again.
Large results go to the blob store first; a blob without a step is garbage, never a wrong answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from kaizen.core.errors import NotFoundError
from kaizen.core.ids import content_id
from kaizen.core.ports import Records
from kaizen.core.project import Project
from kaizen.core.records import Bundle, Dataset, FeatureSet, Record, Step
from kaizen.core.version import __version__

T = TypeVar("T")
_INLINE_BYTES = 2048
_BY_CONTENT = (Dataset, FeatureSet, Bundle)


class Journal:
    """The steps of one project.

    Parameters
    ----------
    project
        Where steps, records and blobs are kept, and whose clock stamps them.
    """

    def __init__(self, project: Project) -> None:
        self._project = project

    def step(self, name: str, inputs: tuple[object, ...], run: Callable[[list[Record]], T], result: type[T]) -> T:
        """Return the result of a step, running it only if these inputs were never run before.

        Parameters
        ----------
        name
            What the step does; part of its key.
        inputs
            Everything the result depends on, as values that JSON can hold: content ids, settings, days.
        run
            Computes the result and appends the records it makes to the list it is given.
        result
            The type of the result, for reading it back.
        """
        key = content_id(name, __version__, inputs)
        records = self._project.records
        try:
            return self.result(records.get(Step, key), result)
        except NotFoundError:
            pass
        made: list[Record] = []
        value = run(made)
        step = Step(
            id=key,
            project=self._project.name,
            at=self._project.clock.now(),
            by="loop",
            name=name,
            inputs=content_id(inputs),
            result=self._write(value),
            parents=tuple(record.id for record in made),
        )
        put_new(records, [*made, step])
        return value

    def _write(self, value: object) -> str:
        data = msgspec.json.encode(value)
        return data.decode() if len(data) <= _INLINE_BYTES else "blob:" + self._project.blobs.put(data)

    def result(self, step: Step, result: type[T]) -> T:
        """Return what a step that is done came to."""
        if step.result.startswith("blob:"):
            return msgspec.json.decode(self._project.blobs.path(step.result[5:]).read_bytes(), type=result)
        return msgspec.json.decode(step.result, type=result)


def put_new(records: Records, made: Sequence[Record]) -> None:
    """Store records together, leaving out those whose id is their content and which are stored already.

    The same rows frozen again are the same dataset: when and by whom it was made first stays.
    """
    records.put([record for record in made if not (isinstance(record, _BY_CONTENT) and _is_stored(records, record))])


def _is_stored(records: Records, record: Record) -> bool:
    try:
        records.get(type(record), record.id)
    except NotFoundError:
        return False
    return True
