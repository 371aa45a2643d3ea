"""Hidden columns: what the log holds in place of them, and what stays as it was."""

from __future__ import annotations

import hmac
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaizen.adapters.log.mask import Mask, salt_of
from kaizen.adapters.log.segments import SegmentLog
from kaizen.core.errors import StoreError
from kaizen.core.records import Column
from kaizen.core.serving import LogSection
from kaizen.graph.frame import feeds, from_batch, from_rows, to_log
from kaizen.testing.log import COLUMNS, OTHER_COLUMNS, label_rows, labels, prediction_rows, predictions, shadow

KEY = b"k" * 32
PLANE = (Column("tailnum", "category"), Column("miles", "number"), Column("note", "text"), Column("at", "time"))
ROWS = [
    {"tailnum": "N1", "miles": 1.0, "note": "call me", "at": 5},
    {"tailnum": "", "miles": None, "note": "N1", "at": None},
    {"tailnum": "N2", "miles": 3.0, "note": "", "at": 7},
]


def _hash(text):
    return hmac.digest(KEY, text.encode(), "sha256").hex()[:32]


def mask(hashed=(), dropped=(), unit=None):
    return Mask(hashed, dropped, unit=unit, secret=lambda: KEY)


def batch_of(rows=ROWS, columns=PLANE):
    numbers, times, strings = to_log(columns, feeds(columns, from_rows(columns, rows)))
    batch = predictions([str(n) for n in range(len(rows))], list(range(len(rows))), columns=columns)
    batch = msgspec.structs.replace(batch, numbers=numbers, times=times, strings=strings)
    return msgspec.structs.replace(batch, units=[row["tailnum"] or None for row in rows])


def test_a_hashed_column_has_another_name_and_equal_hashes_for_equal_values():
    found = mask(["tailnum", "note"]).apply(batch_of())
    assert [c.name for c in found.columns] == ["tailnum.hash", "miles", "note.hash", "at"]
    frame = from_batch(found)
    assert frame["tailnum.hash"].tolist() == [_hash("N1"), "", _hash("N2")]
    assert frame["note.hash"].tolist() == [_hash("call me"), _hash("N1"), ""]
    np.testing.assert_array_equal(frame["miles"], [1.0, np.nan, 3.0])
    assert found.units == ["N1", None, "N2"]  # the unit's column was not said to be this one


def test_a_dropped_column_is_not_there_whatever_its_type():
    for name in ("tailnum", "miles", "note", "at"):
        found = mask(dropped=[name]).apply(batch_of())
        assert [c.name for c in found.columns] == [c.name for c in PLANE if c.name != name]
        whole = from_batch(batch_of())
        for other, values in from_batch(found).items():
            np.testing.assert_array_equal(values, whole[other])


def test_all_columns_may_be_dropped():
    found = mask(dropped=[c.name for c in PLANE]).apply(batch_of())
    assert (found.columns, found.numbers, found.times, found.strings) == ((), b"", b"", [])


def test_a_number_that_is_to_be_hashed_is_left_out():
    assert [c.name for c in mask(["miles", "at"]).apply(batch_of()).columns] == ["tailnum", "note"]


def test_units_are_hidden_with_their_column():
    assert mask(["tailnum"], unit="tailnum").apply(batch_of()).units == [_hash("N1"), None, _hash("N2")]
    assert mask((), ["tailnum"], unit="tailnum").apply(batch_of()).units == [None, None, None]
    beside = mask(["tailnum"], unit="tailnum").apply(shadow(batch_of()))
    assert beside.units == [u and _hash(u) for u in shadow(batch_of()).units]


def test_the_name_of_a_hashed_column_is_nobody_elses():
    columns = (Column("a", "text"), Column("a.hash", "text"), Column("a.hash_", "number"))
    found = mask(["a"]).apply(predictions(["x"], [1], columns=columns))
    assert [c.name for c in found.columns] == ["a.hash__", "a.hash", "a.hash_"]


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from([c.name for c in COLUMNS])), st.integers(0, 7), st.integers(0, 99))
def test_what_is_not_named_stays_to_the_bit(dropped, rows, seed):
    batch = predictions([str(n) for n in range(rows)], list(range(rows)), seed=seed)
    found = mask((), sorted(dropped)).apply(batch)
    left = tuple(c for c in COLUMNS if c.name not in dropped)
    assert found.columns == left
    if rows:
        before, after = from_batch(batch), from_batch(found)
        assert list(after) == [c.name for c in left]
        for name, values in after.items():
            assert values.tobytes() == before[name].tobytes() or values.tolist() == before[name].tolist()
    alike = msgspec.structs.replace(found, columns=(), numbers=b"", times=b"", strings=[])
    assert alike == msgspec.structs.replace(batch, columns=(), numbers=b"", times=b"", strings=[])


def test_one_mask_serves_revisions_with_other_columns():
    one = mask(["note"], ["distance"])
    for columns in (COLUMNS, OTHER_COLUMNS, COLUMNS, ()):
        found = one.apply(predictions(["a"], [1], columns=columns))
        names = [c.name for c in columns if c.name != "distance"]
        assert [c.name for c in found.columns] == ["note.hash" if n == "note" else n for n in names]


def test_inputs_that_do_not_fit_are_refused():
    batch = batch_of()
    for wrong in ({"numbers": b""}, {"strings": ["a"]}, {"times": b"1"}):
        with pytest.raises(StoreError, match="do not fit its columns"):
            mask(["tailnum"], ["miles", "at"]).apply(msgspec.structs.replace(batch, **wrong))


def test_a_declared_log_hides_what_it_says_and_only_in_what_it_stores(tmp_path):
    section = LogSection(hash=["tailnum"], drop=["note"])
    log = SegmentLog.declared(tmp_path / "log", section, home=tmp_path, unit="tailnum")
    batch = batch_of()
    log.append(batch)
    log.append(labels(["0"], [1]))
    (found,) = list(log.predictions())
    log.close()
    assert [c.name for c in found.columns] == ["tailnum.hash", "miles", "at"]
    assert batch == batch_of()
    assert label_rows(log.labels()) == label_rows([labels(["0"], [1])])
    stored = (tmp_path / "log" / "00000001.log").read_bytes()
    assert b"call me" not in stored
    assert b"N1" not in stored
    again = SegmentLog.declared(tmp_path / "log", section, home=tmp_path, unit="tailnum")
    again.append(batch)
    again.close()
    both = list(again.predictions())
    assert both[0].units == both[1].units  # the salt is the project's, not the process's
    assert stat.S_IMODE(os.stat(tmp_path / "log.salt").st_mode) == 0o600


def test_with_encryption_the_hashes_follow_from_the_oldest_key(tmp_path):
    found = []
    for lines in (["11" * 32], ["22" * 32, "11" * 32], ["22" * 32]):
        (tmp_path / "keys").write_text("\n".join(lines))
        section = LogSection(encrypt="file:keys", hash=["tailnum"])
        log = SegmentLog.declared(tmp_path / str(len(found)), section, home=tmp_path, unit="tailnum")
        log.append(batch_of())
        found += [next(iter(log.predictions())).units]
        log.close()
    assert found[0] == found[1] != found[2]
    assert not list(tmp_path.glob("*.salt"))


def test_a_process_that_only_reads_makes_no_salt(tmp_path):
    log = SegmentLog.declared(tmp_path / "log", LogSection(hash=["tailnum"]), home=tmp_path, unit=None)
    assert prediction_rows(log.predictions()) == []
    assert list(tmp_path.iterdir()) == []


def test_many_that_ask_at_once_get_one_salt(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(salt_of, [tmp_path / "log.salt"] * 40))
    assert len(found) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["log.salt"]
    (tmp_path / "log.salt").write_text("no hex")
    with pytest.raises(StoreError, match="salt"):
        salt_of(tmp_path / "log.salt")
