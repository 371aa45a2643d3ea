"""What somebody must say of an ONNX file from elsewhere, where its graph does not.

{"inputs": [{"name": "age", "type": "number"}], "output": "probabilities", "positive": 1, "examples": [{"age": 30}]}
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from kaizen.core.errors import BundleError
from kaizen.core.records import Column

Example = dict[str, float | int | str | bool | None]


class ForeignSignature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON above; every member may be left out.

    Parameters
    ----------
    inputs
        The columns of a row, in the order of the tensor's columns; none: read off the graph's named inputs.
    output
        Which of the graph's outputs is the answer; none: its only tensor of floating-point numbers.
    positive
        Which column of the answer is the class asked for, where it has several; none: the second of two.
    examples
        Rows to try the file with; none: one row of zeros and empty strings.
    """

    inputs: tuple[Column, ...] = ()
    output: str | None = None
    positive: int | None = None
    examples: tuple[Example, ...] = ()

    def place(self, width: int, where: str) -> int:
        """Return which column of an answer of so many is served; `BundleError` if that is not said, or not there."""
        place = self.positive if self.positive is not None else {1: 0, 2: 1}.get(width, -1)
        if width == 1 or 0 <= place < width:
            return 0 if width == 1 else place
        raise BundleError(
            f"the answer has {width} columns, one of which is served, and it has no column {self.positive}"
            if self.positive is not None
            else f"the answer has {width} columns, and one is served",
            where=where,
            fix='say which in the signature ("positive": 0)',
        )


def read_signature(path: Path) -> ForeignSignature:
    """Return the signature in a JSON file; `BundleError` says which key or value is wrong."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ForeignSignature)
    except OSError as err:
        raise BundleError(f"the signature cannot be read: {err}", where=str(path)) from err
    except msgspec.DecodeError as err:
        raise BundleError(
            f"this is no signature: {err}",
            where=str(path),
            fix='write {"inputs": [{"name": "age", "type": "number"}], "examples": [{"age": 30}]}',
        ) from err
