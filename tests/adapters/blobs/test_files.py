"""Blobs as files: the suite, crashes, damage, a full disk."""

from __future__ import annotations

import hashlib
import os
import resource
import stat
import subprocess
import sys
import tracemalloc

import pytest

from kaizen.adapters.blobs.files import FileBlobs
from kaizen.core.errors import StoreError
from kaizen.testing.blobs import ABC, BlobsConformance


class TestFiles(BlobsConformance):
    def open(self, folder):
        return FileBlobs(folder)


@pytest.fixture
def blobs(tmp_path):
    return FileBlobs(tmp_path)


def test_a_blob_is_read_only_and_named_by_its_hash(blobs, tmp_path):
    blobs.put(b"abc")
    assert blobs.path(ABC) == tmp_path / ABC[:2] / ABC
    assert stat.S_IMODE(blobs.path(ABC).stat().st_mode) == 0o444


@pytest.mark.parametrize("damaged", [b"abd", b"ab", b""])
def test_damage_is_seen_when_asked_for_and_repaired_by_putting_again(blobs, damaged):
    path = blobs.path(blobs.put(b"abc"), verified=True)
    path.chmod(0o644)
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match="damaged") as caught:
        blobs.path(ABC, verified=True)
    assert caught.value.where == str(path)
    assert caught.value.fix
    if len(damaged) != 3:
        blobs.put(b"abc")
        assert blobs.path(ABC, verified=True) == path


def test_drafts_of_dead_processes_are_swept_and_those_of_living_ones_kept(blobs, tmp_path):
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    (incoming / "dead").write_bytes(b"half")
    (incoming / "living").write_bytes(b"half")
    os.utime(incoming / "dead", (0, 0))
    blobs.put(b"abc")
    assert [each.name for each in incoming.iterdir()] == ["living"]


def test_a_large_file_is_not_loaded_whole(blobs, tmp_path):
    (tmp_path / "large").write_bytes(bytes(30_000_000))
    tracemalloc.start()
    key = blobs.put(tmp_path / "large")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
    assert key == hashlib.sha256(bytes(30_000_000)).hexdigest()


def test_a_full_disk_leaves_nothing_behind(blobs, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreError, match="not stored") as caught:
            blobs.put(bytes(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "space" in caught.value.fix
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="not stored"):
        FileBlobs(tmp_path / "file").put(b"abc")


WRITER = """
import sys
from kaizen.adapters.blobs.files import FileBlobs
blobs = FileBlobs(sys.argv[1])
for number in range(10**6):
    sys.stdout.write(blobs.put(f"{sys.argv[2]}-{number}".encode() * 20_000) + "\\n")
    sys.stdout.flush()
"""


def test_kill_9_leaves_only_whole_blobs_under_their_names(blobs, tmp_path):
    keys = []
    for turn in range(4):
        with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, str(turn)], stdout=subprocess.PIPE) as writer:
            keys += [writer.stdout.readline().decode().strip() for _ in range(8 + 3 * turn)]
            writer.kill()
    stored = [each.name for each in tmp_path.glob("??/*")]
    assert set(keys) <= set(stored)
    assert all(blobs.path(key, verified=True) for key in stored)
