"""The segmented log: the suite, crashes, damage, a full disk, and what a scan touches."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kaizen.adapters.log import compacted as parquet
from kaizen.adapters.log import frames, lanes
from kaizen.adapters.log.cipher import Key, Keyring
from kaizen.adapters.log.segments import SegmentLog
from kaizen.core.clock import from_us
from kaizen.core.errors import StoreError
from kaizen.testing.log import (
    COLUMNS,
    DAY_US,
    OTHER_COLUMNS,
    LogConformance,
    label_rows,
    labels,
    prediction_rows,
    predictions,
    shadow,
)


class TestSegments(LogConformance):
    def open(self, folder):
        return SegmentLog(folder / "log", segment_bytes=4096)


@pytest.fixture
def log(tmp_path):
    log = SegmentLog(tmp_path / "log", segment_bytes=4096)
    yield log
    log.close()


def _ids(log):
    return [row[0] for row in label_rows(log.labels())]


def test_a_process_that_only_scans_touches_nothing(tmp_path):
    log = SegmentLog(tmp_path / "log")
    assert list(log.predictions()) == []
    assert log.compact() == 0
    assert list(tmp_path.iterdir()) == []


def test_a_torn_tail_of_any_length_is_cut_and_what_was_whole_stays(tmp_path):
    log = SegmentLog(tmp_path / "log")
    log.append(labels(["whole"], [1]))
    kept = (tmp_path / "log" / "00000001.log").stat().st_size
    log.append(predictions(["a", "b"], [1, 2]))  # two frames: the arm's, and the rows'
    log.close()
    data = (tmp_path / "log" / "00000001.log").read_bytes()
    for size in range(kept, len(data)):
        (tmp_path / "log" / "00000001.log").write_bytes(data[:size])
        reader = SegmentLog(tmp_path / "log")
        assert _ids(reader) == ["whole"]
        assert list(reader.predictions()) == []
        assert (tmp_path / "log" / "00000001.log").stat().st_size == size
        if size % 16 and size != len(data) - 1:
            continue
        with capture_logs() as events:
            reader.append(labels(["next"], [2]))
        reader.close()
        assert _ids(reader) == _ids(SegmentLog(tmp_path / "log")) == ["whole", "next"]
        cut = [event["bytes"] for event in events if event["event"] == "log.tail_cut"]
        assert sum(cut) <= size - kept
        assert bool(cut) or size == kept or _ends_with_the_arm(data, size)


def _ends_with_the_arm(data, size):
    return frames.frame_at(data, size) is not None


@pytest.mark.parametrize("size", range(9))
def test_a_segment_cut_in_its_first_bytes_is_an_empty_one(tmp_path, size):
    (tmp_path / "00000001.log").write_bytes(frames.MAGIC[:size])
    log = SegmentLog(tmp_path)
    assert _ids(log) == []
    log.append(labels(["a"], [1]))
    log.close()
    assert _ids(log) == _ids(SegmentLog(tmp_path)) == ["a"]


def test_a_reader_waits_at_a_frame_that_is_being_written(log, tmp_path):
    log.append(labels(["a"], [1]))
    path = tmp_path / "log" / "00000001.log"
    start = path.stat().st_size
    log.append(labels(["b"], [2]))
    log.close()
    frame = path.read_bytes()[start:]
    os.truncate(path, start)
    reader = SegmentLog(tmp_path / "log")
    with path.open("ab", buffering=0) as file:
        for byte in range(len(frame)):
            assert _ids(reader) == ["a"]
            file.write(frame[byte : byte + 1])
    assert _ids(reader) == ["a", "b"]


def _damage(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("offset", [4, 6, 8, 40, 60])  # mark, kind, length, payload
def test_damage_in_the_middle_is_an_error_for_readers_and_appenders(tmp_path, offset):
    log = SegmentLog(tmp_path)
    for number in range(5):
        log.append(labels([f"id-{number}"] * 3, [1, 2, 3]))
    log.close()
    path = tmp_path / "00000001.log"
    start = len(frames.MAGIC) + (path.stat().st_size - len(frames.MAGIC)) // 5
    _damage(path, start + offset)
    before = path.read_bytes()
    for use in (lambda log: list(log.labels()), lambda log: log.append(labels(["b"], [1]))):
        with pytest.raises(StoreError, match=f"damaged at byte {start}") as caught:
            use(SegmentLog(tmp_path))
        assert caught.value.where == str(path)
        assert caught.value.fix
    assert path.read_bytes() == before


def test_a_sealed_segment_has_no_torn_tail(log, tmp_path):
    for number in range(200):
        log.append(labels([str(number)], [number]))
    path = tmp_path / "log" / "00000001.log"
    size = path.stat().st_size
    os.truncate(path, size - 1)
    with pytest.raises(StoreError, match="damaged at byte") as caught:
        _ids(SegmentLog(tmp_path / "log"))
    assert caught.value.where == str(path)
    with pytest.raises(StoreError, match="damaged at byte"):
        log.compact()
    assert path.stat().st_size == size - 1


def test_a_foreign_or_newer_file_is_refused(tmp_path):
    for content, says in ((b"hello world", "not a segment"), (b"kzlog\0\x63\0rest", "format 99")):
        (tmp_path / "00000001.log").write_bytes(content)
        with pytest.raises(StoreError, match=says):
            _ids(SegmentLog(tmp_path))
        with pytest.raises(StoreError, match=says):
            SegmentLog(tmp_path).append(labels(["a"], [1]))


@pytest.mark.parametrize("room", range(1, 400, 37))
def test_a_full_disk_is_an_error_and_the_segment_stays_whole(tmp_path, room):
    log = SegmentLog(tmp_path)
    log.append(labels(["a"], [1]))
    batch = predictions(["b", "c"], [2, 3])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "00000001.log").stat().st_size + room, hard))
    try:
        with pytest.raises(StoreError, match="not stored") as caught:
            log.append(batch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "space" in caught.value.fix
    assert _ids(SegmentLog(tmp_path)) == ["a"]
    assert list(SegmentLog(tmp_path).predictions()) == []
    log.append(batch)
    log.append(shadow(batch))
    log.close()
    assert prediction_rows(SegmentLog(tmp_path).predictions()) == prediction_rows([batch, shadow(batch)])


def test_a_disk_that_is_full_when_a_segment_begins_can_be_freed(tmp_path):
    log = SegmentLog(tmp_path, segment_bytes=100)
    log.append(labels(["a"], [1]))
    log.append(labels(["b"], [1]))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, hard))
    try:
        for _ in range(2):
            with pytest.raises(StoreError, match="opened to append"):
                log.append(labels(["c"], [1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.append(labels(["d"], [1]))
    log.close()
    assert _ids(log) == ["a", "b", "d"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened to append"):
        SegmentLog(tmp_path / "file" / "log").append(labels(["a"], [1]))


WRITER = """
import sys
from kaizen.adapters.log.segments import SegmentLog
from kaizen.testing.log import labels, predictions
log = SegmentLog(sys.argv[1], segment_bytes=20_000)
for number in range(10**6):
    name = f"{sys.argv[2]}-{number}"
    log.append(predictions([name], [number], seed=number))
    log.append(labels([name], [number]))
    sys.stdout.write(name + "\\n")
    sys.stdout.flush()
"""


@pytest.mark.slow
def test_kill_9_loses_no_acknowledged_row(tmp_path):
    acknowledged, rng = [], random.Random(0)
    for turn in range(15):
        with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, str(turn)], stdout=subprocess.PIPE) as writer:
            for _ in range(rng.randrange(1, 80)):
                acknowledged.append(writer.stdout.readline().decode().strip())
            writer.kill()
            acknowledged += [line.decode().strip() for line in writer.stdout if line.endswith(b"\n")]
    log = SegmentLog(tmp_path, segment_bytes=20_000)
    predicted = [row[5] for row in prediction_rows(log.predictions())]
    assert len(predicted) == len(set(predicted))
    assert [each for each in predicted if each in set(acknowledged)] == acknowledged
    assert len(predicted) <= len(acknowledged) + 15
    assert set(acknowledged) <= set(_ids(log))
    log.append(labels(["after"], [1]))
    assert _ids(log)[-1] == "after"
    log.close()


@pytest.mark.slow
def test_kill_9_of_writers_at_the_same_time_loses_no_acknowledged_row(tmp_path):
    acknowledged, rng = {}, random.Random(0)
    for turn in range(2):
        command = [sys.executable, "-c", WRITER, tmp_path]
        names = [f"{turn}{letter}" for letter in "abc"]
        writers = [subprocess.Popen([*command, name], stdout=subprocess.PIPE) for name in names]
        begun = [writer.stdout.readline() for writer in writers]  # all of them, before the first is killed
        for name, writer, first in zip(names, writers, begun, strict=True):
            lines = [first, *(writer.stdout.readline() for _ in range(rng.randrange(80)))]
            writer.kill()
            lines += [line for line in writer.stdout if line.endswith(b"\n")]
            writer.communicate()
            acknowledged[name] = [line.decode().strip() for line in lines]
    log = SegmentLog(tmp_path, segment_bytes=20_000)
    assert log.compact() > 0
    predicted = [row[5] for row in prediction_rows(log.predictions())]
    assert len(predicted) == len(set(predicted))
    for name, own in acknowledged.items():
        assert [each for each in predicted if each.startswith(f"{name}-")][: len(own)] == own
    assert len(predicted) <= sum(map(len, acknowledged.values())) + len(acknowledged)
    assert {each for own in acknowledged.values() for each in own} <= set(_ids(log))
    assert {path.name for path in tmp_path.glob("writer-*")} == {"writer-2", "writer-3"}


def test_the_torn_tail_of_each_lane_is_cut_by_whoever_takes_it(tmp_path):
    logs = [SegmentLog(tmp_path) for _ in range(3)]
    for number, log in enumerate(logs):
        log.append(labels([f"whole-{number}"], [1]))
        log.append(labels([f"torn-{number}"], [1]))
    for log in logs:
        log.close()
    for path in tmp_path.rglob("*.log"):
        os.truncate(path, path.stat().st_size - 3)
    whole = [f"whole-{number}" for number in range(3)]
    assert _ids(SegmentLog(tmp_path)) == whole
    with capture_logs() as events:
        logs[0].append(labels(["next-0"], [2]))  # its lane is free, and so is the second one's
        logs[1].append(labels(["next-1"], [2]))
    assert [event["event"] for event in events] == ["log.tail_cut"] * 2
    assert _ids(SegmentLog(tmp_path)) == ["whole-0", "next-0", "whole-1", "next-1", "whole-2"]
    for log in logs:
        log.close()


def test_more_appenders_than_anybody_needs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lanes, "MOST", 2)
    logs = [SegmentLog(tmp_path) for _ in range(3)]
    for log in logs[:2]:
        log.append(labels(["a"], [1]))
    with pytest.raises(StoreError, match="2 appenders hold this log") as caught:
        logs[2].append(labels(["a"], [1]))
    assert "close" in caught.value.fix
    for log in logs:
        log.close()


COMPACTOR = """
import sys
from kaizen.adapters.log.segments import SegmentLog
log = SegmentLog(sys.argv[1], segment_bytes=4096)
import kaizen.adapters.log.compact
print(flush=True)
log.compact()
"""


@pytest.mark.slow
def test_kill_9_inside_a_compaction_leaves_every_row_once(log, tmp_path):
    for number in range(1500):
        log.append(predictions([str(number)], [number]))
    expected = prediction_rows(log.predictions())
    raw = len(list((tmp_path / "log").glob("*.log")))
    for turn in range(4):
        with subprocess.Popen([sys.executable, "-c", COMPACTOR, tmp_path / "log"], stdout=subprocess.PIPE) as compactor:
            compactor.stdout.readline()
            try:
                compactor.wait(0.03 * (turn + 1))
            except subprocess.TimeoutExpired:
                compactor.kill()
        assert prediction_rows(SegmentLog(tmp_path / "log").predictions()) == expected
    log.compact()
    assert prediction_rows(log.predictions()) == expected
    assert [each.name for each in (tmp_path / "log").glob("*.log")] == [f"{raw:08d}.log"]
    assert list((tmp_path / "log").glob("*.draft")) == []


def test_a_crash_between_parquet_and_unlink_repeats_no_row(log, tmp_path):
    for number in range(100):
        log.append(predictions([str(number)], [number]))
    expected = prediction_rows(log.predictions())
    raw = {path: path.read_bytes() for path in sorted((tmp_path / "log").glob("*.log"))[:-1]}
    log.compact()
    for path, data in raw.items():
        path.write_bytes(data)
    reader = SegmentLog(tmp_path / "log")
    assert prediction_rows(reader.predictions()) == expected
    assert reader.compact() == len(raw)
    assert prediction_rows(reader.predictions()) == expected


def test_a_damaged_parquet_file_is_an_error(log, tmp_path):
    for number in range(50):
        log.append(predictions([str(number)], [number]))
    log.compact()
    path = tmp_path / "log" / "00000001.predictions.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    parquet._footer.cache_clear()
    with pytest.raises(StoreError, match="cannot be read") as caught:
        list(log.predictions())
    assert caught.value.where == str(path)


def test_parquet_can_be_read_by_name(log, tmp_path):
    import duckdb

    for number in range(50):
        log.append(predictions([str(number)], [number * DAY_US]))
    log.compact()
    path = tmp_path / "log" / "00000001.predictions.parquet"
    found = duckdb.sql(f"SELECT id, endpoint, role, revision, \"at\" FROM '{path}' LIMIT 2").fetchall()
    assert found == [(str(n), "flights", "champion", 1, from_us(n * DAY_US).replace(tzinfo=None)) for n in (0, 1)]
    names = {row[0] for row in duckdb.sql(f"DESCRIBE FROM '{path}'").fetchall()}
    assert {"input.distance", "input.night", "input.at", "input.note"} <= names


def test_a_scan_of_a_day_reads_little_more_than_that_day(tmp_path, monkeypatch):
    log = SegmentLog(tmp_path, segment_bytes=1 << 20)
    for day in range(40):
        for hour in range(24):
            log.append(predictions([str(n) for n in range(50)], [day * DAY_US + hour * 10**9] * 50, seed=hour))
    log.close()
    reader = SegmentLog(tmp_path)
    assert len(prediction_rows(reader.predictions())) == 40 * 24 * 50
    read, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, start: read.append(size) or pread(fd, size, start))
    found = prediction_rows(reader.predictions(from_us(20 * DAY_US), from_us(21 * DAY_US)))
    assert len(found) == 24 * 50
    assert sum(read) < 4 * log.size_bytes() / 40


batches = st.lists(
    st.tuples(
        st.sampled_from(["champion", "shadow", "labels"]),
        st.lists(st.integers(-50, 50), min_size=0, max_size=4),
        st.sampled_from([COLUMNS, OTHER_COLUMNS, COLUMNS[3:4]]),
    ),
    max_size=30,
)


@settings(max_examples=25, deadline=None)
@given(batches, st.integers(-60, 60), st.integers(0, 60))
def test_a_range_is_the_rows_of_that_range_in_order_before_and_after_compaction(tmp_path_factory, given, low, length):
    log = SegmentLog(tmp_path_factory.mktemp("log"), segment_bytes=600)
    predicted, labelled = [], []
    for number, (kind, at, columns) in enumerate(given):
        ids = [f"{number}-{row}" for row in range(len(at))]
        batch = predictions(ids, at, columns=columns, seed=number)
        if kind == "labels":
            log.append(labels(ids, at))
            labelled += label_rows([labels(ids, at)])
            continue
        batch = batch if kind == "champion" else shadow(batch)
        log.append(batch)
        predicted += prediction_rows([batch]) if at else []
    bounds = (from_us(low), from_us(low + length))
    for turn in range(2):
        found = SegmentLog(log.folder)
        assert prediction_rows(found.predictions()) == predicted
        assert label_rows(found.labels()) == labelled
        assert prediction_rows(found.predictions(*bounds)) == [r for r in predicted if low <= r[6] < low + length]
        assert label_rows(found.labels(*bounds)) == [r for r in labelled if low <= r[2] < low + length]
        if turn == 0:
            log.compact()
    log.close()


def test_an_encrypted_segment_cannot_take_the_place_of_one_of_another_lane(tmp_path):
    keys = Keyring((Key(b"i" * 8, b"s" * 32),), "here")
    logs = [SegmentLog(tmp_path, keys=keys) for _ in range(2)]
    for number, log in enumerate(logs):
        log.append(labels([f"of-{number}"], [1]))
    assert _ids(SegmentLog(tmp_path, keys=keys)) == ["of-0", "of-1"]
    for log in logs:
        log.close()
    (tmp_path / "writer-2" / "00000001.log").replace(tmp_path / "00000001.log")
    with pytest.raises(StoreError, match="is not what was written there"):
        _ids(SegmentLog(tmp_path, keys=keys))
