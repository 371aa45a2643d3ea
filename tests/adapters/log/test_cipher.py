"""The log at rest: the suite with encryption on, nothing in plain, damage, forgery, crashes, and new keys."""

from __future__ import annotations

import base64
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import zlib

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kaizen.adapters.log import frames
from kaizen.adapters.log.cipher import Cipher, read_keys
from kaizen.adapters.log.segments import SegmentLog
from kaizen.core.clock import from_us
from kaizen.core.errors import StoreError
from kaizen.core.records import Column, PredictionBatch
from kaizen.core.serving import LogSection
from kaizen.testing.log import LogConformance, label_rows, labels, prediction_rows, predictions, shadow

OLD, NEW = bytes(range(32)).hex(), bytes(range(1, 33)).hex()
MARKER = "zanzibar"
HEADER = frames.SEALED_HEADER.size


def keys_of(tmp_path, *lines):
    (tmp_path / "keys").write_text("\n".join(lines))
    return read_keys("file:keys", tmp_path)


@pytest.fixture
def keys(tmp_path):
    return keys_of(tmp_path, OLD)


class TestEncryptedSegments(LogConformance):
    def open(self, folder):
        return SegmentLog(folder / "log", segment_bytes=4096, keys=keys_of(folder, OLD))


def _ids(log):
    return [row[0] for row in label_rows(log.labels())]


def _marked(number):
    """Return a batch in which every text is the marker."""
    batch = predictions([f"{MARKER}-{number}"], [number], columns=(Column(MARKER, "text"), Column("x", "number")))
    return PredictionBatch(
        endpoint=batch.endpoint,
        revision=1,
        bundle=MARKER,
        role="champion",
        ids=batch.ids,
        at=batch.at,
        units=[MARKER],
        outputs=[0.5],
        propensity=[1.0],
        latency_us=[1],
        requests=[MARKER],
        columns=batch.columns,
        numbers=batch.numbers,
        strings=[MARKER],
    )


def _in_plain(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path.name for path in files if MARKER.encode() in path.read_bytes()]


def test_nothing_is_on_the_disk_in_plain(tmp_path, keys, monkeypatch):
    log = SegmentLog(tmp_path / "log", segment_bytes=4096, keys=keys)
    for number in range(60):
        log.append(_marked(number))
        log.append(labels([f"{MARKER}-{number}"], [number]))
        if number % 10 == 0:
            assert _in_plain(tmp_path) == []
    expected = prediction_rows(log.predictions())
    assert len(expected) == 60

    def unplugged(source, target):
        raise OSError("no power")

    with monkeypatch.context() as cut:
        cut.setattr(os, "replace", unplugged)
        cut.setattr(type(tmp_path), "replace", unplugged)
        with pytest.raises(StoreError, match="could not be compacted"):
            log.compact()
    assert list((tmp_path / "log").glob("*.draft"))
    assert _in_plain(tmp_path) == []
    assert log.compact() > 1
    assert list((tmp_path / "log").glob("*.packed"))
    assert not list((tmp_path / "log").glob("*.parquet"))
    log.close()
    newest = sorted((tmp_path / "log").glob("*.log"))[-1]
    os.truncate(newest, newest.stat().st_size - 3)
    log.append(_marked(60))
    assert prediction_rows(log.predictions())[: len(expected)] == expected
    assert _in_plain(tmp_path) == []
    log.close()


def test_without_encryption_the_marker_would_have_been_found(tmp_path):
    log = SegmentLog(tmp_path / "log")
    log.append(_marked(1))
    assert _in_plain(tmp_path) == ["00000001.log"]
    log.close()


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Return a folder with a sealed segment and the newest one, small enough to break in every place."""
    folder = tmp_path_factory.mktemp("sample")
    log = SegmentLog(folder / "log", segment_bytes=700, keys=keys_of(folder, OLD))
    for number in range(9):
        log.append(labels([f"{number}-{row}" for row in range(6)], [number] * 6))
    log.close()
    assert len(list((folder / "log").glob("*.log"))) == 2
    return folder


def _broken(sample, tmp_path, name, offset, bit):
    folder = tmp_path / f"{name}-{offset}-{bit}"
    shutil.copytree(sample / "log", folder)
    data = bytearray((folder / name).read_bytes())
    data[offset] ^= 1 << bit
    (folder / name).write_bytes(data)
    return folder


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_flipped_bit_of_a_sealed_segment_is_an_error_that_names_the_file(sample, tmp_path_factory, data):
    path = sample / "log" / "00000001.log"
    offset, bit = data.draw(st.integers(0, path.stat().st_size - 1)), data.draw(st.integers(0, 7))
    folder = _broken(sample, tmp_path_factory.mktemp("broken"), path.name, offset, bit)
    with pytest.raises(StoreError) as caught:
        list(SegmentLog(folder, keys=keys_of(sample, OLD)).labels())
    assert caught.value.where == str(folder / path.name)


def _first_error(log):
    try:
        _ids(log)
    except StoreError as err:
        return err
    return None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_flipped_bit_of_the_newest_segment_gives_no_row_that_was_not_written(sample, tmp_path_factory, data):
    """An error, or the rows up to the last frame, where it looks like a torn tail, which the next appender tells."""
    path = sample / "log" / "00000002.log"
    whole = _ids(SegmentLog(sample / "log", keys=keys_of(sample, OLD)))
    offset, bit = data.draw(st.integers(0, path.stat().st_size - 1)), data.draw(st.integers(0, 7))
    folder = _broken(sample, tmp_path_factory.mktemp("broken"), path.name, offset, bit)
    log = SegmentLog(folder, keys=keys_of(sample, OLD))
    if _first_error(log) is not None:
        assert _first_error(log).where == str(folder / path.name)
        return
    found = _ids(log)
    assert found == whole[:-6]
    with capture_logs() as events:
        log.append(labels(["next"], [1]))
    log.close()
    assert [event["event"] for event in events] == ["log.tail_cut"]
    assert _ids(log) == [*whole[:-6], "next"]


def _frames(data):
    position, found = HEADER, []
    while (frame := frames.frame_at(data, position)) is not None:
        found.append(data[position : frame.end])
        position = frame.end
    return found


def _with_checksum(frame):
    return zlib.crc32(frame[4:]).to_bytes(4, "little") + frame[4:]


def _forgeries(first, second):
    one, two, three, *rest = _frames(first)
    tail = b"".join(rest)
    header = bytearray(two)
    header[16] ^= 1  # the first event time
    return {
        "swapped": first[:HEADER] + two + one + three + tail,
        "repeated": first[:HEADER] + one + one + two + three + tail,
        "left out": first[:HEADER] + one + three + tail,
        "the first left out": first[:HEADER] + two + three + tail,
        "from another segment": first[:HEADER] + _frames(second)[0] + two + three + tail,
        "another time": first[:HEADER] + one + _with_checksum(bytes(header)) + three + tail,
        "another segment": second,
    }


FORGERIES = (
    "another segment",
    "another time",
    "from another segment",
    "left out",
    "repeated",
    "swapped",
    "the first left out",
)


@pytest.mark.parametrize("how", FORGERIES)
def test_frames_that_are_whole_and_in_the_wrong_place_are_refused(sample, tmp_path, how):
    """Checksums are right in all of these: only who has the key can tell."""
    shutil.copytree(sample / "log", tmp_path / "log")
    first, second = ((tmp_path / "log" / f"0000000{n}.log").read_bytes() for n in (1, 2))
    (tmp_path / "log" / "00000001.log").write_bytes(_forgeries(first, second)[how])
    with pytest.raises(StoreError, match=r"frame \d+ is not what was written there") as caught:
        list(SegmentLog(tmp_path / "log", keys=keys_of(tmp_path, OLD)).labels())
    assert caught.value.where == str(tmp_path / "log" / "00000001.log")
    assert caught.value.fix


def test_a_forged_time_does_not_keep_rows_out_of_a_range(sample, tmp_path):
    """A scan of a day believes the headers about where to look, so they are proven before that."""
    shutil.copytree(sample / "log", tmp_path / "log")
    path = tmp_path / "log" / "00000001.log"
    data = path.read_bytes()
    found = _frames(data)
    moved = b"".join(_with_checksum(f[:16] + (10**9).to_bytes(8, "little") * 2 + f[32:]) for f in found)
    path.write_bytes(data[:HEADER] + moved)
    with pytest.raises(StoreError, match="frame 0 is not what was written there"):
        list(SegmentLog(tmp_path / "log", keys=keys_of(tmp_path, OLD)).labels(from_us(0), from_us(9)))


def test_a_torn_tail_of_any_length_is_cut_and_said_and_a_new_segment_begins(tmp_path, keys):
    path = tmp_path / "log" / "00000001.log"
    log = SegmentLog(tmp_path / "log", keys=keys)
    log.append(labels(["whole"], [1]))
    kept = path.stat().st_size
    log.append(labels(["torn"], [2]))
    log.close()
    data = path.read_bytes()
    for size in range(kept, len(data)):
        shutil.rmtree(tmp_path / "log")
        path.parent.mkdir()
        path.write_bytes(data[:size])
        log = SegmentLog(tmp_path / "log", keys=keys)
        assert _ids(log) == ["whole"]
        with capture_logs() as events:
            log.append(labels(["next"], [2]))
        log.close()
        assert [event.get("bytes") for event in events] == ([size - kept] if size > kept else [])
        assert path.read_bytes() == data[:kept]
        assert _ids(log) == _ids(SegmentLog(tmp_path / "log", keys=keys)) == ["whole", "next"]


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 30, HEADER - 1, HEADER, HEADER + 1, HEADER + 70])
def test_a_segment_without_a_whole_frame_is_begun_again_under_another_salt(tmp_path, keys, size):
    path = tmp_path / "log" / "00000001.log"
    log = SegmentLog(tmp_path / "log", keys=keys)
    log.append(labels(["a"] * 9, [1] * 9))
    log.close()
    salt = path.read_bytes()[:HEADER]
    os.truncate(path, size)
    reader = SegmentLog(tmp_path / "log", keys=keys)
    assert _ids(reader) == []  # it may have seen the header that goes
    log.append(labels(["b"], [1]))
    log.close()
    assert path.read_bytes()[:HEADER] != salt
    assert _ids(reader) == ["b"]


def test_no_number_is_used_twice_under_one_key(tmp_path, keys, monkeypatch):
    """Over restarts, full segments, full disks and torn tails."""
    seen, seal = [], Cipher.seal

    def noted(self, header, payload):
        seen.append((self._gcm, self._next))
        return seal(self, header, payload)

    monkeypatch.setattr(Cipher, "seal", noted)
    rng = random.Random(1)
    stored = []
    for turn in range(12):
        log = SegmentLog(tmp_path / "log", segment_bytes=2000, keys=keys)
        for number in range(rng.randrange(1, 9)):
            name = f"{turn}-{number}"
            newest = max((tmp_path / "log").glob("*.log"), default=None)
            if newest is not None and number % 3 == 1:
                with _Full(newest.stat().st_size + rng.randrange(150)), pytest.raises(StoreError):
                    log.append(predictions([name] * 3, [1, 2, 3]))
            log.append(labels([name], [number]))
            stored.append(name)
        log.close()
    assert len(seen) == len(set(seen)) > len(stored)
    assert _ids(SegmentLog(tmp_path / "log", keys=keys)) == stored


class _Full:
    """A disk with so much room in a file."""

    def __init__(self, size):
        self.size = size

    def __enter__(self):
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.before[1]))

    def __exit__(self, *error):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


def test_a_disk_that_stays_full_is_not_filled_with_files(tmp_path, keys):
    log = SegmentLog(tmp_path / "log", keys=keys)
    log.append(labels(["a"], [1]))
    with _Full((tmp_path / "log" / "00000001.log").stat().st_size + 10):
        for _ in range(50):
            with pytest.raises(StoreError):
                log.append(predictions(["b"] * 9, list(range(9))))
    assert len(list((tmp_path / "log").glob("*.log"))) <= 3
    log.append(labels(["c"], [1]))
    log.close()
    assert _ids(log) == ["a", "c"]


def test_a_log_that_was_begun_in_plain_goes_on_encrypted_and_back(tmp_path, keys):
    folder, expected = tmp_path / "log", []
    for turn, ring in enumerate((None, None, keys, keys, None, keys)):
        log = SegmentLog(folder, segment_bytes=4096, keys=ring)
        batches = [predictions([f"{turn}-{n}"], [n], seed=n) for n in range(40)]
        for batch in batches:
            log.append(batch)
        log.close()
        expected += prediction_rows(batches)
    log = SegmentLog(folder, segment_bytes=4096, keys=keys)
    assert prediction_rows(log.predictions()) == expected
    heads = {path.read_bytes()[:8] for path in folder.glob("*.log")}
    assert heads == {frames.MAGIC, frames.SEALED_MAGIC}
    assert log.compact() > 0  # what was in plain is encrypted by this
    assert prediction_rows(log.predictions()) == expected
    assert {path.read_bytes()[:8] for path in folder.glob("*.packed")} == {frames.SEALED_MAGIC}


def test_parquet_of_before_is_read_beside_what_is_packed(tmp_path, keys):
    folder = tmp_path / "log"
    expected = []
    for ring in (None, keys):
        log = SegmentLog(folder, segment_bytes=2048, keys=ring)
        for number in range(60):
            batch = predictions([f"{ring is None}-{number}"], [number])
            log.append(batch)
            expected += prediction_rows([batch])
        log.close()
        assert log.compact() > 0
    assert list(folder.glob("*.parquet"))
    assert list(folder.glob("*.packed"))
    reader = SegmentLog(folder, keys=keys)
    assert prediction_rows(reader.predictions()) == expected
    some = prediction_rows(reader.predictions(from_us(10), from_us(20)))
    assert some == [row for row in expected if 10 <= row[6] < 20]


def test_a_damaged_packed_segment_is_an_error(tmp_path, keys):
    log = SegmentLog(tmp_path / "log", segment_bytes=2048, keys=keys)
    for number in range(50):
        log.append(predictions([str(number)], [number]))
    log.compact()
    log.close()
    path = tmp_path / "log" / "00000001.packed"
    whole = path.read_bytes()
    for offset in random.Random(0).sample(range(len(whole)), 25):
        data = bytearray(whole)
        data[offset] ^= 0x10
        path.write_bytes(data)
        with pytest.raises(StoreError) as caught:
            list(SegmentLog(tmp_path / "log", keys=keys).predictions())
        assert caught.value.where == str(path)


# Keys


def test_a_wrong_or_an_absent_key_is_an_error_and_never_an_empty_log(tmp_path, keys):
    log = SegmentLog(tmp_path / "log", keys=keys)
    log.append(labels(["a"], [1]))
    log.close()
    wrong = SegmentLog(tmp_path / "log", keys=keys_of(tmp_path, NEW))
    none = SegmentLog(tmp_path / "log")
    for use in (lambda log: list(log.labels()), lambda log: list(log.predictions())):
        with pytest.raises(StoreError, match=r"is encrypted with the key [0-9a-f]{16}") as caught:
            use(wrong)
        assert "add that key" in caught.value.fix
        with pytest.raises(StoreError, match="declares no key") as caught:
            use(none)
        assert "[serve.log]" in caught.value.fix
        assert caught.value.where == str(tmp_path / "log" / "00000001.log")


def test_a_new_key_writes_and_the_old_one_still_reads(tmp_path):
    log = SegmentLog(tmp_path / "log", segment_bytes=1000, keys=keys_of(tmp_path, OLD))
    for number in range(40):
        log.append(labels([f"old-{number}"], [number]))
    log.close()
    both = SegmentLog(tmp_path / "log", segment_bytes=1000, keys=keys_of(tmp_path, NEW, OLD))
    both.append(labels(["new"], [1]))
    assert _ids(both)[-1] == "new"
    assert len(_ids(both)) == 41
    both.close()
    new = SegmentLog(tmp_path / "log", keys=keys_of(tmp_path, NEW))
    with pytest.raises(StoreError, match="is encrypted with the key"):
        _ids(new)
    both.compact()  # rewrites what the old key sealed
    assert _ids(SegmentLog(tmp_path / "log", keys=keys_of(tmp_path, NEW))) == _ids(both)


def test_what_was_packed_with_an_old_key_is_packed_again_with_the_new_one(tmp_path):
    log = SegmentLog(tmp_path / "log", segment_bytes=2048, keys=keys_of(tmp_path, OLD))
    expected = []
    for number in range(60):
        batch = predictions([str(number)], [number], seed=number)
        log.append(batch)
        log.append(labels([str(number)], [number]))
        expected += prediction_rows([batch])
    log.close()
    assert log.compact() > 3
    readers = [SegmentLog(tmp_path / "log", keys=keys_of(tmp_path, NEW, OLD)) for _ in range(3)]
    assert prediction_rows(readers[0].predictions()) == expected
    begun = readers[1].predictions()
    seen = [next(begun)]
    both = SegmentLog(tmp_path / "log", keys=keys_of(tmp_path, NEW, OLD))
    both.append(labels(["last"], [1]))
    both.close()
    assert both.compact() > 3
    assert both.compact() == 0
    assert prediction_rows(readers[0].predictions()) == expected  # it knew the files that were replaced
    assert prediction_rows([*seen, *begun]) == expected
    assert prediction_rows(readers[2].predictions()) == expected
    new = SegmentLog(tmp_path / "log", keys=keys_of(tmp_path, NEW))
    assert prediction_rows(new.predictions()) == expected
    assert _ids(new) == [*map(str, range(60)), "last"]


def test_keys_are_read_from_a_file_or_the_environment_as_hex_or_base64(tmp_path, monkeypatch):
    secret = bytes.fromhex(OLD)
    for text in (OLD, OLD.upper(), base64.b64encode(secret).decode(), base64.urlsafe_b64encode(secret).decode(), f"\n{OLD}\n"):  # noqa: E501  # fmt: skip
        (tmp_path / "log.key").write_text(text)
        monkeypatch.setenv("KAIZEN_TEST_KEY", text)
        from_file, from_env = read_keys("file:log.key", tmp_path), read_keys("env:KAIZEN_TEST_KEY", tmp_path)
        header, cipher = from_file.begin("x.log")
        sealed = cipher.seal(b"head", b"payload")
        assert from_env.opening(header, tmp_path / "x.log").open(0, b"head", sealed) == b"payload"
        assert from_env.opening(header, tmp_path / "y.log").open(0, b"head", sealed) is None


@pytest.mark.parametrize(
    "text", ["", "  \n", "abc", "zz" * 32, f"{OLD}\n{OLD[:-1]}", base64.b64encode(b"x" * 31).decode()]
)
def test_what_is_no_key_is_refused_and_not_repeated(tmp_path, monkeypatch, text):
    (tmp_path / "log.key").write_text(text)
    monkeypatch.setenv("KAIZEN_TEST_KEY", text)
    for source, named in (("file:log.key", "the file log.key"), ("env:KAIZEN_TEST_KEY", "variable KAIZEN_TEST_KEY")):
        with pytest.raises(StoreError, match=named) as caught:
            read_keys(source, tmp_path)
        assert caught.value.where == "kaizen.toml: serve.log.encrypt"
        assert "openssl rand -hex 32" in caught.value.fix
        assert not text.strip() or text.strip() not in str(caught.value)


def test_a_key_that_is_nowhere_is_an_error_when_the_log_is_opened(tmp_path):
    for source in ("file:none", "env:KAIZEN_NO_SUCH_KEY"):
        with pytest.raises(StoreError, match="is not set or empty"):
            SegmentLog.declared(tmp_path / "log", LogSection(encrypt=source), home=tmp_path, unit=None)


def test_the_cipher_is_aes_256_gcm_over_a_key_of_rfc_5869_by_another_implementation(keys):
    """What `Cipher` writes, taken apart with HMAC and a GCM that is told everything."""
    import hmac

    from cryptography.hazmat.primitives.ciphers import Cipher as Raw
    from cryptography.hazmat.primitives.ciphers import algorithms, modes

    header, cipher = keys.begin("00000007.log")
    _, identity, salt, _ = frames.SEALED_HEADER.unpack(header)
    sealed = [cipher.seal(b"head", text) for text in (b"first", b"second")]
    extracted = hmac.digest(salt, bytes.fromhex(OLD), "sha256")
    key = hmac.digest(extracted, b"kaizen log segment\x0000000007.log\x01", "sha256")
    for number, text in enumerate((b"first", b"second")):
        body, tag = sealed[number][:-16], sealed[number][-16:]
        opened = Raw(algorithms.AES256(key), modes.GCM(number.to_bytes(12, "big"), tag)).decryptor()
        opened.authenticate_additional_data(b"head")
        assert opened.update(body) + opened.finalize() == text
    wrong = Raw(algorithms.AES256(key), modes.GCM((0).to_bytes(12, "big"), tag)).decryptor()
    wrong.update(body)
    with pytest.raises(InvalidTag):
        wrong.finalize()
    assert identity.hex() == "630dcd2966c43366"  # of SHA-256 of 00 01 … 1f


# Crashes

WRITER = """
import sys
from pathlib import Path
from kaizen.adapters.log.cipher import read_keys
from kaizen.adapters.log.segments import SegmentLog
from kaizen.testing.log import labels, predictions
home = Path(sys.argv[1])
log = SegmentLog(home / "log", segment_bytes=20_000, keys=read_keys("file:keys", home))
for number in range(10**6):
    name = f"{sys.argv[2]}-{number}"
    log.append(predictions([name], [number], seed=number))
    log.append(labels([name], [number]))
    sys.stdout.write(name + "\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("turns", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_9_loses_no_acknowledged_row(tmp_path, keys, turns):
    acknowledged, rng = [], random.Random(0)
    for turn in range(turns):
        with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, str(turn)], stdout=subprocess.PIPE) as writer:
            for _ in range(rng.randrange(1, 80)):
                acknowledged.append(writer.stdout.readline().decode().strip())
            writer.send_signal(signal.SIGKILL)
            acknowledged += [line.decode().strip() for line in writer.stdout if line.endswith(b"\n")]
        if turn % 4 == 3:
            SegmentLog(tmp_path / "log", keys=keys).compact()
    log = SegmentLog(tmp_path / "log", segment_bytes=20_000, keys=keys)
    predicted = [row[5] for row in prediction_rows(log.predictions())]
    assert len(predicted) == len(set(predicted))
    assert [each for each in predicted if each in set(acknowledged)] == acknowledged
    assert len(predicted) <= len(acknowledged) + turns
    assert set(acknowledged) <= set(_ids(log))
    log.append(labels(["after"], [1]))
    assert _ids(log)[-1] == "after"
    log.close()


def test_shadows_and_several_arms_keep_their_order_when_packed(tmp_path, keys):
    log = SegmentLog(tmp_path / "log", segment_bytes=3000, keys=keys)
    expected = []
    for number in range(120):
        batch = predictions([f"{number}-{row}" for row in range(3)], [number] * 3, revision=number % 4, seed=number)
        for each in (batch, shadow(batch)):
            log.append(each)
            expected += prediction_rows([each])
    assert prediction_rows(log.predictions()) == expected
    assert log.compact() > 5
    assert prediction_rows(log.predictions()) == expected
    assert prediction_rows(SegmentLog(tmp_path / "log", keys=keys).predictions()) == expected
    log.close()
