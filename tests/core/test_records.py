"""The nouns: frozen, told apart by their tag, and whole on the wire."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from kaizen.core.records import AnyRecord, Arm, Endpoint
from kaizen.testing.log import predictions
from kaizen.testing.records import examples


def test_there_is_an_example_of_every_kind():
    assert {type(each) for each in examples()} == set(get_args(AnyRecord))


@pytest.mark.parametrize("record", examples(), ids=lambda record: type(record).__name__)
def test_a_record_is_frozen_and_comes_back_by_its_tag(record):
    with pytest.raises(AttributeError):
        record.by = "somebody else"
    for wire in (msgspec.json, msgspec.msgpack):
        assert wire.decode(wire.encode(record), type=AnyRecord) == record


def test_an_endpoint_knows_its_arms():
    arms = (Arm("a", "shadow", 0.0), Arm("b", "champion", 1.0))
    endpoint = msgspec.structs.replace(next(e for e in examples() if isinstance(e, Endpoint)), arms=arms)
    assert endpoint.champion.bundle == "b"
    assert endpoint.arm("shadow") == arms[0]
    assert endpoint.arm("challenger") is None


def test_a_batch_is_whole_on_the_wire():
    batch = predictions(["a", "b"], [1, 2])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(batch), type=type(batch)) == batch
