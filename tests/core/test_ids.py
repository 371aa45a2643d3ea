"""Identities: their order, their time, and that the same makes the same."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen.core import ids

moments = st.datetimes(datetime(1970, 1, 1), datetime(2500, 1, 1), timezones=st.just(UTC))


@given(moments, moments)
def test_a_ulid_sorts_by_its_time(one, other):
    first, second = sorted([one, other])
    if second - first >= timedelta(milliseconds=1):
        assert ids.ulid(first) < ids.ulid(second)
        assert ids.derived(first, "z") < ids.derived(second, "a")


@given(moments)
def test_a_ulid_tells_its_time_to_the_millisecond(at):
    assert abs(ids.time_of(ids.ulid(at)) - at) <= timedelta(milliseconds=1)


def test_a_ulid_is_26_characters_of_crockfords_alphabet():
    assert re.fullmatch("[0-7][0-9A-HJKMNP-TV-Z]{25}", ids.ulid(datetime(2013, 1, 1, tzinfo=UTC)))


def test_the_time_part_is_the_one_of_the_ulid_specification():
    at = datetime.fromtimestamp(1469918176385 / 1000, UTC)  # 01ARYZ6S41… : the example of github.com/ulid/spec
    assert ids.ulid(at)[:10] == "01ARYZ6S41"


def test_ulids_of_one_moment_differ():
    made = ids.ulids(1_356_998_400_000, 1000)
    assert len(set(made)) == 1000
    assert {each[:10] for each in made} == {ids.ulid(datetime(2013, 1, 1, tzinfo=UTC))[:10]}
    assert ids.ulids(0, 0) == []


def test_the_same_key_at_the_same_moment_derives_the_same_id():
    at = datetime(2013, 1, 1, tzinfo=UTC)
    assert ids.derived(at, "fit", "abc") == ids.derived(at.astimezone(timezone(timedelta(hours=5))), "fit", "abc")
    others = [("fit",), ("fit", "abd"), ("abc", "fit"), ("fitabc",), ("fit", "abc", "")]
    assert ids.derived(at, "fit", "abc") not in [ids.derived(at, *key) for key in others]


def test_equal_values_have_one_content_id():
    assert ids.content_id({"a": 1, "b": [1.5, None]}) == ids.content_id({"b": (1.5, None), "a": 1})


@pytest.mark.parametrize("parts", [("ab", "c"), ("a", "bc"), ("abc",), ("a", "b", "c"), (b"abc",), ("abc", "")])
def test_the_content_id_keeps_parts_apart(parts):
    everything = [("ab", "c"), ("a", "bc"), ("abc",), ("a", "b", "c"), (b"abc",), ("abc", "")]
    assert [ids.content_id(*each) for each in everything].count(ids.content_id(*parts)) == 1


def test_a_file_hash_is_the_sha256_of_its_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert ids.file_hash(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()
