"""The conformance suite of the blobs port: subclass it, say how to open a store, and pytest does the rest."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from kaizen.core.errors import NotFoundError, StoreError
from kaizen.core.ports import Blobs

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc": FIPS 180-4


class BlobsConformance:
    """What every store of blobs must do.

    A subclass says how to open one: two handles of one folder are two clients of one store, which is empty when
    the folder is.

    >>> class TestMine(BlobsConformance):
    ...     def open(self, folder): ...
    """

    def open(self, folder: Path) -> Blobs:
        """Return a new handle to the store of this folder."""
        raise NotImplementedError

    @pytest.fixture
    def blobs(self, tmp_path: Path) -> Blobs:
        """Give a handle to an empty store."""
        return self.open(tmp_path / "store")

    def test_the_key_is_the_sha256_of_the_content(self, blobs: Blobs) -> None:
        """Anybody can check it."""
        assert blobs.put(b"abc") == ABC
        assert blobs.path(ABC).read_bytes() == b"abc"

    @pytest.mark.parametrize("size", [0, 1, 3_000_001])
    def test_a_file_and_its_bytes_are_one_blob(self, blobs: Blobs, tmp_path: Path, size: int) -> None:
        """Of any size, none included; and the file that was put stays where it is."""
        data = os.urandom(size)
        (tmp_path / "given").write_bytes(data)
        key = blobs.put(tmp_path / "given")
        assert key == blobs.put(data) == hashlib.sha256(data).hexdigest()
        assert blobs.path(key).read_bytes() == (tmp_path / "given").read_bytes() == data

    def test_another_handle_sees_what_was_put(self, blobs: Blobs, tmp_path: Path) -> None:
        """What `put` returned from is there for everybody."""
        assert self.open(tmp_path / "store").path(blobs.put(b"abc")).read_bytes() == b"abc"

    def test_a_blob_that_changes_later_is_another_blob(self, blobs: Blobs, tmp_path: Path) -> None:
        """What was put does not follow the file it came from."""
        (tmp_path / "given").write_bytes(b"abc")
        key = blobs.put(tmp_path / "given")
        (tmp_path / "given").write_bytes(b"abcd")
        assert blobs.path(key).read_bytes() == b"abc"

    @pytest.mark.parametrize("key", ["0" * 64, "", "abc", "../" * 3 + "etc/passwd", ABC.upper()])
    def test_an_unknown_key_raises(self, blobs: Blobs, key: str) -> None:
        """Whatever it looks like."""
        blobs.put(b"abc")
        with pytest.raises(NotFoundError, match="no blob"):
            blobs.path(key)

    def test_a_file_that_is_not_there_is_an_error(self, blobs: Blobs, tmp_path: Path) -> None:
        """The error names the file."""
        with pytest.raises(StoreError, match="absent") as caught:
            blobs.put(tmp_path / "absent")
        assert caught.value.fix

    def test_many_may_put_the_same_at_once(self, blobs: Blobs, tmp_path: Path) -> None:
        """Threads with one handle and with their own."""
        data = [os.urandom(200_000) for _ in range(4)]
        keys: list[list[str]] = []

        def put_all(store: Blobs) -> None:
            keys.append([store.put(each) for each in data])

        stores = [blobs, blobs, self.open(tmp_path / "store"), self.open(tmp_path / "store")]
        threads = [threading.Thread(target=put_all, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert keys == [keys[0]] * 4
        assert [blobs.path(key).read_bytes() for key in keys[0]] == data
