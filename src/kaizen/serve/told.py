"""What a model tells of its rows beyond their columns: examples to try, and what training saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from kaizen.core.records import Seen


class Told(Protocol):
    """What a bundle's signature tells beyond the columns."""

    @property
    def examples(self) -> Sequence[Mapping[str, Any]]:
        """Rows to try, in the wire form."""
        ...

    @property
    def seen(self) -> Sequence[Seen]:
        """What the training rows had."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A model that can tell more of its columns than their types; one that cannot is served all the same."""

    def signature(self) -> Told:
        """Return what the bundle's signature tells."""
        ...


def told(model: object) -> tuple[list[dict[str, Any]], list[Seen]]:
    """Return the examples and what was seen, as far as the model can tell."""
    if not isinstance(model, Telling):
        return [], []
    signature = model.signature()
    return [dict(example) for example in signature.examples], list(signature.seen)
