"""Slices: the one to blame, no other; and nobody where everything got worse alike."""

import msgspec
import numpy as np

from kaizen.core.records import Column
from kaizen.monitor.segments import slices

COLUMNS = [
    *(Column(f"n{i}", "number") for i in range(4)),
    *(Column(f"c{i}", "category") for i in range(4)),
    Column("when", "time"),
    Column("note", "text"),
]
DAYS, A_DAY = 40, 500


def rows(rng, days=DAYS):
    size = days * A_DAY
    frame = {f"n{i}": rng.normal(size=size) for i in range(4)}
    letters = np.array(list("abcdef"), object)
    frame |= {f"c{i}": rng.choice(letters, size, p=[0.4, 0.2, 0.15, 0.1, 0.1, 0.05]) for i in range(4)}
    frame |= {"when": np.arange(size), "note": np.full(size, "x", object)}
    blocks = np.repeat(np.arange(days), A_DAY)
    hard = np.where(frame["c2"] == "a", 2.0, 1.0)  # always was
    return frame, rng.exponential(0.3 * hard) * np.exp(0.1 * rng.normal(size=days))[blocks], blocks


def found_in(change, seed=1, alpha=1 / 31):
    """Return the reference, and the slices found in four weeks whose losses were changed in place."""
    rng = np.random.default_rng(seed)
    frame, losses, blocks = rows(rng)
    known = slices.fit(COLUMNS, frame, np.minimum(losses, 4.6), blocks)
    frame, losses, blocks = rows(rng, 28)
    change(frame, losses)
    return known, slices.find(known, frame, np.minimum(losses, 4.6), blocks, alpha=alpha)


def worse(where, times):
    def change(frame, losses):
        losses[where(frame)] *= times

    return change


def test_one_column_that_does_worse_is_named_and_nothing_else():
    _, found = found_in(worse(lambda f: f["c0"] == "b", 1.7))
    assert [each.name for each in found] == ["c0=b"]
    assert found[0].low < 0.7 * 0.3 * 1.4 < found[0].high
    assert found[0].evidence > 1000


def test_two_columns_together_speak_for_each_of_them():
    _, found = found_in(worse(lambda f: (f["c0"] == "a") & (f["c1"] == "b"), 2.5))
    assert [each.name for each in found] == ["c0=a, c1=b"]


def test_a_range_of_numbers_is_found():
    _, found = found_in(worse(lambda f: f["n3"] > 0.7, 2.0))
    assert len(found) == 1
    assert found[0].name.startswith("n3>=0.")


def test_nobody_is_to_blame_when_nothing_changed_or_everything_did():
    assert found_in(lambda frame, losses: None)[1] == []
    assert found_in(worse(lambda f: f["n0"] > -9, 1.6))[1] == []


def test_the_reference_is_bounded_and_leaves_out_what_makes_no_groups():
    known, _ = found_in(lambda frame, losses: None)
    assert len(known.slices) <= slices.MOST_SLICES
    assert len(msgspec.json.encode(known)) < 300_000
    assert {groups.column for groups in known.columns} == {column.name for column in COLUMNS[:8]}
    assert msgspec.json.decode(msgspec.json.encode(known), type=slices.SliceReference) == known


def test_listed_columns_come_first_and_at_most_twelve_are_cut_along():
    rng = np.random.default_rng(2)
    columns = [Column(f"x{i}", "number") for i in range(20)]
    frame = {column.name: rng.normal(size=4000) for column in columns}
    losses = rng.exponential(0.3, 4000) + (frame["x3"] > 1)
    known = slices.fit(columns, frame, losses, np.arange(4000) % 10, first=("x17",))
    assert [groups.column for groups in known.columns][:2] == ["x17", "x3"]
    assert len(known.columns) == slices.MOST_COLUMNS


def test_few_days_have_no_slices_and_no_rows_no_culprit():
    rng = np.random.default_rng(3)
    frame, losses, blocks = rows(rng, 4)
    assert slices.fit(COLUMNS, frame, losses, blocks) is None
    known, _ = found_in(lambda frame, losses: None)
    assert slices.find(known, {}, np.empty(0), np.empty(0, np.int64), alpha=0.1) == []
    hidden = {"n0": frame["n0"]}  # all that the log shows
    assert isinstance(slices.find(known, hidden, losses, blocks, alpha=0.1), list)
