"""Keys: made once, private, and what is signed is what is checked."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from kaizen.bundle import keys
from kaizen.core.errors import BundleError, SignatureError

# RFC 8032, section 7.1, test 3.
RFC_PUBLIC = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
RFC_MESSAGE = bytes.fromhex("af82")
RFC_SIGNATURE = (
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)


def test_the_key_pair_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    public = keys.create(tmp_path / "keys")
    assert keys.create(tmp_path / "keys") == public
    assert stat.S_IMODE((tmp_path / "keys" / keys.PRIVATE).stat().st_mode) == 0o600
    assert len(bytes.fromhex(public)) == 32
    assert keys.trusted(tmp_path / "keys") == {public}


def test_a_signature_of_the_standard_verifies_and_a_changed_one_does_not() -> None:
    assert keys.is_signed(RFC_MESSAGE, public=RFC_PUBLIC, signature=RFC_SIGNATURE)
    assert not keys.is_signed(RFC_MESSAGE + b"!", public=RFC_PUBLIC, signature=RFC_SIGNATURE)
    assert not keys.is_signed(RFC_MESSAGE, public=RFC_PUBLIC, signature="00" * 64)
    assert not keys.is_signed(RFC_MESSAGE, public=RFC_PUBLIC, signature="no hex")


def test_what_a_key_signs_its_public_half_confirms(tmp_path: Path) -> None:
    keys.create(tmp_path)
    key = keys.load(tmp_path)
    assert keys.is_signed(b"id", public=key.public, signature=key.sign(b"id"))
    assert key.sign(b"id") == key.sign(b"id")


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    keys.create(tmp_path)
    (tmp_path / keys.PRIVATE).chmod(0o644)
    with pytest.raises(BundleError, match="open to other users") as caught:
        keys.load(tmp_path)
    assert "chmod 600" in caught.value.fix


def test_a_missing_or_damaged_key_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no signing key"):
        keys.load(tmp_path)
    (tmp_path / keys.PRIVATE).write_text("not a key")
    (tmp_path / keys.PRIVATE).chmod(0o600)
    with pytest.raises(BundleError, match="damaged"):
        keys.load(tmp_path)


def test_the_key_of_another_is_trusted_once_it_is_added(tmp_path: Path) -> None:
    own = keys.create(tmp_path)
    keys.trust(tmp_path, RFC_PUBLIC)
    keys.trust(tmp_path, RFC_PUBLIC)
    assert keys.trusted(tmp_path) == {own, RFC_PUBLIC}
    with pytest.raises(SignatureError, match="no Ed25519 public key"):
        keys.trust(tmp_path, "abc")
