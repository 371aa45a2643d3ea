"""Labels as SageMaker's Model Monitor has them: what was captured is named by `inferenceId`, else by `eventId`.

{"groundTruthData": {"data": "1", "encoding": "CSV"}, "eventMetadata": {"eventId": "…"}, "eventVersion": "0"}

`data` is one value: a number, or true or false; in CSV (what SageMaker documents) or JSON.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import msgspec

from kaizen.core.errors import RequestError
from kaizen.serve.reader import explained
from kaizen.serve.rows import PredictionId

MARK: Final = b'"groundTruthData"'
_WORDS: Final = {"true": 1.0, "false": 0.0}


class _Data(msgspec.Struct):
    data: str | float | bool
    encoding: Literal["CSV", "JSON", "csv", "json"] = "CSV"


class _Event(msgspec.Struct, rename="camel"):
    event_id: PredictionId | None = None
    inference_id: PredictionId | None = None


class _GroundTruth(msgspec.Struct, rename="camel"):
    ground_truth_data: _Data
    event_metadata: _Event


_DECODER: Final = msgspec.json.Decoder(_GroundTruth)


def read(line: bytes) -> tuple[str, float]:
    """Return the prediction's id and its label; raise a 400 with the path of what is wrong."""
    try:
        told = _DECODER.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as err:
        raise explained(err) from err
    identity = told.event_metadata.inference_id or told.event_metadata.event_id
    if identity is None:
        raise RequestError("it has neither 'inferenceId' nor 'eventId'", where="eventMetadata")
    return identity, _value(told.ground_truth_data.data)


def _value(data: str | float) -> float:
    text = str(data).strip().lower()
    try:
        value = _WORDS[text] if text in _WORDS else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RequestError("expected one finite number, true or false", where="groundTruthData.data")
    return value
